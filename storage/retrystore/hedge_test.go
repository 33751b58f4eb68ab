package retrystore_test

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/storage"
	"github.com/strata-pacs/strata/storage/driver"
	"github.com/strata-pacs/strata/storage/memstore"
	"github.com/strata-pacs/strata/storage/retrystore"
)

// far is a driver whose n-th Open takes a time and may then fail. It counts the
// streams that are open.
type far struct {
	driver.Driver
	mu    sync.Mutex
	takes func(n int) (time.Duration, error)
	opens int
	live  int
	ended int // by their context
}

func (f *far) Open(ctx context.Context, key string, off, n int64) (io.ReadCloser, error) {
	f.mu.Lock()
	f.opens++
	d, fail := f.takes(f.opens)
	f.mu.Unlock()
	select {
	case <-time.After(d):
	case <-ctx.Done():
		f.mu.Lock()
		f.ended++
		f.mu.Unlock()
		return nil, ctx.Err()
	}
	if fail != nil {
		return nil, fail
	}
	r, err := f.Driver.Open(ctx, key, off, n)
	if err == nil {
		f.mu.Lock()
		f.live++
		f.mu.Unlock()
		return &farReader{r, f}, nil
	}
	return nil, err
}

type farReader struct {
	io.ReadCloser
	f *far
}

func (r *farReader) Close() error {
	r.f.mu.Lock()
	r.f.live--
	r.f.mu.Unlock()
	return r.ReadCloser.Close()
}

const quick = 10 * time.Millisecond

// hedged returns a bucket that knows already how long a read takes, and what counts them.
func hedged(t *testing.T, known int) (*storage.Bucket, *far) {
	t.Helper()
	f := &far{Driver: memstore.New(memstore.Options{})}
	f.takes = func(int) (time.Duration, error) { return quick, nil }
	b := storage.New(retrystore.New(f, retrystore.Options{Hedge: true, Stall: time.Minute, Longest: time.Millisecond}))
	if _, err := b.Put(t.Context(), "a", []byte("strata"), storage.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	for range known {
		if got, err := b.Get(t.Context(), "a", 10); err != nil || string(got) != "strata" {
			t.Fatalf("%q, %v", got, err)
		}
	}
	if f.opens != known {
		t.Fatalf("%d reads made %d requests", known, f.opens)
	}
	f.opens = 0
	return b, f
}

func TestHedge(t *testing.T) {
	gone := fault.Wrap(fault.Unavailable, errors.New("reset"), "the store does not answer")
	absent := fault.New(fault.NotFound, "there is no such object")
	type open struct {
		takes time.Duration
		fails error
	}
	for name, c := range map[string]struct {
		known int
		opens []open // in their order; quick after these
		took  time.Duration
		made  int
		err   fault.Kind
	}{
		"in time":             {40, []open{{takes: 45 * time.Millisecond}}, 45 * time.Millisecond, 1, fault.Internal},
		"late":                {40, []open{{takes: time.Hour}}, 60 * time.Millisecond, 2, fault.Internal},
		"late, and fast then": {40, []open{{takes: 55 * time.Millisecond}, {takes: time.Hour}}, 55 * time.Millisecond, 2, fault.Internal},
		"both at once":        {40, []open{{takes: 60 * time.Millisecond}}, 60 * time.Millisecond, 2, fault.Internal},
		"little is known":     {10, []open{{takes: time.Second}}, time.Second, 1, fault.Internal},
		"nothing is saved up": {19, []open{{takes: quick}, {takes: time.Second}}, quick, 1, fault.Internal},
		"the first fails":     {40, []open{{55 * time.Millisecond, gone}, {takes: time.Second}}, 1050 * time.Millisecond, 2, fault.Internal},
		"the second fails":    {40, []open{{takes: time.Second}, {5 * time.Millisecond, gone}}, time.Second, 2, fault.Internal},
		"it is not there":     {40, []open{{takes: time.Hour}, {5 * time.Millisecond, absent}}, 55 * time.Millisecond, 2, fault.NotFound},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, f := hedged(t, c.known)
				f.takes = func(n int) (time.Duration, error) {
					if n <= len(c.opens) {
						return c.opens[n-1].takes, c.opens[n-1].fails
					}
					return quick, nil
				}
				began := time.Now()
				r, err := b.Open(t.Context(), "a", 0, -1)
				if took := time.Since(began); took != c.took {
					t.Errorf("the first byte took %v, want %v", took, c.took)
				}
				if c.err != fault.Internal {
					if !fault.Is(err, c.err) {
						t.Errorf("error %v", err)
					}
				} else {
					if err != nil {
						t.Fatal(err)
					}
					if got, err := io.ReadAll(r); err != nil || string(got) != "strata" {
						t.Errorf("%q, %v", got, err)
					}
					if err := r.Close(); err != nil {
						t.Error(err)
					}
				}
				if f.opens != c.made || f.live != 0 {
					t.Errorf("%d requests, of which %d are still open; want %d", f.opens, f.live, c.made)
				}
			})
		})
	}
}

// TestHedgeShare: however slow a store becomes, hedges are a twentieth of all reads.
func TestHedgeShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, f := hedged(t, 100)
		n := 0
		f.takes = func(int) (time.Duration, error) { // every third takes long
			if n++; n%3 == 0 {
				return time.Second, nil
			}
			return quick, nil
		}
		const reads = 2000
		for range reads {
			if _, err := b.Get(t.Context(), "a", 10); err != nil {
				t.Fatal(err)
			}
		}
		// Those that were saved up before come in addition.
		if extra := f.opens - reads; extra < 1 || extra > reads/20+5 {
			t.Errorf("%d of %d reads were hedged", extra, reads)
		}
		if f.live != 0 || f.ended == 0 {
			t.Errorf("%d requests are open, %d were cancelled", f.live, f.ended)
		}
	})
}
