//go:build linux

package dark

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestLocalKeyFile takes the key file away, and forbids to read it.
func TestLocalKeyFile(t *testing.T) {
	dir := t.TempDir()
	key := filepath.Join(dir, "key", "local.key")
	s := alone(t, built(t, false), dir, map[string]any{"key-file": key})
	seed(t, s)
	use(t, s)
	for _, c := range []struct {
		name         string
		revoke, give func() error
	}{
		{"the key file is removed", func() error { return os.Rename(key, key+".away") }, func() error { return os.Rename(key+".away", key) }},
		{"nobody may read the key file", func() error { return os.Chmod(key, 0) }, func() error { return os.Chmod(key, 0o600) }},
	} {
		t.Run(c.name, func(t *testing.T) { revoked(t, c.revoke, c.give, s) })
	}
}

// revoked takes the key away from the servers while they are at work, and gives it back.
func revoked(t *testing.T, revoke, give func() error, servers ...*server) {
	t.Helper()
	var watches []*watch
	for _, s := range servers {
		watches = append(watches, begin(t, s))
	}
	denied := time.Now()
	if err := revoke(); err != nil {
		t.Fatal(err)
	}
	var latest time.Duration
	for _, w := range watches {
		latest = max(latest, w.darkness(t, denied))
	}
	for _, s := range servers {
		refused(t, s, http.StatusForbidden, "key-revoked")
	}
	if err := give(); err != nil {
		t.Fatal(err)
	}
	granted := time.Now()
	var again time.Duration
	for _, s := range servers {
		again = max(again, back(t, s, granted))
		nothingStored(t, s)
	}
	t.Logf("dark after %.1f s, all there %.1f s after the grant", latest.Seconds(), again.Seconds())
}
