package keys_test

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/keys"
	"github.com/strata-pacs/strata/internal/keys/keystest"
)

// locks returns two providers and the wrapper that needs both.
func locks() (first, second *keystest.Provider, both *keys.TwoLocks, kek keys.ID) {
	first, second = keystest.NewProvider("one+%", 0), keystest.NewProvider("two", 0)
	return first, second, keys.Both(first, second), keys.Pair[keys.ID]("one+%", "two")
}

// TestBoth sits the exam with each of the two providers being the one that
// refuses, is silent or is rotated.
func TestBoth(t *testing.T) {
	for name, pick := range map[string]func(a, b *keystest.Provider) (*keystest.Provider, keys.ID){
		"First":  func(a, _ *keystest.Provider) (*keystest.Provider, keys.ID) { return a, "one+%" },
		"Second": func(_, b *keystest.Provider) (*keystest.Provider, keys.ID) { return b, "two" },
	} {
		t.Run(name, func(t *testing.T) {
			var p *keystest.Provider
			var id keys.ID
			keystest.Run(t, keystest.Harness{
				New: func(*testing.T) (keys.Wrapper, keys.ID) {
					first, second, both, kek := locks()
					p, id = pick(first, second)
					return both, kek
				},
				Deny:    func(*testing.T) func() { p.Deny(); return p.Allow },
				Silence: func(*testing.T) func() { p.Silence(); return p.Allow },
				Rotate: func(t *testing.T, w keys.Wrapper) keys.Wrapper {
					if _, err := p.Rotate(t.Context(), id); err != nil {
						t.Fatal(err)
					}
					return w
				},
			})
		})
	}
}

// TestBothOrPlain: one provider without versions does not keep the other from having them.
func TestBothOrPlain(t *testing.T) {
	type plain struct {
		keys.Wrapper
		keys.Describer
	}
	for _, second := range []bool{false, true} {
		keystest.Run(t, keystest.Harness{New: func(*testing.T) (keys.Wrapper, keys.ID) {
			a, b, _, kek := locks()
			if second {
				return keys.Both(a, plain{b, b}), kek
			}
			return keys.Both(plain{a, a}, b), kek
		}})
	}
}

// TestNeitherAlone: the outer provider sees no key, and the inner one gets nothing that it can unwrap.
func TestNeitherAlone(t *testing.T) {
	first, second, both, kek := locks()
	key := bytes.Repeat([]byte{7}, 32)
	w, err := both.Wrap(t.Context(), kek, key, []byte("a"))
	if err != nil {
		t.Fatal(err)
	}
	if w.Version != "1+1" || w.KEK != "one%2B%25+two" {
		t.Errorf("version %q of %q", w.Version, w.KEK)
	}
	if got, err := second.Unwrap(t.Context(), keys.Wrapped{KEK: "two", Version: "1", Bytes: w.Bytes}, []byte("a")); err != nil || bytes.Contains(got, key[:8]) {
		t.Errorf("the second alone: %d bytes, %v", len(got), err)
	}
	if _, err := first.Unwrap(t.Context(), keys.Wrapped{KEK: "one+%", Version: "1", Bytes: w.Bytes}, []byte("a")); !fault.Is(err, fault.Corrupt) {
		t.Errorf("the first alone: %v", err)
	}
}

// TestDenialGoesFirst: who refuses is heard even while the other says nothing.
func TestDenialGoesFirst(t *testing.T) {
	for _, hang := range []bool{false, true} {
		for _, swap := range []bool{false, true} {
			first, second, both, kek := locks()
			w, err := both.Wrap(t.Context(), kek, []byte("key"), nil)
			if err != nil {
				t.Fatal(err)
			}
			silent, refusing := first, second
			if swap {
				silent, refusing = second, first
			}
			silent.Silence()
			if hang {
				defer silent.Hold()()
			}
			refusing.Deny()
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			if _, err := both.Unwrap(ctx, w, nil); !fault.Is(err, fault.KeyDenied) {
				t.Errorf("hang %v, swap %v: unwrapping: %v", hang, swap, err)
			}
			cancel()
			ctx, cancel = context.WithTimeout(t.Context(), 200*time.Millisecond)
			if _, err := both.Wrap(ctx, kek, []byte("key"), nil); !fault.Is(err, fault.KeyDenied) {
				t.Errorf("hang %v, swap %v: wrapping: %v", hang, swap, err)
			}
			if err := both.Check(ctx, kek); !fault.Is(err, fault.KeyDenied) {
				t.Errorf("hang %v, swap %v: checking: %v", hang, swap, err)
			}
			cancel()
		}
	}
}

func TestPair(t *testing.T) {
	for _, tt := range [][3]string{{"a", "b", "a+b"}, {"a+b", "c", "a%2Bb+c"}, {"a%2B", "%", "a%252B+%25"}} {
		p := keys.Pair(tt[0], tt[1])
		a, b, ok := keys.SplitPair(p)
		if p != tt[2] || !ok || a != tt[0] || b != tt[1] {
			t.Errorf("%q and %q: %q, back to %q and %q", tt[0], tt[1], p, a, b)
		}
	}
	_, _, both, kek := locks()
	for _, bad := range []keys.ID{"", "a", "+a", "a+", "a+b+c"} {
		if _, err := both.Wrap(t.Context(), bad, []byte("key"), nil); !fault.Is(err, fault.KeyDenied) {
			t.Errorf("under %q: %v", bad, err)
		}
		if _, err := both.Unwrap(t.Context(), keys.Wrapped{KEK: kek, Version: string(bad)}, nil); !fault.Is(err, fault.KeyDenied) {
			t.Errorf("version %q: %v", bad, err)
		}
	}
}
