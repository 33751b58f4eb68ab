package bench

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/strata-pacs/strata/dicomweb"
	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/ingest"
	"github.com/strata-pacs/strata/internal/keys"
	"github.com/strata-pacs/strata/internal/keys/localkeys"
	"github.com/strata-pacs/strata/internal/node"
	"github.com/strata-pacs/strata/internal/retrieve"
	"github.com/strata-pacs/strata/internal/retrieve/retrievetest"
	"github.com/strata-pacs/strata/storage"
	"github.com/strata-pacs/strata/storage/cachestore"
	"github.com/strata-pacs/strata/storage/delaystore"
	"github.com/strata-pacs/strata/storage/driver"
	"github.com/strata-pacs/strata/storage/memstore"
)

const (
	studies = 4
	slices  = 120 // of 512 KiB
	// line is what the line to the store carries, in bytes per second: 1 Gbit/s.
	line = 125_000_000

	asStored = `multipart/related; type="application/dicom"; transfer-syntax=*`
	octets   = `multipart/related; type="application/octet-stream"; transfer-syntax=*`
)

// store is an archive with some studies, its index near and its objects in memory.
type store struct {
	*node.Archive
	objects driver.Driver
	kek     *localkeys.File
}

func newStore(b *testing.B) *store {
	b.Helper()
	dir := b.TempDir()
	if err := localkeys.Create(filepath.Join(dir, "kek"), nil); err != nil {
		b.Fatal(err)
	}
	kek, err := localkeys.Open(filepath.Join(dir, "kek"), nil)
	if err != nil {
		b.Fatal(err)
	}
	s := &store{objects: memstore.New(memstore.Options{}), kek: kek}
	host, archived, err := node.OpenArchive(b.Context(), node.Options{Data: filepath.Join(dir, "data"), Wrapper: kek, KEK: kek.ID(), Driver: s.objects})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := host.Close(context.Background()); err != nil {
			b.Error(err)
		}
	})
	s.Archive = archived
	for study := range studies {
		r := s.Store.Begin(ingest.RequestOptions{})
		for i := range slices {
			u := archive.UIDs{Study: studyUID(study), Series: studyUID(study) + ".1", Instance: instanceUID(study, i)}
			px := retrievetest.Pattern(512*512*2 + 8*slices*studies)[8*(study*slices+i):][:512*512*2]
			r.Add(b.Context(), bytes.NewReader(retrievetest.Part10(retrievetest.Image{UIDs: u, Rows: 512, Columns: 512, Pixels: px, Name: "Fern^Ada", Number: i + 1})))
		}
		for _, res := range r.Commit(b.Context()) {
			if res.Outcome != ingest.Stored {
				b.Fatalf("%v: %s", res.Outcome, res.Detail)
			}
		}
	}
	return s
}

func studyUID(study int) string          { return fmt.Sprintf("1.2.%d", study+1) }
func instanceUID(study, i int) string    { return fmt.Sprintf("%s.1.%d", studyUID(study), i+1) }
func frameOf(study, i int) (path string) { return instance(study, i) + "/frames/1" }
func instance(study, i int) string {
	return "/studies/" + studyUID(study) + "/series/" + studyUID(study) + ".1/instances/" + instanceUID(study, i)
}

// server serves a store from afar: it has nothing in memory, and nothing in its cache.
type server struct {
	b     *testing.B
	far   *delaystore.Store
	cache *cachestore.Store // nil without one
	url   string
	tr    *http.Transport
	close func()
}

func (s *store) serve(b *testing.B, delay time.Duration, cached bool) *server {
	b.Helper()
	v := &server{b: b, far: delaystore.New(s.objects, delaystore.Options{Delay: delay, Rate: line}),
		tr: &http.Transport{DisableCompression: true, ReadBufferSize: 256 << 10, MaxIdleConnsPerHost: 100}}
	o := retrieve.Options{Index: s.Index}
	d := v.far.Driver
	if cached {
		var err error
		if v.cache, err = cachestore.New(d, cachestore.Options{Folder: b.TempDir(), Bytes: 2 << 30}); err != nil {
			b.Fatal(err)
		}
		d, o.Ahead = v.cache.Driver, v.cache
	}
	bucket := storage.New(d)
	ring, err := keys.Open(b.Context(), keys.Options{Bucket: bucket, Wrapper: s.kek, KEK: s.kek.ID(), Tenant: archive.DefaultTenant})
	if err != nil {
		b.Fatal(err)
	}
	if o.Objects, o.Secrets = bucket, ring; !cached {
		o.Far = func(context.Context, string) bool { return true }
	}
	reader := retrieve.New(o)
	srv := httptest.NewServer(dicomweb.New(dicomweb.Options{Retrieve: reader}))
	v.url = srv.URL + dicomweb.Root
	v.close = func() {
		v.tr.CloseIdleConnections()
		srv.Close()
		reader.Close()
		ring.Close()
		if cached {
			v.cache.Close()
		}
	}
	return v
}

