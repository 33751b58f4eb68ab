package settle

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/storage"
	"github.com/strata-pacs/strata/storage/memstore"
)

// lists is an index that knows what is doomed and where packs are, and nothing else.
type lists struct {
	Index
	doomed []archive.Doomed
	named  map[string]bool
	where  map[string]archive.TierName
	broken error
	asked  func(object string) // called before it is told whether an object is named
}

func (l *lists) Doomed(_ context.Context, _ archive.Tenant, before time.Time, moved bool, after int64, limit int) (page []archive.Doomed, err error) {
	for _, d := range l.doomed {
		if d.Moved == moved && d.ID > after && d.Since.Before(before) && len(page) < limit {
			page = append(page, d)
		}
	}
	return page, l.broken
}

func (l *lists) Undoom(ctx context.Context, _ archive.Tenant, ids ...int64) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	l.doomed = slices.DeleteFunc(l.doomed, func(d archive.Doomed) bool { return slices.Contains(ids, d.ID) })
	return nil
}

func (l *lists) Referenced(_ context.Context, _ archive.Tenant, object string) (bool, error) {
	if l.asked != nil {
		l.asked(object)
	}
	return l.named[object], nil
}

func (l *lists) Where(_ context.Context, _ archive.Tenant, object string) (archive.TierName, bool, error) {
	at, ok := l.where[object]
	return at, ok, nil
}

// places are tiers in three stores: hot; cold and deep in one; far.
type places map[archive.TierName]*storage.Bucket

func newPlaces() places {
	b := func() *storage.Bucket { return storage.New(memstore.New(memstore.Options{})) }
	p := places{"hot": b(), "cold": b(), "far": b()}
	p["deep"] = p["cold"]
	return p
}

