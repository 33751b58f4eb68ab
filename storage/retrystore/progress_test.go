package retrystore_test

import (
	"bytes"
	"context"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/storage"
	"github.com/strata-pacs/strata/storage/driver"
	"github.com/strata-pacs/strata/storage/memstore"
	"github.com/strata-pacs/strata/storage/retrystore"
)

// slow is a driver whose calls wait first, as wait says.
type slow struct {
	driver.Driver
	wait func(ctx context.Context, call string) error
}

// hang waits for the end of ctx, as a store does that is gone.
func hang(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

// crawl takes steps of 20 s, each of which moves a byte.
func crawl(ctx context.Context, steps int) error {
	for range steps {
		select {
		case <-time.After(20 * time.Second):
			driver.Moved(ctx)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (s slow) Stat(ctx context.Context, key string) (driver.Attrs, error) {
	if err := s.wait(ctx, "stat"); err != nil {
		return driver.Attrs{}, err
	}
	return s.Driver.Stat(ctx, key)
}

func (s slow) Open(ctx context.Context, key string, off, n int64) (io.ReadCloser, error) {
	if err := s.wait(ctx, "open"); err != nil {
		return nil, err
	}
	r, err := s.Driver.Open(ctx, key, off, n)
	if err != nil {
		return nil, err
	}
	return slowReader{r, ctx, s}, nil
}

func (s slow) Create(ctx context.Context, key string, o driver.CreateOptions) (driver.Writer, error) {
	w, err := s.Driver.Create(ctx, key, o)
	if err != nil {
		return nil, err
	}
	return slowWriter{w, ctx, s}, s.wait(ctx, "create")
}

type slowReader struct {
	io.ReadCloser
	ctx context.Context
	s   slow
}

func (r slowReader) Read(p []byte) (int, error) {
	if err := r.s.wait(r.ctx, "read"); err != nil {
		return 0, err
	}
	return r.ReadCloser.Read(p[:min(len(p), 1000)])
}

type slowWriter struct {
	driver.Writer
	ctx context.Context
	s   slow
}

func (w slowWriter) Write(p []byte) (int, error) {
	if err := w.s.wait(w.ctx, "write"); err != nil {
		return 0, err
	}
	return w.Writer.Write(p)
}

func (w slowWriter) Commit(ctx context.Context) (driver.Attrs, error) {
	if err := w.s.wait(ctx, "commit"); err != nil {
		return driver.Attrs{}, err
	}
	return w.Writer.Commit(ctx)
}

// first calls do once, at the first call of the name.
func first(name string, do func(context.Context) error) func(context.Context, string) error {
	return func(ctx context.Context, call string) error {
		if do == nil || call != name {
			return nil
		}
		f := do
		do = nil
		return f(ctx)
	}
}

const stall = 30 * time.Second

// TestStall: what stands still is ended and tried again; what crawls is not.
func TestStall(t *testing.T) {
	data := bytes.Repeat([]byte("strata"), 1000)
	for _, call := range []string{"stat", "open", "read", "create", "write", "commit"} {
		for _, replay := range []int64{0, 1 << 20} {
			for name, do := range map[string]func(context.Context) error{
				"hang": hang, "crawl": func(ctx context.Context) error { return crawl(ctx, 10) },
			} {
				synctest.Test(t, func(t *testing.T) {
					d := slow{memstore.New(memstore.Options{}), first(call, do)}
					b := storage.New(retrystore.New(d, retrystore.Options{Stall: stall, Replay: replay, Longest: time.Second}))
					began := time.Now()
					_, err := b.Put(t.Context(), "a", data, storage.CreateOptions{IfAbsent: true})
					writing := call == "create" || call == "write" || call == "commit"
					// What is not kept cannot be written again, but for its beginning.
					lost := name == "hang" && replay == 0 && (call == "write" || call == "commit")
					if lost {
						if !fault.Is(err, fault.Unavailable) {
							t.Fatalf("%s, %s: %v", call, name, err)
						}
						return
					}
					if err != nil {
						t.Fatalf("%s, %s, replay %d: %v", call, name, replay, err)
					}
					if took := time.Since(began); writing && name == "hang" && (took < stall || took > stall+time.Second) {
						t.Errorf("%s: waited for %v", call, took)
					}
					if _, err := b.Stat(t.Context(), "a"); err != nil {
						t.Errorf("%s, %s: Stat: %v", call, name, err)
					}
					got, err := b.Get(t.Context(), "a", 1<<20)
					if err != nil || !bytes.Equal(got, data) {
						t.Errorf("%s, %s: %d bytes, %v", call, name, len(got), err)
					}
				})
			}
		}
	}
}

// TestStallForGood: a store that is gone is given up; a caller that is gone is not the store's fault.
func TestStallForGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := slow{memstore.New(memstore.Options{}), func(ctx context.Context, _ string) error { return hang(ctx) }}
		b := storage.New(retrystore.New(d, retrystore.Options{Attempts: 3, Stall: stall, Longest: time.Second}))
		began := time.Now()
		_, err := b.Stat(t.Context(), "a")
		if took := time.Since(began); !fault.Is(err, fault.Unavailable) || took < 3*stall || took > 3*stall+2*time.Second {
			t.Errorf("after %v: %v", took, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := b.Stat(ctx, "a"); !fault.Is(err, fault.Timeout) {
			t.Errorf("the caller's own time was over: %v", err)
		}
	})
}

// TestCallerIsSlow: time between the calls is the caller's.
func TestCallerIsSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := slow{memstore.New(memstore.Options{}), func(context.Context, string) error { return nil }}
		b := storage.New(retrystore.New(d, retrystore.Options{Stall: stall}))
		w, err := b.Create(t.Context(), "a", storage.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for range 5 {
			time.Sleep(10 * stall)
			if _, err := w.Write(make([]byte, 1000)); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(10 * stall)
		if _, err := w.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
		r, err := b.Open(t.Context(), "a", 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		for range 5 {
			time.Sleep(10 * stall)
			if n, err := r.Read(make([]byte, 1000)); n != 1000 || err != nil {
				t.Fatalf("%d, %v", n, err)
			}
		}
	})
}
