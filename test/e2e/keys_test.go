//go:build linux

package e2e

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/test/stacktest"
)

// vaultProxy stands between the nodes and Vault, and takes its time.
type vaultProxy struct {
	URL   string
	delay atomic.Int64 // before each request is passed on, ns
}

func newVaultProxy(t *testing.T, address string) *vaultProxy {
	target, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	p := &vaultProxy{}
	pass := httputil.NewSingleHostReverseProxy(target)
	pass.ErrorHandler = func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) } // as Vault does that is gone
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-time.After(time.Duration(p.delay.Load())):
			pass.ServeHTTP(w, r)
		case <-r.Context().Done():
		}
	}))
	p.URL = srv.URL
	t.Cleanup(srv.Close)
	return p
}

// grace is how long the nodes go on without an answer of the provider.
func grace() time.Duration { return lasting(graceOrdinarily, 30*time.Second) }

// providerSlow: a provider that takes half a second is asked ahead of time, and no
// read of a study that was read before waits for it.
func providerSlow(t *testing.T, w *world) {
	u := w.mustStore(t, "", 64)
	w.answers(t, u, http.StatusOK, "", 10*time.Second)
	w.vault.delay.Store(int64(500 * time.Millisecond))
	defer w.vault.delay.Store(0)
	began := time.Now()
	var slowest time.Duration
	for time.Since(began) < grace()+2*time.Second {
		for _, n := range w.Nodes {
			asked := time.Now()
			if status, body, err := w.get(t.Context(), n.URL, u); err != nil || status != http.StatusOK {
				t.Fatalf("%s: status %d, %v: %.300s", n.Name(), status, err, body)
			}
			slowest = max(slowest, time.Since(asked))
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Logf("reads took at most %d ms", slowest.Milliseconds())
}

// providerSilent: too slow, sealed or gone, the provider denies nothing: service
// goes on for the grace, then ends, and is back soon after the provider is.
func providerSilent(t *testing.T, w *world) {
	u := w.mustStore(t, "", 64)
	for _, c := range []struct {
		what       string
		take, back func() error
	}{
		{"slower than 1 s", func() error { w.vault.delay.Store(int64(3 * time.Second)); return nil }, func() error { w.vault.delay.Store(0); return nil }},
		{"sealed", func() error { return w.Vault.Seal(t.Context()) }, func() error { return w.Vault.Unseal(t.Context()) }},
		{"gone", func() error { w.Vault.Kill(); return nil }, func() error { return w.Vault.Start(t.Context()) }},
	}[:times(2, 3)] {
		// Every node has its archive open, and proved moments ago.
		w.answers(t, u, http.StatusOK, "", 10*time.Second)
		if err := c.take(); err != nil {
			t.Fatal(err)
		}
		silent := time.Now()
		for time.Since(silent) < grace()-3*time.Second {
			for _, n := range w.Nodes {
				if status, body, err := w.get(t.Context(), n.URL, u); err != nil || status != http.StatusOK {
					t.Fatalf("%s: %s, %.1f s: status %d, %v: %.300s", n.Name(), c.what, time.Since(silent).Seconds(), status, err, body)
				}
			}
			time.Sleep(50 * time.Millisecond)
		}
		w.answers(t, u, http.StatusServiceUnavailable, "key-unreachable", 8*time.Second)
		dark := time.Since(silent)
		for i, n := range w.Nodes { // which is the matter of one tenant, not of the node
			if status, body, err := w.do(t.Context(), "GET", n.URL+"/readyz", "", "", nil); err != nil || status != http.StatusOK {
				t.Errorf("node %d is not ready because of a key: status %d, %v: %s", i, status, err, body)
			}
		}
		if err := c.back(); err != nil {
			t.Fatal(err)
		}
		back := w.answers(t, u, http.StatusOK, "", 10*time.Second)
		t.Logf("%s: served until the grace was over, 503 on all nodes after %.1f s, back %.1f s after the provider", c.what, dark.Seconds(), back.Seconds())
	}
}

// answers waits until all nodes answer a read with the status, and the problem of
// that type, and returns how long it took.
func (w *world) answers(t *testing.T, u archive.UIDs, want int, problem string, within time.Duration) time.Duration {
	t.Helper()
	began := time.Now()
	for _, n := range w.Nodes {
		for {
			asked := time.Now()
			status, body, err := w.get(t.Context(), n.URL, u)
			if err == nil && status == want {
				if problem != "" && !strings.Contains(string(body), problem) {
					t.Errorf("%s: the answer does not say %s: %s", n.Name(), problem, body)
				}
				break
			}
			if asked.Sub(began) > within {
				t.Fatalf("%s: status %d, %v, after %v; want %d: %.300s", n.Name(), status, err, within, want, body)
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	return time.Since(began)
}

// keyDenied withdraws the key in Vault, by the policy of the nodes and by the one
// that disables it: within seconds no node gives or takes anything, a download that
// is under way breaks off, and all of it is back when the key is.
func keyDenied(t *testing.T, w *world) {
	u := w.mustStore(t, "", 64)
	large := w.mustStore(t, "", 4096)
	for _, c := range []struct {
		what        string
		deny, allow func(context.Context) error
	}{{"denied", w.Vault.Deny, w.Vault.Allow}, {"disabled", w.Vault.Disable, w.Vault.Enable}} {
		w.answers(t, u, http.StatusOK, "", 10*time.Second)
		var downloads []*download
		for _, n := range w.Nodes {
			downloads = append(downloads, w.download(t, n, large))
		}
		if err := c.deny(t.Context()); err != nil {
			t.Fatal(err)
		}
		denied := time.Now()
		dark := w.answers(t, u, http.StatusForbidden, "key-revoked", 5*time.Second)
		w.refuses(t)
		// What left a node in time may still be on its way through buffers, never all of it.
		time.Sleep(time.Until(denied.Add(5 * time.Second)))
		for _, d := range downloads {
			if n, err := d.rest(); err == nil || n >= d.size {
				t.Errorf("%s: %s: a download of %d bytes goes on to the end: %d, %v", d.from, c.what, d.size, n, err)
			}
		}
		for i, n := range w.Nodes {
			if status, body, err := w.do(t.Context(), "GET", n.URL+"/readyz", "", "", nil); err != nil || status != http.StatusOK {
				t.Errorf("node %d is not ready because of a key: status %d, %v: %s", i, status, err, body)
			}
		}
		if err := c.allow(t.Context()); err != nil {
			t.Fatal(err)
		}
		back := w.answers(t, u, http.StatusOK, "", 10*time.Second)
		t.Logf("%s: 403 on all nodes after %.1f s, downloads cut off, back after %.1f s", c.what, dark.Seconds(), back.Seconds())
	}
}

// refuses has every node refuse what else there is.
func (w *world) refuses(t *testing.T) {
	t.Helper()
	_, file := w.image("", 16)
	for _, n := range w.Nodes {
		for what, r := range map[string]struct {
			method, path string
			body         []byte
		}{"a search": {"GET", "/studies", nil}, "the feed": {"GET", "/changes", nil}, "a store": {"POST", "/studies", file}} {
			contentType := ""
			if r.body != nil {
				contentType = "application/dicom"
			}
			status, body, err := w.do(t.Context(), r.method, n.URL+root+r.path, contentType, "", r.body)
			if err != nil || status != http.StatusForbidden {
				t.Errorf("%s: %s: status %d, %v: %.300s", n.Name(), what, status, err, body)
			}
		}
	}
}

// download is one by a client that reads slowly.
type download struct {
	from string
	size int64
	resp *http.Response
	stop chan struct{}
	done chan struct{}
	n    int64 // valid when done
	err  error
}

// slowly is 64 KiB a step, and a step at a time: less than a tenth of the instance in 5 s.
const step = 64 << 10

func (w *world) download(t *testing.T, n *stacktest.Node, u archive.UIDs) *download {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "GET", n.URL+instance(u), nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+w.Token)
	req.Header.Set("Accept", "application/dicom; transfer-syntax=*")
	small := net.Dialer{Control: func(_, _ string, c syscall.RawConn) (err error) {
		cerr := c.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, step) })
		if cerr != nil {
			return cerr
		}
		return err
	}}
	tr := &http.Transport{DialContext: small.DialContext, DisableCompression: true, DisableKeepAlives: true}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: downloading: status %d", n.Name(), resp.StatusCode)
	}
	d := &download{from: n.Name(), size: 2 * 4096 * 4096, resp: resp, stop: make(chan struct{}), done: make(chan struct{})}
	go d.run()
	t.Cleanup(func() { _ = resp.Body.Close(); <-d.done })
	return d
}

func (d *download) run() {
	defer close(d.done)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for d.err == nil {
		select {
		case <-tick.C:
			var n int64
			n, d.err = io.CopyN(io.Discard, d.resp.Body, step)
			d.n += n
		case <-d.stop: // the rest, as fast as it comes
			var n int64
			n, d.err = io.Copy(io.Discard, d.resp.Body)
			d.n += n
			return
		}
	}
}

// rest reads what still comes, and returns how much that was in all.
func (d *download) rest() (int64, error) {
	select {
	case <-d.done:
	default:
		close(d.stop)
		<-d.done
	}
	return d.n, d.err
}