func (p places) Tier(name archive.TierName) (*storage.Bucket, archive.Tier, bool) {
	b, ok := p[name]
	t := archive.Tier{Name: name, Store: map[archive.TierName]string{"cold": "mem:1", "deep": "mem:1", "far": "mem:2"}[name], Restore: name == "deep"}
	return b, t, ok
}

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func newSweeper(t *testing.T, l *lists, p places) *Settler {
	t.Helper()
	s, err := New(Options{Tenant: "t", Bucket: p["hot"], Index: l, Tiers: p, Now: func() time.Time { return noon }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// TestSweepOne: what becomes of one doomed object, and of its row.
func TestSweepOne(t *testing.T) {
	const object = "t/pack/1"
	for _, c := range []struct {
		name      string
		d         archive.Doomed
		named     bool
		where     archive.TierName // where the index says it is; empty: it does not know it
		there     map[archive.TierName]int
		gone      bool // the copy
		forgotten bool // the row
		kind      fault.Kind
	}{
		{"let go", archive.Doomed{Tier: "hot", Since: noon.Add(-61 * time.Minute)}, false, "", map[archive.TierName]int{"hot": 5}, true, true, 0},
		{"within the grace", archive.Doomed{Tier: "hot", Since: noon.Add(-59 * time.Minute)}, false, "", map[archive.TierName]int{"hot": 5}, false, false, 0},
		{"named again", archive.Doomed{Tier: "hot"}, true, "hot", map[archive.TierName]int{"hot": 5}, false, false, 0},
		{"gone already", archive.Doomed{Tier: "hot"}, false, "", nil, true, true, 0},
		{"in a cold tier", archive.Doomed{Tier: "cold"}, false, "", map[archive.TierName]int{"cold": 5}, true, true, 0},
		{"in an archive", archive.Doomed{Tier: "deep"}, false, "", map[archive.TierName]int{"deep": 5}, true, true, 0},
		{"in a tier that is not configured", archive.Doomed{Tier: "attic"}, false, "", map[archive.TierName]int{"hot": 5}, false, false, 0},

		{"moved", archive.Doomed{Tier: "hot", Moved: true, Since: noon.Add(-25 * time.Hour)}, true, "cold", map[archive.TierName]int{"hot": 5, "cold": 5}, true, true, 0},
		{"moved into an archive", archive.Doomed{Tier: "hot", Moved: true}, true, "deep", map[archive.TierName]int{"hot": 5, "deep": 5}, true, true, 0},
		{"moved within the hold", archive.Doomed{Tier: "hot", Moved: true, Since: noon.Add(-23 * time.Hour)}, true, "cold", map[archive.TierName]int{"hot": 5, "cold": 5}, false, false, 0},
		{"moved and back", archive.Doomed{Tier: "hot", Moved: true}, true, "hot", map[archive.TierName]int{"hot": 5}, false, true, 0},
		{"moved within a store", archive.Doomed{Tier: "cold", Moved: true}, true, "deep", map[archive.TierName]int{"cold": 5}, false, true, 0},
		{"moved, and not there", archive.Doomed{Tier: "hot", Moved: true}, true, "cold", map[archive.TierName]int{"hot": 5}, false, false, fault.Corrupt},
		{"moved, and shorter there", archive.Doomed{Tier: "hot", Moved: true}, true, "cold", map[archive.TierName]int{"hot": 5, "cold": 4}, false, false, fault.Corrupt},
		{"moved to a tier that is not configured", archive.Doomed{Tier: "hot", Moved: true}, true, "attic", map[archive.TierName]int{"hot": 5}, false, false, 0},
		{"moved, and let go since", archive.Doomed{Tier: "hot", Moved: true}, false, "", map[archive.TierName]int{"hot": 5}, true, true, 0},
		{"moved, and unknown, and named", archive.Doomed{Tier: "hot", Moved: true}, true, "", map[archive.TierName]int{"hot": 5}, false, false, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPlaces()
			for tier, n := range c.there {
				if _, err := p[tier].Put(t.Context(), object, make([]byte, n), storage.CreateOptions{}); err != nil {
					t.Fatal(err)
				}
			}
			c.d.ID, c.d.Object, c.d.Size = 7, object, 5
			l := &lists{doomed: []archive.Doomed{c.d}, named: map[string]bool{object: c.named}, where: map[string]archive.TierName{}}
			if c.where != "" {
				l.where[object] = c.where
			}
			w, err := newSweeper(t, l, p).Sweep(t.Context(), 0)
			if c.kind != 0 && !fault.Is(err, c.kind) || c.kind == 0 && err != nil {
				t.Errorf("%v", err)
			}
			for tier, n := range c.there {
				if tier == c.d.Tier && c.gone {
					n = 0
				}
				if a, err := p[tier].Stat(t.Context(), object); int(a.Size) != n || n > 0 && err != nil {
					t.Errorf("in %s: %d bytes, %v", tier, a.Size, err)
				}
			}
			if (len(l.doomed) == 0) != c.forgotten {
				t.Errorf("forgotten: %v", len(l.doomed) == 0)
			}
			if (w.Objects == 1) != (c.gone && c.forgotten) || w.Objects == 1 && w.Bytes != 5 {
				t.Errorf("%+v", w)
			}
		})
	}
}

// TestSweepPages: many objects, some of which stay, are gone through a bounded number at a time.
func TestSweepPages(t *testing.T) {
	p := newPlaces()
	l := &lists{named: map[string]bool{}}
	for i := range 3*sweepPage + 10 {
		object := fmt.Sprintf("t/pack/%d", i)
		if _, err := p["hot"].Put(t.Context(), object, []byte{1}, storage.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		l.named[object] = i%100 == 0
		l.doomed = append(l.doomed, archive.Doomed{ID: int64(i + 1), Object: object, Tier: "hot", Size: 1})
	}
	s := newSweeper(t, l, p)
	if w, err := s.Sweep(t.Context(), sweepPage+5); err != nil || w.Objects != sweepPage+5-3 || w.Kept != 3 || !w.More {
		t.Errorf("%+v, %v", w, err)
	}
	if w, err := s.Sweep(t.Context(), 0); err != nil || w.Objects != 2*sweepPage+5-5 || w.Kept != 5 || w.More {
		t.Errorf("%+v, %v", w, err)
	}
	if len(l.doomed) != 8 {
		t.Errorf("%d are left", len(l.doomed))
	}
	boom := errors.New("boom")
	l.broken = boom
	if _, err := s.Sweep(t.Context(), 0); !errors.Is(err, boom) {
		t.Error(err)
	}
}

// TestSweepIsBrokenOff: a sweep whose context ends goes to no further object, notes what is gone, and says why it ended.
func TestSweepIsBrokenOff(t *testing.T) {
	p := newPlaces()
	ctx, cancel := context.WithCancelCause(t.Context())
	paused := errors.New("paused")
	asked := 0
	l := &lists{asked: func(string) {
		if asked++; asked == 4 {
			cancel(paused)
		}
	}}
	for i := range 2 * sweepPage {
		object := fmt.Sprintf("t/pack/%d", i)
		if _, err := p["hot"].Put(t.Context(), object, []byte{1}, storage.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		l.doomed = append(l.doomed, archive.Doomed{ID: int64(i + 1), Object: object, Tier: "hot", Size: 1})
	}
	s := newSweeper(t, l, p)
	w, err := s.Sweep(ctx, 0)
	if !errors.Is(err, paused) || asked != 4 || w.Objects != 3 || len(l.doomed) != 2*sweepPage-3 {
		t.Errorf("%+v, %v: %d were asked about, %d are left", w, err, asked, len(l.doomed))
	}
	if w, err := s.Sweep(t.Context(), 0); err != nil || w.Objects != 2*sweepPage-3 {
		t.Errorf("%+v, %v", w, err)
	}
}

// TestSweepOneStoreUnderTwoAddresses: the copy in the other tier is the one that is to be deleted.
func TestSweepOneStoreUnderTwoAddresses(t *testing.T) {
	const object = "t/pack/1"
	p := newPlaces()
	p["cold"] = p["hot"]
	if _, err := p["hot"].Put(t.Context(), object, make([]byte, 5), storage.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	l := &lists{doomed: []archive.Doomed{{ID: 1, Object: object, Size: 5, Tier: "hot", Moved: true}}, where: map[string]archive.TierName{object: "cold"}}
	if w, err := newSweeper(t, l, p).Sweep(t.Context(), 0); !fault.Is(err, fault.Invalid) || w.Objects != 0 || len(l.doomed) != 1 {
		t.Errorf("%+v, %v", w, err)
	}
	if there, err := p["cold"].Exists(t.Context(), object); err != nil || !there {
		t.Errorf("the only copy is gone: %v", err)
	}
}

// TestSweepBehindWhatFails: what a store never removes hides nothing that comes behind it.
func TestSweepBehindWhatFails(t *testing.T) {
	p := newPlaces()
	l := &lists{named: map[string]bool{}, where: map[string]archive.TierName{}}
	const stuck = 2*maxFailures + 3 // moved, and not where they were moved to
	for i := range stuck + 5 {
		object := fmt.Sprintf("t/pack/%d", i)
		d := archive.Doomed{ID: int64(i + 1), Object: object, Tier: "hot", Size: 1, Moved: true, Since: noon.Add(-48 * time.Hour)}
		for _, tier := range []archive.TierName{"hot", "cold"} {
			if i < stuck && tier == "cold" {
				continue
			}
			if _, err := p[tier].Put(t.Context(), object, []byte{1}, storage.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		l.where[object] = "cold"
		l.doomed = append(l.doomed, d)
	}
	s := newSweeper(t, l, p)
	for i, want := range []Swept{{More: true}, {More: true}, {Objects: 5, Bytes: 5}, {More: true}} { // and from the beginning
		if w, err := s.Sweep(t.Context(), 0); w != want || !fault.Is(err, fault.Corrupt) {
			t.Errorf("sweep %d: %+v, %v", i, w, err)
		}
	}
	if len(l.doomed) != stuck {
		t.Errorf("%d are left", len(l.doomed))
	}
}
