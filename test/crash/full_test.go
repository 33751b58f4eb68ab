//go:build linux

package crash

import (
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/pixel/sandbox/sandboxtest"
)

// TestFull fills the one small file system with everything on it.
func TestFull(t *testing.T) {
	t.Parallel()
	d := newDisk(t, 128<<20)
	foreign := d.fill(t, 45<<20)
	p := newPlace(t, filepath.Join(d.dir, "data"), "")
	full(t, p, foreign, func() {})
}

// TestFullIndex fills a small file system with the index alone; the data lies elsewhere.
func TestFullIndex(t *testing.T) {
	t.Parallel()
	d := newDisk(t, 64<<20)
	p := newPlace(t, t.TempDir(), filepath.Join(d.dir, "index.db"))
	full(t, p, filepath.Join(d.dir, "foreign"), func() { d.fill(t, 3<<20) })
}

// full fills the disk of a server until it says so, and holds it to what must
// work then and after the foreign file is removed. shrink is called when the
// server runs and holds a little.
func full(t *testing.T, p place, foreign string, shrink func()) {
	w := newWorld(t)
	sandboxtest.Warm(t, program, p.data) // room that the codecs take would be taken at any moment
	s := start(t, p)
	victims := []*study{w.study(), w.study(), w.study(), w.study()}
	for _, st := range victims {
		if status, body, err := w.store(t.Context(), s, st.add(tiny), st.add(20_000)); err != nil || status != http.StatusOK {
			t.Fatalf("storing: status %d, %v: %s", status, err, body)
		}
	}
	shrink()

	// Whatever is freed for deletions must not go to more instances.
	for _, st := range victims[:3] {
		w.fillUp(t, s)
		w.check(t, s, false, w.studies, victims)
		w.remove(t, s, st)
		w.check(t, s, false, w.studies, victims)
	}
	p.must(t, "verify")

	// A restart on the full disk serves, and deletes.
	s.kill()
	s = start(t, p)
	w.check(t, s, false, w.studies, victims)
	w.remove(t, s, victims[3])
	w.check(t, s, false, w.studies, victims)
	w.fillUp(t, s)

	if err := os.Remove(foreign); err != nil {
		t.Fatal(err)
	}
	freed, probe := time.Now(), w.study().add(medium)
	for {
		status, body, err := w.store(t.Context(), s, probe)
		if err == nil && status == http.StatusOK {
			break
		}
		if err != nil || status != http.StatusInsufficientStorage || time.Since(freed) > 10*time.Second {
			t.Fatalf("storing after room was made: status %d, %v: %s\n%s", status, err, body, s.tail())
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Logf("stores work again %v after room was made", time.Since(freed).Round(time.Millisecond))
	w.resend(t, s, live(w.studies))
	w.check(t, s, true, w.studies, w.studies)
	p.must(t, "verify")
	s.stop(t)
	p.must(t, "verify")
	t.Logf("%d studies, %d instances acknowledged, %d times an instance read back", len(w.studies), w.acked.Load(), w.verified.Load())
}

// fillUp stores, from several clients, until each was told three times in a row
// that there is no room.
func (w *world) fillUp(t *testing.T, s *server) {
	t.Helper()
	active := []*study{w.study(), w.study()}
	var stored, sent atomic.Int64
	const clients, most = 8, 5000
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			for refused := 0; refused < 3; {
				status, body, err := w.store(t.Context(), s, w.batch(active)...)
				switch {
				case err == nil && status == http.StatusOK:
					stored.Add(1)
					refused = 0
				case err == nil && (status == http.StatusInsufficientStorage || status == http.StatusAccepted): // of none, or not of all
					refused++
				default:
					t.Errorf("storing on a disk that fills: status %d, %v: %s\n%s", status, err, body, s.tail())
					return
				}
				if sent.Add(1) > most {
					t.Error("the disk does not fill")
					return
				}
			}
		})
	}
	wg.Wait()
	t.Logf("full after %d requests, %d of them stored", sent.Load(), stored.Load())
	if t.Failed() {
		t.FailNow()
	}
}
