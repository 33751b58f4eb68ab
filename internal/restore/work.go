package restore

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
)

const (
	maxOpen    = 50_000           // studies' restores that are held in memory; further ones wait in the table
	loadPage   = 1000             // rows read at once
	maxTouched = 200              // rows that are looked at in one pass
	reload     = time.Hour        // when a restore is looked at again that nothing is expected of
	upkeep     = 10 * time.Second // between looks for what is over
	forever    = 100 * 365 * 24 * time.Hour
	awayFor    = 30 * time.Second
	giveUp     = 14 * 24 * time.Hour // after it was asked for
)

// Run works on restores, and tells those who want to know of their ends, until the
// context ends. Of all nodes one runs it at a time; should two for a moment, no harm is done.
func (r *Restorer) Run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	if r.o.Hooks != nil {
		wg.Go(func() { r.deliver(ctx) })
	}
	w := newWorker(r)
	tick := time.NewTicker(r.o.Poll)
	defer tick.Stop()
	for {
		if err := w.pass(ctx); err != nil && ctx.Err() == nil {
			r.o.Slog.Warn("restores wait", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-r.wake:
		}
	}
}

// worker is what the node that works remembers between passes. All of it is found again in the table.
type worker struct {
	*Restorer
	open   map[int64]*held // by row
	whole  bool            // every row was read once
	rates  map[archive.TierName]*rate.Limiter
	pauses map[archive.TierName]pauseOf
	away   map[archive.Tenant]time.Time // until when tenants are left alone whose index does not tell
	boxes  map[archive.Tenant]Box       // of one pass
	pace   pace
	noted  time.Time // when the pace was written down
	news   bool      // since then
	pruned time.Time
}

// held is a row with what it says.
type held struct {
	Row
	unit
	touched  bool // it was read anew, and is to be written back
	compared bool // in this pass
	blind    bool // its packs are not known now
	known    bool // its objects are, and whom to tell
	packs    []archive.PackState
}

// pauseOf is how long a tier is left alone that does not answer.
type pauseOf struct {
	until time.Time
	times int
	why   string
}

func newWorker(r *Restorer) *worker {
	return &worker{Restorer: r, open: map[int64]*held{}, rates: map[archive.TierName]*rate.Limiter{}, pauses: map[archive.TierName]pauseOf{}, away: map[archive.Tenant]time.Time{}}
}

// pass does all that is due now.
func (w *worker) pass(ctx context.Context) error {
	now := w.o.Now()
	w.boxes = map[archive.Tenant]Box{}
	defer func() { w.boxes = nil }()
	if err := w.load(ctx, now); err != nil {
		return err
	}
	edits := edits{}
	for _, h := range w.open {
		if h.compared = false; h.touched {
			w.compare(ctx, edits, h, now)
		}
	}
	w.look(ctx, edits, now)
	w.thaw(ctx, edits, now)
	w.renew(ctx, edits, now)
	return errors.Join(w.write(ctx, edits), w.announce(ctx, now), w.notePace(ctx, now), w.prune(ctx, now))
}

// load reads what others have changed since, and at first all there is. Of what is due so
// much is looked at in one pass that something urgent need not wait for it.
func (w *worker) load(ctx context.Context, now time.Time) error {
	by, limit := now, maxTouched
	if !w.whole {
		by, limit = now.Add(forever), loadPage
		rows, err := w.o.Table.OfKinds(ctx, "", []string{kindPace}, 0, 1)
		if err != nil {
			return err
		}
		if len(rows) > 0 {
			if w.pace, err = decode[pace](rows[0]); err != nil { // it is found out anew
				w.pace = pace{}
				w.unreadable(rows[0], err)
			}
		}
	}
	touched := 0
	for after := (Row{}); ; {
		rows, err := w.o.Table.Due(ctx, kindOpen, by, after, limit)
		if err != nil {
			return err
		}
		for _, row := range rows {
			after = row
			if w.open[row.ID] == nil && len(w.open) >= maxOpen {
				w.whole = true
				return nil
			}
			u, err := decode[unit](row)
			if err != nil {
				w.unreadable(row, err)
				continue
			}
			h := &held{Row: row, unit: u}
			if !row.Due.After(now) && touched < maxTouched {
				h.touched = true
				touched++
			}
			w.open[row.ID] = h
		}
		if len(rows) < limit || w.whole {
			w.whole = true
			return nil
		}
	}
}

// dueFor is when a row is due that was asked for: at once, the more urgent the sooner.
func dueFor(p archive.Priority) time.Time { return time.UnixMilli(1 + int64(p.Rank())).UTC() }

// edits are what has happened to packs, by row and the item's number.
type edits map[int64]map[int]func(*item)

// add has f done to the pack, after what is to be done to it already.
func (e edits) add(id int64, n int, f func(*item)) {
	if e[id] == nil {
		e[id] = map[int]func(*item){}
	}
	if first := e[id][n]; first != nil {
		second := f
		f = func(it *item) { first(it); second(it) }
	}
	e[id][n] = f
}

// dropped marks a pack that is not the study's any more.
const dropped itemState = "dropped"

