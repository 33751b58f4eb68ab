package sandboxtest

import (
	"os"
	"path/filepath"
	"testing"
)

// TestWarm: what one server compiled, the next one has before it starts, and what was begun only is left.
func TestWarm(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	const code, sum = "wazero-1/code", "SUM"
	put := func(dir, name, content string) {
		t.Helper()
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	next := func() string {
		t.Helper()
		data := t.TempDir()
		Warm(t, "", data)
		return filepath.Join(data, "pixels")
	}
	first := next()
	if info, err := os.Stat(first); err != nil || info.Mode().Perm() != 0o700 {
		t.Fatal("others could write to the folder, or it is not there: ", err)
	}
	put(filepath.Join(first, "codecs-1"), code, "compiled")
	keep(t, first, Cache(t)) // killed before it was done
	if left, _ := os.ReadDir(next()); len(left) != 0 {
		t.Fatal("half of it is handed on: ", left)
	}
	put(filepath.Join(first, "codecs-1"), sum, "digest")
	for range 2 { // once more changes nothing
		keep(t, first, Cache(t))
		for _, name := range []string{code, sum} {
			want, _ := os.ReadFile(filepath.Join(first, "codecs-1", name))
			if b, err := os.ReadFile(filepath.Join(next(), "codecs-1", name)); err != nil || string(b) != string(want) {
				t.Errorf("%s: %q, %v", name, b, err)
			}
		}
	}
	if parts, _ := filepath.Glob(filepath.Join(Cache(t), "part-*")); len(parts) != 0 {
		t.Error("left behind: ", parts)
	}
}
