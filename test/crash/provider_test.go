//go:build linux

package crash

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/strata-pacs/strata/storage/s3protocol/s3protocoltest"
)

// TestProviderTrouble moves studies to an archive whose provider slows down, fails, loses
// answers, forbids everything, and whose bucket is gone for a while. What lies there waits, all else goes on,
// and with the provider back all is moved, restored and whole.
func TestProviderTrouble(t *testing.T) {
	t.Parallel()
	if os.Getenv("STRATA_CRASH_ROUNDS") == "" {
		t.Skip("takes minutes: set STRATA_CRASH_ROUNDS to have it")
	}
	const away, storm = time.Minute, 25
	w, a := newWorld(t), newArchived(t, time.Second)
	s := start(t, a.place)
	all := w.several(t, s, 4, tiny, 30_000)
	random := rand.New(rand.NewPCG(w.seed, 1))
	count := map[string]int{}
	a.provider.Faults.Script(func(r *http.Request) s3protocoltest.Action { // called one at a time
		switch n := random.IntN(100); {
		case n < storm/2:
			count["slowed down"]++
			return s3protocoltest.SlowDown
		case n < storm*3/4:
			count["broken"]++
			return s3protocoltest.Broken
		case n < storm:
			count["lost"]++
			return s3protocoltest.Lost
		}
		return s3protocoltest.Pass
	})
	w.move(t, s, all)
	a.provider.Faults.Script(nil)
	w.back(t, s, all)

	for _, trouble := range []struct {
		name, code string
		status     int
	}{{"denied", "AccessDenied", http.StatusForbidden}, {"gone", "NoSuchBucket", http.StatusNotFound}} {
		a.provider.Faults.Answer(func(rw http.ResponseWriter, _ *http.Request) bool {
			count[trouble.name]++
			rw.Header().Set("Content-Type", "application/xml")
			rw.WriteHeader(trouble.status)
			fmt.Fprintf(rw, "<Error><Code>%s</Code><Message>no</Message></Error>", trouble.code)
			return true
		})
		began, before := time.Now(), count[trouble.name]
		a.ahead.Add(int64(9 * 24 * time.Hour)) // the copies are gone
		fresh := w.several(t, s, 2, tiny, 30_000)
		s.state(t, moveAll("archive"))
		for time.Since(began) < away || count[trouble.name] == before {
			w.check(t, s, true, fresh, fresh[:1])
			for _, st := range all {
				if status := s.pixels(t, st); status/100 == 2 || status == http.StatusNotFound || status == http.StatusInternalServerError {
					t.Fatalf("%s: what cannot be reached is answered with status %d\n%s", trouble.name, status, s.tail())
				}
			}
			time.Sleep(time.Second)
		}
		w.remove(t, s, fresh[1])
		s.kill() // it starts all the same
		if trouble.name == "denied" {
			a.provider.Faults.Answer(nil)
			s = start(t, a.place)
		} else {
			s = start(t, a.place)
			w.check(t, s, true, fresh, fresh[:1])
			a.provider.Faults.Answer(nil)
		}
		w.move(t, s, fresh[:1])
		all = append(all, fresh[:1]...)
		w.back(t, s, all)
	}
	s.until(t, "the hot copies are gone", func() bool { return packsIn(t, filepath.Join(a.data, "objects")) == 0 })
	a.must(t, "verify")
	w.check(t, s, true, w.studies, all)
	s.stop(t)
	t.Logf("requests of the provider's: %v", count)
}

// move has the studies moved to the archive.
func (w *world) move(t *testing.T, s *server, studies []*study) {
	t.Helper()
	for _, st := range studies {
		again := time.Now()
		s.until(t, "a study is moved", func() bool {
			if !time.Now().Before(again) { // what failed is put off until rules are stated again
				s.state(t, moveAll("archive"))
				again = time.Now().Add(3 * time.Second)
			}
			return s.availability(t, st) != "ONLINE"
		})
	}
}

// back restores the studies, and reads them.
func (w *world) back(t *testing.T, s *server, studies []*study) {
	t.Helper()
	for _, st := range studies {
		s.until(t, "a study comes back", func() bool { return s.pixels(t, st) == http.StatusOK })
	}
	w.check(t, s, true, studies, studies[:1])
}
