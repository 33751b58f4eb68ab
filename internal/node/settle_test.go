package node

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/ingest"
	"github.com/strata-pacs/strata/internal/settle"
	"github.com/strata-pacs/strata/storage"
)

// TestSettle: a study that came one instance at a time becomes one pack and one fact, in
// order; what it came in goes after the grace; nobody can tell the difference.
func TestSettle(t *testing.T) {
	q := newQuiet(t, Settling{})
	q.fill(24)
	u, again := slice(1, 2, "Other^Bytes")
	store(t, q.a, again) // a hidden version
	gone := q.stores(1, 99)
	q.deletes(gone)
	before := q.metadata()
	q.reads("stored")
	r := q.settles()
	if !r.Settled || r.Before != 26 || r.After != 2 || r.Made != 1 || r.Kept != 0 || r.Instances != 26 || r.Dropped != 0 || r.Next.IsZero() || r.Copied < 26*600 {
		t.Errorf("%+v", r)
	}
	q.reads("settled")
	if after := q.metadata(); after != before {
		t.Errorf("metadata before:\n%s\nafter:\n%s", before, after)
	}
	var last archive.Location
	for _, row := range rows(t, q.a, quietStudy) {
		if last.Object != "" && (row.At.Object != last.Object || row.At.Offset < last.Offset+last.Length) {
			t.Errorf("%v lies at %+v behind %+v", row.UIDs.Instance, row.At, last)
		}
		last = row.At
	}
	if r := q.settles(); r.Settled || r.Before != 2 || r.After != 2 {
		t.Errorf("settled again: %+v", r)
	}
	if w := q.sweeps(); w.Objects != 0 {
		t.Errorf("swept within the grace: %+v", w)
	}
	q.rebuilt("settled")
	q.reads("rebuilt")
	q.passes(2 * time.Hour)
	if w := q.sweeps(); w.Objects != 26 || w.Bytes < 26*600 || w.Kept != 0 || w.More {
		t.Errorf("%+v", w)
	}
	if w := q.sweeps(); w != (settle.Swept{}) {
		t.Errorf("swept again: %+v", w)
	}
	if n := len(q.objects("pack")); n != 1 {
		t.Errorf("%d packs", n)
	}
	q.reads("swept")
	q.rebuilt("swept")
	q.reads("rebuilt")
	if w := q.sweeps(); w != (settle.Swept{}) {
		t.Errorf("swept after a rebuild: %+v", w)
	}

	// Undeleted within the hold window, it comes out of the pack.
	if _, err := q.a.Remove.Undelete(t.Context(), q.a.Tenant, gone); err != nil {
		t.Fatal(err)
	}
	_, q.want[gone] = slice(1, 99, "Fern^Ada")
	q.reads("undeleted")

	// A late instance is merged while all is small.
	late := q.stores(1, 25)
	q.reads("late")
	if r := q.settles(); !r.Settled || r.Made != 1 || r.Instances != 27 || r.After != 2 {
		t.Errorf("a late instance: %+v", r)
	}
	q.passes(2 * time.Hour)
	if w := q.sweeps(); w.Objects != 3 { // its log object, the pack and the fact of before
		t.Errorf("%+v", w)
	}
	q.reads("settled again")
	q.rebuilt("settled again")
	q.reads("rebuilt again")
	_, _ = u, late
	q.close(q.a)
}

// TestSettleSplit: packs end where series do, and what is large stays where it is.
func TestSettleSplit(t *testing.T) {
	q := newQuiet(t, Settling{PackBytes: 10 << 10})
	defer func() { q.close(q.a) }()
	for i := range 8 {
		q.stores(1, i+1)
	}
	for i := range 30 {
		q.stores(2, i+1)
	}
	r := q.settles()
	series := map[string]map[string]bool{}
	for _, row := range rows(t, q.a, quietStudy) {
		if series[row.At.Object] == nil {
			series[row.At.Object] = map[string]bool{}
		}
		series[row.At.Object][row.UIDs.Series] = true
	}
	if r.Made != len(series) || r.Made < 3 {
		t.Errorf("%+v, %d packs", r, len(series))
	}
	for object, s := range series {
		if len(s) != 1 {
			t.Errorf("%s holds %d series", object, len(s))
		}
	}
	q.stores(1, 9)
	again := q.settles()
	if again.Kept < r.Made-1 || again.Made != 1 || again.Copied > 4<<10 {
		t.Errorf("a late instance: %+v", again)
	}
	q.passes(2 * time.Hour)
	q.sweeps()
	q.reads("swept")
	q.rebuilt("split")
	q.reads("rebuilt")
}

