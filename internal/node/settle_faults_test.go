package node

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/storage/driver"
	"github.com/strata-pacs/strata/storage/faultstore"
)

// TestSettleCrash: the process dies at each operation of the store in turn, while a study
// is settled, purged or swept. Everything reads at once, and the next run comes to the end.
func TestSettleCrash(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(q *quiet)
		do      func(q *quiet, ctx context.Context)
	}{
		"settle": {func(q *quiet) { q.fill(5); q.deletes(q.stores(1, 9)) }, (*quiet).trySettle},
		"settle again": {func(q *quiet) {
			q.fill(5)
			q.settles()
			q.stores(1, 9)
		}, (*quiet).trySettle},
		"purge": {func(q *quiet) {
			q.fill(5)
			q.settles()
			q.deletes(q.stores(1, 9))
			for u := range q.want {
				q.deletes(u)
				break
			}
			q.passes(26 * time.Hour)
		}, (*quiet).trySettle},
		"purge all": {func(q *quiet) {
			q.fill(3)
			q.settles()
			q.deletes(archive.UIDs{Study: quietStudy})
			clear(q.want)
			q.passes(26 * time.Hour)
		}, (*quiet).trySettle},
		"sweep": {func(q *quiet) {
			q.fill(4)
			q.settles()
			q.stores(1, 9)
			q.settles()
			q.passes(2 * time.Hour)
		}, func(q *quiet, ctx context.Context) { _, _ = q.a.Settle.Sweep(ctx, 0) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for at := 1; ; at++ {
				q := newQuiet(t, Settling{Hold: 24 * time.Hour, PackBytes: 3 << 10})
				c.prepare(q)
				crashed := q.crashes(at, func() {
					ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
					defer cancel()
					c.do(q, ctx)
				})
				when := fmt.Sprintf("crashed at %d", at)
				q.reads(when)
				if at%3 == 0 { // it takes long
					q.rebuilt(when)
				}
				q.settles()
				q.passes(2 * time.Hour)
				q.sweeps()
				q.reads(when + ", swept")
				if at%3 == 1 {
					q.rebuilt(when + ", swept")
					q.reads(when + ", rebuilt")
				}
				if r := q.settles(); r.Settled {
					t.Errorf("%s: there is still something to settle: %+v", when, r)
				}
				q.close(q.a)
				if t.Failed() {
					return
				}
				if !crashed {
					if at < 6 {
						t.Errorf("only %d operations", at)
					}
					return
				}
			}
		})
	}
}

func (q *quiet) trySettle(ctx context.Context) { _, _ = q.a.Settle.Settle(ctx, q.ref()) }

// TestSettleFails: the store fails for good, or is full, at one sort of operation. The
// study stays as it was, nothing is left behind where that could be helped, and it settles later.
func TestSettleFails(t *testing.T) {
	full := fault.New(fault.Full, "the disk is full")
	for _, c := range []struct {
		name string
		op   faultstore.Name
		key  string // part of it
		err  error
		want fault.Kind
	}{
		{"no room for a pack", faultstore.Create, "/pack/", full, fault.Full},
		{"no room in a pack", faultstore.Write, "/pack/", full, fault.Full},
		{"no room at its end", faultstore.Commit, "/pack/", full, fault.Full},
		{"no room for the fact", faultstore.Commit, "/log/", full, fault.Full},
		{"a source does not open", faultstore.Open, "/log/", nil, fault.Unavailable},
		{"a source breaks off", faultstore.Read, "/log/", nil, fault.Unavailable},
		{"the provider refuses", faultstore.Create, "/pack/", fault.New(fault.Forbidden, "not allowed"), fault.Forbidden},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			q := newQuiet(t, Settling{PackBytes: 3 << 10})
			defer func() { q.close(q.a) }()
			q.fill(6)
			before := q.dump()
			q.faults.Script(func(o faultstore.Op) faultstore.Decision {
				if o.Name == c.op && strings.Contains(o.Key, c.key) {
					return faultstore.Decision{Action: faultstore.FailBefore, Err: c.err}
				}
				return faultstore.Decision{}
			})
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			r, err := q.a.Settle.Settle(ctx, q.ref())
			if got := fault.KindOf(err); err == nil || got != c.want && got != fault.Timeout || r.Settled {
				t.Errorf("%+v, %v", r, err)
			}
			q.faults.Script(nil)
			if c.key == "/pack/" || c.op != faultstore.Commit {
				if n := len(q.objects("pack")); n != 0 {
					t.Errorf("%d packs are left", n)
				}
			}
			q.same("failed", before)
			q.reads("failed")
			q.settles()
			q.passes(2 * time.Hour)
			q.sweeps()
			q.reads("settled")
		})
	}
}

