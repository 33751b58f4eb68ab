package keystest_test

import (
	"testing"

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
		Rotate:  func(_ *testing.T, w keys.Wrapper) keys.Wrapper { p.Rotate(); return w },
	})
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
