package node

import (
	"bytes"
	"path/filepath"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/retrieve"
	"github.com/strata-pacs/strata/storage/cachestore"
	"github.com/strata-pacs/strata/storage/delaystore"
	"github.com/strata-pacs/strata/storage/driver"
	"github.com/strata-pacs/strata/storage/filestore"
	"github.com/strata-pacs/strata/storage/memstore"
)

// TestReadCacheStays: settling, verifying and rebuilding neither fill the read cache nor use
// what is in it; and what was near of a study before it was settled is near after.
func TestReadCacheStays(t *testing.T) {
	q := &quiet{place: newPlace(t), mem: memstore.New(memstore.Options{}), want: map[archive.UIDs][]byte{}}
	q.o.Remote, q.o.ReconcileEvery, q.o.Settling = q.mem, time.Hour, Settling{PackBytes: 7000}
	q.o.ReadCache, q.o.ReadCacheBytes = filepath.Join(t.TempDir(), "cache"), 64<<20
	q.o.Now = func() time.Time { return time.Now().Add(time.Duration(q.ahead.Load())) }
	q.a = q.open()
	defer func() { q.close(q.a) }()
	u, other := image(1, 1)
	store(t, q.a, other)
	q.fill(12)
	near := u
	q.wants(q.a, u, other)
	var warm []archive.UIDs // of the study that is settled: its first series
	for v, file := range q.want {
		if v.Series == quietStudy+".1" {
			warm = append(warm, v)
			q.wants(q.a, v, file)
		}
	}
	cache := func() cachestore.Stats {
		s := q.host.Condition().Cache
		s.Passed = 0 // reads that have nothing to do with the folder
		return s
	}
	before := cache()
	if before.Files < 7 || len(warm) != 6 {
		t.Fatalf("%+v, %d instances", before, len(warm))
	}
	if r := q.verify(q.a); len(r.Gaps) > 0 || r.Instances != 13 {
		t.Errorf("verify: %+v", r)
	}
	if after := cache(); after != before {
		t.Errorf("verifying made of %+v %+v", before, after)
	}
	if r := q.settles(); !r.Settled || r.Made != 2 {
		t.Fatalf("%+v", r)
	}
	settled := cache()
	if settled.Hits != before.Hits || settled.Evictions != before.Evictions || settled.Served != before.Served {
		t.Errorf("settling made of %+v %+v", before, settled)
	}
	if settled.Files != before.Files-6+1 { // six objects became one, of which a block is near
		t.Errorf("%d files, %d before", settled.Files, before.Files)
	}
	q.wants(q.a, near, other)
	for _, v := range warm {
		q.wants(q.a, v, q.want[v])
	}
	if after := cache(); after.Misses != settled.Misses {
		t.Errorf("what was near is not: %+v, then %+v", settled, after)
	}
	for v, file := range q.want { // and the rest was not brought near
		if v.Series == quietStudy+".2" {
			q.wants(q.a, v, file)
		}
	}
	if after := cache(); after.Misses == settled.Misses {
		t.Errorf("what was far is near: %+v", after)
	}
}

// TestReadAhead: without a read cache what comes next is read ahead, of what is far away
// alone: of a remote store, and of packs in the tiers of a node with a data folder.
func TestReadAhead(t *testing.T) {
	for _, c := range []struct {
		name         string
		remote, cold bool // where the study lies
		ahead        bool
	}{{"in the data folder", false, false, false}, {"in a tier", false, true, true}, {"remote", true, false, true}, {"remote, in a tier", true, true, true}} {
		t.Run(c.name, func(t *testing.T) {
			p := newPlace(t)
			files, err := filestore.New(filepath.Join(t.TempDir(), "cold"), filestore.Options{})
			if err != nil {
				t.Fatal(err)
			}
			p.o.Tiers = []archive.Tier{{Name: "hot"}, {Name: "cold", Store: coldStore}}
			p.o.TierStores = map[string]driver.Driver{coldStore: files}
			p.o.StoreMemory = 1
			far := delaystore.New(memstore.New(memstore.Options{}), delaystore.Options{})
			if c.remote {
				p.o.Remote = far.Driver
			}
			a := p.open()
			defer func() { p.close(a) }()
			want := map[archive.UIDs][]byte{}
			var all [][]byte
			for i := range 10 {
				u, file := slice(1, 1+i, "Fern^Ada")
				want[u], all = file, append(all, file)
			}
			store(t, a, all...)
			if moved := packsIn(t, a.Bucket); len(moved) != 1 {
				t.Fatalf("%d packs", len(moved))
			}
			if c.cold {
				carry(t, p.host, "hot", "cold")
			}
			var o retrieve.Options
			p.host.readAhead(&o)
			list, err := a.Retrieve.Find(t.Context(), a.Tenant, archive.UIDs{Study: quietStudy}, retrieve.Files)
			if err != nil || len(list) != 10 || o.Ahead != nil || o.Far == nil || o.Far(t.Context(), list[0].At.Object) != c.ahead {
				t.Errorf("%d instances, %v; %+v", len(list), err, o)
			}
			before, n := far.Requests(), 0
			for b, err := range retrieve.Ahead(t.Context(), bodies(t, a.Retrieve), func(b *retrieve.Body) *retrieve.Body { return b }) {
				var got bytes.Buffer
				if err == nil {
					err = b.Write(t.Context(), &got)
				}
				if err != nil || !bytes.Equal(got.Bytes(), want[list[n].UIDs]) {
					t.Errorf("instance %d: %v", n, err)
				}
				n++
			}
			if asked := far.Requests() - before; n != 10 || c.remote && asked > 3 {
				t.Errorf("%d instances, %d requests", n, asked)
			}
		})
	}
}
