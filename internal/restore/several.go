package restore

import (
	"context"
	"slices"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
)

// maxRequests is how many requests for several studies a tenant may have open.
const maxRequests = 1000

// later is the error of what is full: it will do after a while, not at once.
type later struct{ error }

// Unwrap returns the error itself.
func (l later) Unwrap() error { return l.error }

// RetryAfter is when it is worth while to ask again: nothing ends much sooner.
func (later) RetryAfter() time.Duration { return time.Minute }

func (r *Restorer) errOpen() error {
	return later{fault.New(fault.TooMany, "as many studies are being restored already as may be at once (%d: restore-open); ask again when some are there", r.o.Open)}
}

var errRequests = later{fault.New(fault.TooMany, "%d requests for several studies are open already; wait until some have ended, or cancel them", maxRequests)}

// wanted is a study of a request for several.
type wanted struct {
	study archive.Ref
	wish
}

// lacking is one with what must be restored of it.
type lacking struct {
	wanted
	need []archive.PackState
}

// askAll starts or joins the restores of several studies, under one ID: of all of them, or of none.
func (r *Restorer) askAll(ctx context.Context, t archive.Tenant, list []wanted, w wish, now time.Time) (archive.RestoreStatus, error) {
	var todo []lacking
	var there []archive.PackState
	for _, s := range list {
		n, err := r.need(ctx, t, s.study, now, now.Add(s.keep), true)
		if err != nil {
			return archive.RestoreStatus{}, err
		}
		if len(n.restore) == 0 {
			there = append(there, n.all...)
			continue
		}
		todo = append(todo, lacking{s, n.restore})
	}
	if len(todo) == 0 {
		return r.readable(t, len(list), there, now), nil
	}
	if err := r.room(ctx, t, todo); err != nil {
		return archive.RestoreStatus{}, err
	}
	row, err := r.begin(ctx, t, batch{Asked: now, Readable: len(list) - len(todo), Told: w.hook != ""}, todo, w)
	if err != nil {
		return archive.RestoreStatus{}, err
	}
	r.stir()
	return r.statusOf(ctx, row)
}

// room fails where the request would have more open than may be. What is being restored already counts once.
func (r *Restorer) room(ctx context.Context, t archive.Tenant, todo []lacking) error {
	requests, err := r.o.Table.Count(ctx, t, kindBatch)
	if err == nil && requests >= maxRequests {
		err = errRequests
	}
	if err != nil {
		return err
	}
	open, err := r.o.Table.Count(ctx, t, kindOpen)
	if err != nil || open+len(todo) <= r.o.Open {
		return err
	}
	keys := make([]string, len(todo))
	for i, s := range todo {
		keys[i] = s.study.String()
	}
	shared, err := r.o.Table.Count(ctx, t, kindOpen, keys...)
	if err == nil && open+len(todo)-shared > r.o.Open {
		err = r.errOpen()
	}
	return err
}

// begin writes a request down and joins its studies. One that is refused on the way, since others were faster, leaves nothing behind.
func (r *Restorer) begin(ctx context.Context, t archive.Tenant, q batch, todo []lacking, w wish) (Row, error) {
	b, err := r.o.Keys.Box(ctx, t)
	if err != nil {
		return Row{}, err
	}
	row, err := r.o.Table.Merge(ctx, t, kindBatchOver, ulid.Make().String(), q.Asked, 0, func(row *Row) (err error) {
		if q.Sealed, err = sealed(b, about(ofRequest, *row), batchSecret{By: archive.Cut(w.by, maxBy), Hook: w.hook}); err != nil {
			return err
		}
		row.Due = q.Asked.Add(unfinished)
		return encode(row, q)
	})
	if err != nil {
		return Row{}, err
	}
	for _, s := range todo {
		s.batch, s.hook = row.ID, ""
		ur, _, err := r.join(ctx, b, t, s.study, s.wish, s.need, q.Asked)
		if fault.Is(err, fault.TooMany) {
			r.takeBack(context.WithoutCancel(ctx), row.ID, q.Units)
		}
		if err != nil {
			return Row{}, err
		}
		q.Units = append(q.Units, ur.ID)
	}
	slices.Sort(q.Units)
	return r.o.Table.Change(ctx, row.ID, func(row *Row) error {
		row.Kind, row.Due = kindBatch, q.Asked
		return encode(row, q)
	})
}

// takeBack removes a request that was not written down to its end. What fails goes on for nobody, as after a death.
func (r *Restorer) takeBack(ctx context.Context, id int64, units []int64) {
	for _, u := range units {
		if _, err := r.cancelUnit(ctx, u, id); err != nil && !fault.Is(err, fault.NotFound) && !fault.Is(err, fault.Conflict) {
			r.o.Slog.Warn("a restore that nobody wants was not cancelled", "error", err)
		}
	}
	if err := r.o.Table.Remove(ctx, id); err != nil {
		r.o.Slog.Warn("a request for restores that was refused was not removed; it goes by itself", "error", err)
	}
}
