package ledger

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/storage"
	"github.com/strata-pacs/strata/storage/driver"
	"github.com/strata-pacs/strata/storage/memstore"
)

// flaky is a store whose commits and stats fail as a test says.
type flaky struct {
	*memstore.Store
	mu     sync.Mutex
	create func(key string) error
	write  func(key string) error
	commit func(key string) (before, after error) // of the effect
	stat   func(key string) error
}

func (s *flaky) Create(ctx context.Context, key string, o driver.CreateOptions) (driver.Writer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.create != nil {
		if err := s.create(key); err != nil {
			return nil, err
		}
	}
	w, err := s.Store.Create(ctx, key, o)
	return &flakyWriter{w, s, key}, err
}

func (s *flaky) Stat(ctx context.Context, key string) (driver.Attrs, error) {
	if s.stat != nil {
		if err := s.stat(key); err != nil {
			return driver.Attrs{}, err
		}
	}
	return s.Store.Stat(ctx, key)
}

type flakyWriter struct {
	driver.Writer
	s   *flaky
	key string
}

func (w *flakyWriter) Write(p []byte) (int, error) {
	if w.s.write != nil {
		if err := w.s.write(w.key); err != nil {
			return 0, err
		}
	}
	return w.Writer.Write(p)
}

func (w *flakyWriter) Commit(ctx context.Context) (driver.Attrs, error) {
	var before, after error
	w.s.mu.Lock()
	if w.s.commit != nil {
		before, after = w.s.commit(w.key)
	}
	w.s.mu.Unlock()
	if before != nil {
		w.Abort()
		return driver.Attrs{}, before
	}
	// As with a real store, the effect may come although the caller has gone.
	a, err := w.Writer.Commit(context.WithoutCancel(ctx))
	if err == nil {
		err = after
	}
	return a, err
}

var unavailable = fault.New(fault.Unavailable, "the store does not answer")

func deletion(i int) *archive.Fact {
	return &archive.Fact{Kind: archive.FactDeleted, Blobs: []archive.BlobID{{byte(i), byte(i >> 8)}}}
}

// numbers lists the numbers of session S1.
func numbers(t *testing.T, b Bucket) []uint64 {
	t.Helper()
	var out []uint64
	for p, err := range Numbers(context.Background(), b, tenant, "S1", 0) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, p.N)
	}
	return out
}

func dense(n int) []uint64 {
	out := make([]uint64, n)
	for i := range out {
		out[i] = uint64(i + 1)
	}
	return out
}

