package lifecycle

import (
	"context"
	"errors"
	"testing"
	"time"
)

// TestAlone: what must not run beside moves waits for rounds, and rounds for it.
func TestAlone(t *testing.T) {
	k := New(Options{Tenant: "t", Whole: func() bool { return false }}) // no round begins
	boom := errors.New("boom")
	err := k.Alone(t.Context(), func(ctx context.Context) error {
		if done, err := k.Apply(ctx, time.Millisecond); err != nil || !done.More {
			t.Errorf("a round beside it: %+v, %v", done, err)
		}
		short, cancel := context.WithTimeout(ctx, time.Millisecond)
		defer cancel()
		if _, err := k.Round(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a round beside it: %v", err)
		}
		if err := k.Alone(short, func(context.Context) error { t.Error("two at once"); return nil }); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		return boom
	})
	if !errors.Is(err, boom) {
		t.Error(err)
	}
	if done, err := k.Apply(t.Context(), time.Minute); err == nil || done.More {
		t.Errorf("it does not wait any more: %+v, %v", done, err)
	}
}
