package tierstore_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/storage"
	"github.com/strata-pacs/strata/storage/driver"
	"github.com/strata-pacs/strata/storage/drivertest"
	"github.com/strata-pacs/strata/storage/faultstore"
	"github.com/strata-pacs/strata/storage/filestore"
	"github.com/strata-pacs/strata/storage/memstore"
	"github.com/strata-pacs/strata/storage/retrystore"
	"github.com/strata-pacs/strata/storage/tierstore"
)

func three() []driver.Driver {
	return []driver.Driver{memstore.New(memstore.Options{}), memstore.New(memstore.Options{}), memstore.New(memstore.Options{})}
}

func TestDriver(t *testing.T) {
	drivertest.Run(t, drivertest.Harness{New: func(*testing.T) driver.Driver { return tierstore.New(tierstore.Options{Stores: three()}).Driver }})
}

func TestDriverOverFaults(t *testing.T) {
	seed := uint64(0)
	drivertest.Run(t, drivertest.Harness{New: func(*testing.T) driver.Driver {
		var stores []driver.Driver
		for _, d := range three() {
			seed++
			rates := map[faultstore.Name]float64{faultstore.Open: 0.1, faultstore.Read: 0.1, faultstore.Stat: 0.1, faultstore.List: 0.1, faultstore.Delete: 0.1}
			// Reads of a mapped object are tried once, as those of a disk are.
			f := faultstore.New(bare{d}, faultstore.Random(seed, rates, faultstore.FailBefore, faultstore.FailAfter, faultstore.Cut))
			stores = append(stores, retrystore.New(f.Driver, retrystore.Options{Attempts: 20, Sleep: func(ctx context.Context, _ time.Duration) error { return ctx.Err() }}))
		}
		return tierstore.New(tierstore.Options{Stores: stores}).Driver
	}})
}

// scattered names every object as a pack and writes it to a store that depends
// on its key, as if it had moved there; all else goes through the tiers.
type scattered struct {
	driver.Driver
	stores []driver.Driver
}

const under = "t/pack/"

func place(key string, stores int) int {
	sum := 0
	for _, c := range []byte(key) {
		sum += int(c)
	}
	return sum % stores
}

func (s scattered) Create(ctx context.Context, key string, o driver.CreateOptions) (driver.Writer, error) {
	return s.stores[place(under+key, len(s.stores))].Create(ctx, under+key, o)
}

func (s scattered) Open(ctx context.Context, key string, off, n int64) (io.ReadCloser, error) {
	return s.Driver.Open(ctx, under+key, off, n)
}

func (s scattered) Stat(ctx context.Context, key string) (driver.Attrs, error) {
	return s.Driver.Stat(ctx, under+key)
}

func (s scattered) Delete(ctx context.Context, key string) error {
	return s.Driver.Delete(ctx, under+key)
}

func (s scattered) List(ctx context.Context, prefix, after string, limit int) (driver.Page, error) {
	p, err := s.Driver.List(ctx, under+prefix, under+after, limit)
	for i := range p.Objects {
		p.Objects[i].Key = strings.TrimPrefix(p.Objects[i].Key, under)
	}
	return p, err
}

func (s scattered) OpenAt(ctx context.Context, key string) (driver.ReaderAtCloser, int64, error) {
	return driver.OptionalOf(s.Driver).Mapper.OpenAt(ctx, under+key)
}

func TestDriverOfMovedPacks(t *testing.T) {
	for name, hint := range map[string]func(context.Context, string) (int, bool){
		"no hint":    nil,
		"right":      func(_ context.Context, key string) (int, bool) { return place(key, 3), true },
		"wrong":      func(_ context.Context, key string) (int, bool) { return (place(key, 3) + 1) % 3, true },
		"impossible": func(context.Context, string) (int, bool) { return 7, true },
	} {
		t.Run(name, func(t *testing.T) {
			drivertest.Run(t, drivertest.Harness{New: func(*testing.T) driver.Driver {
				stores := three()
				return scattered{tierstore.New(tierstore.Options{Stores: stores, Hint: hint}).Driver, stores}
			}})
		})
	}
}