// compare looks whether the study's packs are still where they were: it may have been deleted,
// shredded, settled or moved. Where the index does not tell, it is left alone.
func (w *worker) compare(ctx context.Context, e edits, h *held, now time.Time) {
	if h.compared {
		return
	}
	h.compared = true
	if h.blind = w.away[h.Tenant].After(now) || !w.reveal(ctx, h); h.blind {
		return
	}
	ref, err := refOf(h.Key)
	if err == nil {
		h.packs, err = w.o.Index.Packs(ctx, h.Tenant, ref)
	}
	if h.blind = err != nil; h.blind {
		w.closed(h.Tenant, err, now)
		return
	}
	for i := range h.Items {
		w.compareItem(e, h, &h.Items[i], now)
	}
}

func (w *worker) compareItem(e edits, h *held, it *item, now time.Time) {
	edit := func(f func(*item)) { f(it); e.add(h.ID, it.N, f) }
	fresh := item{N: it.N, Object: it.Object, Size: it.Size, Tier: it.Tier, Wanted: it.Wanted}
	at := slices.IndexFunc(h.packs, func(p archive.PackState) bool { return p.Object == it.Object })
	switch {
	case at < 0:
		edit(func(it *item) { it.State = dropped })
	case h.packs[at].Tier != it.Tier:
		fresh.Tier = h.packs[at].Tier
		if _, tier, ok := w.o.Tiers.Tier(fresh.Tier); ok && !tier.Restore {
			fresh.State = in
		}
		edit(func(it *item) { *it = fresh })
	case it.State == in && !it.Until.IsZero() && !it.Until.After(now): // its time was over before the last pack came
		edit(func(it *item) { *it = fresh })
	}
}

// closed leaves a tenant's restores alone for a while: its key is revoked, or the database is away.
func (w *worker) closed(t archive.Tenant, err error, now time.Time) {
	w.away[t] = now.Add(awayFor)
	w.o.Slog.Warn("restores of a tenant wait: its archive does not open", "tenant", string(t), "error", err)
}

// write notes what has happened. What could not be noted happens again: stores bear it.
func (w *worker) write(ctx context.Context, e edits) error {
	var errs []error
	for id, h := range w.open {
		done := e[id]
		if len(done) == 0 && (!h.touched || h.blind) {
			continue
		}
		now := w.o.Now()
		var u unit
		row, err := w.o.Table.Change(ctx, id, func(row *Row) (err error) {
			if row.Kind != kindOpen {
				return errEnded
			}
			if u, err = decode[unit](*row); err != nil {
				return err
			}
			for i := range u.Items {
				if f := done[u.Items[i].N]; f != nil {
					f(&u.Items[i])
				}
			}
			u.Items = slices.DeleteFunc(u.Items, func(i item) bool { return i.State == dropped })
			if u.Asked.Add(giveUp).Before(now) {
				u.abandon()
			}
			row.Due = u.conclude(now)
			if u.End != "" {
				row.Kind, row.Key = kindEnding, row.Key+"/"+idOf(*row)
			}
			return encode(row, u)
		})
		switch {
		case err == nil && u.End == "":
			w.open[id] = &held{Row: row, unit: u}
		case err == nil, fault.Is(err, fault.NotFound), errors.Is(err, errEnded):
			if err == nil && u.End == archive.RestoreDone && !u.Deadline.IsZero() && w.o.Restored != nil {
				if study, err := refOf(h.Key); err == nil {
					w.o.Restored(ctx, h.Tenant, study)
				}
			}
			delete(w.open, id)
		default:
			errs = append(errs, err)
			if ctx.Err() != nil {
				return errors.Join(errs...)
			}
		}
	}
	return errors.Join(errs...)
}

var errEnded = errors.New("the restore has ended")

// abandon gives up what has not come.
func (u *unit) abandon() {
	for i := range u.Items {
		if s := u.Items[i].State; s == waiting || s == asked {
			u.Items[i].State, u.Items[i].Why = failed, "it did not come within 14 days; ask again, and see the store's own log"
		}
	}
}

// notePace writes the pace down for other nodes and for who comes after.
func (w *worker) notePace(ctx context.Context, now time.Time) error {
	if now.Sub(w.noted) < paceEvery && !w.news {
		return nil
	}
	queues := map[archive.TierName]queue{}
	for _, h := range w.open {
		for i := range h.Items {
			it := &h.Items[i]
			q := queues[it.Tier]
			switch it.State {
			case asked:
				q.Running++
			case waiting:
				q.Waiting[min(it.priority(&h.unit).Rank(), len(q.Waiting)-1)]++
			default:
				continue
			}
			queues[it.Tier] = q
		}
	}
	for tier, p := range w.pauses {
		q := queues[tier]
		q.Why = p.why
		queues[tier] = q
	}
	if !w.news && len(queues) == 0 && len(w.pace.Queue) == 0 {
		return nil
	}
	w.pace.Queue = queues
	if _, err := w.o.Table.Merge(ctx, "", kindPace, kindPace, now, 0, func(row *Row) error { return encode(row, w.pace) }); err != nil {
		return err
	}
	w.noted, w.news = now, false
	return nil
}
