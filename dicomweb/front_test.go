package dicomweb

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
)

// hospital is a front with the tenants home (the default one) and north, whose
// servers say where a request ended up.
type hospital struct {
	t       *testing.T
	tenants map[archive.Tenant]*Server
	log     logged
	metered metered
	url     string

	mu      sync.Mutex
	cause   error // why everybody is refused, if they are
	entered int
	left    int
	cut     context.CancelCauseFunc // of the last who entered
}

func newHospital(t *testing.T, change ...func(*Options)) *hospital {
	t.Helper()
	h := &hospital{t: t, tenants: map[archive.Tenant]*Server{}}
	log := slog.New(slog.NewJSONHandler(&h.log, nil))
	options := func() Options {
		o := Options{Log: log, Metrics: &h.metered, Version: "1"}
		for _, f := range change {
			f(&o)
		}
		return o
	}
	for _, name := range []archive.Tenant{"home", "north"} {
		o := options()
		feed := &fakeFeed{}
		feed.add("create")
		o.Tenant, o.Remove, o.Feed = name, fakeRemover{"1.2"}, feed
		s := New(o)
		where := func(c echo.Context) error {
			return c.String(200, string(name)+" "+c.Request().URL.Path+" "+s.BaseURL(c.Request()))
		}
		s.get("/where", where)
		s.get("/where/:more", where)
		s.e.GET(pathWADO, where)
		h.tenants[name] = s
	}
	base := options()
	base.Ready = func(context.Context) error { return nil }
	base.Authorize = func(r *http.Request) error { return h.authorize(r, "") }
	base.Handlers = map[string]http.Handler{"/metrics": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "up 1") })}
	h.url = serveHandler(t, NewFront(FrontOptions{Tenant: "home", Base: New(base), Authorize: h.authorize, Enter: h.enter}))
	return h
}

// authorize knows the token "operator" and one of each tenant that is its name.
func (h *hospital) authorize(r *http.Request, t archive.Tenant) error {
	token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	switch {
	case token == "":
		return fault.New(fault.Unauthenticated, "send a token")
	case token == "operator", token == string(t):
		return nil
	case t == "":
		return fault.New(fault.Forbidden, "this is the operator's")
	}
	return errNoTenant
}

func (h *hospital) enter(ctx context.Context, t archive.Tenant) (Stay, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.tenants[t]
	if s == nil {
		return Stay{}, fault.New(fault.NotFound, "the index has no tenant %s", t)
	}
	if h.cause != nil {
		return Stay{}, h.cause
	}
	h.entered++
	ctx, cut := context.WithCancelCause(ctx)
	h.cut = cut
	return Stay{Handler: s, Context: ctx, Leave: func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.left++
		cut(nil)
	}}, nil
}

// refuse lets nobody in any more, unless the cause is nil.
func (h *hospital) refuse(cause error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.cause = cause
}

// revoke takes the keys away from whoever is inside.
func (h *hospital) revoke() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.cut(errTaken)
}

var errTaken = fault.New(fault.KeyDenied, "the key is gone")

func (h *hospital) do(method, path string, headers ...string) reply {
	h.t.Helper()
	return do(h.t, method, h.url+path, nil, append([]string{"Authorization", "Bearer operator"}, headers...)...)
}

