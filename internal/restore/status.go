package restore

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/lifecycle/cost"
)

// Status tells how far a restore of the tenant is; fault.NotFound.
func (r *Restorer) Status(ctx context.Context, t archive.Tenant, id string) (archive.RestoreStatus, error) {
	row, err := r.row(ctx, t, id)
	if err != nil {
		return archive.RestoreStatus{}, err
	}
	return r.statusOf(ctx, row)
}

// row is the tenant's row of the ID.
func (r *Restorer) row(ctx context.Context, t archive.Tenant, id string) (Row, error) {
	n, err := rowID(id)
	if err != nil {
		return Row{}, err
	}
	rows, err := r.o.Table.Get(ctx, t, n)
	if err != nil {
		return Row{}, err
	}
	if len(rows) == 0 || !isRestore(rows[0].Kind) || idOf(rows[0]) != id {
		return Row{}, errNoRestore
	}
	return rows[0], nil
}

// List returns up to limit restores of the tenant with IDs after the given one, the oldest first: those
// of studies, and those of requests for several. open leaves out those that are over.
func (r *Restorer) List(ctx context.Context, t archive.Tenant, after string, limit int, open bool) (out []archive.RestoreStatus, err error) {
	kinds := []string{kindOpen, kindEnding, kindBatch}
	if !open {
		kinds = append(kinds, kindOver, kindBatchOver)
	}
	var from int64
	if after != "" {
		if from, err = rowID(after); err != nil {
			return nil, err
		}
	}
	rows, err := r.o.Table.OfKinds(ctx, t, kinds, from, limit)
	if err != nil {
		return nil, err
	}
	for _, row := range rows {
		st, err := r.statusOf(ctx, row)
		if errors.Is(err, errBroken) {
			r.unreadable(row, err)
			continue
		}
		if err != nil {
			return nil, err
		}
		out = append(out, st)
	}
	return out, nil
}

// maxCounted bounds the restores that Counts looks at.
const maxCounted = 10_000

// Counts returns how many restores of studies, of all tenants, wait for their turn, how many are under way and how many
// cannot be read; of very many the first 10,000.
func (r *Restorer) Counts(ctx context.Context) (map[archive.RestoreState]int, error) {
	out := map[archive.RestoreState]int{archive.RestoreWaiting: 0, archive.RestoreRunning: 0, archive.RestoreUnreadable: 0}
	const page = 1000
	ever := time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)
	var last Row
	for seen := 0; seen < maxCounted; seen += page {
		rows, err := r.o.Table.Due(ctx, kindOpen, ever, last, page)
		if err != nil {
			return nil, err
		}
		for _, row := range rows {
			u, err := decode[unit](row)
			if err != nil {
				out[archive.RestoreUnreadable]++
				r.unreadable(row, err)
				continue
			}
			if st := r.unitStatus(row, &u, pace{}); !st.State.Ended() {
				out[st.State]++
			}
		}
		if len(rows) < page {
			break
		}
		last = rows[page-1]
	}
	return out, nil
}

// Wait returns when the restore has ended, or with the context's error. What had no ID was done from the start.
func (r *Restorer) Wait(ctx context.Context, t archive.Tenant, id string) (archive.RestoreStatus, error) {
	if id == "" {
		now := r.o.Now()
		return archive.RestoreStatus{Tenant: t, State: archive.RestoreDone, Priority: r.o.Priority, Asked: now, Ready: now}, nil
	}
	tick := time.NewTicker(r.o.Poll)
	defer tick.Stop()
	for {
		st, err := r.Status(ctx, t, id)
		if err != nil || st.State.Ended() {
			return st, err
		}
		select {
		case <-ctx.Done():
			return st, context.Cause(ctx)
		case <-tick.C:
		}
	}
}

func (r *Restorer) statusOf(ctx context.Context, row Row) (archive.RestoreStatus, error) {
	if isBatch(row.Kind) {
		b, err := decode[batch](row)
		if err != nil {
			return archive.RestoreStatus{}, err
		}
		if b.Final != nil {
			st := *b.Final
			if st.State == archive.RestoreDone && !st.Until.IsZero() && !st.Until.After(r.o.Now()) {
				st.State = archive.RestoreExpired
			}
			return st, nil
		}
		rows, err := r.o.Table.Get(ctx, row.Tenant, b.Units...)
		if err != nil {
			return archive.RestoreStatus{}, err
		}
		return r.batchStatus(ctx, row, b, rows)
	}
	u, err := decode[unit](row)
	if err != nil {
		return archive.RestoreStatus{}, err
	}
	return r.unitStatus(row, &u, r.paceNow(ctx)), nil
}

