package node

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/lifecycle/move"
	"github.com/strata-pacs/strata/internal/retrieve/retrievetest"
	"github.com/strata-pacs/strata/storage"
	"github.com/strata-pacs/strata/storage/driver"
	"github.com/strata-pacs/strata/storage/faultstore"
	"github.com/strata-pacs/strata/storage/filestore"
	"github.com/strata-pacs/strata/storage/memstore"
)

// counted is an archive of two tiers, in stores that are counted.
type counted struct {
	*quiet
	rt     *rapid.T
	cold   driver.Driver
	next   int // number of an instance
	stored map[string][]archive.UIDs
	shreds bool     // something was shredded
	log    []string // what was done
}

func newCounted(t *testing.T, rt *rapid.T) *counted {
	c := &counted{quiet: &quiet{place: newPlace(t)}, rt: rt, stored: map[string][]archive.UIDs{}}
	c.o.Now = func() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }
	c.mem = memstore.New(memstore.Options{Now: c.o.Now})
	c.faults = faultstore.New(c.mem, nil)
	c.o.Driver, c.o.ReconcileEvery, c.o.Settling = c.faults.Driver, time.Hour, Settling{Hold: 24 * time.Hour, PackBytes: 6 << 10}
	cold, err := filestore.New(filepath.Join(c.o.Data, "cold"), filestore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	c.cold = cold
	c.o.Tiers = []archive.Tier{{Name: "hot"}, {Name: "cold", Store: coldStore}}
	c.o.TierStores = map[string]driver.Driver{coldStore: cold}
	c.a = c.open()
	return c
}

// passes puts the clock forward. The key is proved again by it, as it would have been meanwhile.
func (c *counted) passes(d time.Duration) {
	c.t.Helper()
	c.quiet.passes(d)
	if err := c.a.prove(c.t.Context()); err != nil && !c.faults.Crashed() {
		c.rt.Fatal(err)
	}
}

// listed is what a store holds of the tenant's log and packs.
func (c *counted) listed(d driver.Driver) (sum archive.TierUsage) {
	c.t.Helper()
	for _, folder := range []string{"log", "pack"} {
		page, err := d.List(context.Background(), string(c.a.Tenant)+"/"+folder+"/", "", 100_000)
		if err != nil || page.More {
			c.rt.Fatal("listing a store", err)
		}
		for _, o := range page.Objects {
			sum.Objects, sum.Bytes = sum.Objects+1, sum.Bytes+o.Size
		}
	}
	return sum
}

// counts expects that what the index says is what a listing says; soon, where an index was just filled: copies that are
// gone are looked for last.
func (c *counted) counts(when string) {
	c.t.Helper()
	for start := time.Now(); c.wrong() != "" && c.o.LongLog == 1 && time.Since(start) < 10*time.Second; {
		time.Sleep(5 * time.Millisecond)
	}
	if wrong := c.wrong(); wrong != "" {
		c.rt.Fatalf("%s: %s\n%s", when, wrong, strings.Join(c.log, "\n"))
	}
}

// wrong says where the index and a listing differ; empty: nowhere.
func (c *counted) wrong() string {
	c.t.Helper()
	usage, err := c.a.Index.TierUsage(c.t.Context(), c.a.Tenant)
	if err != nil {
		c.rt.Fatal(err)
	}
	got := map[archive.TierName]archive.TierUsage{"hot": {Tier: "hot"}, "cold": {Tier: "cold"}}
	for _, u := range usage {
		got[u.Tier] = u
	}
	for tier, d := range map[archive.TierName]driver.Driver{"hot": c.mem, "cold": c.cold} {
		want := c.listed(d)
		if want.Tier = tier; got[tier] != want {
			return fmt.Sprintf("the index says %+v, the store has %+v", got[tier], want)
		}
	}
	return ""
}

// ends accepts what an operation may answer that the process dies in, or that has nothing to do.
func (c *counted) ends(err error) {
	c.t.Helper()
	if err != nil && !c.faults.Crashed() && !fault.Is(err, fault.NotFound) {
		c.rt.Fatalf("%v\n%s", err, strings.Join(c.log, "\n"))
	}
}

