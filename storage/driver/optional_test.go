package driver_test

import (
	"context"
	"testing"
	"time"

	"github.com/strata-pacs/strata/storage/driver"
	"github.com/strata-pacs/strata/storage/faultstore"
	"github.com/strata-pacs/strata/storage/memstore"
	"github.com/strata-pacs/strata/storage/retrystore"
)

// all is a driver with every optional interface.
type all struct{ *memstore.Store }

func (all) Purge(context.Context, string) error                    { return nil }
func (all) SetClass(context.Context, string, string) error         { return nil }
func (all) Thaw(context.Context, string, driver.ThawOptions) error { return nil }
func (all) Lock(context.Context, string, time.Time) error          { return nil }
func (all) Locks() bool                                            { return true }
func (all) Folders(context.Context, string, string, int) ([]string, bool, error) {
	return nil, false, nil
}
func (a all) CreateRepeating(ctx context.Context, key string, o driver.CreateOptions, _ driver.Again) (driver.Writer, error) {
	return a.Create(ctx, key, o)
}

// none is a driver with no optional interface.
type none struct{ driver.Driver }

func has(d driver.Driver) (have [7]bool) {
	o := driver.OptionalOf(d)
	return [7]bool{o.Mapper != nil, o.Purger != nil, o.Classer != nil, o.Thawer != nil, o.Repeater != nil, o.Locker != nil, o.Folders != nil}
}

func TestOptional(t *testing.T) {
	mem := memstore.New(memstore.Options{})
	mapper := [7]bool{0: true}
	for name, c := range map[string]struct {
		d    driver.Driver
		want [7]bool
	}{
		"none":              {none{mem}, [7]bool{}},
		"mapper":            {mem, mapper},
		"all":               {all{mem}, [7]bool{true, true, true, true, true, true, true}},
		"joined with less":  {driver.Join(all{mem}, driver.Optional{Mapper: mem}), mapper},
		"joined with more":  {driver.Join(none{mem}, driver.Optional{Mapper: mem}), mapper},
		"retries, mapper":   {retrystore.New(mem, retrystore.Options{}), mapper},
		"retries, none":     {retrystore.New(none{mem}, retrystore.Options{}), [7]bool{}},
		"retries, all":      {retrystore.New(all{mem}, retrystore.Options{}), [7]bool{true, true, true, true, false, true, true}},
		"faults, all":       {faultstore.New(all{mem}, nil).Driver, [7]bool{true, true, true, true, false, true, true}},
		"retries of faults": {retrystore.New(faultstore.New(mem, nil).Driver, retrystore.Options{}), mapper},
	} {
		if got := has(c.d); got != c.want {
			t.Errorf("%s: mapper, purger, classer, thawer, repeater, locker, folders are %v, want %v", name, got, c.want)
		}
	}
}

func TestMoved(t *testing.T) {
	driver.Moved(t.Context()) // nobody watches
	var outer, inner int
	ctx := driver.WithMoved(t.Context(), func() { outer++ })
	ctx2 := driver.WithMoved(ctx, func() { inner++ })
	driver.Moved(ctx2)
	driver.Moved(ctx)
	if outer != 2 || inner != 1 {
		t.Errorf("the outer heard %d, the inner %d", outer, inner)
	}
}