// TestPurge: what was deleted longer ago than it can be undone goes, with its bytes, and what is left stays.
func TestPurge(t *testing.T) {
	q := newQuiet(t, Settling{Hold: 24 * time.Hour})
	defer func() { q.close(q.a) }()
	q.fill(6)
	gone := q.stores(1, 50)
	q.settles()
	q.deletes(gone)
	size := rows(t, q.a, quietStudy)[0].At.Length
	if r := q.settles(); r.Settled || r.Next.Before(q.o.Now().Add(24*time.Hour)) || r.Next.After(q.o.Now().Add(26*time.Hour)) {
		t.Errorf("within the hold: %+v", r)
	}
	q.passes(26 * time.Hour)
	r := q.settles()
	if !r.Settled || r.Dropped != 1 || r.DroppedBytes < size/2 || r.Instances != 6 || !r.Next.IsZero() {
		t.Errorf("after the hold: %+v", r)
	}
	if _, err := q.a.Remove.Undelete(t.Context(), q.a.Tenant, gone); !fault.Is(err, fault.NotFound) {
		t.Errorf("undeleted what is gone: %v", err)
	}
	q.reads("dropped")
	q.rebuilt("dropped")
	q.passes(2 * time.Hour)
	q.sweeps()
	q.reads("swept")
	q.rebuilt("swept")

	// The whole study.
	folder := string(q.a.Tenant) + "/thumb/" + q.ref().String() + "/x"
	if _, err := q.a.Bucket.Put(t.Context(), folder, []byte("sealed"), storage.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	q.stores(2, 77)
	q.deletes(archive.UIDs{Study: quietStudy})
	clear(q.want)
	q.passes(26 * time.Hour)
	if r = q.settles(); !r.Settled || r.Instances != 0 || r.Dropped != 7 || r.After != 1 {
		t.Errorf("all of it: %+v", r)
	}
	q.rebuilt("all dropped")
	q.passes(2 * time.Hour)
	q.sweeps()
	q.reads("all swept")
	if n := len(q.objects("pack")) + len(q.objects("thumb")); n != 0 {
		t.Errorf("%d packs and thumbnails are left", n)
	}
	if n := len(q.objects("key")); n != 1 {
		t.Errorf("%d keys", n)
	}
	q.rebuilt("all swept")
	if r = q.settles(); r.Settled {
		t.Errorf("nothing is settled: %+v", r)
	}
	// It comes back as any study does.
	q.fill(4)
	q.settles()
	q.passes(2 * time.Hour)
	q.sweeps()
	q.reads("stored again")
	q.rebuilt("stored again")
	q.reads("rebuilt")
}

// TestSettleShredded: the packs of a shredded study go, and what is stored of it later
// settles as if there had been nothing.
func TestSettleShredded(t *testing.T) {
	q := newQuiet(t, Settling{})
	defer func() { q.close(q.a) }()
	q.fill(6)
	q.settles()
	q.stores(1, 8)
	shreds(t, q.a, archive.ShredTarget{Study: quietStudy})
	clear(q.want)
	if r := q.settles(); r.Settled {
		t.Errorf("%+v", r)
	}
	q.passes(2 * time.Hour)
	q.sweeps()
	q.reads("swept")
	if n := len(q.objects("pack")); n != 0 {
		t.Errorf("%d packs", n)
	}
	q.rebuilt("swept")
	q.fill(4)
	if r := q.settles(); !r.Settled || r.Instances != 4 {
		t.Errorf("%+v", r)
	}
	if r := q.settles(); r.Settled {
		t.Errorf("again: %+v", r)
	}
	q.passes(2 * time.Hour)
	q.sweeps()
	q.reads("stored again")
	q.rebuilt("stored again")
}

// TestSettleTwoKeys: a study that two nodes began at once has two keys, and a settled fact for each.
func TestSettleTwoKeys(t *testing.T) {
	q := newQuiet(t, Settling{})
	defer func() { q.close(q.a) }()
	other, err := ingest.New(ingest.Options{Tenant: q.a.Tenant, Index: q.a.Index, Keys: q.a.ring, Log: q.a.log, Packs: q.a.Bucket, Now: q.o.Now})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	var requests []*ingest.Request
	for i, s := range []*ingest.Store{q.a.Store, other} {
		r := s.Begin(ingest.RequestOptions{})
		defer r.Abort()
		for k := range 3 {
			u, file := slice(1+k%2, 2*k+i, "Fern^Ada")
			r.Add(t.Context(), bytes.NewReader(file))
			q.want[u] = file
		}
		requests = append(requests, r)
	}
	keys := map[archive.KeyID]bool{}
	for _, r := range requests {
		r.Commit(t.Context())
	}
	for _, row := range rows(t, q.a, quietStudy) {
		keys[row.Key] = true
	}
	q.stores(1, 9)
	if len(keys) != 2 {
		t.Fatalf("%d keys", len(keys))
	}
	if r := q.settles(); !r.Settled || r.Made != 2 || r.After != 4 || r.Instances != 7 {
		t.Errorf("%+v", r)
	}
	if r := q.settles(); r.Settled {
		t.Errorf("again: %+v", r)
	}
	q.passes(2 * time.Hour)
	q.sweeps()
	q.reads("swept")
	q.rebuilt("swept")
	q.reads("rebuilt")

	// What says where packs have moved to is about the packs of both keys: it stays.
	moved := &archive.Fact{Kind: archive.FactMoved, Study: q.ref()}
	for _, p := range packsOf(t, q) {
		p.Tier = "cold"
		moved.Packs = append(moved.Packs, p.PackPlace)
	}
	e, err := q.a.log.Append(t.Context(), moved, nil)
	if err == nil {
		_, err = q.a.Index.Apply(t.Context(), q.a.Tenant, e)
	}
	if err != nil {
		t.Fatal(err)
	}
	q.stores(1, 20)
	if r := q.settles(); !r.Settled || r.Kept != 2 || r.Made != 1 {
		t.Errorf("%+v", r)
	}
	for _, p := range packsOf(t, q) {
		if fresh := bytes.Compare(p.Fact[:], e.Fact.ID[:]) > 0; !fresh && p.Tier != "cold" {
			t.Errorf("a pack that was moved is in %s", p.Tier)
		}
	}
	q.rebuilt("moved")

	shreds(t, q.a, archive.ShredTarget{Study: quietStudy})
	clear(q.want)
	q.passes(2 * time.Hour)
	q.sweeps()
	q.reads("shredded")
	q.rebuilt("shredded")
}

// TestSettleDamaged: damage is not copied, and what is damaged stays as it is.
func TestSettleDamaged(t *testing.T) {
	q := newQuiet(t, Settling{})
	defer func() { q.close(q.a) }()
	q.fill(4)
	row := rows(t, q.a, quietStudy)[2]
	b, err := q.a.Bucket.Get(t.Context(), row.At.Object, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	good := slices.Clone(b)
	put := func(b []byte) {
		if err := q.a.Bucket.Delete(t.Context(), row.At.Object); err != nil {
			t.Fatal(err)
		}
		if _, err := q.a.Bucket.Put(t.Context(), row.At.Object, b, storage.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	for _, at := range []int64{0, 90, row.At.Length - 1} {
		b[row.At.Offset+at] ^= 1
		put(b)
		if r, err := q.a.Settle.Settle(t.Context(), q.ref()); !fault.Is(err, fault.Corrupt) || r.Settled {
			t.Errorf("byte %d: %+v, %v", at, r, err)
		}
		if n := len(q.objects("pack")); n != 0 {
			t.Errorf("byte %d: %d packs are left", at, n)
		}
		b = slices.Clone(good)
	}
	put(good)
	q.settles()
	q.reads("mended")
}

// TestSweepLimits: a sweep does so much and no more, and goes on where it was.
func TestSweepLimits(t *testing.T) {
	q := newQuiet(t, Settling{})
	defer func() { q.close(q.a) }()
	q.fill(10)
	q.settles()
	q.passes(2 * time.Hour)
	total := 0
	for range 4 {
		w, err := q.a.Settle.Sweep(t.Context(), 3)
		if err != nil || w.Objects > 3 || w.More != (total+w.Objects < 10) && w.Objects == 3 && total+w.Objects != 9 {
			t.Errorf("%+v, %v", w, err)
		}
		total += w.Objects
	}
	if total != 10 {
		t.Errorf("%d objects", total)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := q.a.Settle.Sweep(ctx, 0); err == nil {
		t.Error("swept under a context that has ended")
	}
	q.reads("swept")
}

// TestSettleNothing: a study that nobody knows is nothing to settle.
func TestSettleNothing(t *testing.T) {
	q := newQuiet(t, Settling{})
	defer func() { q.close(q.a) }()
	r, err := q.a.Settle.Settle(t.Context(), archive.Ref{1})
	if err != nil || r.Settled || strings.Contains(fmt.Sprint(r), "true") {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestSettleReap: the reaper leaves a pack alone that was let go of, however old it is, until its grace has passed.
func TestSettleReap(t *testing.T) {
	q := newQuiet(t, Settling{})
	defer func() { q.close(q.a) }()
	q.o.Grace = time.Second // by the store's clock, which is not put forward
	q.close(q.a)
	q.a = q.open()
	q.fill(4)
	q.settles()
	q.stores(1, 9)
	time.Sleep(1100 * time.Millisecond)
	q.settles()
	if n := len(q.objects("pack")); n != 2 {
		t.Fatalf("%d packs", n)
	}
	if n, err := q.a.Reconcile.Reap(t.Context()); n.Packs != 0 || err != nil {
		t.Errorf("%+v were reaped, %v", n, err)
	}
	q.passes(2 * time.Hour)
	if w := q.sweeps(); w.Objects != 7 { // five log objects, the first settled fact and its pack
		t.Errorf("%+v", w)
	}
	q.reads("swept")
}
