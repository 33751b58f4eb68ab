package usage_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/lifecycle/tiers"
	"github.com/strata-pacs/strata/internal/usage"
	"github.com/strata-pacs/strata/storage"
	"github.com/strata-pacs/strata/storage/memstore"
)

const tenant archive.Tenant = "alpha"

// counts are what an index counts.
type counts struct {
	tiers    []archive.TierUsage
	removing []archive.TierUsage
	packs    map[string][]archive.TierName
	logs     uint64 // numbers of the one session
	asked    int
	grows    int // how often it is asked before it stands still
	err      error
}

func (c *counts) TierUsage(context.Context, archive.Tenant) ([]archive.TierUsage, error) {
	c.asked++
	if c.asked <= c.grows {
		return append([]archive.TierUsage{{Tier: "cold", Objects: int64(c.asked)}}, c.tiers...), c.err
	}
	return c.tiers, c.err
}

func (c *counts) Removing(context.Context, archive.Tenant) ([]archive.TierUsage, bool, error) {
	return c.removing, len(c.removing) > 1, c.err
}

func (c *counts) StudyCount(context.Context, archive.Tenant) (int64, error) { return 9, c.err }

func (c *counts) Counted(_ context.Context, _ archive.Tenant, object string) ([]archive.TierName, error) {
	return c.packs[object], c.err
}

func (c *counts) Progress(context.Context, archive.Tenant) (map[string]archive.Progress, error) {
	return map[string]archive.Progress{"s": {Applied: []archive.Range{{From: 1, To: c.logs}}}}, c.err
}

// world has three tiers, of which two share a store.
func world(c *counts) (usage.Teller, *storage.Bucket, *storage.Bucket) {
	hot, far := storage.New(memstore.New(memstore.Options{})), storage.New(memstore.New(memstore.Options{}))
	list := []archive.Tier{{Name: "hot", Prices: archive.Prices{GBMonth: 0.02}}, {Name: "cold", Store: "s3://far", Prices: archive.Prices{GBMonth: 0.004, MinBytes: 1e9}},
		{Name: "deep", Store: "s3://far", Class: "DEEP", Prices: archive.Prices{GBMonth: 0.001}}}
	return usage.Teller{Index: c, Tiers: tiers.NewStores(list, map[string]*storage.Bucket{"": hot, "s3://far": far}), Currency: "EUR"}, hot, far
}

func TestOf(t *testing.T) {
	c := &counts{tiers: []archive.TierUsage{{Tier: "cold", Objects: 2, Bytes: 10}, {Tier: "shelf", Objects: 1, Bytes: 5}},
		removing: []archive.TierUsage{{Tier: "cold", Objects: 1, Bytes: 4}}}
	u, _, _ := world(c)
	got, err := u.Of(t.Context(), tenant)
	want := archive.Usage{Tenant: tenant, Studies: 9, Currency: "EUR", Month: 0.008, Tiers: []archive.UsedTier{
		{TierUsage: archive.TierUsage{Tier: "hot"}, Removing: archive.TierUsage{Tier: "hot"}}, // nothing, but told
		// Two objects below the least size are charged as 1 GB each.
		{TierUsage: archive.TierUsage{Tier: "cold", Objects: 2, Bytes: 10}, Month: 0.008, Removing: archive.TierUsage{Tier: "cold", Objects: 1, Bytes: 4}},
		{TierUsage: archive.TierUsage{Tier: "shelf", Objects: 1, Bytes: 5}, Gone: true, Removing: archive.TierUsage{Tier: "shelf"}},
	}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v\nwant %+v", got, err, want)
	}
	c.removing = append(c.removing, archive.TierUsage{Tier: "hot", Objects: 7, Bytes: 8})
	if got, err = u.Of(t.Context(), tenant); err != nil || !got.Tiers[0].RemovingMore || got.Tiers[0].Removing.Objects != 7 {
		t.Errorf("%+v, %v", got, err)
	}
	c.err = errors.New("no database")
	if _, err := u.Of(t.Context(), tenant); !errors.Is(err, c.err) {
		t.Error(err)
	}
	if _, err := u.Recount(t.Context(), tenant); !errors.Is(err, c.err) {
		t.Error(err)
	}
}

// TestRecount: each store is compared with what is counted for its tiers, and what no fact names is told apart.
func TestRecount(t *testing.T) {
	c := &counts{packs: map[string][]archive.TierName{"alpha/pack/a": {"hot"}, "alpha/pack/b": {"deep", "hot"}, "alpha/pack/c": {"cold"}}, logs: 2,
		tiers: []archive.TierUsage{{Tier: "cold", Objects: 1, Bytes: 30}, {Tier: "deep", Objects: 1, Bytes: 20}, {Tier: "hot", Objects: 4, Bytes: 32}, {Tier: "shelf", Objects: 1, Bytes: 99}}}
	u, hot, far := world(c)
	put := func(b *storage.Bucket, key string, size int) {
		t.Helper()
		if _, err := b.Put(t.Context(), key, []byte(strings.Repeat("x", size)), storage.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	check := func(when string, want string, equal bool) {
		t.Helper()
		r, err := u.Recount(t.Context(), tenant)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, s := range r.Stores {
			got = append(got, fmt.Sprint(s.Tiers, s.Counted.Objects, s.Counted.Bytes, s.Listed.Objects, s.Listed.Bytes, s.Unnamed.Objects, s.Unnamed.Bytes, s.Equal()))
		}
		if text := strings.Join(got, " "); text != want || r.Equal() != equal {
			t.Errorf("%s: %s, %v", when, text, r.Equal())
		}
	}
	put(hot, "alpha/log/s/0000000000000001", 1)
	put(hot, "alpha/log/s/0000000000000002", 1)
	put(hot, "alpha/pack/a", 10)
	put(hot, "alpha/pack/b", 20) // not removed yet
	put(far, "alpha/pack/b", 20)
	put(far, "alpha/pack/c", 30)
	for _, other := range []string{"alpha/key/1", "alpha/thumb/x/y", "alphabet/log/s/0000000000000001"} {
		put(hot, other, 7)
	}
	check("at first", "[hot] 4 32 4 32 0 0 true [cold deep] 2 50 2 50 0 0 true", true)
	put(hot, "alpha/log/s/0000000000000003", 5) // not indexed
	put(hot, "alpha/log/t/0000000000000001", 5)
	put(hot, "alpha/pack/d", 6)
	put(far, "alpha/pack/a", 10) // of a move that was broken off
	check("with what no fact names", "[hot] 4 32 7 48 3 16 true [cold deep] 2 50 3 60 1 10 true", true)
	if err := far.Delete(t.Context(), "alpha/pack/c"); err != nil {
		t.Fatal(err)
	}
	check("with a loss", "[hot] 4 32 7 48 3 16 true [cold deep] 2 50 2 30 1 10 false", false)

	c.asked, c.grows = 0, 3 // it begins anew
	if r, err := u.Recount(t.Context(), tenant); err != nil || r.Moving || c.asked != 6 {
		t.Errorf("%+v, %v, asked %d times", r, err, c.asked)
	}
	c.asked, c.grows = 0, 1000
	if r, err := u.Recount(t.Context(), tenant); err != nil || !r.Moving || c.asked != 6 {
		t.Errorf("%+v, %v, asked %d times", r, err, c.asked)
	}
}
