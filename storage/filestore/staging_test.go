package filestore

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/strata-pacs/strata/storage/driver"
)

// TestBeside: who opens the store while another writes takes nothing from it, and what was left by one that
// has ended is removed.
func TestBeside(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	w, err := s.Create(t.Context(), "t/pack/a", driver.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	if _, err := w.Write(make([]byte, 3<<20)); err != nil { // more than is buffered
		t.Fatal(err)
	}
	dead := filepath.Join(dir, "tmp", "staging-dead")
	if err := os.Mkdir(dead, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, left := range []string{filepath.Join(dead, "object-1"), filepath.Join(dir, "tmp", "object-2")} {
		if err := os.WriteFile(left, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	beside := open(t, dir, Options{})
	if _, err := w.Commit(t.Context()); err != nil {
		t.Errorf("committing what was begun before: %v", err)
	}
	if a, err := beside.Stat(t.Context(), "t/pack/a"); err != nil || a.Size != 3<<20 {
		t.Errorf("%+v, %v", a, err)
	}
	left, err := os.ReadDir(filepath.Join(dir, "tmp"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range left {
		if p := filepath.Join(dir, "tmp", e.Name()); p != s.tmp.dir && p != beside.tmp.dir {
			t.Errorf("%s is left", e.Name())
		}
	}
	for _, of := range []*Store{s, beside} {
		if all, err := os.ReadDir(of.tmp.dir); err != nil || len(all) > 0 {
			t.Errorf("%d unfinished objects, %v", len(all), err)
		}
		of.end()
	}
	last := open(t, dir, Options{})
	if left, err = os.ReadDir(filepath.Join(dir, "tmp")); err != nil || len(left) != 1 || filepath.Join(dir, "tmp", left[0].Name()) != last.tmp.dir {
		t.Errorf("%d staging folders, %v", len(left), err)
	}
}
