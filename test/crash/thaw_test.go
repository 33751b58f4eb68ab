//go:build linux

package crash

import (
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/testservers"
	"github.com/strata-pacs/strata/storage/s3protocol/glaciertest"
	"github.com/strata-pacs/strata/storage/s3protocol/s3protocoltest"
)

// archived is an archive tier in a stand-in of a provider, and a server before it.
type archived struct {
	place
	provider *glaciertest.Server
	mu       sync.Mutex
	strike   func(kind string) // is told of each request for a pack before the provider sees it
	ahead    atomic.Int64      // by how much the provider's clock is
}

// newArchived has an archive tier whose restores take some seconds.
func newArchived(t *testing.T, takes time.Duration) *archived {
	t.Helper()
	a := &archived{}
	a.provider = glaciertest.Start(t, testservers.Versitygw(t), glaciertest.Options{
		Now:   func() time.Time { return time.Now().Add(time.Duration(a.ahead.Load())) },
		Delay: func(string, string) time.Duration { return takes }})
	a.provider.NewBucket(t, "restores", false)
	a.place = tieredPlace(t, t.TempDir(), map[string]any{"name": "archive", "store": a.provider.URL("restores", "GLACIER"), "restore": true,
		"speeds": []any{map[string]any{"priority": "standard", "word": "Standard", "typical": "1s", "longest": "5s"}}})
	a.env = a.provider.Environment()
	a.provider.Faults.Script(func(r *http.Request) s3protocoltest.Action {
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.strike != nil && strings.Contains(r.URL.Path, "/pack/") {
			a.strike(s3protocoltest.Kind(r))
		}
		return s3protocoltest.Pass
	})
	return a
}

// at kills the server when the provider is about to see the n-th request of a kind; what is returned waits for that.
func (a *archived) at(s *server, kind string, n int) (await func(*testing.T)) {
	dead := make(chan struct{})
	a.mu.Lock()
	defer a.mu.Unlock()
	a.strike = func(k string) {
		if k != kind {
			return
		}
		if n--; n == 0 {
			_ = s.cmd.Process.Kill()
			close(dead)
		}
	}
	return func(t *testing.T) {
		t.Helper()
		select {
		case <-dead:
		case <-time.After(30 * time.Second):
			t.Fatalf("no request of kind %s came\n%s", kind, s.tail())
		}
		s.kill()
		a.mu.Lock()
		a.strike = nil
		a.mu.Unlock()
	}
}

