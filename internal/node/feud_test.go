package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/keys/keystest"
	"github.com/strata-pacs/strata/internal/retention"
	"github.com/strata-pacs/strata/internal/testservers"
	"github.com/strata-pacs/strata/storage/memstore"
)

// tribe is a few nodes on one database and one store, whose clocks differ by days, and what their clients were told.
type tribe struct {
	t     *testing.T
	r     *rand.Rand
	o     Options
	again string       // a database of its own, for an index that is made anew
	store atomic.Int64 // how far the store's clock, which is right, is ahead of the machine's
	off   []time.Duration
	m     []*moments
	nodes []*Node
	a     []*Archive

	known map[archive.UIDs]*told
	holds map[int]archive.FactID // that stand, by study
	done  map[string]int
}

// told is what is known of an instance.
type told struct {
	file    []byte
	deleted time.Time // by the store's clock, when somebody was told so; zero: it is shown
	gone    bool      // it may have been dropped
}

const tribal = 24 * time.Hour // how long deletions can be undone

func newTribe(t *testing.T, p *testservers.PostgresServer, seed uint64) *tribe {
	t.Helper()
	f := &tribe{t: t, r: rand.New(rand.NewPCG(seed, 5)), known: map[archive.UIDs]*told{}, holds: map[int]archive.FactID{}, done: map[string]int{}}
	f.again = p.DSN(fmt.Sprint("again", seed))
	mem := memstore.New(memstore.Options{Now: f.now})
	f.o = Options{Database: p.DSN(fmt.Sprint("tribe", seed)), Wrapper: keystest.NewProvider("kek", 3), KEK: "kek", NodeLease: time.Hour, ReconcileEvery: time.Hour,
		Settling: Settling{Hold: tribal, PackBytes: 3 << 10}}
	for i := range 2 {
		f.off = append(f.off, time.Duration(f.r.IntN(80)-40)*24*time.Hour)
		f.m = append(f.m, &moments{Driver: mem})
		f.nodes, f.a = append(f.nodes, nil), append(f.a, nil)
		f.open(i)
	}
	t.Cleanup(func() {
		for i := range f.nodes {
			f.close(i)
		}
	})
	return f
}

func (f *tribe) now() time.Time { return time.Now().Add(time.Duration(f.store.Load())) }

func (f *tribe) open(i int) {
	f.t.Helper()
	o := f.o
	o.Data, o.Remote = filepath.Join(f.t.TempDir(), "data"), f.m[i]
	off := f.off[i]
	o.Now = func() time.Time { return f.now().Add(off) }
	var err error
	if f.nodes[i], f.a[i], err = OpenArchive(context.Background(), o); err != nil {
		f.t.Fatal(err)
	}
}

func (f *tribe) close(i int) {
	if n := f.nodes[i]; n != nil {
		f.nodes[i] = nil
		if err := n.Close(context.Background()); err != nil {
			f.t.Error(err)
		}
	}
}

// dies ends a node as a kill does, and opens another in its place.
func (f *tribe) dies(i int) {
	n, a := f.nodes[i], f.a[i]
	expire(f.t, n)
	a.cut(errClosing)
	a.wg.Wait()
	n.stop()
	n.wg.Wait()
	n.Index.Close()
	n.lock.Close()
	f.open(i)
	if _, err := f.a[i].Reconcile.Catchup(context.Background()); err != nil {
		f.t.Error(err)
	}
}

func (f *tribe) scope(study int) archive.UIDs {
	return archive.UIDs{Study: fmt.Sprintf("1.3.%d", study)}
}

// of are the instances of a study that are known.
func (f *tribe) of(study int) (out []archive.UIDs) {
	for u := range f.known {
		if u.Study == f.scope(study).Study {
			out = append(out, u)
		}
	}
	slices.SortFunc(out, func(a, b archive.UIDs) int { return len(a.Instance) - len(b.Instance) })
	return out
}

