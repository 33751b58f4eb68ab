package conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/strata-pacs/strata/dicomweb"
	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/ingest"
	"github.com/strata-pacs/strata/internal/keys/localkeys"
	"github.com/strata-pacs/strata/internal/node"
	"github.com/strata-pacs/strata/internal/pixel/sandbox/sandboxtest"
)

// TestMain lets the test binary be the process that decodes images.
func TestMain(m *testing.M) { sandboxtest.Main(m) }

// Media types and Accept headers that many tests use.
const (
	typeDICOM = "application/dicom"
	typeJSON  = "application/dicom+json"
	typeXML   = "application/dicom+xml"

	partsStored  = `multipart/related; type="application/dicom"; transfer-syntax=*`
	framesStored = `multipart/related; type="application/octet-stream"; transfer-syntax=*`
)

// world is a node on the local disk, served over HTTP.
type world struct {
	t    testing.TB
	node *node.Archive
	data string // its folder
	root string // URL of the server
	url  string // of the service
	log  *logBuffer
	end  func() // stops everything; once
}

// logBuffer takes log lines from many goroutines.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) Bytes() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Clone(l.b.Bytes())
}

// open starts a world that ends with the test. change may adjust the server.
func open(t testing.TB, change ...func(*dicomweb.Options)) *world {
	t.Helper()
	dir := t.TempDir()
	if err := localkeys.Create(filepath.Join(dir, "kek"), nil); err != nil {
		t.Fatal(err)
	}
	kek, err := localkeys.Open(filepath.Join(dir, "kek"), nil)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, data: filepath.Join(dir, "data"), log: &logBuffer{}}
	log := slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	var host *node.Node
	if host, w.node, err = node.OpenArchive(context.Background(), node.Options{Data: w.data, Wrapper: kek, KEK: kek.ID(), Slog: log, PixelCache: sandboxtest.Cache(t), PixelTimeout: time.Minute}); err != nil {
		t.Fatal(err)
	}
	n := w.node
	o := dicomweb.Options{
		Tenant: n.Tenant,
		Store: func(_ archive.Tenant, study string) dicomweb.StoreRequest {
			return n.Store.Begin(ingest.RequestOptions{Study: study})
		},
		Search: n.Search, Retrieve: n.Retrieve, Thumbnails: n.Thumbnail, Remove: n.Remove, Feed: n.Index,
		Ready: host.Ready, Log: log, Version: "test",
	}
	for _, c := range change {
		c(&o)
	}
	api := dicomweb.New(o)
	srv := httptest.NewServer(api)
	w.root, w.url = srv.URL, srv.URL+dicomweb.Root
	w.end = sync.OnceFunc(func() {
		api.Shutdown()
		srv.Close()
		if err := host.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(w.end)
	return w
}

// answer is a response, read whole.
type answer struct {
	t      testing.TB
	what   string
	Status int
	Header http.Header
	Body   []byte
}

// client takes answers as they are, and never waits long.
var client = &http.Client{Timeout: 2 * time.Minute,
	Transport:     &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 32},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}

// do sends a request. header holds names and values in turn.
func (w *world) do(t testing.TB, method, target string, body []byte, header ...string) *answer {
	t.Helper()
	if !strings.HasPrefix(target, "http") {
		target = w.url + target
	}
	req, err := http.NewRequest(method, target, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
		}
		req.Header.Add(header[i], header[i+1])
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", method, target, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s %s: the body: %v", method, target, err)
	}
	return &answer{t, method + " " + strings.TrimPrefix(target, w.root), resp.StatusCode, resp.Header, b}
}

// get asks with an Accept header, none when it is empty.
func (w *world) get(t testing.TB, path, accept string) *answer {
	t.Helper()
	if accept == "" {
		return w.do(t, "GET", path, nil)
	}
	return w.do(t, "GET", path, nil, "Accept", accept)
}

// is ends the test unless the status is one of those.
func (a *answer) is(status ...int) *answer {
	a.t.Helper()
	for _, s := range status {
		if a.Status == s {
			return a
		}
	}
	a.t.Fatalf("%s: %d, want %v: %.400s %q", a.what, a.Status, status, a.Body, a.Header.Values("Warning"))
	return a
}

// problem ends the test unless the answer is a problem document (RFC 9457) of that status.
func (a *answer) problem(status int) *answer {
	a.t.Helper()
	a.is(status)
	var p struct {
		Type, Title, Detail string
		Status              int
	}
	if err := json.Unmarshal(a.Body, &p); err != nil || p.Status != status || p.Detail == "" ||
		!strings.HasPrefix(a.Header.Get("Content-Type"), "application/problem+json") {
		a.t.Fatalf("%s: no problem document: %s %.300s", a.what, a.Header.Get("Content-Type"), a.Body)
	}
	return a
}

// part is one of a multipart message.
type part struct {
	Header http.Header
	Body   []byte
}

func (p *part) syntax() string {
	_, params, _ := mime.ParseMediaType(p.Header.Get("Content-Type"))
	return params["transfer-syntax"]
}

func mediaType(h http.Header) string {
	m, _, _ := mime.ParseMediaType(h.Get("Content-Type"))
	return m
}

// parts splits a multipart answer.
func (a *answer) parts() []part {
	a.t.Helper()
	m, params, err := mime.ParseMediaType(a.Header.Get("Content-Type"))
	if err != nil || m != "multipart/related" || params["boundary"] == "" || params["type"] == "" {
		a.t.Fatalf("%s: Content-Type %q (%v) of %.200s", a.what, a.Header.Get("Content-Type"), err, a.Body)
	}
	r := multipart.NewReader(bytes.NewReader(a.Body), params["boundary"])
	var list []part
	for {
		p, err := r.NextRawPart()
		if err == io.EOF {
			return list
		}
		if err != nil {
			a.t.Fatalf("%s: part %d: %v", a.what, len(list)+1, err)
		}
		b, err := io.ReadAll(p)
		if err != nil {
			a.t.Fatalf("%s: part %d: %v", a.what, len(list)+1, err)
		}
		list = append(list, part{http.Header(p.Header), b})
	}
}

// related returns a multipart/related body and its Content-Type.
func related(mediaType string, bodies ...[]byte) (body []byte, contentType string) {
	const boundary = "a-boundary-of-the-tests"
	var b bytes.Buffer
	for _, p := range bodies {
		fmt.Fprintf(&b, "--%s\r\nContent-Type: %s\r\n\r\n", boundary, mediaType)
		b.Write(p)
		b.WriteString("\r\n")
	}
	fmt.Fprintf(&b, "--%s--\r\n", boundary)
	return b.Bytes(), fmt.Sprintf(`multipart/related; type="%s"; boundary=%s`, mediaType, boundary)
}

// post stores Part 10 files as parts of one request.
func (w *world) post(t testing.TB, files ...[]byte) *answer {
	t.Helper()
	body, contentType := related(typeDICOM, files...)
	return w.do(t, "POST", "/studies", body, "Content-Type", contentType, "Accept", typeJSON)
}
