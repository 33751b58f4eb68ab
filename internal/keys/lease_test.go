package keys

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/fault"
)

// leaseWorld is a lease whose clock and provider a test moves.
type leaseWorld struct {
	*Lease
	now   time.Time
	err   error
	asked int
}

func newLeaseWorld(o LeaseOptions) *leaseWorld {
	w := &leaseWorld{now: time.UnixMilli(1e12)}
	o.Now = func() time.Time { return w.now }
	o.Prove = func(context.Context) error { w.asked++; return w.err }
	w.Lease = NewLease(o, w.now)
	return w
}

func (w *leaseWorld) wants(t *testing.T, what string, asked int, kind fault.Kind) {
	t.Helper()
	err := w.Check(t.Context())
	if kind == fault.Internal && err != nil || kind != fault.Internal && !fault.Is(err, kind) {
		t.Errorf("%s: %v, want kind %v", what, err, kind)
	}
	if w.asked != asked {
		t.Errorf("%s: the provider was asked %d times, want %d", what, w.asked, asked)
	}
}

const fine = fault.Internal // no error

func TestLeaseIsRenewedOnDemand(t *testing.T) {
	w := newLeaseWorld(LeaseOptions{})
	w.wants(t, "at first", 0, fine)
	w.now = w.now.Add(1999 * time.Millisecond)
	w.wants(t, "before its end", 0, fine)
	w.now = w.now.Add(time.Millisecond)
	w.wants(t, "at its end", 1, fine)
	w.wants(t, "renewed", 1, fine)
	w.now = w.now.Add(time.Hour)
	w.wants(t, "long idle", 2, fine)
	if err := w.Ahead(t.Context(), time.Second); err != nil || w.asked != 2 {
		t.Errorf("not due: %v, asked %d times", err, w.asked)
	}
	w.now = w.now.Add(1500 * time.Millisecond)
	if err := w.Ahead(t.Context(), time.Second); err != nil || w.asked != 3 {
		t.Errorf("due within a second: %v, asked %d times", err, w.asked)
	}
}

func TestLeaseDenied(t *testing.T) {
	w := newLeaseWorld(LeaseOptions{})
	w.err = fault.New(fault.KeyDenied, "disabled")
	w.wants(t, "not noticed yet", 0, fine)
	w.now = w.now.Add(2 * time.Second)
	w.wants(t, "noticed", 1, fault.KeyDenied)
	w.wants(t, "believed for a while", 1, fault.KeyDenied)
	w.now = w.now.Add(500 * time.Millisecond)
	w.wants(t, "asked again", 2, fault.KeyDenied)
	w.err = nil
	w.now = w.now.Add(500 * time.Millisecond)
	w.wants(t, "granted again", 3, fine)
}

// TestLeaseUnreachable: silence is no denial until the grace is over, and then a refusal.
func TestLeaseUnreachable(t *testing.T) {
	w := newLeaseWorld(LeaseOptions{Grace: 5 * time.Second})
	w.err = fault.New(fault.KeyUnreachable, "no answer")
	for i, at := range []time.Duration{2, 4} {
		w.now = time.UnixMilli(1e12).Add(at * time.Second)
		w.wants(t, "in the grace", i+1, fine)
	}
	w.now = time.UnixMilli(1e12).Add(5 * time.Second)
	w.wants(t, "after the grace", 3, fault.KeyUnreachable)
	w.err = nil
	w.now = w.now.Add(time.Second)
	w.wants(t, "answering again", 4, fine)

	w = newLeaseWorld(LeaseOptions{Grace: -1})
	w.err = fault.New(fault.KeyUnreachable, "no answer")
	w.now = w.now.Add(2 * time.Second)
	w.wants(t, "without a grace", 1, fault.KeyUnreachable)
}

// TestLeaseWithoutDatabase: who cannot learn whether the keys were revoked has little grace.
func TestLeaseWithoutDatabase(t *testing.T) {
	w := newLeaseWorld(LeaseOptions{})
	w.err = fault.New(fault.Unavailable, "no database")
	w.now = w.now.Add(2 * time.Second)
	w.wants(t, "a hiccup", 1, fine)
	w.now = w.now.Add(2 * time.Second)
	w.wants(t, "it lasts", 2, fine)
	w.now = w.now.Add(time.Second)
	w.wants(t, "cut off", 3, fault.Unavailable)
}

func TestLeaseTimeout(t *testing.T) {
	o := LeaseOptions{Timeout: time.Millisecond, Grace: -1, Prove: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }}
	l := NewLease(o, time.Now().Add(-time.Hour))
	if err := l.Check(t.Context()); !fault.Is(err, fault.KeyUnreachable) {
		t.Errorf("got %v", err)
	}
	l.Close()
}

// TestLeaseOneQuestion: all who wait are served by one question, and one that goes away does not end it.
func TestLeaseOneQuestion(t *testing.T) {
	var asked atomic.Int32
	begun, answer := make(chan struct{}), make(chan struct{})
	l := NewLease(LeaseOptions{Timeout: time.Minute, Prove: func(ctx context.Context) error {
		asked.Add(1)
		close(begun)
		<-answer
		return ctx.Err()
	}}, time.Now().Add(-time.Hour))
	gone, leave := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := l.Check(gone); !fault.Is(err, fault.Canceled) {
			t.Errorf("the one that went away got %v", err)
		}
	})
	<-begun
	leave()
	wg.Wait()
	for range 8 {
		wg.Go(func() {
			if err := l.Check(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	close(answer)
	wg.Wait()
	if n := asked.Load(); n != 1 {
		t.Errorf("%d questions", n)
	}
}
