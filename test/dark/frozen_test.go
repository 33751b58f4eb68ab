//go:build linux

package dark

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestFrozen stops the whole server while its key is taken away, as a machine
// does that is suspended or moved. What wakes up must not go on where it was: not one byte.
func TestFrozen(t *testing.T) {
	dir := t.TempDir()
	key := filepath.Join(dir, "key", "local.key")
	s := alone(t, built(t, false), dir, map[string]any{"key-file": key})
	seed(t, s)
	w := begin(t, s)
	thaw := s.freeze(t)
	defer thaw()
	if err := os.Rename(key, key+".away"); err != nil {
		t.Fatal(err)
	}
	time.Sleep(10 * time.Second) // clients read what the network has of what was sent before
	before := map[*stream]int64{}
	for _, st := range w.streams {
		_, before[st], _, _ = st.state()
	}
	thaw()
	time.Sleep(3 * time.Second)
	for end := time.Now().Add(10 * time.Second); w.open() && time.Now().Before(end); {
		time.Sleep(50 * time.Millisecond)
	}
	for _, st := range w.streams {
		_, n, done, err := st.state()
		t.Logf("%s: %d bytes, then %d more, %v", st.what, before[st], n-before[st], err)
		switch {
		case st.what == "a store": // its bytes come from the client
		case n != before[st]:
			t.Errorf("%s: %d bytes after the server woke up", st.what, n-before[st])
		case !done && st.ends():
			t.Errorf("%s goes on", st.what)
		}
	}
	w.end()
	// Who is still sending when the refusal comes may meet the end of the connection first.
	if w.store.status != 0 && (w.store.status != http.StatusForbidden || problem(w.store.body) != "key-revoked") {
		t.Errorf("the store under way: status %d: %s", w.store.status, w.store.body)
	}
	refused(t, s, http.StatusForbidden, "key-revoked")
	if err := os.Rename(key+".away", key); err != nil {
		t.Fatal(err)
	}
	back(t, s, time.Now())
	nothingStored(t, s)
}
