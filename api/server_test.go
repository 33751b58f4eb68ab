package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/labstack/echo/v4"

	"github.com/strata-pacs/strata/api/apitest"
	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/fault/problem"
)

// wantProblem checks a problem document and returns its detail.
func wantProblem(t *testing.T, r reply, status int, name string) string {
	t.Helper()
	var d problem.Document
	if err := json.Unmarshal([]byte(r.body), &d); err != nil || r.StatusCode != status || d.Status != status ||
		d.Type != problem.TypePrefix+name || r.Header.Get("Content-Type") != problem.ContentType ||
		d.Instance != "urn:strata:request:"+r.Header.Get(problem.HeaderRequestID) {
		t.Errorf("%d %s, want %d %s", r.StatusCode, r.body, status, name)
	}
	return d.Detail
}

func TestRequestsFollowTheContract(t *testing.T) {
	h := serve(t, nil)
	for _, tt := range []struct {
		method, path, body string
		status             int
		name, detail       string
	}{
		{"GET", "/nothing", "", 404, "not-found", "openapi.yaml"},
		{"PUT", "/tenants", "", 405, "method-not-allowed", "Allow"},
		{"GET", "/tenants?limit=0", "", 400, "invalid", "limit: number must be at least 1"},
		{"GET", "/tenants?limit=Zebra", "", 400, "invalid", "limit cannot be understood"},
		{"GET", "/tenants/ZEBRA", "", 400, "invalid", "tenant is not of its form: Lower-case"},
		{"GET", "/tenants/zebra%2Fkeys", "", 400, "invalid", "tenant"},
		{"GET", "/jobs/Zebra", "", 400, "invalid", "job"},
		{"POST", "/tenants", "", 400, "invalid", "the body is missing"},
		{"POST", "/tenants", "{", 400, "invalid", "the body cannot be understood"},
		{"POST", "/tenants", "{}", 400, "invalid", "name is missing"},
		{"POST", "/tenants", `{"name":"x","Zebra":1}`, 400, "invalid", "a member that the contract does not"},
		{"POST", "/tenants", `{"name":"x","limits":{"Zebra":1}}`, 400, "invalid", "limits has a member"},
		{"POST", "/tenants", `{"name":"x","kek":"Zebra"}`, 400, "invalid", "kek is not of its form"},
		{"POST", "/tenants", `{"name":"x","kek":"a/b+c/d+e/f"}`, 400, "invalid", "kek is not of its form"},
		{"POST", "/tenants", `{"name":"x","duplicates":"Zebra"}`, 400, "invalid", "duplicates"},
		{"POST", "/tenants", `{"name":"x","limits":{"concurrent":-1}}`, 400, "invalid", "limits.concurrent: number must be at least 0"},
		{"POST", "/tenants", `{"name":"x","limits":{"bytesPerSecond":1e30}}`, 400, "invalid", "the body cannot be understood"},
		{"POST", "/tenants", `{"name":"` + strings.Repeat("x", maxBody) + `"}`, 413, "too-large", "1048576"},
		{"PATCH", "/tenants/alpha", `{"title":null}`, 400, "invalid", "title"},
		{"PATCH", "/tenants/alpha", `{"state":"suspended"}`, 400, "invalid", "a member that the contract does not"},
		{"PATCH", "/tenants/alpha", `{}`, 400, "invalid", "at least 1"},
		{"POST", "/tenants/alpha/keys/escrow", `{}`, 400, "invalid", "at least 1"},
		{"POST", "/tenants/alpha/keys/escrow", `{"publicKey":"Zebra"}`, 400, "invalid", "publicKey"},
		{"POST", "/tenants/alpha/shred", `{"confirm":"alpha","study":"1.Zebra"}`, 400, "invalid", "study is not of its form"},
	} {
		r := h.do(tt.method, tt.path, tt.body)
		if d := wantProblem(t, r, tt.status, tt.name); !strings.Contains(d, tt.detail) {
			t.Errorf("%s %s: %q, want %q", tt.method, tt.path, d, tt.detail)
		}
		if strings.Contains(strings.ToLower(r.body), "zebra") {
			t.Errorf("%s %s: the answer repeats the request: %s", tt.method, tt.path, r.body)
		}
	}
	if log := strings.ToLower(h.log.String()); strings.Contains(log, "zebra") || !strings.Contains(log, "route=/api/tenants/:tenant ") {
		t.Errorf("log: %s", log)
	}

	r, _ := http.NewRequest("POST", h.url+"/tenants", strings.NewReader(`{"name":"x"}`))
	r.Header.Set("Content-Type", "text/plain")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusUnsupportedMediaType {
		t.Errorf("text/plain: %d", resp.StatusCode)
	}
	if !slices.Contains(h.metrics.routes, "GET /api/tenants/:tenant") {
		t.Errorf("metrics: %v", h.metrics.routes)
	}
}