// TestRestoreKilled kills the server at each step of a restore: when the provider is asked and
// its answer does not come, while it restores, when it has and nobody knows, when all is done, and after
// the copies are gone. Each time the provider is asked once for each object, and the restore ends.
func TestRestoreKilled(t *testing.T) {
	t.Parallel()
	const takes = 3 * time.Second
	w, a := newWorld(t), newArchived(t, takes)
	s := start(t, a.place)
	studies := []*study{w.study(), w.study(), w.study()}
	for _, st := range studies {
		for range 3 {
			if status, body, err := w.store(t.Context(), s, st.add(tiny)); err != nil || status != http.StatusOK {
				t.Fatalf("storing: status %d, %v: %s", status, err, body)
			}
		}
	}
	s.state(t, moveAll("archive"))
	for _, st := range studies {
		s.until(t, "studies are moved", func() bool { return s.availability(t, st) == "NEARLINE" })
	}
	asked := a.provider.Begun // a request that died with its sender may not have arrived
	recall := func() {
		for _, st := range studies {
			for range 3 { // viewers of each
				if status := s.pixels(t, st); status != http.StatusServiceUnavailable && status != 0 {
					t.Fatalf("what is archived is answered with status %d", status)
				}
			}
		}
	}
	if asked() != 0 {
		t.Fatal("somebody asked already")
	}

	// Killed while the provider is asked for the second of three: it will have been asked all the same.
	await := a.at(s, "restore", 2)
	recall()
	await(t)
	kills := 1
	s = start(t, a.place)
	recall() // whoever got no answer comes again
	s.until(t, "all are asked for", func() bool { return asked() >= len(studies) })
	time.Sleep(takes / 3)
	s.kill() // while it restores
	kills++
	time.Sleep(takes)
	s, await = a.relaunch(t, "head", 1) // it has, and the first look is not answered
	await(t)
	s, await = a.relaunch(t, "head", 2) // one of three is known
	await(t)
	kills += 2
	s = start(t, a.place)
	s.until(t, "restores are done", func() bool { return s.restores(t)["done"] == len(studies) })
	w.check(t, s, true, studies, studies)
	if n := asked(); n != len(studies) {
		t.Errorf("the provider began %d restores of %d objects", n, len(studies))
	}
	s.kill() // when all is done
	kills++
	s = start(t, a.place)
	w.check(t, s, true, studies, studies)
	for _, st := range studies {
		if s.availability(t, st) != "ONLINE" {
			t.Error("what is restored is not said to be there")
		}
	}
	a.must(t, "verify")
	if n := asked(); n != len(studies) {
		t.Errorf("after a restart the provider has begun %d restores of %d objects", n, len(studies))
	}
	// The copies go sooner than the index was told, and the server dies while it is asked for them again.
	a.ahead.Store(int64(9 * 24 * time.Hour))
	await = a.at(s, "restore", 1)
	recall()
	await(t)
	kills++
	s = start(t, a.place)
	s.until(t, "all are asked for again", func() bool { recall(); return asked() >= 2*len(studies) })
	s.until(t, "restores are done again", func() bool { return s.restores(t)["done"] == 2*len(studies) })
	w.check(t, s, true, studies, studies)
	if n := asked(); n != 2*len(studies) {
		t.Errorf("the provider began %d restores of %d objects, wanted twice", n, len(studies))
	}
	s.stop(t)
	t.Logf("%d kills, %d objects, %d restores begun by %d requests", kills, len(studies), asked(), a.provider.Faults.Count("restore"))
}

// relaunch starts a server that is killed when it makes the n-th request of a kind, which may be before it serves.
func (a *archived) relaunch(t *testing.T, kind string, n int) (*server, func(*testing.T)) {
	t.Helper()
	// No request is seen before the server that makes it is known.
	a.mu.Lock()
	s, _ := launch(t, a.place)
	a.mu.Unlock()
	return s, a.at(s, kind, n)
}

// until waits until something is so.
func (s *server) until(t *testing.T, what string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(45 * time.Second); !so(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it is not so that %s\n%s", what, s.tail())
		}
	}
}

// availability is what search says of a study (Instance Availability).
func (s *server) availability(t *testing.T, st *study) string {
	t.Helper()
	rows, err := s.search(t.Context(), "/studies?includefield=00080056&StudyInstanceUID="+st.uid)
	if err != nil || len(rows) != 1 {
		t.Fatalf("searching a study: %d found, %v\n%s", len(rows), err, s.tail())
	}
	return rows[0].text("00080056")
}

// restores counts the restores by their state.
func (s *server) restores(t *testing.T) map[string]int {
	t.Helper()
	status, body, err := s.api(t.Context(), http.MethodGet, "/restores", "")
	var page struct{ Restores []struct{ State string } }
	if err == nil {
		err = json.Unmarshal([]byte(body), &page)
	}
	if err != nil || status != http.StatusOK {
		t.Fatalf("listing restores: status %d, %v: %s", status, err, body)
	}
	n := map[string]int{}
	for _, r := range page.Restores {
		n[r.State]++
	}
	return n
}

// pixels asks for a study as a viewer does, and returns the status.
func (s *server) pixels(t *testing.T, st *study) int {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.base+"/studies/"+st.uid, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", `multipart/related; type="application/dicom"; transfer-syntax=*`)
	s.sign(r)
	resp, err := s.http.Do(r)
	if err != nil {
		return 0 // it may have been killed
	}
	resp.Body.Close()
	return resp.StatusCode
}
