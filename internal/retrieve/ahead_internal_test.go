package retrieve

import (
	"context"
	"errors"
	"io"
	"iter"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"golang.org/x/sync/semaphore"

	"github.com/strata-pacs/strata/internal/dicom"
)

// made returns n bodies that are made, each taking weight of the reader's
// memory, and calls what is given while they are prepared.
func made(r *Reader, n int, weight int64, prepare func(ctx context.Context, i int) error) iter.Seq2[*Body, error] {
	return func(yield func(*Body, error) bool) {
		for i := range n {
			b := &Body{Size: -1, reader: r, prepare: func(ctx context.Context, m *memory) (writer, error) {
				if err := m.take(ctx, weight); err != nil {
					return nil, err
				}
				return func(_ context.Context, w io.Writer) error {
					_, err := w.Write([]byte{byte(i)})
					return err
				}, prepare(ctx, i)
			}}
			if !yield(b, nil) {
				return
			}
		}
	}
}

func itself(b *Body) *Body { return b }

func budgets(n int64) *Reader {
	return &Reader{flight: semaphore.NewWeighted(n), ahead: semaphore.NewWeighted(n)}
}

func (r *Reader) checkMemory(t *testing.T, n int64) {
	t.Helper()
	if !r.flight.TryAcquire(n) || !r.ahead.TryAcquire(n) {
		t.Error("memory was not given back")
	}
}

// collector appends what is written.
type collector struct{ got []byte }

func (c *collector) Write(p []byte) (int, error) {
	c.got = append(c.got, p...)
	return len(p), nil
}

// TestAheadOverlaps: while a body is written, the next ones are prepared.
func TestAheadOverlaps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var prepared atomic.Int64
		r := budgets(100)
		var w collector
		i := 0
		for b, err := range Ahead(t.Context(), made(r, 10, 1, func(context.Context, int) error {
			prepared.Add(1)
			return nil
		}), itself) {
			synctest.Wait()
			if got, want := int(prepared.Load()), min(i+1+runtime.GOMAXPROCS(0), 10); got != want {
				t.Errorf("%d bodies prepared with body %d, not %d", got, i, want)
			}
			if err != nil || b.Write(t.Context(), &w) != nil {
				t.Fatal(err)
			}
			i++
		}
		if !slices.Equal(w.got, []byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}) || prepared.Load() != 10 {
			t.Errorf("%v, %d prepared", w.got, prepared.Load())
		}
		r.checkMemory(t, 100)
	})
}

// TestAheadShort: who stops, or writes nothing, or is cancelled, leaves nothing behind.
func TestAheadShort(t *testing.T) {
	for _, c := range []struct {
		name   string
		stop   int
		cancel bool
	}{{"at once", 0, false}, {"later", 3, false}, {"cancelled", 2, true}, {"none written", 100, false}} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			r := budgets(1000)
			n := 0
			for _, err := range Ahead(ctx, made(r, 20, 7, func(ctx context.Context, i int) error {
				if c.cancel && i > 3 {
					<-ctx.Done()
				}
				return ctx.Err()
			}), itself) {
				if err != nil {
					t.Error(err)
				}
				if n == c.stop {
					if c.cancel {
						cancel()
						n++
						continue
					}
					break
				}
				n++
			}
			r.checkMemory(t, 1000)
		})
	}
}

var errMade = errors.New("not made")

// TestAheadErrors: an error of preparing is that of writing, an error of the
// sequence comes in its place.
func TestAheadErrors(t *testing.T) {
	r := budgets(100)
	seq := made(r, 4, 1, func(_ context.Context, i int) error {
		if i == 2 {
			return errMade
		}
		return nil
	})
	broken := func(yield func(*Body, error) bool) {
		for b, err := range seq {
			if !yield(b, err) {
				return
			}
		}
		yield(nil, errMade)
	}
	var got []error
	for b, err := range Ahead(t.Context(), broken, itself) {
		if err == nil {
			err = b.Write(t.Context(), io.Discard)
		}
		got = append(got, err)
	}
	if !slices.Equal(got, []error{nil, nil, errMade, nil, errMade}) {
		t.Errorf("%v", got)
	}
	r.checkMemory(t, 100)
}

