package splitstore_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/strata-pacs/strata/storage"
	"github.com/strata-pacs/strata/storage/driver"
	"github.com/strata-pacs/strata/storage/drivertest"
	"github.com/strata-pacs/strata/storage/memstore"
	"github.com/strata-pacs/strata/storage/splitstore"
)

// odd picks about half of any keys.
func odd(key string) bool {
	sum := 0
	for _, c := range []byte(key) {
		sum += int(c)
	}
	return sum%2 == 1
}

func TestDriver(t *testing.T) {
	drivertest.Run(t, drivertest.Harness{New: func(*testing.T) driver.Driver {
		return splitstore.New(splitstore.Options{Picked: memstore.New(memstore.Options{}), Other: memstore.New(memstore.Options{}), Pick: odd})
	}})
}

// locker is a store that remembers what it locked.
type locker struct {
	*memstore.Store
	locked []string
}

func (l *locker) Locks() bool { return true }

func (l *locker) Lock(_ context.Context, key string, _ time.Time) error {
	l.locked = append(l.locked, key)
	return nil
}

// TestLocks: what is not picked is locked by the store it lies in.
func TestLocks(t *testing.T) {
	rest := &locker{Store: memstore.New(memstore.Options{})}
	b := storage.New(splitstore.New(splitstore.Options{Picked: memstore.New(memstore.Options{}), Other: rest, Pick: odd}))
	if err := b.Lock(t.Context(), "bb", time.Now()); err != nil || !b.Locks() || !slices.Equal(rest.locked, []string{"bb"}) {
		t.Errorf("locked %v, %v", rest.locked, err)
	}
}

func TestObjectsLieWhereTheyBelong(t *testing.T) {
	keys, rest := memstore.New(memstore.Options{}), memstore.New(memstore.Options{})
	b := storage.New(splitstore.New(splitstore.Options{Picked: keys, Other: rest, Pick: func(k string) bool { return strings.Contains(k, "/key/") }}))
	var want []string
	for i := range 20 {
		for _, kind := range []string{"key", "log", "pack"} {
			name := fmt.Sprintf("t%02d/%s/%d", i%3, kind, i)
			if _, err := b.Put(t.Context(), name, []byte("x"), storage.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
			want = append(want, name)
		}
	}
	// Strays in the wrong store are nobody's.
	if _, err := storage.New(keys).Put(t.Context(), "t00/pack/stray", []byte("x"), storage.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	slices.Sort(want)
	for _, limit := range []int{1, 2, 7, 100} {
		var got []string
		for after := ""; ; {
			p, err := b.List(t.Context(), "", after, limit)
			if err != nil {
				t.Fatal(err)
			}
			for _, o := range p.Objects {
				got = append(got, o.Key)
			}
			if !p.More {
				break
			}
			after = got[len(got)-1]
		}
		if !slices.Equal(got, want) {
			t.Errorf("pages of %d:\n%v\nwant\n%v", limit, got, want)
		}
	}
	for name, d := range map[string]driver.Driver{"key": keys, "rest": rest} {
		p, err := d.List(t.Context(), "", "", 100)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range p.Objects {
			if strings.Contains(o.Key, "/key/") != (name == "key") && !strings.HasSuffix(o.Key, "stray") {
				t.Errorf("%s lies with the %ss", o.Key, name)
			}
		}
	}
}
