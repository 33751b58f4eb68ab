package restore

import (
	"context"
	"errors"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
)

const (
	maxStudies = 5000 // of one request
	maxFor     = 365 * 24 * time.Hour
	keepOver   = 30 * 24 * time.Hour // how long a restore that is over can be looked at
	// A copy that stays so much shorter than somebody wants is not worth asking again: stores count in days.
	day = 24 * time.Hour
	// unfinished is how long a request is kept that was not written down to its end.
	unfinished = time.Hour
)

// Ask starts the restore of what the request names, or joins those that are under way, and tells how far it is.
// What can be read already is done at once, and has no ID then. Asking for what was restored makes its
// copies stay longer. fault.NotFound where a study is not there, fault.TooLarge for more than 5,000 studies, fault.TooMany
// where as many restores of the tenant are open as may be; then nothing of the request is begun.
func (r *Restorer) Ask(ctx context.Context, t archive.Tenant, q archive.RestoreRequest) (archive.RestoreStatus, error) {
	st, _, err := r.ask(ctx, t, q)
	return st, err
}

func (r *Restorer) ask(ctx context.Context, t archive.Tenant, q archive.RestoreRequest) (st archive.RestoreStatus, kept bool, err error) {
	if err := r.check(t, &q); err != nil {
		return st, false, err
	}
	list, err := r.find(ctx, t, q)
	if err != nil {
		return st, false, err
	}
	now := r.o.Now()
	w := wish{priority: q.Priority, keep: q.For, by: q.By, hook: q.Webhook}
	if len(q.Studies) == 1 && len(list) == 1 {
		w.first = list[0].First
		return r.askOne(ctx, t, list[0].Ref, w, now)
	}
	all := make([]wanted, len(list))
	for i, s := range list {
		all[i] = wanted{s.Ref, w}
	}
	st, err = r.askAll(ctx, t, all, w, now)
	return st, false, err
}

// check refuses what makes no sense, and fills in defaults.
func (r *Restorer) check(t archive.Tenant, q *archive.RestoreRequest) error {
	named := 0
	for _, given := range []bool{len(q.Studies) > 0, q.PatientID != "", q.Query != ""} {
		if given {
			named++
		}
	}
	switch {
	case named != 1:
		return fault.New(fault.Invalid, "name either studies, or a patient, or a query")
	case q.Issuer != "" && q.PatientID == "":
		return fault.New(fault.Invalid, "an issuer goes with a patient's ID")
	case len(q.Studies) > maxStudies:
		return errTooMany
	case q.Priority != "" && !q.Priority.Valid():
		return fault.New(fault.Invalid, "the priority must be expedited, standard or bulk")
	case q.For < 0 || q.For > maxFor:
		return fault.New(fault.Invalid, "copies can stay for at most 365 days")
	}
	if q.Priority == "" {
		q.Priority = r.o.Priority
	}
	if q.For == 0 {
		q.For = r.o.For
	}
	q.For = max(q.For, day)
	return r.allowed(t, q.Webhook)
}

// allowed refuses a webhook that the operator does not allow.
func (r *Restorer) allowed(t archive.Tenant, url string) error {
	switch {
	case url == "":
		return nil
	case r.o.Hooks == nil:
		return fault.New(fault.Invalid, "no webhooks are configured; see webhook-file")
	}
	return r.o.Hooks.Allowed(t, url)
}

var errTooMany = fault.New(fault.TooLarge, "one request restores at most %d studies; ask in several", maxStudies)

func (r *Restorer) find(ctx context.Context, t archive.Tenant, q archive.RestoreRequest) ([]Study, error) {
	list, err := r.o.Catalog.Find(ctx, t, q, maxStudies)
	if err == nil && len(list) > maxStudies {
		err = errTooMany
	}
	return list, err
}

// needs are the packs of a study that lie in a tier that needs a restore.
type needs struct {
	restore []archive.PackState // those that must be restored to be read until the time asked for
	all     []archive.PackState
	kept    bool // copies that moves left were kept for it
}

// need returns what must be restored of a study to be read until a time. Packs in a tier that is gone are an error. With keep
// the copies that moves left stay until then; without it nothing is done.
func (r *Restorer) need(ctx context.Context, t archive.Tenant, study archive.Ref, now, until time.Time, keep bool) (n needs, err error) {
	packs, err := r.o.Index.Packs(ctx, t, study)
	if err != nil {
		return n, err
	}
	for _, p := range packs {
		_, tier, ok := r.o.Tiers.Tier(p.Tier)
		if !ok {
			return n, fault.New(fault.Unavailable, "a study lies in tier %s, which is not configured here; add it to tiers", p.Tier)
		}
		if !tier.Restore {
			continue
		}
		// A copy that is there is asked for anew only to gain a day at least.
		if !p.Restored.After(now) || until.Sub(p.Restored) >= day {
			left, err := r.left(ctx, t, p, until, keep)
			if err != nil {
				return n, err
			}
			if left.IsZero() {
				n.restore = append(n.restore, p)
			} else {
				p.Restored, n.kept = left, keep
			}
		}
		n.all = append(n.all, p)
	}
	return n, nil
}

