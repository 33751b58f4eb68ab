package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/lifecycle/rule"
)

// judged is a study that was looked at, and what is to be done about it.
type judged struct {
	life     archive.StudyLife
	place    archive.StudyPlace
	study    rule.Study
	decision rule.Decision
}

// idle reports whether there is nothing to do.
func (j *judged) idle() bool { return j.decision.Action == rule.Nothing && j.life.Deleted == 0 }

// inHot reports whether anything of the study is in the hot tier; what is in no pack is.
func (j *judged) inHot() bool {
	return !j.place.Settled || len(j.place.Tiers) == 0 || slices.Contains(j.place.Tiers, archive.HotTier)
}

// judge looks at a study.
func (k *Keeper) judge(l archive.StudyLife, p archive.StudyPlace, rules rule.Set, now time.Time, env rule.Environment) judged {
	j := judged{life: l, place: p, study: k.subject(&l, p)}
	j.decision = rules.Evaluate(&j.study, now, env)
	return j
}

// maxActs bounds what is done to a study in one go: settled and moved, and what a
// store, a change of rules or the tier it came to asks for then.
const maxActs = 4

// tend does to a study what is to be done now, and notes when to look again. What a store does not lock is settled and moved all the same.
func (k *Keeper) tend(ctx context.Context, j judged, b *basis, done *tally) error {
	var unlocked error
	if k.o.Lock != nil {
		if unlocked = k.o.Lock(ctx, j.life.Study); unlocked != nil {
			unlocked = lockError{unlocked}
		}
	}
	var err error
	if j.idle() {
		err = k.o.Index.SetDue(ctx, k.o.Tenant, j.life.Next(j.decision.Next))
	} else {
		err = k.work(ctx, j, b, done)
	}
	if err == nil {
		err = unlocked
	}
	return err
}

// work does to a study what is to be done now, and notes when to look again. It is looked at anew before anything is
// done: what it was judged by with its page may be hours old.
func (k *Keeper) work(ctx context.Context, j judged, b *basis, done *tally) error {
	var drop, kept time.Time // when more of what was deleted can go, and until when it must be kept
	dropped, merged, waits := false, false, false
	for acts := 0; ; acts++ {
		ok, err := k.again(ctx, &j, b, done)
		if err != nil || !ok {
			return err
		}
		// What was done is done, whether or not something is left to be merged another day.
		j.study.Settled, j.study.Kept = j.study.Settled || merged, kept
		// Deletions that nobody can undo any more are let go of whatever the rules say.
		if acts < maxActs && !dropped && (j.life.Deleted > 0 || j.life.Instances == 0 && !j.place.Settled) && !k.o.Now().Before(j.life.Changed.Add(b.env.Quiet)) {
			if drop, err = k.settle(ctx, &j, done); err != nil {
				return err
			}
			dropped, merged = true, true
			continue
		}
		undo := b.decide(&j, k.o.Now())
		if j.decision.Action == rule.Delete {
			if kept, _, err = k.o.Retention.Until(ctx, k.o.Tenant, j.life.Study); err != nil {
				return fmt.Errorf("asking until when a study must be kept: %w", err)
			}
			j.study.Kept = kept
			undo = b.decide(&j, k.o.Now())
			waits = waits || j.decision.Action != rule.Delete
		}
		if acts == maxActs || j.decision.Action == rule.Nothing {
			undo()
			break
		}
		if err := k.act(ctx, &j, b, &drop, done); err != nil {
			undo()
			return err
		}
		merged = merged || j.study.Settled
	}
	if waits {
		done.waiting.Add(1)
	}
	next := j.decision.Next
	if next.IsZero() || !drop.IsZero() && drop.Before(next) {
		next = drop
	}
	return k.o.Index.SetDue(ctx, k.o.Tenant, j.life.Next(next))
}

// again looks at the rules and at a study anew; false where the index has nothing of it any more. An error that is of still ends the round.
func (k *Keeper) again(ctx context.Context, j *judged, b *basis, done *tally) (bool, error) {
	if _, err := k.still(ctx, done); err != nil {
		return false, err
	}
	l, ok, err := k.life(ctx, j)
	if err != nil || !ok {
		return false, err
	}
	places, err := k.o.Index.Places(ctx, k.o.Tenant, l.Study)
	if err != nil {
		return false, err
	}
	*j = k.judge(l, places[0], b.rules, k.o.Now(), b.env)
	return true, nil
}

// life reads a study anew. It counts as judged by the rules that the first look at it was about, which are those in hand.
func (k *Keeper) life(ctx context.Context, j *judged) (archive.StudyLife, bool, error) {
	l, ok, err := k.o.Index.Life(ctx, k.o.Tenant, j.life.Study)
	l.Mark.Generation = j.life.Mark.Generation
	return l, ok, err
}