func TestFrontRouting(t *testing.T) {
	h := newHospital(t)
	for _, tt := range []struct {
		path  string
		where string // tenant and path; "" is 404
	}{
		{"/dicom-web/where", "home /dicom-web/where"},
		{"/dicom-web/where/", "home /dicom-web/where"},
		{"/dicom-web/where//", "home /dicom-web/where"},
		{"/wado", "home /wado"},
		{"/t/home/dicom-web/where", "home /dicom-web/where"},
		{"/t/north/dicom-web/where", "north /dicom-web/where"},
		{"/t/north/dicom-web/where/", "north /dicom-web/where"},
		{"/t/north/dicom-web/where/a%2Fb", "north /dicom-web/where/a/b"}, // a slash is a slash, escaped or not
		{"/t/north/dicom-web/where/a%2Cb", "north /dicom-web/where/a,b"},
		{"/t/north/wado", "north /wado"},
		{"/t/north%2Fdicom-web/where", "north /dicom-web/where"},
		{"/t/%6eorth/dicom-web/where", "north /dicom-web/where"},
		{"/t/NORTH/dicom-web/where", ""},
		{"/t/north/Dicom-Web/where", ""},
		{"/t/north/dicom-webx/where", ""},
		{"/t/north/wadox", ""},
		{"/t/nobody/dicom-web/where", ""},
		{"/t/north%20/dicom-web/where", ""},
		{"/t/north%00/dicom-web/where", ""},
		{"/t/", ""}, {"/t", ""}, {"/t/north", ""}, {"/t/north/", ""},
		{"/t//dicom-web/where", ""},
		{"//dicom-web/where", ""},
		{"//t/north/dicom-web/where", ""},
		{"/t/north//dicom-web/where", ""},
		{"/t/north/dicom-web//where", ""},
		{"/t/home/../north/dicom-web/where", ""},
		{"/t/home%2F..%2Fnorth/dicom-web/where", ""},
		{"/t/../dicom-web/where", ""},
		{"/dicom-web/../t/north/dicom-web/where", ""},
		{"/t/north/dicom-web/../../home/dicom-web/where", ""},
		{"/t/home/t/north/dicom-web/where", ""},
		{"/t/north/healthz", ""}, {"/t/north/metrics", ""}, {"/dicom-web/metrics", ""},
		{"/t/north/dicom-web/healthz", ""},
	} {
		r := h.do("GET", tt.path)
		if tt.where == "" {
			if r.StatusCode != 404 {
				t.Errorf("%s: %d %s", tt.path, r.StatusCode, r.body)
			} else if p := r.problem(t); p.Detail != fault.Message(errNoTenant) || p.Type != "urn:strata:problem:not-found" {
				t.Errorf("%s: %s", tt.path, r.body)
			}
			continue
		}
		tenant, path, _ := strings.Cut(tt.where, " ")
		want := tt.where + " " + h.url + Root
		if strings.HasPrefix(tt.path, TenantRoot) {
			want = tt.where + " " + h.url + TenantRoot + tenant + Root
		}
		if r.StatusCode != 200 || r.body != want {
			t.Errorf("%s: %d %q, want %q (%s)", tt.path, r.StatusCode, r.body, want, path)
		}
	}
	if h.entered == 0 || h.entered != h.left {
		t.Errorf("%d entered and %d left", h.entered, h.left)
	}
}

// TestFrontURLs: what answers name begins as the client's own request did.
func TestFrontURLs(t *testing.T) {
	plain := newHospital(t)
	public := newHospital(t, func(o *Options) { o.PublicURL = "https://pacs.example/imaging" })
	forwarded := []string{"X-Forwarded-Host", "out.example", "X-Forwarded-Proto", "https", "X-Forwarded-Prefix", "/pacs"}
	for _, tt := range []struct {
		name    string
		h       *hospital
		path    string
		headers []string
		want    string
	}{
		{"top", plain, "", nil, plain.url},
		{"tenant", plain, "/t/north", nil, plain.url + "/t/north"},
		{"default tenant by name", plain, "/t/home", nil, plain.url + "/t/home"},
		{"behind a proxy", plain, "", forwarded, "https://out.example/pacs"},
		{"tenant behind a proxy", plain, "/t/north", forwarded, "https://out.example/pacs/t/north"},
		{"configured", public, "/t/north", forwarded, "https://pacs.example/imaging/t/north"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := tt.h.do("GET", tt.path+Root+"/changes?limit=1", append([]string{"Accept", "application/json"}, tt.headers...)...)
			var p changePage
			if err := json.Unmarshal([]byte(r.body), &p); err != nil || len(p.Changes) != 1 || !strings.HasPrefix(p.Changes[0].URL, tt.want+Root+"/studies/") {
				t.Errorf("changes: %s", r.body)
			}
			r = tt.h.do("OPTIONS", tt.path+Root, append([]string{"Accept", "application/json"}, tt.headers...)...)
			if !strings.Contains(r.body, `"base": "`+tt.want+`/dicom-web"`) {
				t.Errorf("capabilities: %.200s", r.body)
			}
		})
	}
}

