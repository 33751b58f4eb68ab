//go:build linux

package e2e

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/retrieve/retrievetest"
	"github.com/strata-pacs/strata/storage/s3protocol/s3protocoltest"
	"github.com/strata-pacs/strata/test/stacktest"
)

const nodes = 3

// root is the DICOMweb service below a server's URL.
const root = "/dicom-web"

// prefix begins the UIDs of these tests.
const prefix = "1.2.826.0.1.3680043.10.1462.9"

// world is a stack, proxies on the way to its servers, and what it has acknowledged.
type world struct {
	*stacktest.Stack
	program string
	http    *http.Client
	store3  *s3protocoltest.Proxy
	vault   *vaultProxy
	feed    *feed
	memory  *memory
	last    atomic.Int64 // number of the last UID

	mu    sync.Mutex
	acked map[archive.UIDs]sum
	tried map[archive.UIDs]bool // sent, acknowledged or not
}

type sum [sha256.Size]byte

// Ordinarily silence is believed sooner than by default, so that the test need not wait.
func settings() map[string]any {
	s := map[string]any{"pixel-workers": 1, "reconcile-every": "2s"}
	if !*long {
		s["node-lease"], s["key-grace"], s["store-stall"] = "4s", graceOrdinarily.String(), "2s"
	}
	return s
}

const graceOrdinarily = 6 * time.Second

func newWorld(t *testing.T) *world {
	program, err := stacktest.Build(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	w := &world{program: program,
		http:  &http.Client{Timeout: 40 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 16, DisableCompression: true}},
		acked: map[archive.UIDs]sum{}, tried: map[archive.UIDs]bool{}}
	w.Stack = stacktest.Start(t, stacktest.Options{Nodes: nodes, Program: program, Settings: settings(),
		Network: stacktest.NetworkUnavailable() == nil,
		Route: func(s *stacktest.Stack) {
			w.store3 = s3protocoltest.NewProxy(t, s.S3.Endpoint)
			w.vault = newVaultProxy(t, s.Vault.Address)
			s.Reach.Store, s.Reach.Vault = w.store3.URL, w.vault.URL
		}})
	w.memory = watchMemory(t, w.Nodes)
	w.feed = w.follow(t)
	return w
}

func (w *world) uid() string { return fmt.Sprintf("%s.%d", prefix, w.last.Add(1)) }

// image makes an instance of a study, a new one where it is empty.
func (w *world) image(study string, size int) (archive.UIDs, []byte) {
	if study == "" {
		study = w.uid()
	}
	u := archive.UIDs{Study: study, Series: study + ".1", Instance: w.uid()}
	return u, retrievetest.Part10(retrievetest.Image{UIDs: u, Rows: size, Columns: size, Name: "Doe^Jane"})
}

// do sends a request with the token and returns status and body.
func (w *world) do(ctx context.Context, method, url, contentType, accept string, body []byte) (int, []byte, error) {
	return w.doAs(ctx, w.Token, method, url, contentType, accept, body)
}

// doAs is do with the token of any operator.
func (w *world) doAs(ctx context.Context, token, method, url, contentType, accept string, body []byte) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	if accept != "" {
		req.Header.Set("Accept", accept)
	}
	resp, err := w.http.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	return resp.StatusCode, b, err
}

// store sends an instance to a server and keeps in mind what was acknowledged.
func (w *world) store(ctx context.Context, server string, u archive.UIDs, file []byte) (int, []byte, error) {
	w.mu.Lock()
	w.tried[u] = true
	w.mu.Unlock()
	status, body, err := w.do(ctx, "POST", server+root+"/studies", "application/dicom", "application/dicom+json", file)
	if err == nil && status == http.StatusOK {
		w.mu.Lock()
		w.acked[u] = sha256.Sum256(file)
		w.mu.Unlock()
	}
	return status, body, err
}

// mustStore stores one new instance through the load balancer.
func (w *world) mustStore(t *testing.T, study string, size int) archive.UIDs {
	t.Helper()
	u, file := w.image(study, size)
	if status, body, err := w.store(t.Context(), w.Balancer.URL, u, file); err != nil || status != http.StatusOK {
		t.Fatalf("storing: status %d, %v: %.300s", status, err, body)
	}
	return u
}

// forget forgets a study that was deleted.
func (w *world) forget(study string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	mine := func(u archive.UIDs) bool { return u.Study == study }
	maps.DeleteFunc(w.acked, func(u archive.UIDs, _ sum) bool { return mine(u) })
	maps.DeleteFunc(w.tried, func(u archive.UIDs, _ bool) bool { return mine(u) })
}

// get reads an instance as it was stored.
func (w *world) get(ctx context.Context, server string, u archive.UIDs) (int, []byte, error) {
	return w.do(ctx, "GET", server+instance(u), "", "application/dicom; transfer-syntax=*", nil)
}

func instance(u archive.UIDs) string {
	return root + "/studies/" + u.Study + "/series/" + u.Series + "/instances/" + u.Instance
}

// search returns how often each instance of a study is found.
func (w *world) search(t *testing.T, server, study string) map[string]int {
	t.Helper()
	status, body, err := w.do(t.Context(), "GET", server+root+"/studies/"+study+"/instances?limit=5000", "", "application/dicom+json", nil)
	if err != nil || status != http.StatusOK {
		t.Fatalf("searching: status %d, %v: %.300s", status, err, body)
	}
	var found []map[string]struct{ Value []any }
	if err := json.Unmarshal(body, &found); err != nil {
		t.Fatal(err)
	}
	times := map[string]int{}
	for _, f := range found {
		if v := f["00080018"].Value; len(v) == 1 {
			times[fmt.Sprint(v[0])]++
		}
	}
	return times
}

// check holds the nodes to what was acknowledged: each finds it, and one of them
// reads it back byte for byte.
func (w *world) check(t *testing.T) {
	t.Helper()
	w.finds(t, w.Nodes...)
	w.mu.Lock()
	defer w.mu.Unlock()
	turn := 0
	for u, want := range w.acked {
		turn++
		n := w.Nodes[turn%len(w.Nodes)]
		if status, b, err := w.get(t.Context(), n.URL, u); err != nil || status != http.StatusOK || sha256.Sum256(b) != want {
			t.Errorf("%s: an instance comes back as other %d bytes, status %d, %v", n.Name(), len(b), status, err)
		}
	}
}

// finds holds each of the nodes to what was acknowledged: it is found once, and
// nothing is found that was never sent.
func (w *world) finds(t *testing.T, which ...*stacktest.Node) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	studies := map[string][]archive.UIDs{}
	for u := range w.tried {
		studies[u.Study] = append(studies[u.Study], u)
	}
	for _, n := range which {
		for study, sent := range studies {
			found := w.search(t, n.URL, study)
			for _, u := range sent {
				_, acknowledged := w.acked[u]
				switch times := found[u.Instance]; {
				case times > 1:
					t.Errorf("%s: an instance is found %d times", n.Name(), times)
				case times == 0 && acknowledged:
					t.Errorf("%s: an acknowledged instance is not found", n.Name())
				}
				delete(found, u.Instance)
			}
			if len(found) > 0 {
				t.Errorf("%s: %d instances that were never sent", n.Name(), len(found))
			}
		}
	}
}
