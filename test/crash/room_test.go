//go:build linux

package crash

import (
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// several stores studies of two instances, of the sizes given.
func (w *world) several(t *testing.T, s *server, n int, sizes ...int) (all []*study) {
	t.Helper()
	for range n {
		st := w.study()
		for _, size := range sizes {
			if status, body, err := w.store(t.Context(), s, st.add(size)); err != nil || status != http.StatusOK {
				t.Fatalf("storing: status %d, %v: %s\n%s", status, err, body, s.tail())
			}
		}
		all = append(all, st)
	}
	return all
}

// packsIn counts the packs of a file store.
func packsIn(t *testing.T, store string) (n int) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(store, "objects"), func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() && strings.Contains(path, "/pack/") {
			n++
		}
		return nil // removed meanwhile
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestFullTier moves studies to a tier that has room for some of them: those stay whole where they were
// that do not fit, deletions work, and with room all are moved.
func TestFullTier(t *testing.T) {
	t.Parallel()
	d := newDisk(t, 64<<20)
	cold := filepath.Join(d.dir, "cold")
	w, p := newWorld(t), tieredPlace(t, t.TempDir(), coldIn(cold))
	s := start(t, p)
	hot := filepath.Join(p.data, "objects")
	foreign := d.fill(t, 7<<20)
	const studies = 16
	all := w.several(t, s, studies, medium, tiny)
	s.state(t, moveAll("cold"))
	moved := 0
	s.until(t, "the tier is full", func() bool {
		moved = packsIn(t, cold)
		tail := s.tail()
		return moved > 0 && strings.Contains(tail, "lifecycle of a study failed")
	})
	w.check(t, s, true, all, all[:2])
	p.must(t, "verify")
	if moved == studies {
		t.Fatal("all had room")
	}
	for _, st := range all[:4] {
		w.remove(t, s, st)
	}
	s.kill() // and it starts with a full tier
	s = start(t, p)
	w.check(t, s, true, all, all[4:6])
	late := w.several(t, s, 1, medium)
	if err := os.Remove(foreign); err != nil {
		t.Fatal(err)
	}
	s.state(t, moveAll("cold"))
	s.until(t, "all are moved", func() bool { return packsIn(t, hot) == 0 && packsIn(t, cold) == studies-4+len(late) })
	w.rest(t, s, cold)
	w.check(t, s, true, w.studies, w.studies)
	s.stop(t)
	t.Logf("%d of %d studies had room; the others were moved when there was more", moved, studies)
}

// TestFullSettle settles on a disk that has no room for the merged packs: what is there stays,
// deletions work, nothing is left half done, and with room all is settled.
func TestFullSettle(t *testing.T) {
	t.Parallel()
	d := newDisk(t, 128<<20)
	data, cold := filepath.Join(d.dir, "data"), t.TempDir()
	w, p := newWorld(t), tieredPlace(t, data, coldIn(cold))
	s := start(t, p)
	if status, body, err := s.api(t.Context(), http.MethodPost, "/lifecycle/pause", ""); err != nil || status != http.StatusOK {
		t.Fatalf("pausing: status %d, %v: %s", status, err, body)
	}
	const studies = 6
	all := w.several(t, s, studies, medium, medium, medium)
	foreign := d.fill(t, 5<<20)
	if status, body, err := s.api(t.Context(), http.MethodPost, "/lifecycle/resume", ""); err != nil || status != http.StatusOK {
		t.Fatalf("resuming: status %d, %v: %s", status, err, body)
	}
	s.until(t, "settling is refused", func() bool {
		return strings.Contains(s.tail(), "cannot be carried out") && strings.Contains(s.tail(), "kind=full")
	})
	w.check(t, s, true, all, all[:2])
	for _, st := range all[:2] {
		w.remove(t, s, st)
	}
	w.check(t, s, true, all, all[2:])
	// Settling is tried again meanwhile: its pack is there for a moment before it has no room for the rest.
	s.until(t, "no pack is left of what was refused", func() bool {
		return reported(t, p.must(t, "verify"), "packs") == packsIn(t, filepath.Join(data, "objects"))
	})
	s.kill()
	s = start(t, p)
	w.check(t, s, true, all, all[2:])
	if err := os.Remove(foreign); err != nil {
		t.Fatal(err)
	}
	s.state(t, moveAll("hot"))
	s.until(t, "all is settled", func() bool { return packsIn(t, filepath.Join(data, "objects")) == studies-2 })
	w.rest(t, s, cold)
	w.check(t, s, true, w.studies, w.studies)
	s.stop(t)
}