// step does one thing at random.
func (c *counted) step(ctx context.Context) {
	study := rapid.SampledFrom([]string{"1.2.7", "1.2.8"}).Draw(c.rt, "study")
	ref := c.a.ring.Ref(study)
	do := rapid.SampledFrom([]string{"store", "store", "store", "store large", "delete", "delete study", "undelete", "settle", "settle", "purge", "sweep",
		"cold", "cold", "hot", "shred", "reap", "strays", "checkpoint"}).Draw(c.rt, "do")
	c.log = append(c.log, do+" "+study)
	switch do {
	case "store", "store large":
		var files [][]byte
		for range rapid.IntRange(1, 3).Draw(c.rt, "instances") {
			c.next++
			u := archive.UIDs{Study: study, Series: fmt.Sprintf("%s.%d", study, c.next%2), Instance: fmt.Sprintf("%s.%d.%d", study, c.next%2, c.next)}
			file := retrievetest.Part10(retrievetest.Image{UIDs: u, Rows: 16, Columns: 16, Name: "Fern^Ada", Number: c.next})
			if do == "store large" {
				file = append(file, make([]byte, 17<<20)...)
			}
			c.stored[study] = append(c.stored[study], u)
			if files = append(files, file); do == "store large" {
				break
			}
		}
		for _, r := range store(c.t, c.a, files...) {
			c.log = append(c.log, fmt.Sprint("  ", r.Outcome, " ", r.Reason, " ", r.Err))
		}
	case "delete", "undelete":
		if len(c.stored[study]) == 0 {
			return
		}
		u := rapid.SampledFrom(c.stored[study]).Draw(c.rt, "instance")
		if do == "delete" {
			c.ends(c.a.Remove.Delete(ctx, c.a.Tenant, u))
			return
		}
		_, err := c.a.Remove.Undelete(ctx, c.a.Tenant, archive.UIDs{Study: study})
		c.ends(err)
	case "delete study":
		c.ends(c.a.Remove.Delete(ctx, c.a.Tenant, archive.UIDs{Study: study}))
	case "settle", "purge":
		if do == "purge" {
			c.passes(26 * time.Hour)
		}
		_, err := c.a.Settle.Settle(ctx, ref)
		c.ends(err)
	case "sweep":
		c.passes(rapid.SampledFrom([]time.Duration{0, 2 * time.Hour, 26 * time.Hour}).Draw(c.rt, "later"))
		_, err := c.a.Settle.Sweep(ctx, 0)
		c.ends(err)
	case "cold", "hot":
		_, err := c.a.Move.Move(ctx, c.a.Tenant, ref, archive.TierName(do))
		c.ends(err)
	case "shred":
		c.shreds = true
		_, err := c.a.Shred.Shred(ctx, archive.ShredTarget{Study: study})
		c.ends(err)
		c.stored[study] = nil
	case "reap":
		c.passes(26 * time.Hour)
		_, err := c.a.Reconcile.Reap(ctx)
		c.ends(err)
	case "strays":
		_, err := c.strays(ctx)
		c.ends(err)
	case "checkpoint":
		c.ends(c.a.Reconcile.Checkpoint(ctx))
	}
}

func (c *counted) strays(ctx context.Context) (move.Strays, error) {
	return move.RemoveStrays(ctx, c.a.Tenant, move.StrayOptions{Index: c.a.Index, Tiers: c.host.tiers, Alone: c.a.Lifecycle.Alone, Now: c.o.Now})
}

// tidies removes what deaths and lost indexes left: packs without a fact, and copies that nobody counts on.
func (c *counted) tidies() {
	c.t.Helper()
	c.passes(26 * time.Hour)
	if _, err := c.a.Reconcile.Reap(c.t.Context()); err != nil {
		c.rt.Fatal(err)
	}
	if _, err := c.strays(c.t.Context()); err != nil {
		c.rt.Fatal(err)
	}
}

// again opens the archive again, with the index that is made anew, if at all, in one way or another.
func (c *counted) again(how string) {
	c.t.Helper()
	c.log = append(c.log, how)
	c.close(c.a)
	switch how {
	case "rebuild":
		if r, err := Rebuild(c.t.Context(), c.o, nil); err != nil || len(r.Gaps) > 0 {
			c.rt.Fatalf("rebuild: %+v, %v\n%s", r, err, strings.Join(c.log, "\n"))
		}
	case "lose the index", "fill":
		if err := removeIndex(c.o.withDefaults().Index); err != nil {
			c.rt.Fatal(err)
		}
		if c.o.LongLog = 2000; how == "fill" {
			c.o.LongLog = 1
		}
	}
	c.a = c.open()
	c.untilWhole(c.a)
}

// dies lets the process die somewhere in a step.
func (c *counted) dies() {
	c.t.Helper()
	c.log = append(c.log, "die in:")
	c.crashes(rapid.IntRange(1, 14).Draw(c.rt, "operation"), func() {
		ctx, cancel := context.WithTimeout(c.t.Context(), 100*time.Millisecond)
		defer cancel()
		c.step(ctx)
	})
	c.untilWhole(c.a)
}

