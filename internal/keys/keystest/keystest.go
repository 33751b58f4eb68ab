// Package keystest is the exam that every keys.Wrapper sits, and a provider in
// memory that can be told to refuse or to fall silent, for tests of what uses one.
package keystest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/keys"
)

// Harness makes the provider under test.
type Harness struct {
	// New returns a provider and the name of a KEK that it holds.
	New func(t *testing.T) (keys.Wrapper, keys.ID)
	// Deny makes the provider of the last New refuse the KEK, and returns how to
	// allow it again; nil if that cannot be done.
	Deny func(t *testing.T) (allow func())
	// Silence makes it not answer, and returns how to end that; nil if it
	// cannot be silent, being local.
	Silence func(t *testing.T) (speak func())
	// Rotate adds a version of the KEK and returns the provider that has it; nil if
	// that cannot be done.
	Rotate func(t *testing.T, w keys.Wrapper) keys.Wrapper
}

// Run runs the suite.
func Run(t *testing.T, h Harness) {
	t.Helper()
	for _, c := range []struct {
		name string
		test func(*testing.T, Harness)
	}{
		{"RoundTrip", testRoundTrip},
		{"BindsData", testBinds},
		{"Damaged", testDamaged},
		{"UnknownKEK", testUnknownKEK},
		{"Denied", testDenied},
		{"Silent", testSilent},
		{"Rotated", testRotated},
		{"Canceled", testCanceled},
		{"Concurrent", testConcurrent},
		{"Describes", testDescribes},
		{"Rotates", testRotates},
		{"Retires", testRetires},
		{"Switches", testSwitches},
		{"Checks", testChecks},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, h) })
	}
}

var secret = []byte("0123456789abcdef0123456789abcdef")

func wrap(t *testing.T, w keys.Wrapper, kek keys.ID, key, aad []byte) keys.Wrapped {
	t.Helper()
	out, err := w.Wrap(t.Context(), kek, key, aad)
	if err != nil {
		t.Fatalf("wrapping: %v", err)
	}
	return out
}

func wantKey(t *testing.T, w keys.Wrapper, wrapped keys.Wrapped, aad, want []byte) {
	t.Helper()
	got, err := w.Unwrap(t.Context(), wrapped, aad)
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("unwrapping: %d bytes, %v", len(got), err)
	}
}

func wantKind(t *testing.T, what string, err error, k fault.Kind) {
	t.Helper()
	if !fault.Is(err, k) {
		t.Errorf("%s: error %v is of kind %v, want %v", what, err, fault.KindOf(err), k)
	}
}

func testRoundTrip(t *testing.T, h Harness) {
	w, kek := h.New(t)
	for _, aad := range [][]byte{[]byte("a"), []byte("tenant\x00key"), bytes.Repeat([]byte{7}, 300)} {
		a, b := wrap(t, w, kek, secret, aad), wrap(t, w, kek, secret, aad)
		if a.KEK != kek || a.Version == "" {
			t.Errorf("wrapped under %q version %q, not %q", a.KEK, a.Version, kek)
		}
		if bytes.Equal(a.Bytes, b.Bytes) {
			t.Error("a key is wrapped to the same bytes twice")
		}
		if bytes.Contains(a.Bytes, secret[:8]) {
			t.Error("the key can be read in its wrapping")
		}
		wantKey(t, w, a, aad, secret)
		wantKey(t, w, b, aad, secret)
	}
	// What is returned is the caller's to wipe.
	a := wrap(t, w, kek, secret, []byte("a"))
	got, err := w.Unwrap(t.Context(), a, []byte("a"))
	if err != nil {
		t.Fatal(err)
	}
	clear(got)
	wantKey(t, w, a, []byte("a"), secret)
}

func testBinds(t *testing.T, h Harness) {
	w, kek := h.New(t)
	wrapped := wrap(t, w, kek, secret, []byte("tenant-a\x00key-1"))
	for _, aad := range []string{"", "tenant-b\x00key-1", "tenant-a\x00key-2", "tenant-a\x00key-", "tenant-a\x00key-11"} {
		_, err := w.Unwrap(t.Context(), wrapped, []byte(aad))
		wantKind(t, fmt.Sprintf("with data %q", aad), err, fault.Corrupt)
	}
}

