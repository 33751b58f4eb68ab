package lifecycle

import (
	"context"
	"fmt"
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
func (k *Keeper) tend(ctx context.Context, j judged, rules rule.Set, env rule.Environment, done *tally) error {
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
		err = k.work(ctx, j, rules, env, done)
	}
	if err == nil {
		err = unlocked
	}
	return err
}

// work does to a study what is to be done now, and notes when to look again.
func (k *Keeper) work(ctx context.Context, j judged, rules rule.Set, env rule.Environment, done *tally) error {
	var drop time.Time // when more of what was deleted can go
	dropped, waits := false, false
work:
	for acts := 0; acts < maxActs && !k.o.Now().Before(j.life.Changed.Add(env.Quiet)); acts++ {
		if j.decision.Action == rule.Delete {
			if err := k.kept(ctx, &j, rules, env); err != nil {
				return err
			}
			waits = waits || j.decision.Action != rule.Delete
		}
		var err error
		switch {
		case !dropped && (j.life.Deleted > 0 || j.life.Instances == 0 && !j.place.Settled):
			// Deletions that nobody can undo any more are let go of whatever the rules say.
			drop, err = k.settle(ctx, &j, done)
			dropped = true
		case j.decision.Action == rule.Nothing:
			break work
		default:
			err = k.act(ctx, &j, &drop, done)
		}
		if err != nil {
			return err
		}
		again, err := k.again(ctx, j, rules, env)
		if err != nil || again == nil {
			return err
		}
		// What was done is done, whether or not something is left to be merged another day.
		again.study.Settled = again.study.Settled || j.study.Settled
		again.study.Kept = j.study.Kept
		j = *again
		j.decision = rules.Evaluate(&j.study, k.o.Now(), env)
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

// again looks at a study anew; nil where the index has nothing of it any more.
func (k *Keeper) again(ctx context.Context, j judged, rules rule.Set, env rule.Environment) (*judged, error) {
	l, ok, err := k.life(ctx, j)
	if err != nil || !ok {
		return nil, err
	}
	places, err := k.o.Index.Places(ctx, k.o.Tenant, l.Study)
	if err != nil {
		return nil, err
	}
	out := k.judge(l, places[0], rules, k.o.Now(), env)
	return &out, nil
}

// life reads a study anew. It counts as judged by the rules that the first look at it was about, which are those in hand.
func (k *Keeper) life(ctx context.Context, j judged) (archive.StudyLife, bool, error) {
	l, ok, err := k.o.Index.Life(ctx, k.o.Tenant, j.life.Study)
	l.Mark.Generation = j.life.Mark.Generation
	return l, ok, err
}

// act does what was decided.
func (k *Keeper) act(ctx context.Context, j *judged, drop *time.Time, done *tally) (err error) {
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
		err = k.delete(ctx, j, done)
	}
	return err
}

func (k *Keeper) settle(ctx context.Context, j *judged, done *tally) (time.Time, error) {
	drop, err := k.o.Settler.Settle(ctx, j.life.Study)
	if fault.Is(err, fault.Conflict) { // it changed meanwhile
		return drop, later{k.o.Now().Add(k.o.Quiet), fault.Message(err)}
	}
	if err != nil {
		return drop, fmt.Errorf("settling a study: %w", err)
	}
	j.study.Settled = true
	done.settled.Add(1)
	k.o.Counters.Settled.Add(1)
	return drop, nil
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
	if k.restores[j.decision.To] {
		if err := k.o.Thumbnails.Make(ctx, k.o.Tenant, j.life.UID); err != nil {
			return fmt.Errorf("making the thumbnails of a study before it goes into an archive: %w", err)
		}
	}
	bytes, err := k.o.Mover.Move(ctx, k.o.Tenant, j.life.Study, j.decision.To)
	if fault.Is(err, fault.Archived) {
		// No rule restores: that costs money that nobody asked to spend.
		return later{k.o.Now().Add(k.o.Revisit), "a study must be restored before it can be moved"}
	}
	if err != nil {
		done.unmoved.Add(1)
		return moveError{err}
	}
	j.study.Settled = true
	done.moved.Add(1)
	done.bytes.Add(bytes)
	k.o.Counters.Moved.Add(1)
	k.o.Counters.MovedBytes.Add(bytes)
	return nil
}

// kept asks until when the study must be kept, and if that is not over looks at it again as one that is not deleted.
func (k *Keeper) kept(ctx context.Context, j *judged, rules rule.Set, env rule.Environment) error {
	until, _, err := k.o.Retention.Until(ctx, k.o.Tenant, j.life.Study)
	if err != nil {
		return fmt.Errorf("asking until when a study must be kept: %w", err)
	}
	j.study.Kept = until
	j.decision = rules.Evaluate(&j.study, k.o.Now(), env)
	return nil
}

func (k *Keeper) delete(ctx context.Context, j *judged, done *tally) error {
	err := k.o.Remover.Delete(ctx, k.o.Tenant, archive.UIDs{Study: j.life.UID})
	if fault.Is(err, fault.Conflict) { // a hold that came in between
		return later{k.o.Now().Add(k.o.Revisit), fault.Message(err)}
	}
	if err != nil {
		return fmt.Errorf("deleting a study whose retention has ended: %w", err)
	}
	done.deleted.Add(1)
	k.o.Counters.Deleted.Add(1)
	return nil
}
