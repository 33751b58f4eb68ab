//go:build linux

package dark

import (
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/keys/localkeys"
	"github.com/strata-pacs/strata/storage"
	"github.com/strata-pacs/strata/storage/filestore"
)

// heap is the environment of servers whose memory is looked at, such as
// GODEBUG=clobberfree=1, by which Go overwrites what it collects.
var heap = strings.Fields(os.Getenv("STRATA_DARK_HEAP"))

// TestNothingReadable uses a server in every way, looks for what was seeded in
// every file, in what it logs and measures, while it runs and when its key is
// gone; then in its memory, also for the keys.
func TestNothingReadable(t *testing.T) {
	dir := t.TempDir()
	key := filepath.Join(dir, "key", "local.key")
	s := alone(t, built(t, false), dir, map[string]any{"key-file": key, "reconcile-every": "1s"}, heap...)
	seed(t, s)
	use(t, s)
	time.Sleep(2 * time.Second) // thumbnails are made ahead
	all := localKeys(t, dir, key)
	known := keyMatcher(all)
	texts := seedMatcher()
	look := func(when string) {
		t.Helper()
		n := noFile(t, texts, dir)
		clean(t, texts, "the metrics", s.must(t, http.StatusOK, route{path: "/metrics"}))
		t.Logf("%s: %d MB in files, nothing readable", when, n>>20)
		for name, b := range filesWith(t, known, filepath.Join(dir, "data"), filepath.Join(dir, "tmp"), s.log) {
			t.Errorf("%s holds the key %v", name, b)
		}
	}
	look("granted")
	before, n := memory(t, known, s.processes()...)
	t.Logf("granted: %d MB of memory hold %s", n>>20, summary(before))
	if before["root"] == 0 {
		t.Error("not even the root key is found in the memory of a server at work: the search finds nothing")
	}
	if err := os.Rename(key, key+".away"); err != nil {
		t.Fatal(err)
	}
	dark(t, s)
	look("revoked")
	afterwards(t, s, known, texts, before.places())

	if err := os.Rename(key+".away", key); err != nil {
		t.Fatal(err)
	}
	back(t, s, time.Now())
}

// TestIdle holds that the archive of a tenant whom nobody asks for has no keys in memory.
func TestIdle(t *testing.T) {
	dir := t.TempDir()
	key := filepath.Join(dir, "key", "local.key")
	s := alone(t, built(t, false), dir, map[string]any{"key-file": key, "idle-close": "2s"}, heap...)
	seed(t, s)
	use(t, s)
	known := keyMatcher(localKeys(t, dir, key))
	before, _ := memory(t, known, s.pid())
	time.Sleep(4 * time.Second)
	afterwards(t, s, known, seedMatcher(), before.places())
	back(t, s, time.Now())
}

// dark waits until the server refuses.
func dark(t *testing.T, s *server) {
	t.Helper()
	for end := time.Now().Add(limit); ; time.Sleep(50 * time.Millisecond) {
		status, b, err := s.do(t.Context(), route{path: "/studies"})
		if err == nil && status == http.StatusForbidden && problem(b) == "key-revoked" {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("status %d, %v", status, err)
		}
	}
}

// afterwards looks into the memory of a server whose archive has been closed, which held
// keys in so many places before. The processes that decode images hold nothing at
// all. What the server itself still holds is told: Go's heap leaves what is unused as it was
// until something else is put there.
func afterwards(t *testing.T, s *server, known, texts *matcher, before int) {
	t.Helper()
	time.Sleep(6 * time.Second) // memory is given back a little later
	for _, pid := range s.processes() {
		f, n := memory(t, known, pid)
		g, _ := memory(t, texts, pid)
		t.Logf("%s, process %d: %d MB of memory hold of keys: %s; of patients' data: %s", s.name, pid, n>>20, summary(f), summary(g))
		switch {
		case pid == s.pid() && f.places() >= before:
			t.Errorf("%s: keys are in %d places, not in fewer than the %d of before", s.name, f.places(), before)
		case pid != s.pid() && len(f)+len(g) > 0:
			t.Errorf("%s: a process that decodes images holds keys or patients' data", s.name)
		}
	}
}

func (f found) places() (n int) {
	for _, k := range f {
		n += k
	}
	return n
}

func summary(f found) string {
	if len(f) == 0 {
		return "nothing"
	}
	names := slices.Sorted(maps.Keys(f))
	return fmt.Sprintf("%s: %d names, %d places", strings.Join(names[:min(24, len(names))], ", "), len(f), f.places())
}

func localKeys(t *testing.T, dir, key string) map[string][]byte {
	t.Helper()
	files, err := filestore.New(filepath.Join(dir, "data", "objects"), filestore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	w, err := localkeys.Open(key, nil)
	if err != nil {
		t.Fatal(err)
	}
	return keysOf(t, storage.New(files), w)
}

// filesWith returns what is found in files, by their names.
func filesWith(t *testing.T, m *matcher, paths ...string) map[string]map[string]int {
	t.Helper()
	in := map[string]map[string]int{}
	for _, path := range paths {
		err := filepath.WalkDir(path, func(path string, d os.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return nil // it was removed
			}
			b, _ := os.ReadFile(path)
			if f := m.count(b); len(f) > 0 {
				in[filepath.Base(path)] = f
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
	return in
}