// get reads an answer and returns its size.
func (v *server) get(path, accept string) int64 {
	size, _ := v.getFirst(path, accept)
	return size
}

// getFirst also returns when the first byte of the answer's body was there.
func (v *server) getFirst(path, accept string) (size int64, first time.Duration) {
	from := time.Now()
	req, err := http.NewRequest("GET", v.url+path, nil)
	if err != nil {
		v.b.Error(err)
		return 0, 0
	}
	req.Header.Set("Accept", accept)
	resp, err := v.tr.RoundTrip(req)
	if err != nil {
		v.b.Error(err)
		return 0, 0
	}
	defer resp.Body.Close()
	buf := make([]byte, 256<<10)
	one, err := io.ReadFull(resp.Body, buf[:1])
	first = time.Since(from)
	if err == nil {
		size, err = io.CopyBuffer(struct{ io.Writer }{io.Discard}, resp.Body, buf)
	}
	if err != nil || resp.StatusCode != http.StatusOK {
		v.b.Errorf("%s: %d, %v", path, resp.StatusCode, err)
	}
	return size + int64(one), first
}

func (v *server) study(study int) int64 { return v.get("/studies/"+studyUID(study), asStored) }

// view opens a study as viewers do: the middle image, then those around it by so
// many connections. It returns when the first image was there.
func (v *server) view(study, connections int) time.Duration {
	from := time.Now()
	v.get(frameOf(study, slices/2), octets)
	first := time.Since(from)
	turn := make(chan int)
	var wg sync.WaitGroup
	for range connections {
		wg.Go(func() {
			for i := range turn {
				v.get(frameOf(study, i), octets)
			}
		})
	}
	for d := 1; d <= slices/2; d++ {
		for _, i := range []int{slices/2 + d, slices/2 - d} {
			if i >= 0 && i < slices {
				turn <- i
			}
		}
	}
	close(turn)
	wg.Wait()
	return first
}

// BenchmarkFar measures answers over HTTP from a store at a distance, with the
// read cache and without. "warm" has in the cache what it asks for, and keys in
// memory. rtt is the requests that the store below got.
func BenchmarkFar(b *testing.B) {
	s := newStore(b)
	for _, delay := range []time.Duration{0, 50 * time.Millisecond, 200 * time.Millisecond} {
		for _, c := range []struct {
			name         string
			cached, warm bool
			do           func(v *server) (size int64, first time.Duration)
		}{
			{"first-image", true, false, func(v *server) (int64, time.Duration) { return v.get(frameOf(0, slices/2), octets), 0 }},
			{"first-image/no-cache", false, false, func(v *server) (int64, time.Duration) { return v.get(frameOf(0, slices/2), octets), 0 }},
			{"image/warm", true, true, func(v *server) (int64, time.Duration) { return v.get(frameOf(0, slices/2), octets), 0 }},
			{"study", true, false, func(v *server) (int64, time.Duration) { return v.study(0), 0 }},
			{"study/no-cache", false, false, func(v *server) (int64, time.Duration) { return v.study(0), 0 }},
			{"study/warm", true, true, func(v *server) (int64, time.Duration) { return v.study(0), 0 }},
			{"view-25", true, false, func(v *server) (int64, time.Duration) { return slices << 19, v.view(0, 25) }},
			{"view-25/no-cache", false, false, func(v *server) (int64, time.Duration) { return slices << 19, v.view(0, 25) }},
			{"view-25/warm", true, true, func(v *server) (int64, time.Duration) { return slices << 19, v.view(0, 25) }},
			{"scroll", true, false, func(v *server) (int64, time.Duration) { return slices << 19, v.view(0, 1) }},
			{"viewers-4x6", true, false, func(v *server) (int64, time.Duration) {
				var wg sync.WaitGroup
				var first [studies]time.Duration
				for i := range studies {
					wg.Go(func() { first[i] = v.view(i, 6) })
				}
				wg.Wait()
				return studies * slices << 19, max(first[0], first[1], first[2], first[3])
			}},
		} {
			b.Run(fmt.Sprintf("%v/%s", delay, c.name), func(b *testing.B) {
				var first time.Duration
				var requests, size int64
				for range b.N {
					b.StopTimer()
					v := s.serve(b, delay, c.cached)
					if c.warm {
						v.study(0)
					}
					before := v.far.Requests()
					b.StartTimer()
					n, f := c.do(v)
					b.StopTimer()
					size, first, requests = n, first+f, requests+v.far.Requests()-before
					v.close()
				}
				b.SetBytes(size)
				b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N), "ms/op")
				b.ReportMetric(float64(requests)/float64(b.N), "requests/op")
				if first > 0 {
					b.ReportMetric(float64(first.Milliseconds())/float64(b.N), "ms-first")
				}
			})
		}
	}
}