func put(t *testing.T, d driver.Driver, key, value string) {
	t.Helper()
	if _, err := storage.New(d).Put(t.Context(), key, []byte(value), storage.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func TestHints(t *testing.T) {
	stores := three()
	hinted := 0
	s := tierstore.New(tierstore.Options{Stores: stores, Hint: func(context.Context, string) (int, bool) { return hinted, true }})
	b := storage.New(s.Driver)
	put(t, stores[2], "t/pack/a", "cold")
	put(t, stores[2], "t/log/s/1", "not where it belongs")
	for _, c := range []struct {
		hint  int
		wrong int64
	}{{2, 0}, {0, 1}, {1, 2}, {2, 2}} {
		hinted = c.hint
		if p, err := b.Get(t.Context(), "t/pack/a", 100); err != nil || string(p) != "cold" || s.WrongHints() != c.wrong {
			t.Errorf("hint %d: %q, %v, %d wrong hints, want %d", c.hint, p, err, s.WrongHints(), c.wrong)
		}
	}
	hinted = 2
	if _, err := b.Get(t.Context(), "t/log/s/1", 100); !fault.Is(err, fault.NotFound) {
		t.Errorf("what is no pack is found outside the hot store: %v", err)
	}
	// A pack that is nowhere is no wrong hint: nothing was better.
	if _, err := b.Stat(t.Context(), "t/pack/none"); !fault.Is(err, fault.NotFound) || s.WrongHints() != 2 {
		t.Errorf("nowhere: %v, %d", err, s.WrongHints())
	}
}

// TestOtherCopy: what one store cannot give, another may; what none can is told
// by the error of the one that has it, never as an object that is not there.
func TestOtherCopy(t *testing.T) {
	archived := fault.New(fault.Archived, "it must be restored first")
	for _, c := range []struct {
		name   string
		err    error // of the store that the hint names
		copied bool
		want   fault.Kind
	}{
		{"archived, another copy", archived, true, 0},
		{"archived", archived, false, fault.Archived},
		{"unreachable, another copy", nil, true, 0},
		{"unreachable", nil, false, fault.Unavailable},
		{"refused", fault.New(fault.Forbidden, "no"), true, fault.Forbidden},
	} {
		t.Run(c.name, func(t *testing.T) {
			stores := three()
			put(t, stores[1], "t/pack/a", "x")
			if c.copied {
				put(t, stores[0], "t/pack/a", "x")
			}
			stores[1] = faultstore.New(stores[1], func(op faultstore.Op) faultstore.Decision {
				return faultstore.Decision{Action: faultstore.FailBefore, Err: c.err}
			}).Driver
			for _, hint := range []func(context.Context, string) (int, bool){nil, func(context.Context, string) (int, bool) { return 1, true }} {
				if hint == nil && c.want == fault.Forbidden {
					continue // the hot store is asked first
				}
				b := storage.New(tierstore.New(tierstore.Options{Stores: stores, Hint: hint}).Driver)
				p, err := b.Get(t.Context(), "t/pack/a", 10)
				if c.want == 0 && (err != nil || string(p) != "x") || c.want != 0 && !fault.Is(err, c.want) {
					t.Errorf("%q, %v", p, err)
				}
			}
		})
	}
}

func TestLists(t *testing.T) {
	early, late := time.Unix(1000, 0).UTC(), time.Unix(2000, 0).UTC()
	stores := []driver.Driver{
		memstore.New(memstore.Options{Now: func() time.Time { return early }}),
		memstore.New(memstore.Options{Now: func() time.Time { return late }}),
		memstore.New(memstore.Options{Now: func() time.Time { return early }}),
	}
	var want []string
	for i := range 30 {
		for _, tenant := range []string{"a", "b"} {
			log, pack := fmt.Sprintf("%s/log/s/%02d", tenant, i), fmt.Sprintf("%s/pack/%02d", tenant, i)
			want = append(want, log, pack)
			put(t, stores[0], log, "x")
			put(t, stores[i%3], pack, "x")
			if i == 3 { // two copies, the newer one not first
				put(t, stores[1], pack, "x")
			}
		}
	}
	put(t, stores[1], "a/log/s/99", "x") // nothing of ours
	put(t, stores[2], "a/zzz", "x")
	slices.Sort(want)
	b := storage.New(tierstore.New(tierstore.Options{Stores: stores}).Driver)
	for _, prefix := range []string{"", "a", "a/", "a/l", "a/log/", "a/p", "a/pack", "a/pack/", "a/pack/1", "b/pack/", "c/"} {
		for _, limit := range []int{1, 2, 7, 500} {
			var got []string
			for after := ""; ; {
				p, err := b.List(t.Context(), prefix, after, limit)
				if err != nil {
					t.Fatal(err)
				}
				if len(p.Objects) > limit || p.More && len(p.Objects) == 0 {
					t.Fatalf("%q by %d: a page of %d, more: %v", prefix, limit, len(p.Objects), p.More)
				}
				for _, o := range p.Objects {
					got = append(got, o.Key)
					if o.Key == "a/pack/03" && !o.Modified.Equal(late) {
						t.Errorf("the time of an older copy is told: %v", o.Modified)
					}
				}
				if !p.More {
					break
				}
				after = got[len(got)-1]
			}
			under := slices.DeleteFunc(slices.Clone(want), func(k string) bool { return !strings.HasPrefix(k, prefix) })
			if !slices.Equal(got, under) {
				t.Errorf("%q by %d:\n%v\nwant\n%v", prefix, limit, got, under)
			}
		}
	}
}

// TestListOfLogAsksHotAlone: following a log must not cost a request to each tier.
func TestListOfLogAsksHotAlone(t *testing.T) {
	stores := three()
	cold := faultstore.New(stores[1], nil)
	stores[1] = cold.Driver
	b := storage.New(tierstore.New(tierstore.Options{Stores: stores}).Driver)
	for _, prefix := range []string{"t/log/", "t/log/s/", "t/key/", "t/clock/", "t/thumb/"} {
		if _, err := b.List(t.Context(), prefix, "", 10); err != nil {
			t.Fatal(err)
		}
	}
	if n := cold.Ops(); n != 0 {
		t.Errorf("the cold store was asked %d times", n)
	}
	if _, err := b.List(t.Context(), "t/pack/", "", 10); err != nil || cold.Ops() != 1 {
		t.Errorf("packs: %d requests, %v", cold.Ops(), err)
	}
}

func TestDeleteReachesEveryCopy(t *testing.T) {
	for name, remove := range map[string]func(*storage.Bucket, context.Context, string) error{"delete": (*storage.Bucket).Delete, "purge": (*storage.Bucket).Purge} {
		t.Run(name, func(t *testing.T) {
			stores := three()
			for _, d := range stores {
				put(t, d, "t/pack/a", "x")
				put(t, d, "t/log/s/1", "x")
			}
			// One store fails at first: the others' copies go, and the rest when tried again.
			f := faultstore.New(stores[1], faultstore.At(1, faultstore.FailBefore))
			b := storage.New(tierstore.New(tierstore.Options{Stores: []driver.Driver{stores[0], f.Driver, stores[2]}}).Driver)
			if err := remove(b, t.Context(), "t/pack/a"); !fault.Is(err, fault.Unavailable) {
				t.Errorf("a store failed: %v", err)
			}
			there := func(want ...bool) {
				t.Helper()
				for i, d := range stores {
					if is, err := storage.New(d).Exists(t.Context(), "t/pack/a"); err != nil || is != want[i] {
						t.Errorf("store %d has a copy: %v, %v", i, is, err)
					}
				}
			}
			there(false, true, false)
			if err := remove(b, t.Context(), "t/pack/a"); err != nil {
				t.Error(err)
			}
			there(false, false, false)
			if err := remove(b, t.Context(), "t/log/s/1"); err != nil {
				t.Error(err)
			}
			if is, err := storage.New(stores[1]).Exists(t.Context(), "t/log/s/1"); err != nil || !is {
				t.Errorf("what is no pack was deleted outside the hot store: %v", err)
			}
		})
	}
}

func TestWritesAreHot(t *testing.T) {
	stores := three()
	b := storage.New(tierstore.New(tierstore.Options{Stores: stores, Hint: func(context.Context, string) (int, bool) { return 2, true }}).Driver)
	put(t, stores[2], "t/pack/x", "x")
	if _, err := b.Put(t.Context(), "t/pack/a", []byte("x"), storage.CreateOptions{IfAbsent: true}); err != nil {
		t.Fatal(err)
	}
	for i, d := range stores {
		if is, err := storage.New(d).Exists(t.Context(), "t/pack/a"); err != nil || is != (i == 0) {
			t.Errorf("store %d: %v, %v", i, is, err)
		}
	}
}

// bare hides what is optional.
type bare struct{ driver.Driver }

func TestOptional(t *testing.T) {
	files, err := filestore.New(t.TempDir(), filestore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	far := bare{memstore.New(memstore.Options{})}
	want := bytes.Repeat([]byte("0123456789"), 1000)
	put(t, far, "t/pack/far", string(want))
	near := tierstore.New(tierstore.Options{Stores: []driver.Driver{files, far}}).Driver
	if driver.OptionalOf(near).Mapper == nil {
		t.Fatal("a hot store of files is no longer read as files")
	}
	put(t, near, "t/pack/near", string(want))
	for _, key := range []string{"t/pack/near", "t/pack/far"} {
		r, size, err := storage.New(near).OpenAt(t.Context(), key)
		if err != nil || size != int64(len(want)) {
			t.Fatal(key, size, err)
		}
		p := make([]byte, 100)
		if _, err := r.ReadAt(p, 4567); err != nil || !bytes.Equal(p, want[4567:4667]) {
			t.Errorf("%s: %v", key, err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, _, err := storage.New(near).OpenAt(t.Context(), "t/pack/none"); !fault.Is(err, fault.NotFound) {
		t.Errorf("nowhere: %v", err)
	}
	can := driver.OptionalOf(tierstore.New(tierstore.Options{Stores: []driver.Driver{far, files}}).Driver)
	if can.Mapper != nil || can.Classer != nil || can.Thawer != nil || can.Repeater != nil {
		t.Errorf("a far hot store has %+v", can)
	}
}
