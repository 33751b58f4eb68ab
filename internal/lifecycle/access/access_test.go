package access

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
)

const hospital archive.Tenant = "hospital"

// known is an index in memory: the day of each study, and how often it was told.
type known struct {
	mu   sync.Mutex
	days map[string]string
	told map[string]int
	fail map[archive.Tenant]error
}

func newKnown() *known { return &known{days: map[string]string{}, told: map[string]int{}} }

func (k *known) Accessed(ctx context.Context, t archive.Tenant, day time.Time, studies ...archive.Ref) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := errors.Join(ctx.Err(), k.fail[t]); err != nil {
		return err
	}
	for _, r := range studies {
		name := fmt.Sprint(t, " ", r[0])
		k.told[name]++
		if d := day.Format(time.DateTime); d > k.days[name] {
			k.days[name] = d
		}
	}
	return nil
}

func flush(t *testing.T, r *Recorder) {
	t.Helper()
	if err := r.Flush(context.Background()); err != nil {
		t.Fatal(err)
	}
}

func TestNote(t *testing.T) {
	now := time.Date(2026, 3, 1, 23, 59, 0, 0, time.FixedZone("", 2*60*60)) // 21:59 UTC
	k := newKnown()
	r := New(Options{Index: k, Now: func() time.Time { return now }})
	for range 3 {
		r.Note(hospital, archive.Ref{1})
		r.Note("practice", archive.Ref{1})
		r.Note(hospital, archive.Ref{2})
	}
	flush(t, r)
	r.Note(hospital, archive.Ref{1})
	flush(t, r)
	want := map[string]string{"hospital 1": "2026-03-01 00:00:00", "practice 1": "2026-03-01 00:00:00", "hospital 2": "2026-03-01 00:00:00"}
	if !maps.Equal(k.days, want) || k.told["hospital 1"] != 1 {
		t.Errorf("%v %v", k.days, k.told)
	}
	now = now.Add(3 * time.Hour)
	r.Note(hospital, archive.Ref{1})
	now = now.Add(-3 * time.Hour) // the clock was set back: the day is not
	r.Note(hospital, archive.Ref{1})
	flush(t, r)
	if k.days["hospital 1"] != "2026-03-02 00:00:00" || k.told["hospital 1"] != 2 {
		t.Errorf("%v %v", k.days, k.told)
	}
}

// TestFailure: what fails is written the next time, and holds up no other tenant.
func TestFailure(t *testing.T) {
	k := newKnown()
	broken := errors.New("the key is withdrawn")
	k.fail = map[archive.Tenant]error{"practice": broken}
	r := New(Options{Index: k})
	r.Note(hospital, archive.Ref{1})
	r.Note("practice", archive.Ref{2})
	if err := r.Flush(context.Background()); !errors.Is(err, broken) {
		t.Error(err)
	}
	if k.told["hospital 1"] != 1 {
		t.Error(k.told)
	}
	k.fail = nil
	flush(t, r)
	flush(t, r)
	if k.told["hospital 1"] != 1 || k.told["practice 2"] != 1 {
		t.Error(k.told)
	}
}