func TestFrontRefusals(t *testing.T) {
	h := newHospital(t)
	for _, tt := range []struct {
		name       string
		method     string
		path       string
		token      string
		cause      error
		status     int
		kind       string
		retryAfter bool
		tenant     string // that the log names
	}{
		{name: "nobody", path: "/dicom-web/where", status: 401, kind: "unauthenticated"},
		{name: "nobody at a tenant", path: "/t/north/dicom-web/where", status: 401, kind: "unauthenticated"},
		{name: "nobody at no tenant", path: "/t/nobody/dicom-web/where", status: 401, kind: "unauthenticated"},
		{name: "nobody at metrics", path: "/metrics", status: 401, kind: "unauthenticated"},
		{name: "nobody at nothing", path: "/nothing", status: 401, kind: "unauthenticated"},
		{name: "another tenant", path: "/t/home/dicom-web/where", token: "north", status: 404, kind: "not-found"},
		{name: "another tenant at the top", path: "/dicom-web/where", token: "north", status: 404, kind: "not-found"},
		{name: "no tenant", path: "/t/nobody/dicom-web/where", token: "north", status: 404, kind: "not-found"},
		{name: "no name", path: "/t//dicom-web/where", token: "north", status: 403, kind: "forbidden"},
		{name: "metrics", path: "/metrics", token: "north", status: 403, kind: "forbidden"},
		{name: "revoked", path: "/t/north/dicom-web/where", token: "north", cause: errTaken, status: 403, kind: "key-revoked", tenant: "north"},
		{name: "unreachable", path: "/t/north/dicom-web/where", token: "north", cause: fault.New(fault.KeyUnreachable, "no answer"), status: 503, kind: "key-unreachable", retryAfter: true, tenant: "north"},
		{name: "suspended", path: "/t/north/dicom-web/where", token: "north", cause: fault.New(fault.Forbidden, "suspended"), status: 403, kind: "forbidden", tenant: "north"},
		{name: "too many", path: "/t/north/dicom-web/where", token: "north", cause: fault.New(fault.TooMany, "slower"), status: 429, kind: "too-many-requests", retryAfter: true, tenant: "north"},
		{name: "crowded", path: "/t/north/dicom-web/where", token: "north", cause: fault.New(fault.Busy, "crowded"), status: 503, kind: "busy", retryAfter: true, tenant: "north"},
		{name: "defect", path: "/t/north/dicom-web/where", token: "north", cause: errors.New("disk on fire"), status: 500, kind: "internal", tenant: "north"},
		{name: "HEAD", method: "HEAD", path: "/t/nobody/dicom-web/where", token: "operator", status: 404},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h.refuse(tt.cause)
			before := len(h.log.String())
			var headers []string
			if tt.token != "" {
				headers = []string{"Authorization", "Bearer " + tt.token}
			}
			method := tt.method
			if method == "" {
				method = "GET"
			}
			r := do(t, method, h.url+tt.path, nil, headers...)
			if r.StatusCode != tt.status {
				t.Fatalf("%d %s", r.StatusCode, r.body)
			}
			if method == "HEAD" {
				if r.body != "" || r.ContentLength <= 0 {
					t.Errorf("%q, of %d", r.body, r.ContentLength)
				}
				return
			}
			p := r.problem(t)
			if p.Type != "urn:strata:problem:"+tt.kind || p.Instance != "urn:strata:request:"+r.Header.Get("X-Request-Id") {
				t.Errorf("%s", r.body)
			}
			if (r.Header.Get("Retry-After") != "") != tt.retryAfter {
				t.Errorf("Retry-After %q", r.Header.Get("Retry-After"))
			}
			if (r.Header.Get("WWW-Authenticate") != "") != (tt.status == 401) {
				t.Errorf("WWW-Authenticate %q", r.Header.Get("WWW-Authenticate"))
			}
			line := logLine(t, &h.log, before)
			if line["tenant"] != tt.tenant && (line["tenant"] != nil || tt.tenant != "") {
				t.Errorf("the log names tenant %v, want %q", line["tenant"], tt.tenant)
			}
			if line["status"] != float64(tt.status) || line["id"] != r.Header.Get("X-Request-Id") || line["route"] != "none" && tt.path != "/metrics" {
				t.Errorf("logged: %v", line)
			}
		})
	}
	for _, secret := range []string{"nobody", "where", "Bearer", "/1.2"} {
		if strings.Contains(h.log.String(), secret) {
			t.Errorf("the log holds %q", secret)
		}
	}
}

