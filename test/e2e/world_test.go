//go:build linux

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/retrieve/retrievetest"
	"github.com/strata-pacs/strata/test/stacktest"
)

const nodes = 3

// root is the DICOMweb service below a server's URL.
const root = "/dicom-web"

// prefix begins the UIDs of these tests.
const prefix = "1.2.826.0.1.3680043.10.1462.9"

// world is a stack and what it has acknowledged.
type world struct {
	*stacktest.Stack
	http *http.Client
	last atomic.Int64 // number of the last UID

	mu    sync.Mutex
	acked map[archive.UIDs][]byte
	tried map[archive.UIDs]bool // sent, acknowledged or not
}

func newWorld(t *testing.T) *world {
	return &world{Stack: stacktest.Start(t, stacktest.Options{Nodes: nodes, Settings: map[string]any{"pixel-workers": 1, "reconcile-every": "2s"}}),
		http:  &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 16, DisableCompression: true}},
		acked: map[archive.UIDs][]byte{}, tried: map[archive.UIDs]bool{}}
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
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Authorization", "Bearer "+w.Token)
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
		w.acked[u] = file
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

// get reads an instance as it was stored.
func (w *world) get(ctx context.Context, server string, u archive.UIDs) (int, []byte, error) {
	return w.do(ctx, "GET", server+root+"/studies/"+u.Study+"/series/"+u.Series+"/instances/"+u.Instance, "", "application/dicom; transfer-syntax=*", nil)
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

// check holds every node to what was acknowledged: it is found once and read back
// byte for byte, and nothing is found that was never sent.
func (w *world) check(t *testing.T) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	studies := map[string][]archive.UIDs{}
	for u := range w.tried {
		studies[u.Study] = append(studies[u.Study], u)
	}
	for _, n := range w.Nodes {
		for study, sent := range studies {
			found := w.search(t, n.URL, study)
			for _, u := range sent {
				file, acknowledged := w.acked[u]
				switch times := found[u.Instance]; {
				case times > 1:
					t.Errorf("%s: an instance is found %d times", n.Name(), times)
				case times == 0 && acknowledged:
					t.Errorf("%s: an acknowledged instance is not found", n.Name())
				}
				delete(found, u.Instance)
				if !acknowledged {
					continue
				}
				if status, b, err := w.get(t.Context(), n.URL, u); err != nil || status != http.StatusOK || !bytes.Equal(b, file) {
					t.Errorf("%s: an instance of %d bytes comes back as %d, status %d, %v", n.Name(), len(file), len(b), status, err)
				}
			}
			if len(found) > 0 {
				t.Errorf("%s: %d instances that were never sent", n.Name(), len(found))
			}
		}
	}
}

// load stores through the load balancer from several clients until it is stopped.
// What is refused or lost is sent again until it is acknowledged.
type load struct {
	stop    context.CancelFunc
	done    sync.WaitGroup
	acked   atomic.Int64
	refused atomic.Int64 // answers other than 200, and lost ones
}

func (w *world) load(t *testing.T, clients int) *load {
	ctx, cancel := context.WithCancel(t.Context())
	l := &load{stop: cancel}
	for range clients {
		study := w.uid()
		l.done.Go(func() {
			for ctx.Err() == nil {
				u, file := w.image(study, 64)
				for ctx.Err() == nil {
					// Not cut off by the end of the load: it is to be known what became of it.
					status, body, err := w.store(t.Context(), w.Balancer.URL, u, file)
					if err == nil && status == http.StatusOK {
						l.acked.Add(1)
						break
					}
					l.refused.Add(1)
					if err == nil && status < 500 {
						t.Errorf("a store is answered %d: %.300s", status, body)
						return
					}
					time.Sleep(50 * time.Millisecond)
				}
			}
		})
	}
	return l
}

// more waits until n further instances are acknowledged.
func (l *load) more(t *testing.T, n int64, when string) {
	t.Helper()
	want := l.acked.Load() + n
	for end := time.Now().Add(90 * time.Second); l.acked.Load() < want; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: only %d of %d stores are acknowledged in 90 s", when, l.acked.Load()-want+n, n)
		}
	}
}

// end stops the load and waits for its clients.
func (l *load) end() {
	l.stop()
	l.done.Wait()
}