// Many writers at once, some of whose writes fail before, during and after
// their effect: every success is readable under its number, no number is used
// twice, and after Close there is no hole.
func TestConcurrentAppends(t *testing.T) {
	ctx := context.Background()
	store := &flaky{Store: newStore()}
	k := 0
	store.commit = func(string) (error, error) {
		switch k++; {
		case k%7 == 3:
			return unavailable, nil
		case k%5 == 1:
			return nil, unavailable // done, but the answer is lost
		case k%11 == 4:
			return fault.New(fault.Full, "no room"), nil
		}
		return nil, nil
	}
	l := newLog(t, store)
	var mu sync.Mutex
	got := map[uint64]archive.FactID{}
	failed := 0
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 25 {
				f := deletion(w*100 + i)
				e, err := l.Append(ctx, f, nil)
				mu.Lock()
				if err != nil {
					failed++
				} else if _, ok := got[e.N]; ok {
					t.Errorf("number %d was given twice", e.N)
				} else {
					got[e.N] = f.ID
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if failed == 0 || len(got)+failed != 200 {
		t.Fatalf("%d written, %d failed", len(got), failed)
	}
	for n, id := range got {
		if e, err := Read(ctx, store, tenant, "S1", n, secrets, Index); err != nil || e.Fact.ID != id {
			t.Errorf("number %d: %v", n, err)
		}
	}
	store.commit = nil
	if err := l.Close(ctx); err != nil {
		t.Fatal(err)
	}
	have := numbers(t, store)
	if !slices.Equal(have, dense(len(have))) {
		t.Errorf("holes after Close: %v", have)
	}
	last, err := Read(ctx, store, tenant, "S1", uint64(len(have)), secrets, Index)
	if err != nil || last.Fact.Kind != archive.FactCheckpoint {
		t.Fatalf("the last fact: %v", err)
	}
	want := []archive.SessionEnd{{Session: "S1", Last: uint64(len(have)), Ended: true}}
	if diff := cmp.Diff(want, last.Fact.Sessions); diff != "" {
		t.Error(diff)
	}
	if _, err := l.Append(ctx, deletion(1), nil); !fault.Is(err, fault.Unavailable) {
		t.Errorf("Append after Close: %v", err)
	}
	if err := l.Void(ctx, "S2", 1); !fault.Is(err, fault.Unavailable) {
		t.Errorf("Void after Close: %v", err)
	}
}

func TestNumbersAreTakenAgain(t *testing.T) {
	ctx := context.Background()
	const first = "default/log/S1/0000000000000001"
	boom := errors.New("boom")
	for name, c := range map[string]struct {
		store func(s *flaky)
		ok    bool // the first Append succeeds
		next  uint64
	}{
		"create fails":                      {func(s *flaky) { s.create = func(string) error { return boom } }, false, 1},
		"write fails":                       {func(s *flaky) { s.write = func(string) error { return fault.New(fault.Full, "full") } }, false, 1},
		"commit fails":                      {func(s *flaky) { s.commit = func(string) (error, error) { return boom, nil } }, false, 1},
		"commit fails without an answer":    {func(s *flaky) { s.commit = func(string) (error, error) { return unavailable, nil } }, false, 1},
		"commit succeeds without an answer": {func(s *flaky) { s.commit = func(string) (error, error) { return nil, unavailable } }, true, 2},
		"commit succeeds, retried below": {func(s *flaky) {
			s.commit = func(string) (error, error) { return nil, fault.New(fault.Exists, "there") }
		}, true, 2},
		"nothing is known, and it landed": {func(s *flaky) {
			s.commit = func(string) (error, error) { return nil, unavailable }
			s.stat = func(string) error { return unavailable }
		}, false, 2},
		"another object is in the way": {func(s *flaky) { put(t, s.Store, first, []byte("another's")) }, true, 3},
		"another object and no way to see": {func(s *flaky) {
			put(t, s.Store, first, []byte("another's"))
			s.stat = func(string) error { return unavailable }
		}, true, 3},
		"another object of the same length": {func(s *flaky) { put(t, s.Store, first, make([]byte, 400)) }, true, 3},
	} {
		t.Run(name, func(t *testing.T) {
			store := &flaky{Store: newStore()}
			c.store(store)
			l := newLog(t, store)
			f := deletion(1)
			e, err := l.Append(ctx, f, nil)
			if (err == nil) != c.ok {
				t.Fatalf("Append = %v", err)
			}
			if err != nil && f.ID != (archive.FactID{}) {
				t.Error("a failed Append changed the fact")
			}
			*store = flaky{Store: store.Store}
			if err == nil {
				if got, err := Read(ctx, store, tenant, "S1", e.N, secrets, All); err != nil || got.Fact.ID != f.ID {
					t.Errorf("Read: %v", err)
				}
			}
			if e, err = l.Append(ctx, deletion(2), nil); err != nil || e.N != c.next {
				t.Errorf("the next fact has number %d, want %d; %v", e.N, c.next, err)
			}
		})
	}
}

// A caller that goes away at the moment of writing learns the truth.
func TestCancelledCommit(t *testing.T) {
	store := &flaky{Store: newStore()}
	l := newLog(t, store)
	ctx, cancel := context.WithCancel(context.Background())
	store.commit = func(string) (error, error) { cancel(); return nil, context.Canceled }
	if e, err := l.Append(ctx, deletion(1), nil); err != nil || e.N != 1 {
		t.Errorf("Append = %d, %v", e.N, err)
	}
	ctx, cancel = context.WithCancel(context.Background())
	store.commit = func(string) (error, error) { cancel(); return context.Canceled, nil }
	if _, err := l.Append(ctx, deletion(1), nil); !fault.Is(err, fault.Canceled) {
		t.Errorf("Append = %v", err)
	}
	store.commit = nil
	if e, err := l.Append(context.Background(), deletion(1), nil); err != nil || e.N != 2 {
		t.Errorf("Append = %d, %v", e.N, err)
	}
}

// A stored fact that failed is as it was, and may be appended again.
func TestAppendAgain(t *testing.T) {
	ctx := context.Background()
	store := &flaky{Store: newStore()}
	l := newLog(t, store)
	f, body := storedFact(t, store, 2, 100)
	store.commit = func(string) (error, error) { return unavailable, nil }
	if _, err := l.Append(ctx, f, &body); !fault.Is(err, fault.Unavailable) {
		t.Fatal(err)
	}
	if f.Instances[0].At.Object != "" {
		t.Error("a failed Append named the object")
	}
	store.commit = nil
	e, err := l.Append(ctx, f, &body)
	if err != nil || e.N != 1 || f.Instances[0].At.Object != e.Object {
		t.Errorf("Append = %d, %v", e.N, err)
	}
}

func TestClose(t *testing.T) {
	ctx := context.Background()
	store := &flaky{Store: newStore()}
	if err := newLog(t, store).Close(ctx); err != nil || len(numbers(t, store)) != 0 {
		t.Errorf("closing an unused log: %v", err)
	}
	l := newLog(t, store)
	bad := "default/log/S1/0000000000000002"
	store.commit = func(key string) (error, error) {
		if key == bad {
			return unavailable, nil
		}
		return nil, nil
	}
	for i := range 2 {
		l.Append(ctx, deletion(i), nil)
	}
	if err := l.Close(ctx); !fault.Is(err, fault.Unavailable) {
		t.Errorf("Close with a store that fails: %v", err)
	}
	store.commit = nil
	if err := l.Close(ctx); err != nil {
		t.Error(err)
	}
	if e, err := Read(ctx, store, tenant, "S1", 2, secrets, Index); err != nil || e.Fact.Kind != archive.FactVoid {
		t.Errorf("the hole holds %v", err)
	}
}

func TestSessionTakenByAnother(t *testing.T) {
	store := newStore()
	for n := range 100 {
		put(t, store, ObjectName(tenant, "S1", uint64(n+1)), []byte("x"))
	}
	if _, err := newLog(t, store).Append(context.Background(), deletion(1), nil); !fault.Is(err, fault.Conflict) {
		t.Errorf("Append = %v", err)
	}
}

// TestFence: once others may have taken the session for over, nothing is written,
// not even at a number further on when one was voided meanwhile.
func TestFence(t *testing.T) {
	ctx := context.Background()
	store := newStore()
	asked, may := 0, 1
	lost := fault.New(fault.Unavailable, "taken for dead")
	o := options(store)
	o.Fence = func() error {
		if asked++; asked > may {
			return lost
		}
		return nil
	}
	l, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Append(ctx, deletion(1), nil); err != nil {
		t.Fatal(err)
	}
	put(t, store, ObjectName(tenant, l.Session(), 2), []byte("a void"))
	asked = 0
	if _, err := l.Append(ctx, deletion(2), nil); !errors.Is(err, lost) || asked != 2 {
		t.Errorf("Append = %v, asked %d times", err, asked)
	}
	if err := l.Void(ctx, "S2", 1); !errors.Is(err, lost) {
		t.Errorf("Void = %v", err)
	}
	if err := l.Close(ctx); err != nil {
		t.Errorf("Close = %v", err)
	}
	if got := numbers(t, store); !slices.Equal(got, dense(2)) {
		t.Errorf("written: %v", got)
	}
}

// TestSessions: sessions are found whatever their length, and short ones many at a time.
func TestSessions(t *testing.T) {
	ctx := context.Background()
	store := newStore()
	var want []string
	for i := range 300 {
		name := fmt.Sprintf("S%03d-i1", i)
		want = append(want, name)
		n := 1 + i%3
		if i == 150 {
			n = 500
		}
		for k := range n {
			put(t, store, ObjectName(tenant, name, uint64(k+1)), []byte("x"))
		}
	}
	for _, stray := range []string{"default/log/S150-i1x.y/1", "default/log/S20", "default/log/a.b/1"} {
		put(t, store, stray, []byte("x"))
	}
	slices.Sort(want)
	counted := &counter{Lister: store}
	got, err := Sessions(ctx, counted, tenant)
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%d sessions, %v; want %d", len(got), err, len(want))
	}
	if counted.n > 20 {
		t.Errorf("%d lists", counted.n)
	}
	if got, err = SessionNames(ctx, storage.New(store), tenant); err != nil || !slices.Equal(got, want) {
		t.Errorf("by folders: %d sessions, %v; want %d", len(got), err, len(want))
	}
}

type counter struct {
	Lister
	n int
}

func (c *counter) List(ctx context.Context, prefix, after string, limit int) (driver.Page, error) {
	c.n++
	return c.Lister.List(ctx, prefix, after, limit)
}

func TestListing(t *testing.T) {
	ctx := context.Background()
	store := newStore()
	for _, key := range []string{
		"default/key/01", "default/log/stray", "default/log/A/0000000000000001", "default/log/A/0000000000000002", "default/log/A/0000000000000011",
		"default/log/A/12", "default/log/A/000000000000000x", "default/log/A/0000000000000000", "default/log/AB/0000000000000001",
		"default/log/b/0000000000000007", "default/pack/1", "other/log/C/0000000000000001",
	} {
		put(t, store, key, []byte("xyz"))
	}
	got, err := Sessions(ctx, store, tenant)
	if err != nil || !slices.Equal(got, []string{"A", "AB", "b"}) {
		t.Errorf("Sessions = %v, %v", got, err)
	}
	for after, want := range map[uint64][]uint64{0: {1, 2, 11}, 1: {2, 11}, 5: {11}, 11: nil} {
		var have []uint64
		for p, err := range Numbers(ctx, store, tenant, "A", after) {
			if err != nil || p.Session != "A" || p.Size != 3 {
				t.Errorf("%+v, %v", p, err)
			}
			have = append(have, p.N)
		}
		if !slices.Equal(have, want) {
			t.Errorf("Numbers after %d = %v, want %v", after, have, want)
		}
	}
	for range Numbers(ctx, store, tenant, "A", 0) {
		break
	}
	broken := lister{}
	if _, err := Sessions(ctx, broken, tenant); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("Sessions = %v", err)
	}
	for _, session := range []string{"A", "../x"} {
		for _, err := range Numbers(ctx, broken, tenant, session, 0) {
			if err == nil {
				t.Errorf("%s: no error", session)
			}
		}
	}
}

type lister struct{}

func (lister) List(context.Context, string, string, int) (driver.Page, error) {
	return driver.Page{}, io.ErrNoProgress
}

func BenchmarkAppend(b *testing.B) {
	store := newStore()
	l := newLog(b, store)
	f, body := storedFact(b, store, 1, 1000)
	b.ReportAllocs()
	for b.Loop() {
		f.ID, f.Instances[0].At.Object = archive.FactID{}, ""
		if _, err := l.Append(context.Background(), f, &body); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRead(b *testing.B) {
	for _, n := range []int{1, 20} {
		store := newStore()
		f, body := storedFact(b, store, n, 1000)
		e, err := newLog(b, store).Append(context.Background(), f, &body)
		if err != nil {
			b.Fatal(err)
		}
		for name, want := range map[string]Sections{"index": Index, "all": All} {
			b.Run(fmt.Sprintf("%d/%s", n, name), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if _, err := ReadPlace(context.Background(), store, tenant, Place{"S1", 1, e.Size, e.Fact.ID.Time()}, secrets, want); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "instances/s")
			})
		}
	}
}
