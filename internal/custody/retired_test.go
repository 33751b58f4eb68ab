package custody

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/keys"
	"github.com/strata-pacs/strata/internal/keys/localkeys"
	"github.com/strata-pacs/strata/internal/keys/providers"
)

// TestRetiredBefore: a backup of the keys is worthless once every version that
// was usable then is gone, and not before.
func TestRetiredBefore(t *testing.T) {
	w := newWorld(t)
	path := filepath.Join(t.TempDir(), "kek")
	if err := localkeys.Create(path, nil); err != nil {
		t.Fatal(err)
	}
	file, err := localkeys.Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.set.Add("file", providers.Provider{Wrapper: file, KEK: file.ID()}); err != nil {
		t.Fatal(err)
	}
	w.tenants.of["a"] = archive.TenantSettings{State: archive.TenantActive, KEK: string(file.ID())}
	c := New(w.options())
	is := func(what string, at time.Time, want bool) {
		t.Helper()
		if got, err := c.RetiredBefore(t.Context(), "a", at); err != nil || got != want {
			t.Errorf("%s: %v, %v", what, got, err)
		}
	}
	// Versions are dated by the second.
	old := time.Now().Add(-time.Hour)
	now := time.Now().Add(time.Second)
	is("before there was a version", old, true)
	is("the first version wraps", now, false)
	version, err := keys.Rotate(t.Context(), w.set, file.ID())
	if err != nil {
		t.Fatal(err)
	}
	is("rotated, not retired", now, false)
	if err := keys.Retire(t.Context(), w.set, file.ID(), version); err != nil {
		t.Fatal(err)
	}
	d, err := keys.Describe(t.Context(), w.set, file.ID())
	if err != nil || len(d.Versions) != 1 {
		t.Fatalf("%+v, %v", d, err)
	}
	is("retired", d.Versions[0].Created.Add(-time.Second), true)
	is("closed under the new version", d.Versions[0].Created, false)
	escrowed := w.tenants.of["a"]
	escrowed.Recovery.KEK = "one/recovery"
	w.tenants.of["a"] = escrowed
	is("a recovery key opens it", d.Versions[0].Created.Add(-time.Second), false)

	// The provider in memory does not say when versions were made.
	w.tenants.of["a"] = archive.TenantSettings{State: archive.TenantActive, KEK: "one/k"}
	is("nobody can tell", old, false)
}
