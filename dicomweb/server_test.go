package dicomweb

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/fault/problem"
	"github.com/strata-pacs/strata/internal/retrieve"
	"github.com/strata-pacs/strata/internal/search"
	"github.com/strata-pacs/strata/internal/thumbnail"
)

// fakeRemover deletes the one study it has.
type fakeRemover struct{ study string }

func (f fakeRemover) Delete(_ context.Context, _ archive.Tenant, sel archive.UIDs) error {
	if sel.Study != f.study {
		return fault.New(fault.NotFound, "there is no such study")
	}
	return nil
}

type logged struct {
	mu sync.Mutex
	bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Buffer.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Buffer.String()
}

// serve starts the server and returns its URL.
func serve(t *testing.T, s *Server) string {
	t.Helper()
	url := serveHandler(t, s)
	t.Cleanup(s.Shutdown) // before the server is closed
	return url
}

func serveHandler(t *testing.T, h http.Handler) string {
	t.Helper()
	hs := httptest.NewServer(h)
	t.Cleanup(hs.Close)
	return hs.URL
}

type reply struct {
	*http.Response
	body string
}

func (r reply) problem(t *testing.T) problem.Document {
	t.Helper()
	if ct := r.Header.Get("Content-Type"); ct != "application/problem+json" {
		t.Fatalf("Content-Type %q of %q", ct, r.body)
	}
	var p problem.Document
	if err := json.Unmarshal([]byte(r.body), &p); err != nil {
		t.Fatal(err)
	}
	if p.Status != r.StatusCode || p.Title == "" || p.Detail == "" || !strings.HasPrefix(p.Type, "urn:strata:problem:") {
		t.Errorf("incomplete problem document %s", r.body)
	}
	return p
}

func do(t *testing.T, method, url string, body io.Reader, headers ...string) reply {
	t.Helper()
	r, err := http.NewRequest(method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	client := &http.Client{Transport: &http.Transport{DisableCompression: true}}
	t.Cleanup(client.CloseIdleConnections)
	resp, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{resp, string(b)}
}

func TestRouting(t *testing.T) {
	var log logged
	s := New(Options{Remove: fakeRemover{"1.2.3"}, Log: slog.New(slog.NewJSONHandler(&log, nil)),
		Handlers: map[string]http.Handler{"/metrics": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "up 1") })}})
	s.e.GET("/panic", func(echo.Context) error { panic(errors.New("Mueller^Hans")) })
	s.e.GET("/archived", func(echo.Context) error { return fault.New(fault.Archived, "in a vault") })
	s.e.GET("/internal", func(echo.Context) error { return errors.New("disk on fire") })
	s.e.GET("/cut", func(c echo.Context) error {
		c.Response().WriteHeader(200)
		_, _ = c.Response().Write(make([]byte, 100_000))
		return fault.New(fault.Corrupt, "a tag is wrong")
	})
	url := serve(t, s)

	for _, tt := range []struct {
		name, method, path string
		status             int
		kind               string
	}{
		{"unknown", "GET", "/nothing", 404, "not-found"},
		{"unknown below the service", "GET", Root + "/patients", 404, "not-found"},
		{"archived", "GET", "/archived", 503, "archived"},
		{"method", "PUT", Root + "/studies/1.2.3", 405, "method-not-allowed"},
		{"not a UID", "DELETE", Root + "/studies/1.2.x", 400, "invalid"},
		{"UID too long", "DELETE", Root + "/studies/" + strings.Repeat("1", 65), 400, "invalid"},
		{"absent", "DELETE", Root + "/studies/9", 404, "not-found"},
		{"panic", "GET", "/panic", 500, "internal"},
		{"unclassified", "GET", "/internal", 500, "internal"},
		{"URL too long", "DELETE", Root + "/studies/1?q=" + strings.Repeat("x", 70_000), 414, "uri-too-long"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := do(t, tt.method, url+tt.path, nil)
			if r.StatusCode != tt.status {
				t.Fatalf("status %d, want %d: %s", r.StatusCode, tt.status, r.body)
			}
			p := r.problem(t)
			if p.Type != "urn:strata:problem:"+tt.kind {
				t.Errorf("type %s", p.Type)
			}
			if id := r.Header.Get("X-Request-Id"); id == "" || p.Instance != "urn:strata:request:"+id {
				t.Errorf("instance %q, request %q", p.Instance, id)
			}
			if tt.status == 500 && (strings.Contains(r.body, "fire") || strings.Contains(r.body, "Mueller")) {
				t.Errorf("an internal error shows: %s", r.body)
			}
		})
	}

	if r := do(t, "PUT", url+Root+"/studies/1.2.3", nil); !strings.Contains(r.Header.Get("Allow"), "DELETE") {
		t.Errorf("Allow %q", r.Header.Get("Allow"))
	}
	for _, path := range []string{Root + "/studies/1.2.3", Root + "/studies/1.2.3/", Root + "/studies/1.2.3/series/4", Root + "/studies/1.2.3/series/4/instances/5"} {
		if r := do(t, "DELETE", url+path, nil); r.StatusCode != 204 || r.body != "" {
			t.Errorf("DELETE %s: %d %s", path, r.StatusCode, r.body)
		}
	}
	if r := do(t, "GET", url+"/metrics", nil); r.body != "up 1" {
		t.Errorf("/metrics: %d %s", r.StatusCode, r.body)
	}
	if resp, err := http.Get(url + "/cut"); err == nil {
		if _, err = io.ReadAll(resp.Body); err == nil {
			t.Error("an answer that failed midway looks whole")
		}
		_ = resp.Body.Close()
	}
	for _, h := range []string{"X-Content-Type-Options", "Content-Security-Policy", "Referrer-Policy", "Cache-Control"} {
		if r := do(t, "GET", url+"/nothing", nil); r.Header.Get(h) == "" {
			t.Errorf("no %s", h)
		}
	}
	text := log.String()
	for _, secret := range []string{"1.2.3", "1.2.x", "Mueller", "patients"} {
		if strings.Contains(text, secret) {
			t.Errorf("the log holds %q:\n%s", secret, text)
		}
	}
	for _, want := range []string{`"route":"/dicom-web/studies/:study"`, `"status":204`, "a request panicked", "disk on fire", `"aborted":true`} {
		if !strings.Contains(text, want) {
			t.Errorf("the log lacks %q", want)
		}
	}
	for line := range strings.Lines(text) { // what is in an archive is no failure
		if strings.Contains(line, `"route":"/archived"`) && !strings.Contains(line, `"level":"INFO"`) {
			t.Errorf("%s", line)
		}
	}
}

