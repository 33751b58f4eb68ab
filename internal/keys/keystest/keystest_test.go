package keystest_test

import (
	"errors"
	"testing"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/keys"
	"github.com/strata-pacs/strata/internal/keys/keystest"
)

func TestProvider(t *testing.T) {
	var p *keystest.Provider
	keystest.Run(t, keystest.Harness{
		New: func(*testing.T) (keys.Wrapper, keys.ID) {
			p = keystest.NewProvider("kek", 0)
			return p, "kek"
		},
		Deny:    func(*testing.T) func() { p.Deny(); return p.Allow },
		Silence: func(*testing.T) func() { p.Silence(); return p.Allow },
		Rotate: func(t *testing.T, w keys.Wrapper) keys.Wrapper {
			if _, err := p.Rotate(t.Context(), "kek"); err != nil {
				t.Fatal(err)
			}
			return w
		},
	})
}

// TestPlain: a provider that only wraps passes too, and each thing that it cannot do is told.
func TestPlain(t *testing.T) {
	type plain struct{ keys.Wrapper }
	keystest.Run(t, keystest.Harness{
		New: func(*testing.T) (keys.Wrapper, keys.ID) {
			return plain{keystest.NewProvider("kek", 0)}, "kek"
		},
	})
	w := plain{keystest.NewProvider("kek", 0)}
	_, rotate := keys.Rotate(t.Context(), w, "kek")
	_, describe := keys.Describe(t.Context(), w, "kek")
	for name, err := range map[string]error{
		"Rotate": rotate, "Describe": describe,
		"Retire":  keys.Retire(t.Context(), w, "kek", "1"),
		"Disable": keys.Disable(t.Context(), w, "kek"),
		"Enable":  keys.Enable(t.Context(), w, "kek"),
		"Check":   keys.Check(t.Context(), w, "kek"),
	} {
		if !errors.Is(err, errors.ErrUnsupported) || !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSeed(t *testing.T) {
	w, err := keystest.NewProvider("kek", 7).Wrap(t.Context(), "kek", []byte("k"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := keystest.NewProvider("kek", 7).Unwrap(t.Context(), w, nil); err != nil {
		t.Errorf("the same seed: %v", err)
	}
	if _, err := keystest.NewProvider("kek", 8).Unwrap(t.Context(), w, nil); err == nil {
		t.Error("another seed unwraps")
	}
}
