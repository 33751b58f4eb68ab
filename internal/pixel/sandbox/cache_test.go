package sandbox

import (
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/strata-pacs/strata/internal/fault"
)

// filled is a folder with a copy of the compiled code that tests share.
func filled(t *testing.T) string {
	t.Helper()
	p := testPool(t, Options{Workers: 1})
	if err := p.Warm(t.Context()); err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(t.TempDir(), "cache")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	dir := "codecs-" + digest[:16]
	if err := os.CopyFS(filepath.Join(folder, dir), os.DirFS(filepath.Join(testCache(t), dir))); err != nil {
		t.Fatal(err)
	}
	return folder
}

// warm starts a worker on a folder and reports whether it loaded what was there.
func warm(t *testing.T, folder string) (cached bool) {
	t.Helper()
	p := testPool(t, Options{Workers: 1, Cache: folder})
	if _, err := p.Do(t.Context(), small(t)); err != nil {
		t.Fatal(err)
	}
	return rested(p)[0].hello.Cached
}

// TestDamagedCache: code that was damaged is not run, but made again.
func TestDamagedCache(t *testing.T) {
	if testing.Short() || raceEnabled {
		t.Skip("it compiles anew")
	}
	folder := filled(t)
	if !warm(t, folder) {
		t.Fatal("what was compiled is not used")
	}
	files, err := filepath.Glob(filepath.Join(folder, "codecs-*", "wazero-*", "*"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	b, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	flipped := append([]byte(nil), b...)
	flipped[len(b)/2] ^= 1
	for name, damage := range map[string][]byte{"cut": b[:len(b)/3], "flipped": flipped} {
		if err := os.WriteFile(files[0], damage, 0o600); err != nil {
			t.Fatal(err)
		}
		if warm(t, folder) {
			t.Error(name, ": damaged code was loaded")
		}
		if !warm(t, folder) {
			t.Error(name, ": what was made again is not used")
		}
	}
}

// TestForeignCache: a folder that others can write to is not used, and one that
// cannot be made is done without.
func TestForeignCache(t *testing.T) {
	if testing.Short() || raceEnabled {
		t.Skip("it compiles anew")
	}
	folder := filled(t)
	if err := os.Chmod(folder, 0o770); err != nil {
		t.Fatal(err)
	}
	if warm(t, folder) {
		t.Error("code that others can change was loaded")
	}
	if err := private(filepath.Join(t.TempDir(), "new")); err != nil {
		t.Error(err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(t.TempDir(), link); err != nil {
		t.Fatal(err)
	}
	if private(link) == nil {
		t.Error("a link passes for a folder")
	}
}

// TestOneCompiles: of workers that start at once on an empty folder, one
// compiles and the others load.
func TestOneCompiles(t *testing.T) {
	if testing.Short() || raceEnabled {
		t.Skip("it compiles anew")
	}
	p := testPool(t, Options{Workers: 2, Cache: filepath.Join(t.TempDir(), "cache")})
	var all sync.WaitGroup
	for range 2 {
		all.Go(func() {
			w, err := p.worker()
			if err != nil {
				t.Error(err)
				return
			}
			p.release(w)
		})
	}
	all.Wait()
	if t.Failed() {
		return
	}
	if a, b := rested(p)[0].hello.Cached, rested(p)[1].hello.Cached; a == b {
		t.Errorf("loaded: %v, %v", a, b)
	}
}

// TestUnusableCache: without a place for it, everything works, and slowly.
func TestUnusableCache(t *testing.T) {
	if testing.Short() || raceEnabled {
		t.Skip("it compiles anew")
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	p := testPool(t, Options{Workers: 1, Cache: file})
	if _, err := p.Do(t.Context(), small(t)); err != nil || fault.Is(err, fault.Unavailable) {
		t.Error(err)
	}
}