// TestUsageIsARecount: whatever was stored, deleted, settled, moved, removed, shredded, and wherever the process died in it, what the
// index counts is what a listing of the stores has; also when the index is made anew.
func TestUsageIsARecount(t *testing.T) {
	checks := flag.Lookup("rapid.checks")
	if was := checks.Value.String(); was == checks.DefValue { // each takes a second
		defer flag.Set("rapid.checks", was)
		if err := flag.Set("rapid.checks", "8"); err != nil {
			t.Fatal(err)
		}
	}
	rapid.Check(t, func(rt *rapid.T) {
		c := newCounted(t, rt)
		defer func() {
			c.close(c.a)
			os.RemoveAll(c.o.Data)
		}()
		for range rapid.IntRange(4, 14).Draw(rt, "steps") {
			switch how := rapid.SampledFrom([]string{"", "", "", "", "", "", "reopen", "rebuild", "lose the index", "fill", "die", "die"}).Draw(rt, "how"); how {
			case "":
				c.step(t.Context())
			case "die":
				c.dies()
				c.tidies()
			default:
				if c.again(how); c.shreds { // which packs were a shredded study's nobody can read any more
					c.tidies()
				}
			}
			c.counts("then")
		}
		c.tidies()
		c.counts("at rest")
		c.again("rebuild")
		c.counts("rebuilt")
		c.passes(50 * time.Hour)
		c.sweeps()
		c.counts("swept")
		c.again("rebuild")
		c.counts("rebuilt when all was swept")
	})
}

// TestUsageWithoutKeys: tenants whose keys are revoked, and whose archives are closed, are told of, and recounted; an unknown one is not.
func TestUsageWithoutKeys(t *testing.T) {
	p := newPlace(t)
	p.o.Tiers = []archive.Tier{{Name: "hot", Prices: archive.Prices{GBMonth: 1e6}}}
	p.o.Lifecycle.Currency = "EUR"
	a := p.open()
	defer p.close(a)
	ctx := t.Context()
	if _, err := p.host.Tenants().Create(ctx, "other", archive.TenantSettings{State: archive.TenantActive}); err != nil {
		t.Fatal(err)
	}
	_, file := image(1, 1)
	stores(t, a, file)
	before, err := p.host.Usage().Of(ctx, a.Tenant)
	if err != nil || before.Studies != 1 || len(before.Tiers) != 1 || before.Tiers[0].Objects < 2 || before.Month <= 0 || before.Currency != "EUR" {
		t.Fatalf("%+v, %v", before, err)
	}
	if err := p.host.Tenants().Revoke(ctx, a.Tenant); err != nil {
		t.Fatal(err)
	}
	if v, err := p.host.Enter(ctx, a.Tenant); !fault.Is(err, fault.KeyDenied) {
		if err == nil {
			v.Leave()
		}
		t.Fatalf("the archive can be entered: %v", err)
	}
	list, err := p.host.Usage().List(ctx, "", 10)
	if err != nil || len(list) != 2 || list[0].Tenant != a.Tenant || list[0].Studies != 1 || list[0].Tiers[0].Objects <= before.Tiers[0].Objects || list[1].Tenant != "other" || list[1].Tiers[0].Objects == 0 {
		t.Fatalf("%+v, %v", list, err)
	}
	if held, err := p.host.Usage().Held(ctx, a.Tenant, 10); err != nil || len(held) != 1 || held[0].Tenant != "other" {
		t.Errorf("%+v, %v", held, err)
	}
	orphan := string(a.Tenant) + "/pack/01ARZ3NDEKTSV4RRFFQ69G5FAV"
	if _, err := p.host.Bucket.Put(ctx, orphan, []byte("of a store that was broken off"), storage.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, u := range list {
		r, err := p.host.Usage().Recount(ctx, u.Tenant)
		if err != nil || !r.Equal() || r.Moving || len(r.Stores) != 1 || r.Stores[0].Counted.Objects != u.Tiers[0].Objects {
			t.Errorf("%+v, %v", r, err)
		}
		if n := r.Stores[0].Unnamed.Objects; n != 1 && u.Tenant == a.Tenant || n != 0 && u.Tenant != a.Tenant {
			t.Errorf("%s: %d objects have no name", u.Tenant, n)
		}
	}
	page, err := p.host.Bucket.List(ctx, string(a.Tenant)+"/log/", "", 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.host.Bucket.Delete(ctx, page.Objects[0].Key); err != nil {
		t.Fatal(err)
	}
	if r, err := p.host.Usage().Recount(ctx, a.Tenant); err != nil || r.Equal() || r.Stores[0].Listed.Objects-r.Stores[0].Unnamed.Objects != r.Stores[0].Counted.Objects-1 {
		t.Errorf("a loss: %+v, %v", r, err)
	}
	if _, err := p.host.Usage().Of(ctx, "nobody"); !fault.Is(err, fault.NotFound) {
		t.Error(err)
	}
	if _, err := p.host.Usage().Recount(ctx, "nobody"); !fault.Is(err, fault.NotFound) {
		t.Error(err)
	}
}
