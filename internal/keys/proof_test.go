package keys_test

import (
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/keys"
)

// TestProve: the provider is asked for each version in use, but not when it has just answered.
func TestProve(t *testing.T) {
	w := newWorld()
	now := time.UnixMilli(1e12)
	o := w.options("a")
	o.Now = func() time.Time { return now }
	r, err := keys.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	unwraps := func() int { _, n := w.kek.Calls(); return n }
	before := unwraps()
	if err := r.Prove(t.Context(), time.Second); err != nil || unwraps() != before {
		t.Errorf("just opened: %v, %d questions", err, unwraps()-before)
	}
	now = now.Add(time.Second)
	if err := r.Prove(t.Context(), time.Second); err != nil || unwraps() != before+1 {
		t.Errorf("a second later: %v, %d questions", err, unwraps()-before)
	}
	w.rotate(t)
	newKey(t, r) // under the new version; the root is under the old one
	now = now.Add(time.Second)
	if err := r.Prove(t.Context(), time.Second); err != nil || unwraps() != before+3 {
		t.Errorf("two versions: %v, %d questions", err, unwraps()-before)
	}
	now = now.Add(time.Second)
	w.kek.Deny()
	if err := r.Prove(t.Context(), time.Second); !fault.Is(err, fault.KeyDenied) {
		t.Errorf("denied: %v", err)
	}
	w.kek.Silence()
	if err := r.Prove(t.Context(), time.Second); !fault.Is(err, fault.KeyUnreachable) {
		t.Errorf("silent: %v", err)
	}
	w.kek.Allow()
	if err := r.Prove(t.Context(), time.Second); err != nil {
		t.Errorf("allowed again: %v", err)
	}
}

// TestProveAfterShredding: a canary that was destroyed proves nothing, either way.
func TestProveAfterShredding(t *testing.T) {
	w := newWorld()
	now := time.UnixMilli(1e12)
	o := w.options("a")
	o.Now = func() time.Time { return now }
	r, err := keys.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	w.rotate(t)
	id, _ := newKey(t, r)
	if err := w.bucket.Delete(t.Context(), keys.KeyName("a", id)); err != nil {
		t.Fatal(err)
	}
	w.kek.Deny()
	now = now.Add(time.Second)
	if err := r.Prove(t.Context(), time.Second); !fault.Is(err, fault.KeyDenied) {
		t.Errorf("the root's version is denied as well: %v", err)
	}
	if _, err := r.Secret(t.Context(), id); err == nil {
		t.Error("the key of the destroyed object is still in memory")
	}
}

func (w *world) rotate(t *testing.T) {
	t.Helper()
	if _, err := w.kek.Rotate(t.Context(), "kek"); err != nil {
		t.Fatal(err)
	}
}
