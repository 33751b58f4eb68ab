package delaystore_test

import (
	"bytes"
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/storage"
	"github.com/strata-pacs/strata/storage/delaystore"
	"github.com/strata-pacs/strata/storage/driver"
	"github.com/strata-pacs/strata/storage/drivertest"
	"github.com/strata-pacs/strata/storage/memstore"
)

func TestDriver(t *testing.T) {
	drivertest.Run(t, drivertest.Harness{New: func(*testing.T) driver.Driver {
		return delaystore.New(memstore.New(memstore.Options{}), delaystore.Options{Delay: time.Microsecond, Rate: 10 << 30}).Driver
	}})
}

// TestDelay: requests in a row take as many delays, those at once take one.
func TestDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const delay = 50 * time.Millisecond
		s := delaystore.New(memstore.New(memstore.Options{}), delaystore.Options{Delay: delay})
		b := storage.New(s)
		took := func(what string, want time.Duration, do func() error) {
			t.Helper()
			from := time.Now()
			if err := do(); err != nil || time.Since(from) != want {
				t.Errorf("%s: %v instead of %v, %v", what, time.Since(from), want, err)
			}
		}
		took("a store", delay, func() error {
			_, err := b.Put(t.Context(), "a", []byte("bytes"), storage.CreateOptions{})
			return err
		})
		get := func() error { _, err := b.Get(t.Context(), "a", 10); return err }
		took("a read", delay, get)
		took("three reads at once", delay, func() error {
			var wg sync.WaitGroup
			for range 3 {
				wg.Go(func() {
					if err := get(); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			return nil
		})
		took("two in a row", 2*delay, func() error {
			_, err := b.Stat(t.Context(), "a")
			if err != nil {
				return err
			}
			return b.Delete(t.Context(), "a")
		})
		if n := s.Requests(); n != 7 {
			t.Errorf("%d requests", n)
		}
		ctx, cancel := context.WithTimeout(t.Context(), delay/5)
		defer cancel()
		if _, err := b.List(ctx, "", "", 1); !fault.Is(err, fault.Timeout) {
			t.Errorf("not given up with the context: %v", err)
		}
	})
}

// TestRate: the streams share the line.
func TestRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := memstore.New(memstore.Options{})
		want := bytes.Repeat([]byte("x"), 1<<20)
		if _, err := storage.New(mem).Put(t.Context(), "a", want, storage.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		b := storage.New(delaystore.New(mem, delaystore.Options{Rate: 1 << 20}))
		from := time.Now()
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				if got, err := b.Get(t.Context(), "a", 1<<20); err != nil || !bytes.Equal(got, want) {
					t.Errorf("%d bytes, %v", len(got), err)
				}
			})
		}
		wg.Wait()
		if d := time.Since(from).Round(10 * time.Millisecond); d != 4*time.Second {
			t.Errorf("4 MiB at 1 MiB/s took %v", d)
		}
	})
}
