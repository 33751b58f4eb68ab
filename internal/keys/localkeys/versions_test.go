package localkeys

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/keys"
)

// TestChange: the new file holds all that the old one held, for its owner alone,
// through a link too, and nothing else is left in the folder.
func TestChange(t *testing.T) {
	for _, passphrase := range passphrases() {
		path := create(t, passphrase)
		link := filepath.Join(t.TempDir(), "link")
		if err := os.Symlink(path, link); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, 0o400); err != nil {
			t.Fatal(err)
		}
		before := readDoc(t, path)
		f := mustOpen(t, link, passphrase)
		if v, err := f.Rotate(t.Context(), f.ID()); err != nil || v != "2" {
			t.Fatalf("version %q, %v", v, err)
		}
		after := readDoc(t, path)
		if after.ID != before.ID || after.Note != before.Note || len(after.Keys) != 2 || string(after.Keys[0].Key) != string(before.Keys[0].Key) || !after.Keys[0].Created.Equal(before.Keys[0].Created) {
			t.Errorf("from %+v to %+v", before, after)
		}
		info, err := os.Lstat(link)
		if err != nil || info.Mode().Type() != os.ModeSymlink {
			t.Errorf("the link is %v, %v", info, err)
		}
		if info, err := os.Stat(path); err != nil || info.Mode() != 0o400 {
			t.Errorf("mode %v, %v", info.Mode(), err)
		}
		if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) != 1 {
			t.Errorf("%v, %v", entries, err)
		}
		d, err := mustOpen(t, path, passphrase).Describe(t.Context(), f.ID())
		if err != nil || d.Provider != "local" || d.Newest != "2" || len(d.Versions) != 2 || time.Since(d.Versions[1].Created) > time.Minute {
			t.Errorf("%+v, %v", d, err)
		}
		if err := f.Retire(t.Context(), f.ID(), "2"); err != nil {
			t.Fatal(err)
		}
		if doc := readDoc(t, path); len(doc.Keys) != 1 || doc.Keys[0].Version != 2 {
			t.Errorf("after a retirement: %+v", doc.Keys)
		}
	}
}

// TestRotateAtOnce: processes that rotate the same file lose no version.
func TestRotateAtOnce(t *testing.T) {
	path := create(t, "")
	var wg sync.WaitGroup
	var mu sync.Mutex
	made := map[string]keys.Wrapped{}
	for range 4 {
		f := mustOpen(t, path, "")
		wg.Go(func() {
			for range 5 {
				v, err := f.Rotate(t.Context(), f.ID())
				if err != nil {
					t.Error(err)
					return
				}
				w, err := f.Wrap(t.Context(), f.ID(), []byte(v), nil)
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				if _, ok := made[v]; ok {
					t.Errorf("version %s was made twice", v)
				}
				made[v] = w
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	f := mustOpen(t, path, "")
	for v, w := range made {
		if got, err := f.Unwrap(t.Context(), w, nil); err != nil || string(got) != v {
			t.Errorf("under version %s: %q, %v", v, got, err)
		}
	}
	if d, err := f.Describe(t.Context(), f.ID()); err != nil || d.Newest != strconv.Itoa(1+len(made)) {
		t.Errorf("%+v, %v", d, err)
	}
}

// TestLocked: who waits for another process stops when its caller does.
func TestLocked(t *testing.T) {
	path := create(t, "")
	f := mustOpen(t, path, "")
	held, err := lockCurrent(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	if _, err := f.Rotate(ctx, f.ID()); !fault.Is(err, fault.Timeout) {
		t.Errorf("%v", err)
	}
	if doc := readDoc(t, path); len(doc.Keys) != 1 {
		t.Errorf("%d versions", len(doc.Keys))
	}
}
