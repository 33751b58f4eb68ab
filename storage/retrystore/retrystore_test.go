package retrystore_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/storage"
	"github.com/strata-pacs/strata/storage/driver"
	"github.com/strata-pacs/strata/storage/drivertest"
	"github.com/strata-pacs/strata/storage/faultstore"
	"github.com/strata-pacs/strata/storage/memstore"
	"github.com/strata-pacs/strata/storage/retrystore"
)

// pauses is a clock that does not wait.
type pauses struct {
	mu  sync.Mutex
	all []time.Duration
}

func (p *pauses) sleep(ctx context.Context, d time.Duration) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all = append(p.all, d)
	return ctx.Err()
}

func options(replay int64) retrystore.Options {
	return retrystore.Options{Attempts: 6, Replay: replay, Sleep: (&pauses{}).sleep}
}

func TestDriver(t *testing.T) {
	for name, replay := range map[string]int64{"Plain": 0, "Replay": 1 << 20} {
		t.Run(name, func(t *testing.T) {
			drivertest.Run(t, drivertest.Harness{New: func(*testing.T) driver.Driver {
				return retrystore.New(memstore.New(memstore.Options{}), options(replay))
			}})
		})
	}
}

// TestDriverOverFaults: with retries a store that fails often, before and
// after the effect, passes the same suite.
func TestDriverOverFaults(t *testing.T) {
	for seed := range uint64(3) {
		rates := map[faultstore.Name]float64{faultstore.Create: .1, faultstore.Write: .1, faultstore.Commit: .2,
			faultstore.Open: .1, faultstore.Read: .1, faultstore.Stat: .1, faultstore.List: .1, faultstore.Delete: .1}
		drivertest.Run(t, drivertest.Harness{New: func(*testing.T) driver.Driver {
			o := options(32 << 20)
			o.Attempts = 20
			f := faultstore.New(memstore.New(memstore.Options{}),
				faultstore.Random(seed, rates, faultstore.FailBefore, faultstore.FailAfter, faultstore.Short, faultstore.Cut))
			return retrystore.New(f.Driver, o)
		}})
	}
}

func TestPauses(t *testing.T) {
	var p pauses
	f := faultstore.New(memstore.New(memstore.Options{}), func(faultstore.Op) faultstore.Decision {
		return faultstore.Decision{Action: faultstore.FailBefore}
	})
	d := retrystore.New(f, retrystore.Options{Attempts: 9, First: time.Second, Longest: 20 * time.Second,
		Sleep: p.sleep, Random: func() float64 { return 0 }})
	_, err := d.Stat(t.Context(), "x")
	if !errors.Is(err, faultstore.ErrInjected) || f.Ops() != 9 {
		t.Errorf("%d attempts, %v", f.Ops(), err)
	}
	want := []time.Duration{1, 2, 4, 8, 16, 20, 20, 20}
	for i, d := range p.all {
		if i >= len(want) || d != want[i]*time.Second {
			t.Fatalf("pauses %v", p.all)
		}
	}
}

func TestNotRetried(t *testing.T) {
	for _, kind := range []fault.Kind{fault.NotFound, fault.Full, fault.Exists, fault.Internal, fault.Corrupt, fault.Canceled} {
		f := faultstore.New(memstore.New(memstore.Options{}), func(faultstore.Op) faultstore.Decision {
			return faultstore.Decision{Action: faultstore.FailBefore, Err: fault.New(kind, "no")}
		})
		d := retrystore.New(f, options(1000))
		if _, err := d.Stat(t.Context(), "x"); !fault.Is(err, kind) || f.Ops() != 1 {
			t.Errorf("%v: %d attempts, %v", kind, f.Ops(), err)
		}
	}
}

func TestContextEnds(t *testing.T) {
	f := faultstore.New(memstore.New(memstore.Options{}), func(faultstore.Op) faultstore.Decision {
		return faultstore.Decision{Action: faultstore.FailBefore}
	})
	d := retrystore.New(f, retrystore.Options{First: time.Hour, Longest: time.Hour})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := d.Delete(ctx, "x"); !fault.Is(err, fault.Unavailable) || f.Ops() != 1 {
		t.Errorf("%d attempts, %v", f.Ops(), err)
	}
}

// TestUnsure: an attempt that succeeded although it failed is recognised, and
// another writer's object is not mistaken for it.
func TestUnsure(t *testing.T) {
	mem := memstore.New(memstore.Options{})
	f := faultstore.New(mem, nil)
	b := storage.New(retrystore.New(f, options(1<<20)))
	first := true
	script := func(op faultstore.Op) faultstore.Decision {
		if op.Name == faultstore.Commit && first {
			first = false
			return faultstore.Decision{Action: faultstore.FailAfter}
		}
		return faultstore.Decision{}
	}
	f.Script(script)
	a, err := b.Put(t.Context(), "a", []byte("mine"), storage.CreateOptions{IfAbsent: true})
	if err != nil || first {
		t.Fatalf("its own object was in the way: %v", err)
	}
	first = true
	if a, err = b.Put(t.Context(), "a", []byte("again"), storage.CreateOptions{IfMatch: a.ETag}); err != nil || first {
		t.Fatalf("its own replacement was in the way: %v", err)
	}
	if got, err := b.Stat(t.Context(), "a"); err != nil || got != a {
		t.Errorf("%+v, %v; want %+v", got, err, a)
	}

	first = true
	f.Script(func(op faultstore.Op) faultstore.Decision {
		if op.Name == faultstore.Commit && first {
			first = false
			if _, err := storage.New(mem).Put(t.Context(), "b", []byte("yours"), storage.CreateOptions{}); err != nil {
				t.Error(err)
			}
			return faultstore.Decision{Action: faultstore.FailBefore}
		}
		return faultstore.Decision{}
	})
	if _, err := b.Put(t.Context(), "b", []byte("mine!"), storage.CreateOptions{IfAbsent: true}); !fault.Is(err, fault.Exists) {
		t.Errorf("another's object: %v", err)
	}
}

// TestResume: a read goes on where it broke off, and gives up in the end.
func TestResume(t *testing.T) {
	mem := memstore.New(memstore.Options{})
	want := make([]byte, 300_000)
	r := rand.NewChaCha8([32]byte{1})
	_, _ = r.Read(want)
	if _, err := storage.New(mem).Put(t.Context(), "a", want, storage.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	f := faultstore.New(mem, func(op faultstore.Op) faultstore.Decision {
		if op.Name == faultstore.Read && op.N%3 == 0 {
			return faultstore.Decision{Action: faultstore.Cut}
		}
		return faultstore.Decision{}
	})
	b := storage.New(retrystore.New(f, options(0)))
	for _, c := range []struct{ off, n int64 }{{0, -1}, {0, 300_000}, {77_777, 111_111}} {
		rc, err := b.Open(t.Context(), "a", c.off, c.n)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(rc)
		if err != nil {
			t.Fatal(err)
		}
		end := int64(len(want))
		if c.n >= 0 {
			end = c.off + c.n
		}
		if !bytes.Equal(got, want[c.off:end]) {
			t.Errorf("%+v: %d wrong bytes", c, len(got))
		}
		if err := rc.Close(); err != nil {
			t.Error(err)
		}
	}
	rc, err := b.Open(t.Context(), "a", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	f.Crash()
	for range 2 {
		if _, err := io.ReadAll(rc); !errors.Is(err, faultstore.ErrCrashed) {
			t.Errorf("after a crash: %v", err)
		}
	}
	if err := rc.Close(); err != nil {
		t.Error(err)
	}
}