// TestAheadMemory: bodies for which there is no memory are made when they are
// written, and answers that compete for it all come to their end.
func TestAheadMemory(t *testing.T) {
	r := budgets(10)
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			var w collector
			for b, err := range Ahead(t.Context(), made(r, 30, 6, func(context.Context, int) error {
				runtime.Gosched()
				return nil
			}), itself) {
				if err != nil || b.Write(t.Context(), &w) != nil {
					t.Error(err)
				}
			}
			if len(w.got) != 30 || !slices.IsSorted(w.got) {
				t.Errorf("%v", w.got)
			}
		})
	}
	wg.Wait()
	r.checkMemory(t, 10)
}

// TestAheadStored: bodies that are only read pass as they are.
func TestAheadStored(t *testing.T) {
	n := 0
	for b, err := range Ahead(t.Context(), func(yield func(*Body, error) bool) {
		for range 5 {
			if !yield(&Body{write: func(context.Context, io.Writer, int64, int64) error { return nil }}, nil) {
				return
			}
		}
	}, itself) {
		if err != nil || b.Write(t.Context(), io.Discard) != nil {
			t.Error(err)
		}
		n++
	}
	if n != 5 {
		t.Errorf("%d bodies", n)
	}
}

// TestBodyMade: a body that is made can be written twice, has no ranges, and
// gives up waiting for memory with its context.
func TestBodyMade(t *testing.T) {
	r := budgets(10)
	for b := range made(r, 1, 6, func(context.Context, int) error { return nil }) {
		for range 2 {
			var w collector
			if err := b.Write(t.Context(), &w); err != nil || len(w.got) != 1 {
				t.Errorf("%v, %v", w.got, err)
			}
		}
		if err := b.WriteRange(t.Context(), io.Discard, 0, 1); err == nil {
			t.Error("a range of what is made")
		}
		_ = r.flight.TryAcquire(10)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := b.Write(ctx, io.Discard); !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
	}
}

// TestHeadersWiped: what is held is wiped when the reader closes, and what was
// used least goes first.
func TestHeadersWiped(t *testing.T) {
	c := newHeaders(nil)
	var all []*Header
	for i := range 20 {
		h := &Header{Data: headerOf(1 << 20)}
		all = append(all, h)
		if !c.put([32]byte{byte(i)}, h) {
			t.Fatal("not held")
		}
		c.get([32]byte{0})
	}
	if c.used > headerBytes || c.get([32]byte{0}) == nil || c.get([32]byte{1}) != nil || c.get([32]byte{19}) == nil {
		t.Errorf("%d bytes of the wrong ones", c.used)
	}
	if c.put([32]byte{99}, &Header{Data: headerOf(headerBytes)}) {
		t.Error("one takes all")
	}
	c.wipe()
	if c.used != 0 || c.lru.Len() != 0 || len(c.items) != 0 || wiped(all[1]) || !wiped(all[0]) || !wiped(all[19]) {
		t.Error("not wiped, or more than is held")
	}
}

// headerOf returns a data set with a value of n bytes inside of a sequence.
func headerOf(n int) *dicom.Dataset {
	v := make([]byte, n)
	for i := range v {
		v[i] = 1
	}
	return &dicom.Dataset{Elements: []dicom.Element{{Tag: 0x00081140, VR: dicom.SQ, Items: []*dicom.Dataset{{Elements: []dicom.Element{{Tag: 0x00091001, VR: dicom.OB, Value: v}}}}}}}
}

func wiped(h *Header) bool {
	return !slices.Contains(h.Data.Elements[0].Items[0].Elements[0].Value, 1)
}