// logLine returns the one line that was logged since.
func logLine(t *testing.T, log *logged, since int) map[string]any {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		// A client may have its answer before the server has logged it.
		if text := log.String()[since:]; strings.Contains(text, `"msg":"request"`) {
			var line map[string]any
			if err := json.Unmarshal([]byte(text[strings.LastIndexByte(strings.TrimSpace(text), '\n')+1:]), &line); err != nil {
				t.Fatal(err)
			}
			return line
		}
		if time.Now().After(end) {
			t.Fatal("nothing is logged")
		}
	}
}

// TestFrontPreflight: a browser asks without credentials, about any path, and
// learns nothing of who is there.
func TestFrontPreflight(t *testing.T) {
	h := newHospital(t)
	var first http.Header
	for _, path := range []string{"/dicom-web/studies", "/t/north/dicom-web/studies", "/t/nobody/dicom-web/studies", "/t/north/wado", "/elsewhere"} {
		r := do(t, "OPTIONS", h.url+path, nil, "Origin", "http://localhost:3000", "Access-Control-Request-Method", "GET", "Access-Control-Request-Headers", "authorization")
		if r.StatusCode != 204 || r.Header.Get("Access-Control-Allow-Origin") != "http://localhost:3000" {
			t.Errorf("%s: %d %v", path, r.StatusCode, r.Header)
		}
		r.Header.Del("X-Request-Id")
		r.Header.Del("Date")
		if first == nil {
			first = r.Header
		} else if len(first) != len(r.Header) {
			t.Errorf("%s: other headers than elsewhere: %v", path, r.Header)
		}
	}
	if h.entered != 0 {
		t.Error("a preflight opens an archive")
	}
	// What only looks like one is asked for its token.
	if r := do(t, "OPTIONS", h.url+"/t/north/dicom-web", nil, "Access-Control-Request-Method", "GET"); r.StatusCode != 401 {
		t.Errorf("without an origin: %d", r.StatusCode)
	}
	// Refusals can be read by the page, too.
	if r := do(t, "GET", h.url+"/t/nobody/dicom-web/where", nil, "Origin", "http://localhost:3000"); r.StatusCode != 401 || r.Header.Get("Access-Control-Allow-Origin") == "" {
		t.Errorf("a refusal: %d %v", r.StatusCode, r.Header)
	}
}

func TestFrontHealthAndMetrics(t *testing.T) {
	h := newHospital(t)
	h.refuse(errTaken)
	for _, path := range []string{"/healthz", "/readyz"} {
		if r := do(t, "GET", h.url+path, nil); r.StatusCode != 200 {
			t.Errorf("%s: %d", path, r.StatusCode)
		}
	}
	if r := h.do("GET", "/metrics"); r.body != "up 1" {
		t.Errorf("/metrics: %d %s", r.StatusCode, r.body)
	}
	h.refuse(nil)
	h.do("GET", "/t/north/dicom-web/where/1.2.3")
	h.do("GET", "/t/nobody/dicom-web/where/1.2.3")
	want := []string{"GET /healthz", "GET /readyz", "GET /metrics", "GET /dicom-web/where/:more", "GET none"}
	h.metered.mu.Lock()
	defer h.metered.mu.Unlock()
	if !slices.Equal(h.metered.routes, want) {
		t.Errorf("%q, want %q", h.metered.routes, want)
	}
}

// TestFrontRequestID: one id in the header, the problem and the log, through
// both the front and the tenant's server.
func TestFrontRequestID(t *testing.T) {
	h := newHospital(t)
	const id = "0123456789abcdef"
	for _, path := range []string{"/t/north/dicom-web/where", "/t/nobody/dicom-web/where", "/healthz"} {
		before := len(h.log.String())
		r := h.do("GET", path, "X-Request-Id", id)
		if got := r.Header.Values("X-Request-Id"); !slices.Equal(got, []string{id}) {
			t.Errorf("%s: %q", path, got)
		}
		if line := logLine(t, &h.log, before); line["id"] != id {
			t.Errorf("%s: logged as %v", path, line["id"])
		}
	}
}