// act does what was decided.
func (k *Keeper) act(ctx context.Context, j *judged, b *basis, drop *time.Time, done *tally) (err error) {
	switch j.decision.Action {
	case rule.Settle:
		*drop, err = k.settle(ctx, j, done)
	case rule.Move:
		if !j.place.Settled {
			if *drop, err = k.settle(ctx, j, done); err != nil {
				return err
			}
		}
		err = k.move(ctx, j, done)
	case rule.Delete:
		err = k.delete(ctx, j, b, done)
	}
	return err
}

func (k *Keeper) settle(ctx context.Context, j *judged, done *tally) (time.Time, error) {
	r, err := k.o.Settler.Settle(ctx, j.life.Study)
	if r.Stated { // perhaps beside an error: of what another key of the study seals, or of a lock
		done.settled.Add(1)
		k.o.Counters.Settled.Add(1)
	}
	done.dropped.Add(r.Dropped)
	done.droppedBytes.Add(r.DroppedBytes)
	k.o.Counters.Dropped.Add(r.Dropped)
	k.o.Counters.DroppedBytes.Add(r.DroppedBytes)
	if fault.Is(err, fault.Conflict) { // it changed meanwhile
		return r.Drop, later{k.o.Now().Add(k.o.Quiet), fault.Message(err)}
	}
	if err != nil {
		return r.Drop, fmt.Errorf("settling a study: %w", err)
	}
	j.study.Settled = true
	return r.Drop, nil
}

// later is an error that says when to try again; it is no failure.
type later struct {
	at  time.Time
	why string
}

func (l later) Error() string { return l.why }

// moveError is what kept a study from being moved.
type moveError struct{ err error }

func (m moveError) Error() string { return "moving a study: " + m.err.Error() }
func (m moveError) Unwrap() error { return m.err }

// lockError is what kept a study from being locked.
type lockError struct{ err error }

func (l lockError) Error() string { return "locking what a store has of a study: " + l.err.Error() }
func (l lockError) Unwrap() error { return l.err }

// maxUnmoved ends the moves of a round: a store that refuses so many is asked again later.
const maxUnmoved = 8

func (k *Keeper) move(ctx context.Context, j *judged, done *tally) error {
	if done.unmoved.Load() >= maxUnmoved {
		return later{k.o.Now().Add(firstRetry), "too many moves failed"}
	}
	moving, cancel := breakable(ctx, done.halted)
	defer cancel()
	bytes, err := k.carry(moving, j)
	if bytes > 0 {
		done.bytes.Add(bytes)
		k.o.Counters.MovedBytes.Add(bytes)
	}
	switch {
	case err == nil:
	case ctx.Err() == nil && moving.Err() != nil: // an operator's word; what of it was moved has been
		return context.Cause(moving)
	case fault.Is(err, fault.Archived):
		// No rule restores: that costs money that nobody asked to spend.
		return later{k.o.Now().Add(k.o.Revisit), "a study must be restored before it can be moved"}
	case fault.Is(err, fault.Conflict):
		return later{k.o.Now().Add(k.o.Quiet), fault.Message(err)}
	default:
		done.unmoved.Add(1)
		return moveError{err}
	}
	j.study.Settled = true
	done.moved.Add(1)
	k.o.Counters.Moved.Add(1)
	return nil
}

// carry moves a study, of which the thumbnails are made first where the pixels cannot be read at once afterwards.
func (k *Keeper) carry(ctx context.Context, j *judged) (int64, error) {
	if k.restores[j.decision.To] {
		if err := k.o.Thumbnails.Make(ctx, k.o.Tenant, j.life.UID); err != nil {
			return 0, fmt.Errorf("making the thumbnails of a study before it goes into an archive: %w", err)
		}
	}
	return k.o.Mover.Move(ctx, k.o.Tenant, j.life.Study, j.decision.To)
}

// errOtherwise: what was to be deleted is not to be any more.
var errOtherwise = errors.New("the rules want something else of the study by now")

// delete deletes what there is of the study if the rules still want that once it is known what this is. So an
// instance that comes at this moment either is seen, and the study left alone, or is not deleted.
func (k *Keeper) delete(ctx context.Context, j *judged, b *basis, done *tally) error {
	err := k.o.Remover.DeleteIf(ctx, k.o.Tenant, archive.UIDs{Study: j.life.UID}, func(ctx context.Context) error {
		now := *j
		switch ok, err := k.again(ctx, &now, b, done); {
		case err != nil:
			return err
		case !ok || now.decision.Action != rule.Delete:
			return errOtherwise
		}
		return nil
	})
	switch {
	case errors.Is(err, errOtherwise), fault.Is(err, fault.NotFound): // somebody else deleted it
		return nil
	case fault.Is(err, fault.Conflict): // a hold that came in between
		return later{k.o.Now().Add(k.o.Revisit), fault.Message(err)}
	case err != nil:
		return fmt.Errorf("deleting a study whose retention has ended: %w", err)
	}
	done.deletedBy(b.rules.Rules[j.decision.Rule].Name)
	k.o.Counters.Deleted.Add(1)
	return nil
}
