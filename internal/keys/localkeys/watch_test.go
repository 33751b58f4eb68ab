package localkeys

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/keys"
)

// clock is moved by hand.
type clock struct{ t time.Time }

func (c *clock) now() time.Time { return c.t }
func (c *clock) tick()          { c.t = c.t.Add(lookEvery) }

func watched(t *testing.T, passphrase string) (*File, string, *clock, keys.Wrapped) {
	t.Helper()
	path, c := create(t, passphrase), &clock{t: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	f, err := openAt(path, []byte(passphrase), c.now)
	if err != nil {
		t.Fatal(err)
	}
	w, err := f.Wrap(t.Context(), f.ID(), []byte("key"), []byte("a"))
	if err != nil {
		t.Fatal(err)
	}
	return f, path, c, w
}

// passphrases are none and one; argon2id takes seconds under the race detector.
func passphrases() []string {
	if testing.Short() {
		return []string{""}
	}
	return []string{"", "correct horse"}
}

// TestTakenAway: whatever makes the file unusable revokes the key within a
// second, and its return grants it.
func TestTakenAway(t *testing.T) {
	other := create(t, "")
	for name, tt := range map[string]struct {
		away func(path string) error
		want string
	}{
		"removed":    {os.Remove, "not there"},
		"forbidden":  {func(path string) error { return os.Chmod(path, 0) }, "may not be read"},
		"opened up":  {func(path string) error { return os.Chmod(path, 0o644) }, "by others"},
		"emptied":    {func(path string) error { return os.Truncate(path, 0) }, "damaged"},
		"another":    {func(path string) error { return move(other, path) }, "another key"},
		"a folder":   {func(path string) error { os.Remove(path); return os.Mkdir(path, 0o700) }, "cannot be read"},
		"no parent":  {func(path string) error { return os.RemoveAll(filepath.Dir(path)) }, "not there"},
		"a new name": {func(path string) error { return os.Rename(path, path+".old") }, "not there"},
	} {
		t.Run(name, func(t *testing.T) {
			f, path, c, w := watched(t, "")
			b, err := os.ReadFile(path)
			if err == nil {
				err = tt.away(path)
			}
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.Unwrap(t.Context(), w, []byte("a")); err != nil {
				t.Errorf("before a second has passed: %v", err)
			}
			if err := f.Check(t.Context(), f.ID()); !fault.Is(err, fault.KeyDenied) {
				t.Errorf("asked at once: %v", err)
			}
			for range 2 {
				c.tick()
				_, err := f.Unwrap(t.Context(), w, []byte("a"))
				if !fault.Is(err, fault.KeyDenied) || !strings.Contains(fault.Message(err), tt.want) {
					t.Errorf("unwrapping: %v, want %q", err, tt.want)
				}
				if _, err := f.Wrap(t.Context(), f.ID(), []byte("key"), []byte("a")); !fault.Is(err, fault.KeyDenied) {
					t.Errorf("wrapping: %v", err)
				}
				if _, err := f.Rotate(t.Context(), f.ID()); !fault.Is(err, fault.KeyDenied) {
					t.Errorf("rotating: %v", err)
				}
			}
			if f.held != nil {
				t.Error("the keys are still in memory")
			}
			os.RemoveAll(path)
			os.MkdirAll(filepath.Dir(path), 0o700)
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			c.tick()
			if got, err := f.Unwrap(t.Context(), w, []byte("a")); err != nil || string(got) != "key" {
				t.Errorf("after its return: %q, %v", got, err)
			}
		})
	}
}

func move(from, to string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, b, 0o600)
}

// TestReload: a version that another process made wraps within a second, and
// unwraps at once.
func TestReload(t *testing.T) {
	for _, passphrase := range passphrases() {
		f, path, c, old := watched(t, passphrase)
		other := mustOpen(t, path, passphrase)
		if v, err := other.Rotate(t.Context(), f.ID()); err != nil || v != "2" {
			t.Fatalf("version %q, %v", v, err)
		}
		fresh, err := other.Wrap(t.Context(), f.ID(), []byte("key"), []byte("a"))
		if err != nil || fresh.Version != "2" {
			t.Fatalf("version %q, %v", fresh.Version, err)
		}
		for _, w := range []keys.Wrapped{old, fresh} {
			if _, err := f.Unwrap(t.Context(), w, []byte("a")); err != nil {
				t.Errorf("version %s: %v", w.Version, err)
			}
		}
		c.tick()
		if w, err := f.Wrap(t.Context(), f.ID(), []byte("key"), nil); err != nil || w.Version != "2" {
			t.Errorf("version %q, %v", w.Version, err)
		}
	}
}

// TestOtherPassphrase: the passphrase is not kept, so a new one needs a start.
func TestOtherPassphrase(t *testing.T) {
	f, path, c, w := watched(t, "correct horse")
	doc := readDoc(t, path)
	doc.KDF.Salt[0]++
	writeDoc(t, path, doc)
	c.tick()
	if _, err := f.Unwrap(t.Context(), w, []byte("a")); !fault.Is(err, fault.KeyDenied) || !strings.Contains(fault.Message(err), "start Strata again") {
		t.Errorf("%v", err)
	}
}