// TestSettleCutOff: the packs of a settling that a shutdown cuts off are removed all the same.
func TestSettleCutOff(t *testing.T) {
	q := newQuiet(t, Settling{PackBytes: 3 << 10})
	defer func() { q.close(q.a) }()
	q.fill(6)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var made atomic.Int64
	q.faults.Script(func(o faultstore.Op) faultstore.Decision {
		if o.Name == faultstore.Create && strings.Contains(o.Key, "/pack/") && made.Add(1) == 2 {
			cancel()
		}
		return faultstore.Decision{}
	})
	if r, err := q.a.Settle.Settle(ctx, q.ref()); err == nil || r.Settled {
		t.Errorf("%+v, %v", r, err)
	}
	q.faults.Script(nil)
	if n := len(q.objects("pack")); n != 0 || made.Load() < 2 {
		t.Errorf("%d of %d packs are left", n, made.Load())
	}
	q.reads("cut off")
}

// TestSweepFails: what a store does not delete is passed over, told, and tried again.
func TestSweepFails(t *testing.T) {
	q := newQuiet(t, Settling{})
	defer func() { q.close(q.a) }()
	q.fill(8)
	q.settles()
	q.passes(2 * time.Hour)
	first := ""
	q.faults.Script(func(o faultstore.Op) faultstore.Decision {
		if o.Name != faultstore.Delete {
			return faultstore.Decision{}
		}
		if first == "" {
			first = o.Key
		}
		if o.Key == first {
			return faultstore.Decision{Action: faultstore.FailBefore, Err: fault.New(fault.Forbidden, "locked")}
		}
		return faultstore.Decision{}
	})
	if w, err := q.a.Settle.Sweep(t.Context(), 0); !fault.Is(err, fault.Forbidden) || w.Objects != 7 {
		t.Errorf("%+v, %v", w, err)
	}
	q.faults.Script(nil)
	if w := q.sweeps(); w.Objects != 1 {
		t.Errorf("%+v", w)
	}
	q.reads("swept")
}

// middle does something once, when the first pack is about to be committed.
type middle struct {
	driver.Driver
	do atomic.Pointer[func()]
}

func (m *middle) Create(ctx context.Context, key string, o driver.CreateOptions) (driver.Writer, error) {
	w, err := m.Driver.Create(ctx, key, o)
	if err == nil && strings.Contains(key, "/pack/") {
		w = middleWriter{w, m}
	}
	return w, err
}

type middleWriter struct {
	driver.Writer
	m *middle
}

func (w middleWriter) Commit(ctx context.Context) (driver.Attrs, error) {
	if do := w.m.do.Swap(nil); do != nil {
		(*do)()
	}
	return w.Writer.Commit(ctx)
}

// TestSettleMeanwhile: something else happens to the study between the look at it and its fact.
func TestSettleMeanwhile(t *testing.T) {
	for _, c := range []struct {
		name    string
		prepare func(q *quiet)
		do      func(q *quiet, m *middle)
		gives   fault.Kind // what settling ends with; Internal: nothing
	}{
		{"a store", nil, func(q *quiet, _ *middle) { q.stores(1, 50) }, fault.Internal},
		{"a store of another version", nil, func(q *quiet, _ *middle) {
			_, file := slice(1, 2, "Other^Bytes")
			store(q.t, q.a, file)
		}, fault.Internal},
		{"a deletion", nil, func(q *quiet, _ *middle) {
			for u := range q.want {
				q.deletes(u)
				break
			}
		}, fault.Internal},
		{"a deletion of all", nil, func(q *quiet, _ *middle) { q.deletes(archive.UIDs{Study: quietStudy}); clear(q.want) }, fault.Internal},
		{"a shredding", nil, func(q *quiet, _ *middle) { shreds(q.t, q.a, archive.ShredTarget{Study: quietStudy}); clear(q.want) }, fault.Conflict},
		{"a shredding and a store", nil, func(q *quiet, _ *middle) {
			shreds(q.t, q.a, archive.ShredTarget{Study: quietStudy})
			clear(q.want)
			q.stores(1, 3)
		}, fault.Conflict},
		{"another settler", nil, func(q *quiet, _ *middle) { q.settles() }, fault.Conflict},
		{"another settler, and a sweep much later", nil, func(q *quiet, _ *middle) {
			q.settles()
			q.passes(2 * time.Hour)
			q.sweeps()
		}, fault.Conflict},
		{"too much time", nil, func(q *quiet, m *middle) {
			next := func() { q.passes(13 * time.Hour) } // behind the first pack
			m.do.Store(&next)
		}, fault.Timeout},
		{"an undeletion that comes too late", func(q *quiet) {
			u := q.stores(1, 40)
			q.deletes(u)
			q.passes(26 * time.Hour)
		}, func(q *quiet, _ *middle) {
			u, _ := slice(1, 40, "Fern^Ada")
			if _, err := q.a.Remove.Undelete(q.t.Context(), q.a.Tenant, u); !fault.Is(err, fault.Conflict) {
				q.t.Errorf("undeleting what is about to be dropped: %v", err)
			}
		}, fault.Internal},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			q := newQuiet(t, Settling{Hold: 24 * time.Hour, PackBytes: 3 << 10})
			q.close(q.a)
			m := &middle{Driver: q.mem}
			q.o.Driver = m
			q.a = q.open()
			defer func() { q.close(q.a) }()
			q.fill(5)
			if c.prepare != nil {
				c.prepare(q)
			}
			do := func() { c.do(q, m) }
			m.do.Store(&do)
			r, err := q.a.Settle.Settle(t.Context(), q.ref())
			if m.do.Load() != nil {
				t.Fatal("no pack was written")
			}
			if c.gives == fault.Internal && err != nil || c.gives != fault.Internal && !fault.Is(err, c.gives) {
				t.Errorf("%+v, %v", r, err)
			}
			for _, when := range []string{"at once", "settled", "swept"} {
				q.reads(when)
				q.rebuilt(when)
				q.settles()
				q.passes(2 * time.Hour)
				q.sweeps()
			}
			q.reads("in the end")
			if r := q.settles(); r.Settled {
				t.Errorf("there is still something to settle: %+v", r)
			}
			if n := len(q.objects("pack")); n != len(packsOf(t, q)) {
				t.Errorf("%d packs", n)
			}
		})
	}
}