// left returns until when the pack can be read from a copy that a move left, which it keeps if it is to.
func (r *Restorer) left(ctx context.Context, t archive.Tenant, p archive.PackState, until time.Time, keep bool) (time.Time, error) {
	if keep {
		return r.o.Index.Keep(ctx, t, p, until)
	}
	return r.o.Index.Left(ctx, t, p)
}

// askOne starts or joins the restore of one study. kept: copies that moves left were kept for it.
func (r *Restorer) askOne(ctx context.Context, t archive.Tenant, study archive.Ref, w wish, now time.Time) (st archive.RestoreStatus, kept bool, err error) {
	n, err := r.need(ctx, t, study, now, now.Add(w.keep), true)
	if err != nil {
		return st, false, err
	}
	if len(n.restore) == 0 {
		return r.readable(t, 1, n.all, now), n.kept, nil
	}
	b, err := r.o.Keys.Box(ctx, t)
	if err != nil {
		return st, false, err
	}
	row, u, err := r.join(ctx, b, t, study, w, n.restore, now)
	if err != nil {
		return st, false, err
	}
	return r.unitStatus(row, &u, r.paceNow(ctx)), n.kept, nil
}

// readable is the status of what can be read already.
func (r *Restorer) readable(t archive.Tenant, studies int, packs []archive.PackState, now time.Time) archive.RestoreStatus {
	st := archive.RestoreStatus{Tenant: t, State: archive.RestoreDone, Priority: r.o.Priority, Studies: studies, Packs: len(packs), PacksIn: len(packs), Asked: now, Ready: now}
	for _, p := range packs {
		st.Bytes += p.Size
		if st.Until.IsZero() || p.Restored.Before(st.Until) {
			st.Until = p.Restored
		}
	}
	st.BytesIn = st.Bytes
	return st
}

// join adds the request to the restore of the study. One that cannot be read is begun anew by it, under the same
// identity: nobody works on it, and as long as it is there nothing else could be.
func (r *Restorer) join(ctx context.Context, b Box, t archive.Tenant, study archive.Ref, w wish, packs []archive.PackState, now time.Time) (Row, unit, error) {
	var u unit
	row, err := r.o.Table.Merge(ctx, t, kindOpen, study.String(), now, r.o.Open, func(row *Row) (err error) {
		u = unit{}
		if row.ID != 0 {
			if u, err = decode[unit](*row); err == nil {
				err = u.open(b, *row)
			}
			if err != nil {
				r.unreadable(*row, err)
				u = unit{}
			}
		}
		if err := u.join(w, packs, now); err != nil {
			return err
		}
		if err := u.seal(b, *row); err != nil {
			return err
		}
		row.Due = dueFor(u.Priority)
		return encode(row, u)
	})
	switch {
	case err == nil:
		r.stir()
	case fault.Is(err, fault.TooMany) && !errors.Is(err, errCrowded):
		err = r.errOpen()
	}
	return row, u, err
}

// Cancel takes a request back: what has not begun is not begun. The restore of a study ends so for all who
// share it; of a request for several those studies go on that others asked for. Copies that are there stay for their time.
// fault.Conflict when the restore is over.
func (r *Restorer) Cancel(ctx context.Context, t archive.Tenant, id string) (archive.RestoreStatus, error) {
	row, err := r.row(ctx, t, id)
	if err != nil {
		return archive.RestoreStatus{}, err
	}
	now := r.o.Now()
	over := fault.New(fault.Conflict, "the restore is over; nothing is left to cancel")
	if row.Kind == kindOpen {
		row, err = r.cancelUnit(ctx, row.ID, 0)
	} else if row.Kind == kindBatch {
		var b batch
		row, err = r.o.Table.Change(ctx, row.ID, func(row *Row) (err error) {
			if row.Kind != kindBatch {
				return over
			}
			if b, err = decode[batch](*row); err != nil {
				return err
			}
			b.Leaving, row.Due = true, now
			return encode(row, b)
		})
		for _, u := range b.Units {
			if _, cerr := r.cancelUnit(ctx, u, row.ID); cerr != nil && !fault.Is(cerr, fault.NotFound) && !fault.Is(cerr, fault.Conflict) {
				return archive.RestoreStatus{}, cerr
			}
		}
	} else {
		err = over
	}
	if err != nil {
		return archive.RestoreStatus{}, err
	}
	r.stir()
	return r.statusOf(ctx, row)
}

func (r *Restorer) cancelUnit(ctx context.Context, id, batch int64) (Row, error) {
	return r.o.Table.Change(ctx, id, func(row *Row) error {
		if row.Kind != kindOpen {
			return fault.New(fault.Conflict, "the restore is over; nothing is left to cancel")
		}
		u, err := decode[unit](*row)
		if err != nil {
			return err
		}
		u.leave(batch)
		row.Due = dueFor(archive.Expedited)
		return encode(row, u)
	})
}