func TestHealth(t *testing.T) {
	ready, impaired := error(nil), []string(nil)
	s := New(Options{Ready: func(context.Context) error { return ready }, Impaired: func(context.Context) []string { return impaired },
		Authorize: func(*http.Request) error { return fault.New(fault.Unauthenticated, "send a bearer token") }})
	url := serve(t, s)
	status := func(method, path string) int { return do(t, method, url+path, nil).StatusCode }
	if status("GET", "/healthz") != 200 || status("HEAD", "/healthz") != 200 || status("GET", "/readyz") != 200 {
		t.Error("not healthy")
	}
	impaired = []string{"tiers.archive: it does not answer", "tiers.cold: it is full"}
	if r := do(t, "GET", url+"/readyz", nil); r.StatusCode != 200 || r.body != "ok\ntiers.archive: it does not answer\ntiers.cold: it is full\n" {
		t.Errorf("impaired: %d %q", r.StatusCode, r.body)
	}
	if r := do(t, "GET", url+"/healthz", nil); r.body != "ok\n" {
		t.Errorf("alive: %q", r.body)
	}
	ready = errors.New("no database")
	r := do(t, "GET", url+"/readyz", nil)
	if r.StatusCode != 503 || r.Header.Get("Retry-After") == "" || strings.Contains(r.body, "database") {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	ready = nil
	s.Shutdown()
	if status("GET", "/readyz") != 503 || status("GET", "/healthz") != 200 {
		t.Error("ready while shutting down")
	}
	r = do(t, "GET", url+Root, nil)
	if r.StatusCode != 401 || !strings.HasPrefix(r.Header.Get("WWW-Authenticate"), "Bearer") {
		t.Errorf("without a token: %d", r.StatusCode)
	}
	r.problem(t)
}

func TestCORS(t *testing.T) {
	anyOrigin := serve(t, New(Options{Remove: fakeRemover{}, Origins: []string{"*"}, Authorize: func(r *http.Request) error {
		return fault.New(fault.Unauthenticated, "send a bearer token")
	}}))
	loopback := serve(t, New(Options{Remove: fakeRemover{}}))
	one := serve(t, New(Options{Remove: fakeRemover{}, Origins: []string{"https://viewer.example"}}))
	for _, tt := range []struct {
		name, url, origin string
		allowed           bool
	}{
		{"any", anyOrigin, "https://viewer.example", true},
		{"loopback", loopback, "http://localhost:3000", true},
		{"loopback address", loopback, "http://127.0.0.1:3000", true},
		{"loopback IPv6", loopback, "http://[::1]:3000", true},
		{"not loopback", loopback, "https://evil.example", false},
		{"looks like loopback", loopback, "https://localhost.evil.example", false},
		{"null", loopback, "null", false},
		{"listed", one, "https://viewer.example", true},
		{"not listed", one, "http://localhost:3000", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := do(t, "OPTIONS", tt.url+Root+"/studies/1", nil, "Origin", tt.origin,
				"Access-Control-Request-Method", "DELETE", "Access-Control-Request-Headers", "authorization,accept")
			if r.StatusCode != 204 {
				t.Errorf("preflight %d", r.StatusCode)
			}
			if got := r.Header.Get("Access-Control-Allow-Origin"); (got == tt.origin) != tt.allowed {
				t.Errorf("Allow-Origin %q", got)
			}
			if !tt.allowed {
				return
			}
			for _, m := range []string{"GET", "POST", "DELETE"} {
				if !strings.Contains(r.Header.Get("Access-Control-Allow-Methods"), m) {
					t.Errorf("no %s", m)
				}
			}
			for _, h := range []string{"Accept", "Authorization", "Content-Type"} {
				if !strings.Contains(r.Header.Get("Access-Control-Allow-Headers"), h) {
					t.Errorf("no %s", h)
				}
			}
			if r.Header.Get("Access-Control-Max-Age") == "" || r.Header.Get("Vary") == "" {
				t.Error("a browser cannot cache the preflight")
			}
			// Errors, too, must be readable by the page.
			r = do(t, "DELETE", tt.url+Root+"/studies/1", nil, "Origin", tt.origin)
			if r.Header.Get("Access-Control-Allow-Origin") != tt.origin || !strings.Contains(r.Header.Get("Access-Control-Expose-Headers"), "Warning") {
				t.Errorf("answer: %v", r.Header)
			}
		})
	}
}