// TestSettleRace: stores, deletions, two settlers and a sweeper with little grace work
// on one study while it is read; no read fails, and nothing is lost.
func TestSettleRace(t *testing.T) {
	t.Parallel()
	const grace = 700 * time.Millisecond
	q := newQuiet(t, Settling{ReadGrace: grace, PackBytes: 6 << 10})
	defer func() { q.close(q.a) }()
	q.fill(8)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	var settled, removed, read atomic.Int64
	for range 2 {
		wg.Go(func() {
			for ctx.Err() == nil {
				r, err := q.a.Settle.Settle(ctx, q.ref())
				if err != nil && ctx.Err() == nil && !fault.Is(err, fault.Conflict) && !fault.Is(err, fault.Timeout) {
					t.Errorf("settling: %v", err)
				}
				if r.Settled {
					settled.Add(1)
				}
				pause(ctx, 10*time.Millisecond)
			}
		})
	}
	wg.Go(func() {
		for ctx.Err() == nil {
			w, err := q.a.Settle.Sweep(ctx, 0)
			if err != nil && ctx.Err() == nil {
				t.Errorf("sweeping: %v", err)
			}
			removed.Add(int64(w.Objects))
			pause(ctx, 20*time.Millisecond)
		}
	})
	for _, u := range keysOf(q.want) {
		file := q.want[u]
		wg.Go(func() {
			for ctx.Err() == nil {
				q.wants(q.a, u, file)
				read.Add(1)
			}
		})
	}
	for i := 100; ctx.Err() == nil; i++ {
		u := q.stores(1, i)
		if i%2 == 0 {
			q.deletes(u)
		}
		pause(ctx, 30*time.Millisecond)
	}
	wg.Wait()
	t.Logf("settled %d times, %d objects removed, %d reads", settled.Load(), removed.Load(), read.Load())
	if settled.Load() < 3 || removed.Load() < 10 || read.Load() < 100 {
		t.Error("too little happened")
	}
	q.reads("raced")
	// A settler that was cut off may have written a fact that is in no index, or packs that no fact names.
	q.reaps()
	q.settles()
	q.passes(2 * time.Hour)
	q.sweeps()
	q.reads("swept")
	q.rebuilt("swept")
	q.reads("rebuilt")
	if n := len(q.objects("pack")); n != len(packsOf(t, q)) {
		t.Errorf("%d packs, of which %d are named", n, len(packsOf(t, q)))
	}
}

func packsOf(t *testing.T, q *quiet) []archive.PackState {
	t.Helper()
	packs, err := q.a.Index.Packs(t.Context(), q.a.Tenant, q.ref())
	if err != nil {
		t.Fatal(err)
	}
	return packs
}

func keysOf(m map[archive.UIDs][]byte) (all []archive.UIDs) {
	for u := range m {
		all = append(all, u)
	}
	return all
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