// TestFaults: whatever is behind an interface fails, the answer is a problem
// by its kind, and a defect shows in the log alone.
func TestFaults(t *testing.T) {
	h := serve(t, nil)
	for _, op := range []struct{ method, path, body string }{
		{"GET", "/tenants", ""}, {"POST", "/tenants", `{"name":"new"}`}, {"GET", "/tenants/alpha", ""}, {"PATCH", "/tenants/alpha", `{"title":"x"}`},
		{"POST", "/tenants/alpha/suspend", ""}, {"POST", "/tenants/alpha/resume", ""},
		{"GET", "/tenants/alpha/keys", ""}, {"POST", "/tenants/alpha/keys/rotate", ""}, {"POST", "/tenants/alpha/keys/retire", `{"confirm":"alpha"}`},
		{"POST", "/tenants/alpha/keys/revoke", `{"confirm":"alpha"}`}, {"POST", "/tenants/alpha/keys/grant", ""}, {"POST", "/tenants/alpha/keys/move", `{"kek":"hsm/x"}`},
		{"POST", "/tenants/alpha/keys/escrow", `{"kek":"hsm/x"}`}, {"POST", "/tenants/alpha/keys/drill", `{}`},
		{"POST", "/tenants/alpha/shred", `{"confirm":"alpha","study":"1.2.3"}`}, {"GET", "/jobs", ""},
		{"GET", "/tenants/alpha/drill", ""}, {"POST", "/tenants/alpha/drill", `{}`}, {"DELETE", "/tenants/alpha/drill", ""},
	} {
		for _, f := range []struct {
			err    error
			status int
			name   string
		}{
			{fault.New(fault.Conflict, "3 key objects are under version 1"), 409, "conflict"},
			{fault.New(fault.KeyUnreachable, "the provider does not answer"), 503, "key-unreachable"},
			{errors.New("in the cellar"), 500, "internal"},
		} {
			h.memory.Fail = f.err
			r := h.do(op.method, op.path, op.body)
			d := wantProblem(t, r, f.status, f.name)
			if f.status != 500 && d != f.err.Error() || strings.Contains(r.body, "cellar") {
				t.Errorf("%s %s: %s", op.method, op.path, r.body)
			}
		}
	}
	if !strings.Contains(h.log.String(), "in the cellar") {
		t.Error("the log does not say why")
	}
}

// broken panics with something that must not be shown.
type broken struct{ Tenants }

func (broken) Get(context.Context, archive.Tenant) (archive.TenantInfo, error) { panic("Zebra^Zoe") }

func TestPanic(t *testing.T) {
	log := &lockedBuffer{}
	m := apitest.New()
	h := &harness{t: t, log: log}
	s := httptest.NewServer(New(Options{Tenants: broken{m}, Keys: m, Rewraps: m, Escrows: m, Shredder: m, Jobs: m.Jobs(), Lifecycle: m.Lifecycle(), Drills: m.Drills(), Restores: m.Restores()}))
	defer s.Close()
	h.url = s.URL + Root
	r := h.do("GET", "/tenants/alpha", "")
	if wantProblem(t, r, 500, "internal"); strings.Contains(r.body, "Zebra") {
		t.Error(r.body)
	}
	wantProblem(t, h.do("GET", "/tenants/Alpha", ""), 400, "invalid") // it still serves
}

// TestOtherSites: a form of another site reaches nothing, also where no token is asked for.
func TestOtherSites(t *testing.T) {
	h := serve(t, nil)
	for header, value := range map[string]string{"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"} {
		r, _ := http.NewRequest("POST", h.url+"/tenants/alpha/suspend", nil)
		r.Header.Set(header, value)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusForbidden || h.memory.Tenants["alpha"].State != archive.TenantActive {
			t.Errorf("%s: %d", header, resp.StatusCode)
		}
	}
}

// TestOutsideTheContract: a route that the contract does not have is not served.
func TestOutsideTheContract(t *testing.T) {
	doc, err := openapi3.NewLoader().LoadFromData(contract)
	if err != nil {
		t.Fatal(err)
	}
	e := echo.New()
	c := e.NewContext(httptest.NewRequest("GET", Root+"/elsewhere", nil), httptest.NewRecorder())
	err = validate(doc)(func(echo.Context) error { t.Error("it was"); return nil })(c)
	if d := problem.Of(err, ""); err == nil || d.Status != 404 {
		t.Errorf("%v", err)
	}
}

// FuzzShred: no body makes the server fail, and none comes back.
func FuzzShred(f *testing.F) {
	for _, seed := range []string{`{"confirm":"alpha","study":"1.2.3"}`, `{"confirm":"alpha","patientId":"Zebra"}`, `[]`, `{"study":{"a":[1e999]}}`, "null", `{"confirm":"alpha","issuerOfPatientId":"Zebra"}`} {
		f.Add(seed)
	}
	m := apitest.New()
	server := New(Options{Tenants: m, Keys: m, Rewraps: m, Escrows: m, Shredder: m, Jobs: m.Jobs(), Lifecycle: m.Lifecycle(), Drills: m.Drills(), Restores: m.Restores()})
	f.Fuzz(func(t *testing.T, body string) {
		r := httptest.NewRequest("POST", Root+"/tenants/alpha/shred", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		server.ServeHTTP(w, r)
		if w.Code >= 500 || strings.Contains(w.Body.String(), "Zebra") {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	})
}
