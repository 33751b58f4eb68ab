package memstore_test

import (
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/storage"
	"github.com/strata-pacs/strata/storage/driver"
	"github.com/strata-pacs/strata/storage/drivertest"
	"github.com/strata-pacs/strata/storage/memstore"
)

func TestDriver(t *testing.T) {
	drivertest.Run(t, drivertest.Harness{
		New: func(*testing.T) driver.Driver { return memstore.New(memstore.Options{}) },
		Reopen: func(_ *testing.T, d driver.Driver) driver.Driver {
			d.(*memstore.Store).Crash()
			return d
		},
	})
}

func TestCrash(t *testing.T) {
	s := memstore.New(memstore.Options{})
	b := storage.New(s)
	if _, err := b.Put(t.Context(), "a", []byte("a"), storage.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	w, err := b.Create(t.Context(), "b", storage.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	s.Crash()
	if _, err := w.Commit(t.Context()); !fault.Is(err, fault.Unavailable) {
		t.Errorf("committing after a crash: %v", err)
	}
	if _, err := b.Get(t.Context(), "a", 10); err != nil {
		t.Error(err)
	}
}

func TestClockAndCapacity(t *testing.T) {
	now := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	s := memstore.New(memstore.Options{Now: func() time.Time { return now }, Capacity: 100})
	b := storage.New(s)
	a, err := b.Put(t.Context(), "a", make([]byte, 90), storage.CreateOptions{})
	if err != nil || !a.Modified.Equal(now) {
		t.Fatalf("%+v, %v", a, err)
	}
	if _, err := b.Put(t.Context(), "b", make([]byte, 11), storage.CreateOptions{}); !fault.Is(err, fault.Full) {
		t.Errorf("past the capacity: %v", err)
	}
	w, err := b.Create(t.Context(), "c", storage.CreateOptions{}) // size unknown
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(make([]byte, 50)); !fault.Is(err, fault.Full) {
		t.Errorf("writing past the capacity: %v", err)
	}
	w.Abort()
	if _, err := b.Put(t.Context(), "fact", make([]byte, 20), storage.CreateOptions{Reserved: true}); err != nil {
		t.Errorf("a reserved object: %v", err)
	}
	if err := b.Delete(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Put(t.Context(), "b", make([]byte, 80), storage.CreateOptions{}); err != nil {
		t.Errorf("after a deletion: %v", err)
	}
	s.SetCapacity(10)
	if _, err := b.Put(t.Context(), "d", nil, storage.CreateOptions{}); !fault.Is(err, fault.Full) {
		t.Errorf("past a smaller capacity: %v", err)
	}
}