// TestBounds: memory ends, and what found no room is noted at its next access.
func TestBounds(t *testing.T) {
	k := newKnown()
	now := time.Unix(1_800_000_000, 0)
	r := New(Options{Index: k, Now: func() time.Time { return now }})
	ref := func(i int) (r archive.Ref) { return archive.Ref{0, byte(i), byte(i >> 8), byte(i >> 16)} }
	const n = 3 * shards * mostNoted
	total := 0
	for i := range n {
		r.Note(hospital, ref(i))
	}
	for i := range r.shards {
		s := &r.shards[i]
		if len(s.pending) > mostPending || len(s.noted) > mostNoted {
			t.Fatalf("%d pending, %d noted", len(s.pending), len(s.noted))
		}
		total += len(s.pending)
	}
	if total != shards*mostPending {
		t.Errorf("%d pending", total)
	}
	for range 10 { // each round takes what the one before left
		flush(t, r)
		for i := range n {
			r.Note(hospital, ref(i))
		}
	}
	flush(t, r)
	if k.told["hospital 0"] < n {
		t.Errorf("only %d were ever told", k.told["hospital 0"])
	}
	k.fail = map[archive.Tenant]error{hospital: errors.New("no")}
	now = now.Add(24 * time.Hour)
	for i := range shards * mostPending * 2 {
		r.Note(hospital, ref(i))
	}
	if r.Flush(context.Background()) == nil {
		t.Error("no error")
	}
	for i := range r.shards {
		if s := &r.shards[i]; len(s.pending) > mostPending {
			t.Fatalf("%d pending", len(s.pending))
		}
	}
}

// TestRun: every minute, early when there is much, and at the end.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKnown()
		var failed []error
		r := New(Options{Index: k, Failed: func(err error) { failed = append(failed, err) }})
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() { defer close(done); r.Run(ctx) }()
		told := func(name string) int {
			synctest.Wait()
			k.mu.Lock()
			defer k.mu.Unlock()
			return k.told[name]
		}
		r.Note(hospital, archive.Ref{1})
		time.Sleep(59 * time.Second)
		if told("hospital 1") != 0 {
			t.Error("before its time")
		}
		time.Sleep(time.Second)
		if told("hospital 1") != 1 {
			t.Error("not after a minute")
		}
		for i := range shards * mostPending {
			r.Note(hospital, archive.Ref{2, byte(i), byte(i >> 8)})
		}
		if n := told("hospital 2"); n == 0 {
			t.Error("much is not written before its time")
		}
		k.mu.Lock()
		k.fail = map[archive.Tenant]error{hospital: errors.New("no")}
		k.mu.Unlock()
		r.Note(hospital, archive.Ref{3})
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(failed) == 0 {
			t.Error("a failure is told to nobody")
		}
		k.mu.Lock()
		k.fail = nil
		k.mu.Unlock()
		cancel()
		<-done
		if told("hospital 3") != 1 {
			t.Error("not at the end")
		}
	})
}

// TestTogether: from many goroutines, every study is told.
func TestTogether(t *testing.T) {
	k := newKnown()
	r := New(Options{Index: k})
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 2000 {
				r.Note(hospital, archive.Ref{byte(i % 200), byte(g % 2)})
				if i%500 == 0 {
					if err := r.Flush(context.Background()); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	flush(t, r)
	if len(k.told) != 200 {
		t.Errorf("%d studies", len(k.told))
	}
	for name, n := range k.told {
		if n != 2 {
			t.Errorf("%s was told %d times", name, n)
		}
	}
}

// TestNoAllocation: a study that is noted costs no memory.
func TestNoAllocation(t *testing.T) {
	r := New(Options{Index: newKnown()})
	r.Note(hospital, archive.Ref{1})
	if n := testing.AllocsPerRun(1000, func() { r.Note(hospital, archive.Ref{1}) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkNote(b *testing.B) {
	refs := make([]archive.Ref, 1000)
	for i := range refs {
		refs[i] = archive.Ref{byte(i), byte(i >> 8)}
	}
	b.Run("noted", func(b *testing.B) {
		r := New(Options{Index: newKnown()})
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			r.Note(hospital, refs[i%len(refs)])
		}
	})
	b.Run("noted/parallel", func(b *testing.B) {
		r := New(Options{Index: newKnown()})
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for i := 0; pb.Next(); i++ {
				r.Note(hospital, refs[i%len(refs)])
			}
		})
	})
	b.Run("new", func(b *testing.B) {
		r := New(Options{Index: newKnown()})
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			r.Note(hospital, archive.Ref{byte(i), byte(i >> 8), byte(i >> 16), byte(i >> 24)})
		}
	})
}