// protect does on a node something that keeps a study, or brings it back, and takes note of what it is told.
func (f *tribe) protect(i, study int) {
	a, ctx := f.a[i], context.Background()
	if f.r.IntN(2) == 0 {
		if _, ok := f.holds[study]; ok {
			return
		}
		target := retention.HoldTarget{Study: f.scope(study).Study}
		if f.r.IntN(2) == 0 {
			target = retention.HoldTarget{PatientID: fmt.Sprint("P", study)}
		}
		h, err := a.Keep.Hold(ctx, target, "case", "alice")
		if err != nil {
			f.t.Errorf("a hold: %v", err)
			return
		}
		f.holds[study] = h.ID
		f.done["held"]++
		// What is there at this moment stays.
		for _, u := range f.of(study) {
			if k := f.known[u]; k.gone {
				if d, err := a.Index.Deletions(ctx, a.Tenant, u); err == nil && len(d) > 0 {
					k.gone = false
				}
			}
		}
		return
	}
	switch n, err := a.Remove.Undelete(ctx, a.Tenant, f.scope(study)); {
	case err == nil:
		shown := 0
		for _, u := range f.of(study) {
			rows, _, err := a.Index.Versions(ctx, a.Tenant, u)
			if err != nil {
				f.t.Error(err)
			}
			switch k := f.known[u]; {
			case len(rows) > 0:
				shown++
				*k = told{file: k.file}
			case !k.gone:
				f.t.Errorf("an undeletion was acknowledged, and an instance that nobody may drop is not back")
			default:
				delete(f.known, u)
			}
		}
		if n > shown {
			f.t.Errorf("%d were told to be back, %d are", n, shown)
		}
		f.done["undeleted"]++
	case !fault.Is(err, fault.NotFound) && !fault.Is(err, fault.Conflict):
		f.t.Errorf("an undeletion: %v", err)
	}
}