func testDamaged(t *testing.T, h Harness) {
	w, kek := h.New(t)
	wrapped := wrap(t, w, kek, secret, []byte("a"))
	whole := bytes.Clone(wrapped.Bytes)
	for name, b := range map[string][]byte{
		"empty": {}, "one byte": {1}, "cut": whole[:len(whole)-1], "half": whole[:len(whole)/2], "longer": append(bytes.Clone(whole), 0),
		"changed at the end": changed(whole, len(whole)-1), "changed inside": changed(whole, len(whole)/2),
	} {
		wrapped.Bytes = b
		_, err := w.Unwrap(t.Context(), wrapped, []byte("a"))
		wantKind(t, name, err, fault.Corrupt)
	}
}

func changed(b []byte, i int) []byte {
	b = bytes.Clone(b)
	b[i] ^= 1
	return b
}

func testUnknownKEK(t *testing.T, h Harness) {
	w, kek := h.New(t)
	_, err := w.Wrap(t.Context(), kek+"-other", secret, []byte("a"))
	wantKind(t, "wrapping", err, fault.KeyDenied)
	wrapped := wrap(t, w, kek, secret, []byte("a"))
	wrapped.KEK += "-other"
	_, err = w.Unwrap(t.Context(), wrapped, []byte("a"))
	wantKind(t, "unwrapping", err, fault.KeyDenied)
}

func testDenied(t *testing.T, h Harness) {
	if h.Deny == nil {
		t.Skip("the provider cannot be told to refuse")
	}
	w, kek := h.New(t)
	wrapped := wrap(t, w, kek, secret, []byte("a"))
	allow := h.Deny(t)
	_, err := w.Unwrap(t.Context(), wrapped, []byte("a"))
	wantKind(t, "unwrapping", err, fault.KeyDenied)
	_, err = w.Wrap(t.Context(), kek, secret, []byte("a"))
	wantKind(t, "wrapping", err, fault.KeyDenied)
	allow()
	wantKey(t, w, wrapped, []byte("a"), secret)
}

func testSilent(t *testing.T, h Harness) {
	if h.Silence == nil {
		t.Skip("the provider cannot be silent")
	}
	w, kek := h.New(t)
	wrapped := wrap(t, w, kek, secret, []byte("a"))
	speak := h.Silence(t)
	_, err := w.Unwrap(t.Context(), wrapped, []byte("a"))
	wantKind(t, "unwrapping", err, fault.KeyUnreachable)
	_, err = w.Wrap(t.Context(), kek, secret, []byte("a"))
	wantKind(t, "wrapping", err, fault.KeyUnreachable)
	speak()
	wantKey(t, w, wrapped, []byte("a"), secret)
}

func testRotated(t *testing.T, h Harness) {
	if h.Rotate == nil {
		t.Skip("the provider has one version")
	}
	w, kek := h.New(t)
	old := wrap(t, w, kek, secret, []byte("a"))
	w = h.Rotate(t, w)
	wantKey(t, w, old, []byte("a"), secret)
	fresh := wrap(t, w, kek, secret, []byte("a"))
	if fresh.Version == old.Version {
		t.Errorf("after a rotation version %q still wraps", old.Version)
	}
	wantKey(t, w, fresh, []byte("a"), secret)
	fresh.Version = old.Version
	_, err := w.Unwrap(t.Context(), fresh, []byte("a"))
	wantKind(t, "under another version", err, fault.Corrupt)
	fresh.Version = "999"
	_, err = w.Unwrap(t.Context(), fresh, []byte("a"))
	wantKind(t, "under no version", err, fault.KeyDenied)
}

func testCanceled(t *testing.T, h Harness) {
	w, kek := h.New(t)
	wrapped := wrap(t, w, kek, secret, []byte("a"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := w.Wrap(ctx, kek, secret, []byte("a"))
	wantKind(t, "wrapping", err, fault.Canceled)
	_, err = w.Unwrap(ctx, wrapped, []byte("a"))
	wantKind(t, "unwrapping", err, fault.Canceled)
}

func testConcurrent(t *testing.T, h Harness) {
	w, kek := h.New(t)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			key := bytes.Repeat([]byte{byte(g)}, 32)
			for i := range 10 {
				aad := fmt.Appendf(nil, "%d/%d", g, i)
				wrapped, err := w.Wrap(t.Context(), kek, key, aad)
				if err == nil {
					var got []byte
					if got, err = w.Unwrap(t.Context(), wrapped, aad); err == nil && !bytes.Equal(got, key) {
						err = errors.New("another key came back")
					}
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}
