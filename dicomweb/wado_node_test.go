package dicomweb_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/strata-pacs/strata/dicomweb"
	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/ingest"
	"github.com/strata-pacs/strata/internal/keys/localkeys"
	"github.com/strata-pacs/strata/internal/node"
	"github.com/strata-pacs/strata/internal/retrieve/retrievetest"
)

// served is a node on the local disk behind HTTP.
type served struct {
	tb   testing.TB
	node *node.Archive
	url  string
	tr   *http.Transport
	buf  []byte
}

func serve(tb testing.TB) *served {
	tb.Helper()
	dir := tb.TempDir()
	if err := localkeys.Create(filepath.Join(dir, "kek"), nil); err != nil {
		tb.Fatal(err)
	}
	kek, err := localkeys.Open(filepath.Join(dir, "kek"), nil)
	if err != nil {
		tb.Fatal(err)
	}
	host, n, err := node.OpenArchive(context.Background(), node.Options{Data: filepath.Join(dir, "data"), Wrapper: kek, KEK: kek.ID()})
	if err != nil {
		tb.Fatal(err)
	}
	srv := httptest.NewServer(dicomweb.New(dicomweb.Options{Retrieve: n.Retrieve}))
	s := &served{tb, n, srv.URL + dicomweb.Root, &http.Transport{DisableCompression: true, ReadBufferSize: 256 << 10}, make([]byte, 256<<10)}
	tb.Cleanup(func() {
		s.tr.CloseIdleConnections()
		srv.Close()
		if err := host.Close(context.Background()); err != nil {
			tb.Error(err)
		}
	})
	return s
}

func (s *served) store(files ...[]byte) {
	s.tb.Helper()
	r := s.node.Store.Begin(ingest.RequestOptions{})
	for _, f := range files {
		r.Add(context.Background(), bytes.NewReader(f))
	}
	for _, r := range r.Commit(context.Background()) {
		if r.Outcome != ingest.Stored {
			s.tb.Fatalf("%v: %s", r.Outcome, r.Detail)
		}
	}
}

// get reads an answer into w and returns its size and status.
func (s *served) get(w io.Writer, path, accept string) (int64, int) {
	req, err := http.NewRequest("GET", s.url+path, nil)
	if err != nil {
		s.tb.Fatal(err)
	}
	req.Header.Set("Accept", accept)
	resp, err := s.tr.RoundTrip(req)
	if err != nil {
		s.tb.Fatal(err)
	}
	defer resp.Body.Close()
	n, err := io.CopyBuffer(struct{ io.Writer }{w}, resp.Body, s.buf)
	if err != nil {
		s.tb.Fatal(err)
	}
	return n, resp.StatusCode
}

func image(study string, n, frames int) []byte {
	u := archive.UIDs{Study: study, Series: study + ".1", Instance: fmt.Sprintf("%s.1.%d", study, n)}
	return retrievetest.Part10(retrievetest.Image{UIDs: u, Rows: 512, Columns: 512, Frames: frames, Name: "Fern^Ada"})
}

const typeJSON = "application/dicom+json"

// TestNodeRetrieve: what was stored through the real parts comes back, and what
// is kept in memory follows stores and deletions.
func TestNodeRetrieve(t *testing.T) {
	s := serve(t)
	metadata := func() string {
		var w strings.Builder
		s.get(&w, "/studies/1.2/metadata", typeJSON)
		return w.String()
	}
	instances := func() int { return strings.Count(metadata(), `"00080018"`) }
	var files [][]byte
	for n := range 5 {
		files = append(files, image("1.2", n+1, 1))
		s.store(files[n])
		for range 2 {
			if got := instances(); got != n+1 {
				t.Fatalf("metadata of %d instances, of %d", got, n+1)
			}
		}
	}
	const third = "/studies/1.2/series/1.2.1/instances/1.2.1.3"
	var w bytes.Buffer
	if s.get(&w, third, "application/dicom"); !bytes.Equal(w.Bytes(), files[2]) {
		t.Error("the instance differs")
	}
	if err := s.node.Remove.Delete(t.Context(), s.node.Tenant, archive.UIDs{Study: "1.2", Series: "1.2.1", Instance: "1.2.1.3"}); err != nil {
		t.Fatal(err)
	}
	if got := metadata(); strings.Count(got, `"00080018"`) != 4 || strings.Contains(got, `"1.2.1.3"`) {
		t.Error("the deleted instance is still in the metadata")
	}
	if _, status := s.get(io.Discard, third+"/frames/1", "*/*"); status != 404 {
		t.Errorf("a frame of the deleted instance: %d", status)
	}
	if _, err := s.node.Remove.Undelete(t.Context(), s.node.Tenant, archive.UIDs{Study: "1.2"}); err != nil {
		t.Fatal(err)
	}
	if instances() != 5 {
		t.Error("the undeleted instance is not in the metadata")
	}
}

// BenchmarkNode measures retrieval from a node on the local disk over a loopback
// connection. cpu-ms/op is that of the whole process, the client included.
func BenchmarkNode(b *testing.B) {
	s := serve(b)
	for n := range 120 {
		s.store(image("1.2", n+1, 1))
	}
	for n := range 12 {
		var ten [][]byte
		for k := range 10 {
			ten = append(ten, image("1.4", n*10+k+1, 1))
		}
		s.store(ten...)
	}
	s.store(image("1.3", 1, 400))
	const native = `multipart/related; type="application/octet-stream"; transfer-syntax=1.2.840.10008.1.2.1`
	const stored = `multipart/related; type="application/dicom"; transfer-syntax=*`
	const one, large = "/studies/1.2/series/1.2.1/instances/1.2.1.%d", "/studies/1.3/series/1.3.1/instances/1.3.1.1"
	for _, c := range []struct{ name, path, accept string }{
		{"instance", one, stored},
		{"frame", one + "/frames/1", native},
		{"frame-of-210MB", large + "/frames/%d", native},
		{"study-120", "/studies/1.2", stored},
		{"study-120-in-batches", "/studies/1.4", stored},
		{"large", large, stored},
		{"metadata-120", "/studies/1.2/metadata", typeJSON},
		{"metadata-1", one + "/metadata", typeJSON},
		{"convert", one, "application/dicom; transfer-syntax=1.2.840.10008.1.2"},
	} {
		b.Run(c.name, func(b *testing.B) {
			cpu := cpuMillis()
			for n := 0; b.Loop(); n++ {
				k, status := s.get(io.Discard, strings.ReplaceAll(c.path, "%d", fmt.Sprint(1+n*37%120)), c.accept)
				if status != 200 {
					b.Fatal(status)
				}
				b.SetBytes(k)
			}
			b.ReportMetric((cpuMillis()-cpu)/float64(b.N), "cpu-ms/op")
		})
	}
}

func cpuMillis() float64 {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e6
}