// unitStatus is the status of a study's restore.
func (r *Restorer) unitStatus(row Row, u *unit, p pace) archive.RestoreStatus {
	now := r.o.Now()
	st := archive.RestoreStatus{ID: idOf(row), Tenant: row.Tenant, State: archive.RestoreWaiting, Priority: u.Priority, Studies: 1,
		Packs: len(u.Items), Asked: u.Asked, Ready: u.Ready, Until: u.Until, Requests: u.Requests, Failure: u.Note}
	for i := range u.Items {
		it := &u.Items[i]
		st.Bytes += it.Size
		if it.readable(now) {
			st.PacksIn++
			st.BytesIn += it.Size
		}
		if it.State == asked || it.State == in {
			st.State = archive.RestoreRunning
		}
		if it.Why != "" {
			st.Failure = it.Why
		}
		if u.End == "" {
			if why := p.Queue[it.Tier].Why; why != "" && (it.State == waiting || it.State == asked) {
				st.Failure = why
			}
			if at := r.expected(p, u, it, now); at.After(st.Ready) {
				st.Ready = at
			}
		}
	}
	st.Cost = r.bill(u)
	switch {
	case u.End == "" && u.Cancelled && st.State == archive.RestoreWaiting:
		st.State = archive.RestoreCancelled
	case u.End == archive.RestoreDone && !u.Until.IsZero() && !u.Until.After(now):
		st.State = archive.RestoreExpired
		st.PacksIn, st.BytesIn = 0, 0
	case u.End != "":
		st.State = u.End
	case st.PacksIn == st.Packs && st.Packs > 0: // what is left is to extend their time
		st.State, st.Ready = archive.RestoreDone, now
		st.Until = soonest(u.Items)
	}
	if st.State == archive.RestoreDone || st.State == archive.RestoreExpired {
		st.Failure = ""
	}
	return st
}

func soonest(items []item) (at time.Time) {
	for i := range items {
		if u := items[i].Until; !u.IsZero() && (at.IsZero() || u.Before(at)) {
			at = u
		}
	}
	return at
}

// bill is what the restore costs: each pack at the priority that it was asked at, or will be.
func (r *Restorer) bill(u *unit) (sum float64) {
	for i := range u.Items {
		it := &u.Items[i]
		_, tier, ok := r.o.Tiers.Tier(it.Tier)
		if !ok || !tier.Restore {
			continue
		}
		if s, ok := cost.Speed(tier, it.priority(u)); ok {
			sum += cost.Restore(tier, s, cost.Load{Objects: 1, Bytes: it.Size}, u.For, r.copyPrice()).Total()
		}
	}
	return sum
}

// copyPrice is the price of a GB and month of the readable copies: of the hot tier, for want of one that tells it.
func (r *Restorer) copyPrice() float64 {
	_, hot, _ := r.o.Tiers.Tier(archive.HotTier)
	return hot.Prices.GBMonth
}

// priority is that which the pack was or will be asked at.
func (i *item) priority(u *unit) archive.Priority {
	switch {
	case i.State != waiting:
		return i.At
	case i.Least.Rank() < len(archive.Priorities()) && i.Least.Rank() > u.Priority.Rank():
		return i.Least
	}
	return u.Priority
}

// batchStatus sums up the studies of a request.
func (r *Restorer) batchStatus(ctx context.Context, row Row, b batch, rows []Row) (archive.RestoreStatus, error) {
	p := r.paceNow(ctx)
	st := archive.RestoreStatus{ID: idOf(row), Tenant: row.Tenant, Asked: b.Asked, Studies: len(b.Units) + b.Readable, Requests: 1, Priority: archive.Bulk}
	states := map[archive.RestoreState]int{}
	for _, ur := range rows {
		u, err := decode[unit](ur)
		if err != nil {
			r.unreadable(ur, err)
			states[archive.RestoreFailed]++
			st.Failure = "what was written down of a study's restore cannot be read; ask again"
			continue
		}
		s := r.unitStatus(ur, &u, p)
		if b.Leaving && !s.State.Ended() && !slices.Contains(u.Batches, row.ID) {
			continue // it goes on for others
		}
		states[s.State]++
		st.Packs, st.PacksIn, st.Bytes, st.BytesIn, st.Cost = st.Packs+s.Packs, st.PacksIn+s.PacksIn, st.Bytes+s.Bytes, st.BytesIn+s.BytesIn, st.Cost+s.Cost
		if s.Ready.After(st.Ready) {
			st.Ready = s.Ready
		}
		if !s.Until.IsZero() && (st.Until.IsZero() || s.Until.Before(st.Until)) {
			st.Until = s.Until
		}
		if s.Priority.Rank() < st.Priority.Rank() {
			st.Priority = s.Priority
		}
		if s.Failure != "" {
			st.Failure = s.Failure
		}
	}
	switch {
	case states[archive.RestoreRunning] > 0 || states[archive.RestoreWaiting] > 0 && states[archive.RestoreDone]+states[archive.RestoreExpired] > 0:
		st.State = archive.RestoreRunning
	case states[archive.RestoreWaiting] > 0:
		st.State = archive.RestoreWaiting
	case b.Leaving:
		st.State = archive.RestoreCancelled
	case states[archive.RestoreFailed] > 0:
		st.State = archive.RestoreFailed
	case states[archive.RestoreDone] > 0:
		st.State = archive.RestoreDone
	case states[archive.RestoreExpired] > 0:
		st.State = archive.RestoreExpired
	case states[archive.RestoreCancelled] > 0:
		st.State = archive.RestoreCancelled
	default:
		st.State = archive.RestoreDone
	}
	return st, nil
}
