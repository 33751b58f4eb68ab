package restore

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
)

const (
	announcePage = 500    // rows that have ended, in one pass
	maxOver      = 20_000 // a tenant's restores that are over and can be looked at, of one study and of several each
)

// announce tells of restores that have ended, and of requests whose last one has. A row stays
// ending until that is written down, so that a death in between loses no word.
func (w *worker) announce(ctx context.Context, now time.Time) error {
	rows, err := w.o.Table.Due(ctx, kindEnding, now, Row{}, announcePage)
	if err != nil || len(rows) == 0 {
		return err
	}
	p := w.paceNow(ctx)
	var errs []error
	ended := map[int64]archive.Tenant{} // rows of requests that may have
	var over []Row
	for _, row := range rows {
		u, err := decode[unit](row)
		if err != nil {
			w.unreadable(row, err)
			errs = append(errs, w.putOff(ctx, row, now)) // not before others each time
			continue
		}
		st := w.unitStatus(row, &u, p)
		w.o.Slog.Info("a restore has ended", "restore", st.ID, "tenant", string(row.Tenant), "state", string(st.State), "packs", st.Packs, "failure", st.Failure)
		// Of what only requests for several wanted, those are told.
		urls, b, err := w.toTell(ctx, row.Tenant, u.Requests > len(u.Batches), u.Told > 0, func(b Box) ([]string, error) {
			err := u.open(b, row)
			if err != nil {
				w.unreadable(row, err)
			}
			return u.secret.Hooks, err
		})
		if err != nil { // the tenant's keys are away: they are told when these are back
			errs = append(errs, w.putOff(ctx, row, now))
			continue
		}
		for _, url := range urls {
			if err := w.tell(ctx, b, st, url, now); err != nil {
				return err
			}
		}
		for _, b := range u.Batches {
			ended[b] = row.Tenant
		}
		over = append(over, row)
	}
	for _, h := range w.open { // endBatch sees that, too, but reads all rows of a request for that, each time that one of them ends
		for _, b := range h.Batches {
			delete(ended, b)
		}
	}
	for id, t := range ended {
		errs = append(errs, w.endBatch(ctx, t, id, now))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	tenants := map[archive.Tenant]bool{}
	for _, row := range over {
		_, err := w.o.Table.Change(ctx, row.ID, func(row *Row) error {
			row.Kind, row.Due = kindOver, now.Add(keepOver)
			return nil
		})
		if err != nil && !fault.Is(err, fault.NotFound) {
			return err
		}
		tenants[row.Tenant] = true
	}
	for t := range tenants {
		errs = append(errs, w.thin(ctx, t, kindOver), w.thin(ctx, t, kindBatchOver))
	}
	return errors.Join(errs...)
}

// putOff has an end told later.
func (w *worker) putOff(ctx context.Context, row Row, now time.Time) error {
	_, err := w.o.Table.Change(ctx, row.ID, func(row *Row) error {
		row.Due = now.Add(awayFor)
		return nil
	})
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	return err
}

// thin removes the oldest of a tenant's restores that are over where there are more than are kept.
func (w *worker) thin(ctx context.Context, t archive.Tenant, kind string) error {
	n, err := w.o.Table.Count(ctx, t, kind)
	if err != nil || n <= maxOver {
		return err
	}
	rows, err := w.o.Table.OfKinds(ctx, t, []string{kind}, 0, min(n-maxOver, loadPage))
	if err != nil {
		return err
	}
	ids := make([]int64, len(rows))
	for i, row := range rows {
		ids[i] = row.ID
	}
	return w.o.Table.Remove(ctx, ids...)
}

// endBatch ends a request for several studies when all of them have ended.
func (w *worker) endBatch(ctx context.Context, t archive.Tenant, id int64, now time.Time) error {
	rows, err := w.o.Table.Get(ctx, t, id)
	if err != nil || len(rows) == 0 || rows[0].Kind != kindBatch {
		return err // when it is being written down still, the end of it is found by prune
	}
	b, err := decode[batch](rows[0])
	if err != nil {
		w.unreadable(rows[0], err)
		return nil
	}
	st, err := w.statusOf(ctx, rows[0])
	if err != nil {
		return err
	}
	units, err := w.o.Table.Get(ctx, t, b.Units...)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(units, func(r Row) bool { return r.Kind == kindOpen }) && !b.Leaving || !st.State.Ended() {
		return nil
	}
	urls, box, err := w.toTell(ctx, t, true, b.Told, func(box Box) ([]string, error) {
		s, err := opened[batchSecret](box, about(ofRequest, rows[0]), b.Sealed)
		if err != nil {
			w.unreadable(rows[0], err)
		}
		return []string{s.Hook}, err
	})
	if err != nil {
		return nil // the tenant's keys are away: prune finds it again when they are back
	}
	for _, url := range urls {
		if err := w.tell(ctx, box, st, url, now); err != nil {
			return err
		}
	}
	_, err = w.o.Table.Change(ctx, id, func(row *Row) error {
		b.Final = &st
		row.Kind, row.Due = kindBatchOver, now.Add(keepOver)
		return encode(row, b)
	})
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	return err
}

// prune removes what has been over for long, and ends requests whose restores all ended
// while they were being written down.
func (w *worker) prune(ctx context.Context, now time.Time) error {
	if now.Sub(w.pruned) < upkeep {
		return nil
	}
	w.pruned = now
	var errs []error
	for _, kind := range []string{kindOver, kindBatchOver} {
		rows, err := w.o.Table.Due(ctx, kind, now, Row{}, announcePage)
		if err != nil || len(rows) == 0 {
			errs = append(errs, err)
			continue
		}
		ids := make([]int64, len(rows))
		for i, row := range rows {
			ids[i] = row.ID
		}
		errs = append(errs, w.o.Table.Remove(ctx, ids...))
	}
	rows, err := w.o.Table.Due(ctx, kindBatch, now, Row{}, announcePage)
	errs = append(errs, err)
	for _, row := range rows {
		errs = append(errs, w.endBatch(ctx, row.Tenant, row.ID, now))
		_, err := w.o.Table.Change(ctx, row.ID, func(row *Row) error {
			if row.Kind == kindBatch {
				row.Due = now.Add(reload)
			}
			return nil
		})
		if !fault.Is(err, fault.NotFound) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// event is what a webhook is told. It says nothing about a person.
type event struct {
	Event    string               `json:"event"`
	ID       string               `json:"id"`
	Tenant   archive.Tenant       `json:"tenant"`
	State    archive.RestoreState `json:"state"`
	Priority archive.Priority     `json:"priority"`
	Studies  int                  `json:"studies"`
	Objects  int                  `json:"objects"`
	Bytes    int64                `json:"bytes"`
	Asked    time.Time            `json:"asked"`
	Ready    time.Time            `json:"ready"`
	Until    *time.Time           `json:"until,omitempty"`
	Failure  string               `json:"failure,omitempty"`
}

func eventOf(st archive.RestoreStatus) ([]byte, error) {
	e := event{"restore." + string(st.State), st.ID, st.Tenant, st.State, st.Priority, st.Studies, st.Packs, st.Bytes, st.Asked.UTC(), st.Ready.UTC(), nil, st.Failure}
	if !st.Until.IsZero() {
		until := st.Until.UTC()
		e.Until = &until
	}
	return json.Marshal(e)
}