// purge has a node settle a study, at a moment of which another protects it.
func (f *tribe) purge(i, study int) {
	for _, u := range f.of(study) { // what may go from now on
		k := f.known[u]
		_, held := f.holds[study]
		k.gone = k.gone || !k.deleted.IsZero() && !held && f.now().Sub(k.deleted) >= tribal
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	died := false
	switch f.r.IntN(3) {
	case 0:
		f.m[i].at(1+f.r.IntN(30), func() { f.protect(1-i, study) })
	case 1:
		f.m[i].at(1+f.r.IntN(30), func() { died = true; cancel() })
	}
	r, err := f.a[i].Settle.Settle(ctx, f.a[i].ring.Ref(f.scope(study).Study))
	f.m[i].at(0, nil)
	if err != nil && !died && !fault.Is(err, fault.Conflict) && !fault.Is(err, fault.Unavailable) {
		f.t.Errorf("settling: %v", err)
	}
	f.done["dropped"] += r.Dropped
	if died {
		f.done["died"]++
		f.dies(i)
	}
}

// step does something at random.
func (f *tribe) step() {
	i, study, ctx := f.r.IntN(2), f.r.IntN(4), context.Background()
	a := f.a[i]
	if err := a.Check(ctx); err != nil { // by its clock the keys were last proved long ago
		f.t.Fatal(err)
	}
	switch f.r.IntN(10) {
	case 0, 1:
		u, file := feudal(study, 1+len(f.known))
		stores(f.t, a, file)
		f.known[u] = &told{file: file}
	case 2, 3:
		all := f.of(study)
		if len(all) == 0 {
			return
		}
		scope := all[f.r.IntN(len(all))]
		if f.r.IntN(3) == 0 {
			scope = f.scope(study)
		}
		err := a.Remove.Delete(ctx, a.Tenant, scope)
		_, held := f.holds[study]
		if err == nil && held {
			f.t.Error("what is held was deleted")
		}
		if err != nil && !fault.Is(err, fault.Conflict) && !fault.Is(err, fault.NotFound) {
			f.t.Errorf("deleting: %v", err)
		}
		for _, u := range all {
			if k := f.known[u]; err == nil && k.deleted.IsZero() && (scope.Instance == "" || scope == u) {
				k.deleted = f.now()
				f.done["deleted"]++
			}
		}
	case 4:
		f.protect(i, study)
	case 5:
		if id, ok := f.holds[study]; ok && f.r.IntN(2) == 0 {
			for _, by := range []string{"alice", "bob"} {
				if _, err := a.Keep.Release(ctx, id, "over", by); err != nil {
					f.t.Errorf("releasing: %v", err)
				}
			}
			delete(f.holds, study)
		}
	case 6:
		f.store.Add(int64(time.Duration(f.r.IntN(40)) * time.Hour))
	case 7:
		if _, err := a.Settle.Sweep(ctx, 0); err != nil {
			f.t.Errorf("sweeping: %v", err)
		}
	default:
		f.purge(i, study)
	}
}

// right expects that all of what is shown is there, nothing else is, and that what may not be dropped can come back.
func (f *tribe) right(when string) {
	f.t.Helper()
	a, ctx := f.a[0], context.Background()
	for u, k := range f.known {
		deletions, err := a.Index.Deletions(ctx, a.Tenant, u)
		if err != nil {
			f.t.Fatal(err)
		}
		rows, _, err := a.Index.Versions(ctx, a.Tenant, u)
		switch {
		case err != nil:
			f.t.Fatal(err)
		case k.deleted.IsZero() && len(rows) == 1:
			(&place{t: f.t}).wants(a, u, k.file)
		case k.deleted.IsZero():
			f.t.Errorf("%s: an instance that was stored is not there", when)
		case len(rows) > 0:
			f.t.Errorf("%s: a deleted instance is shown", when)
		case len(deletions) == 0 && !k.gone:
			f.t.Errorf("%s: a deleted instance is gone that could be undeleted, or is held", when)
		}
	}
}

// TestFeud: two nodes whose clocks are weeks off store, delete, bring back, hold, release, purge and sweep at random, each in the middle
// of what the other does, and die. Nothing that was acknowledged is lost, and an index that is made anew says the same.
func TestFeud(t *testing.T) {
	t.Parallel()
	p := testservers.Postgres(t)
	done := map[string]int{}
	for seed := range uint64(3) {
		f := newTribe(t, p, seed)
		for i := 0; i < 90 && !t.Failed(); i++ {
			f.step()
		}
		f.right("in the end")
		gaps(t, f.a[0], "in the end")
		before := state(t, f.a[0])
		f.close(0)
		f.close(1)
		f.o.Database = f.again
		o := f.o
		o.Data, o.Remote, o.Now = filepath.Join(t.TempDir(), "data"), f.m[0], f.now
		if r, err := Rebuild(t.Context(), o, nil); err != nil || len(r.Gaps) > 0 {
			t.Fatalf("rebuild: %+v, %v", r.Gaps, err)
		}
		f.open(0)
		f.right("rebuilt")
		if after := state(t, f.a[0]); !maps.Equal(before, after) {
			t.Errorf("%d instances are shown, %d after a rebuild", len(before), len(after))
		}
		// What is held comes back, by whatever clock.
		for study := range 4 {
			if _, err := f.a[0].Keep.Hold(t.Context(), retention.HoldTarget{Study: f.scope(study).Study}, "all", "alice"); err != nil {
				t.Fatal(err)
			}
			if _, err := f.a[0].Remove.Undelete(t.Context(), f.a[0].Tenant, f.scope(study)); err != nil && !fault.Is(err, fault.NotFound) {
				t.Errorf("undeleting what is held: %v", err)
			}
		}
		for u, k := range f.known {
			if rows, _, err := f.a[0].Index.Versions(t.Context(), f.a[0].Tenant, u); err != nil || len(rows) == 1 {
				if k.deleted = (time.Time{}); err != nil {
					t.Fatal(err)
				}
			}
		}
		f.right("brought back")
		for what, n := range f.done {
			done[what] += n
		}
		f.close(0)
		if t.Failed() {
			t.Fatalf("seed %d, clocks off by %v", seed, f.off)
		}
	}
	t.Log(done)
	for _, what := range []string{"held", "undeleted", "deleted", "dropped", "died"} {
		if done[what] == 0 {
			t.Error(errors.New("never " + what))
		}
	}
}
