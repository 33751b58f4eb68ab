//go:build linux

package e2e

import (
	"flag"
	"net/http"
	"strings"
	"testing"
	"time"
)

var long = flag.Bool("e2e.long", false, "put faults in as often and as long as README.md says")

// times is how often something is done, ordinarily and in the long run.
func times(ordinarily, inLong int) int {
	if *long {
		return inLong
	}
	return ordinarily
}

// lasting is how long something takes, ordinarily and in the long run.
func lasting(ordinarily, inLong time.Duration) time.Duration {
	if *long {
		return inLong
	}
	return ordinarily
}

// TestStack puts one fault after another into one stack, so that each meets what
// the others left, and asks at the end whether anything is missing.
func TestStack(t *testing.T) {
	w := newWorld(t)
	for _, part := range []struct {
		name string
		test func(*testing.T, *world)
	}{
		{"any node", anyNode},
		{"nodes die", nodesDie},
		{"a node sleeps", nodeSleeps},
		{"PostgreSQL dies", databaseDies},
		{"PostgreSQL is cut off", databaseCut},
		{"the store fails", storeFails},
		{"servers die", serversDie},
		{"the provider is slow", providerSlow},
		{"the provider is silent", providerSilent},
		{"the key is denied", keyDenied},
		{"wrong settings", wrongSettings},
		{"nothing is missing", nothingMissing},
	} {
		t.Run(part.name, func(t *testing.T) {
			began := time.Now()
			w.memory.begin()
			part.test(t, w)
			t.Logf("took %.1f s; a node occupied at most %d MiB", time.Since(began).Seconds(), w.memory.most()>>20)
		})
	}
	// What a node may hold in memory is bounded by its settings; see README.md for what it holds.
	if most := w.memory.ever(); most > mostMemory {
		t.Errorf("a node occupied %d MiB", most>>20)
	}
}

// mostMemory is more than a node occupies, its process for pixels included, whatever fails.
const mostMemory = 768 << 20

// anyNode stores through the load balancer and at each node, and reads from every
// other.
func anyNode(t *testing.T, w *world) {
	first := w.mustStore(t, "", 64)
	large := w.mustStore(t, first.Study, 1024)
	for _, n := range w.Nodes {
		u, file := w.image(first.Study, 64)
		if status, body, err := w.store(t.Context(), n.URL, u, file); err != nil || status != http.StatusOK {
			t.Fatalf("%s: status %d, %v: %.300s", n.Name(), status, err, body)
		}
		// At once, not after a while, and by a name the index knows only as tokens.
		status, body, err := w.do(t.Context(), "GET", w.Balancer.URL+root+"/studies?PatientName=doe*", "", "application/dicom+json", nil)
		if err != nil || status != http.StatusOK || !strings.Contains(string(body), first.Study) {
			t.Errorf("searching: status %d, %v: %.300s", status, err, body)
		}
	}
	w.check(t)

	// What one node deletes is gone at all.
	if status, body, err := w.do(t.Context(), "DELETE", w.Nodes[0].URL+root+"/studies/"+first.Study, "", "", nil); err != nil || status >= 300 {
		t.Fatalf("deleting: status %d, %v: %.300s", status, err, body)
	}
	w.forget(first.Study)
	for _, n := range w.Nodes {
		if status, _, err := w.get(t.Context(), n.URL, large); err != nil || status != http.StatusNotFound {
			t.Errorf("%s: a deleted instance: status %d, %v", n.Name(), status, err)
		}
	}
	status, _, err := w.do(t.Context(), "GET", w.Balancer.URL+root+"/studies/"+first.Study+"/metadata", "", "application/dicom+json", nil)
	if err != nil || status != http.StatusNotFound {
		t.Errorf("metadata of a deleted study: status %d, %v", status, err)
	}
	// A request without the token is nobody's.
	resp, err := http.Get(w.Balancer.URL + root + "/studies")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("without a token: status %d", resp.StatusCode)
	}
}

// serversDie kills and restarts what the nodes share beside the database, under load.
func serversDie(t *testing.T, w *world) {
	l := w.load(t, 4)
	defer l.end(t)
	for range times(1, 5) {
		w.S3.Kill()
		if err := w.S3.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		l.more(t, 20, "the S3 server was killed")
		w.Vault.Kill()
		if err := w.Vault.Start(t.Context()); err != nil { // unsealed again
			t.Fatal(err)
		}
		l.more(t, 20, "Vault was killed")
	}
}
