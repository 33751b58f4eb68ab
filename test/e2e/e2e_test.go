//go:build linux

package e2e

import (
	"bytes"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestAnyNode stores through the load balancer and at each node, and reads from
// every other.
func TestAnyNode(t *testing.T) {
	w := newWorld(t)
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
	w.Token = "not-the-token-of-this-stack"
	if status, _, err := w.do(t.Context(), "GET", w.Balancer.URL+root+"/studies", "", "", nil); err != nil || status != http.StatusUnauthorized {
		t.Errorf("with another token: status %d, %v", status, err)
	}
}

// TestNodesDie kills, freezes and stops nodes under load, one after another.
func TestNodesDie(t *testing.T) {
	w := newWorld(t)
	l := w.load(t, 4)
	defer l.end()
	l.more(t, 20, "at first")
	w.Nodes[0].Kill()
	l.more(t, 20, "a node is killed")
	if err := w.Nodes[1].Freeze(); err != nil {
		t.Fatal(err)
	}
	l.more(t, 20, "another is frozen")
	if err := w.Nodes[0].Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.more(t, 20, "the first is back")
	if err := w.Nodes[1].Thaw(); err != nil {
		t.Fatal(err)
	}
	if err := w.Nodes[2].Stop(); err != nil {
		t.Error(err)
	}
	l.more(t, 20, "the third is stopped")
	if err := w.Nodes[2].Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.more(t, 20, "all are back")
	l.end()
	w.check(t)
	t.Logf("%d stores acknowledged, %d refused or lost on the way", l.acked.Load(), l.refused.Load())
}

// TestServersDie kills and restarts what the nodes share, under load.
func TestServersDie(t *testing.T) {
	w := newWorld(t)
	l := w.load(t, 4)
	defer l.end()
	l.more(t, 20, "at first")
	for range 3 {
		w.Postgres.Kill()
		if err := w.Postgres.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		l.more(t, 20, "PostgreSQL was killed")
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
	l.end()
	w.check(t)
	t.Logf("%d stores acknowledged, %d refused or lost on the way", l.acked.Load(), l.refused.Load())
}

// TestKeyIsDenied withdraws the key in Vault: within seconds no node gives or
// takes anything, and all of it is back when the key is.
func TestKeyIsDenied(t *testing.T) {
	w := newWorld(t)
	u := w.mustStore(t, "", 256)
	w.check(t)
	if err := w.Vault.Deny(t.Context()); err != nil {
		t.Fatal(err)
	}
	denied := time.Now()
	for _, n := range w.Nodes {
		for {
			status, body, err := w.get(t.Context(), n.URL, u)
			if err != nil {
				t.Fatal(err)
			}
			if status == http.StatusForbidden {
				if !bytes.Contains(body, []byte("key-revoked")) {
					t.Errorf("%s: the refusal does not say why: %s", n.Name(), body)
				}
				break
			}
			if time.Since(denied) > 5*time.Second {
				t.Fatalf("%s: status %d, %v after the key was denied", n.Name(), status, time.Since(denied))
			}
			time.Sleep(20 * time.Millisecond)
		}
		for what, request := range map[string][2]string{
			"a search": {"GET", "/studies"}, "metadata": {"GET", "/studies/" + u.Study + "/metadata"}, "a store": {"POST", "/studies"}} {
			var file []byte
			contentType := ""
			if request[0] == "POST" {
				_, file = w.image("", 16)
				contentType = "application/dicom"
			}
			if status, body, err := w.do(t.Context(), request[0], n.URL+root+request[1], contentType, "application/dicom+json", file); err != nil || status != http.StatusForbidden {
				t.Errorf("%s: %s: status %d, %v: %.300s", n.Name(), what, status, err, body)
			}
		}
	}
	if err := w.Vault.Allow(t.Context()); err != nil {
		t.Fatal(err)
	}
	granted := time.Now()
	for _, n := range w.Nodes {
		for {
			if status, _, err := w.get(t.Context(), n.URL, u); err == nil && status == http.StatusOK {
				break
			}
			if time.Since(granted) > 10*time.Second {
				t.Fatalf("%s: not back %v after the grant", n.Name(), time.Since(granted))
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	w.check(t)
}