func TestRespondText(t *testing.T) {
	big := []byte(`["` + strings.Repeat("a", 5000) + `"]`)
	s := New(Options{})
	s.get("/big", func(c echo.Context) error { return respondText(c, 200, typeJSON, big) })
	s.get("/small", func(c echo.Context) error { return respondText(c, 200, typeJSON, []byte("[]")) })
	url := serve(t, s)
	for _, tt := range []struct {
		path, encoding string
		gzip           bool
	}{
		{"/big", "", false}, {"/big", "gzip", true}, {"/big", "br, GZIP;q=0.5", true}, {"/big", "gzip;q=0", false}, {"/big", "*", true},
		{"/big", "deflate", false}, {"/small", "gzip", false},
	} {
		var h []string
		if tt.encoding != "" {
			h = []string{"Accept-Encoding", tt.encoding}
		}
		r := do(t, "GET", url+Root+tt.path, nil, h...)
		body := r.body
		if got := r.Header.Get("Content-Encoding") == "gzip"; got != tt.gzip {
			t.Errorf("%v: gzip %v", tt, got)
		} else if got {
			z, err := gzip.NewReader(strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			b, _ := io.ReadAll(z)
			body = string(b)
		} else if r.ContentLength != int64(len(body)) {
			t.Errorf("%v: Content-Length %d", tt, r.ContentLength)
		}
		if tt.path == "/big" && body != string(big) {
			t.Errorf("%v: other content", tt)
		}
		head := do(t, "HEAD", url+Root+tt.path, nil, h...)
		if head.StatusCode != 200 || head.body != "" || head.Header.Get("Content-Encoding") != r.Header.Get("Content-Encoding") {
			t.Errorf("%v: HEAD %d %v", tt, head.StatusCode, head.Header)
		}
	}
}

type metered struct {
	mu     sync.Mutex
	routes []string
	stored map[string]int
}

func (m *metered) Request(method, route string, status int, _ time.Duration, _, _ int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.routes = append(m.routes, method+" "+route)
}

func (m *metered) Stored(outcome string, n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stored == nil {
		m.stored = map[string]int{}
	}
	m.stored[outcome] += n
}

func TestMetrics(t *testing.T) {
	m := &metered{}
	url := serve(t, New(Options{Remove: fakeRemover{"1"}, Metrics: m}))
	do(t, "DELETE", url+Root+"/studies/1", nil)
	do(t, "BREW", url+Root+"/studies/1", nil)
	do(t, "GET", url+"/secret/1.2.3", nil)
	m.mu.Lock()
	defer m.mu.Unlock()
	want := []string{"DELETE /dicom-web/studies/:study", "other /dicom-web/studies/:study", "GET none"}
	if !slices.Equal(m.routes, want) {
		t.Errorf("%q, want %q", m.routes, want)
	}
}

func TestCapabilities(t *testing.T) {
	url := serve(t, New(Options{Remove: fakeRemover{}, Store: new(fakeStore).begin, Feed: &fakeFeed{}, Version: "1.0"}))
	r := do(t, "OPTIONS", url+Root, nil)
	if r.StatusCode != 200 || r.Header.Get("Content-Type") != typeWADL {
		t.Fatalf("%d %s", r.StatusCode, r.Header.Get("Content-Type"))
	}
	for _, want := range []string{`base="` + url + `/dicom-web"`, `path="{StudyInstanceUID}"`, `id="StoreInstances"`, `id="DeleteSeries"`, `id="RetrieveChanges"`} {
		if !strings.Contains(r.body, want) {
			t.Errorf("no %s in %s", want, r.body)
		}
	}
	if strings.Contains(r.body, "SearchForStudies") {
		t.Error("describes what is not served")
	}
	r = do(t, "OPTIONS", url+Root+"/studies/1.2/series/3", nil, "Accept", "application/json")
	if !strings.Contains(r.body, "DeleteInstance") || strings.Contains(r.body, "DeleteStudy") || !json.Valid([]byte(r.body)) {
		t.Errorf("of a series: %s", r.body)
	}
	if r.Header.Get("Allow") != "DELETE, OPTIONS" {
		t.Errorf("Allow %q", r.Header.Get("Allow"))
	}
	if r := do(t, "OPTIONS", url+Root, nil, "Accept", "image/png"); r.StatusCode != 406 {
		t.Errorf("image/png: %d", r.StatusCode)
	}
	if r := do(t, "GET", url+Root+"/", nil, "Accept", "application/json"); r.StatusCode != 200 || !strings.Contains(r.body, "Strata 1.0") {
		t.Errorf("GET: %d %s", r.StatusCode, r.body)
	}
}

// TestCapabilitiesAreComplete: what walks the routes of the service by its
// capabilities, as the tests of tenants do, meets all of them.
func TestCapabilitiesAreComplete(t *testing.T) {
	s := New(Options{Remove: fakeRemover{}, Store: new(fakeStore).begin, Feed: &fakeFeed{}, Search: search.New(search.Options{}),
		Retrieve: retrieve.New(retrieve.Options{}), Recall: new(vault), Thumbnails: &thumbnail.Maker{}})
	described, n := describeMethods(), 0
	for _, r := range s.e.Routes() {
		path, below := strings.CutPrefix(r.Path, Root)
		switch {
		case path == "" || path == pathWADO || r.Path == pathWADO: // the service itself; and what is no resource of it
			continue
		case !below && (path == pathHealth || path == pathReady):
			continue
		case r.Method == http.MethodOptions || r.Method == http.MethodHead || strings.HasPrefix(r.Method, "echo_"):
			continue
		}
		if _, ok := described[r.Method+" "+path]; !ok {
			t.Errorf("%s %s is not described", r.Method, r.Path)
		}
		n++
	}
	if n != len(described) {
		t.Errorf("%d routes, %d descriptions", n, len(described))
	}
}
