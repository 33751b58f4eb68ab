package main

import (
	"encoding/json"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
)

// What a and b hold. The study both has the same UIDs for different patients;
// nowhere is what nobody has, in names as long as those of onlyB.
var (
	bothA   = pictureOf(100001, "Alder^Anna", 16)
	bothB   = pictureOf(100001, "Birch^Ben", 24)
	onlyA   = pictureOf(100002, "Ash^Ada", 16)
	onlyB   = pictureOf(100003, "Beech^Bob", 16)
	nowhere = pictureOf(100009, "Beech^Bob", 16)
)

type route struct{ method, path string }

// routes are those of a tenant's services, as their own description lists them,
// and the URI service, which it does not.
func (h *house) routes() (all []route) {
	h.t.Helper()
	type resource struct {
		Path    string
		Methods []struct{ Name string }
		Below   []resource `json:"resources"`
	}
	var d struct {
		Resources struct{ Resources []resource }
	}
	r := h.do(asked{method: "GET", path: "/t/a/dicom-web", token: aToken, headers: []string{"Accept", "application/json"}})
	if err := json.Unmarshal([]byte(r.body), &d); err != nil {
		h.t.Fatal(err)
	}
	var walk func(string, []resource)
	walk = func(at string, list []resource) {
		for _, r := range list {
			path := at + "/" + r.Path
			for _, m := range r.Methods {
				all = append(all, route{m.Name, path})
				if m.Name == "GET" {
					all = append(all, route{"HEAD", path})
				}
			}
			all = append(all, route{"OPTIONS", path}, route{"PATCH", path})
			walk(path, r.Below)
		}
	}
	walk("/dicom-web", d.Resources.Resources)
	if len(all) < 60 {
		h.t.Fatalf("only %d routes are described", len(all))
	}
	const uri = "/wado?requestType=WADO&studyUID={StudyInstanceUID}&seriesUID={SeriesInstanceUID}&objectUID={SOPInstanceUID}"
	return append(all, route{"GET", uri}, route{"HEAD", uri}, route{"GET", "/dicom-web" + uri}, route{"GET", uri + "&contentType=application/dicom"})
}

func (r route) at(u archive.UIDs) string {
	return strings.NewReplacer("{StudyInstanceUID}", u.Study, "{SeriesInstanceUID}", u.Series, "{SOPInstanceUID}", u.Instance,
		"{frames}", "1", "{bulkdata}", "7FE00010").Replace(r.path)
}

// accepted are Accept headers that lead to each kind of answer.
var accepted = []string{"", "application/dicom+json", `multipart/related; type="application/dicom"; transfer-syntax=*`, "application/dicom",
	`multipart/related; type="application/octet-stream"; transfer-syntax=*`, "image/jpeg", "image/nothing"}

// searches are queries of identifiers.
func searches(p picture) (all []string) {
	for _, at := range []string{"/studies", "/series", "/instances"} {
		for _, q := range []url.Values{
			{"StudyInstanceUID": {p.Study}}, {"SeriesInstanceUID": {p.Series}}, {"SOPInstanceUID": {p.Instance}},
			{"StudyInstanceUID": {p.Study}, "includefield": {"all"}}, {"SOPInstanceUID": {p.Instance}, "includefield": {"PixelSpacing"}},
		} {
			all = append(all, "/dicom-web"+at+"?"+q.Encode())
		}
	}
	return all
}

// TestTenantsNeverMeet walks every route of tenant a with identifiers of b's: the
// answer must be, to the letter, that for what exists nowhere. Then a does what it
// likes with the same UIDs, and b's must not have changed.
func TestTenantsNeverMeet(t *testing.T) { engines(t, testTenantsNeverMeet) }

func testTenantsNeverMeet(t *testing.T, h *house) {
	for _, s := range []struct {
		tenant, token string
		p             picture
	}{{"a", aToken, bothA}, {"b", bToken, bothB}, {"a", aToken, onlyA}, {"b", bToken, onlyB}} {
		if r := h.store(s.tenant, s.token, s.p); r.status != 200 {
			t.Fatalf("storing: %d %s", r.status, r.body)
		}
	}
	eventsA, eventsB := h.events("a", aToken), h.events("b", bToken)
	routes := h.routes()
	before := h.holdings(routes, "b", bToken, bothB, onlyB)
	for _, p := range []picture{bothB, onlyB} {
		found := slices.ContainsFunc(slices.Collect(maps.Values(before)), func(s string) bool { return strings.Contains(s, p.name) })
		if !found {
			t.Fatalf("b does not have its own %s: the test looks at nothing", p.Study)
		}
	}
	for q, text := range h.holdings(routes, "a", aToken, bothA, onlyB) {
		if strings.Contains(text, bothB.name) || strings.Contains(text, onlyB.name) {
			t.Errorf("a is told of b's patient: %s", q)
		}
	}

	// Whose study, whose series, whose instance.
	foreign := []archive.UIDs{onlyB.UIDs, {Study: onlyA.Study, Series: onlyB.Series, Instance: onlyB.Instance}, {Study: onlyA.Study, Series: onlyA.Series, Instance: onlyB.Instance},
		{Study: onlyB.Study, Series: onlyA.Series, Instance: onlyA.Instance}, {Study: bothA.Study, Series: onlyB.Series, Instance: onlyB.Instance}}
	asNowhere := func(s string) string { return strings.ReplaceAll(s, onlyB.Study, nowhere.Study) }
	same := func(q asked) {
		t.Helper()
		q.path, q.token = "/t/a"+q.path, aToken
		got := h.do(q)
		q.path, q.body = asNowhere(q.path), []byte(asNowhere(string(q.body)))
		want := h.do(q)
		if g, w := asNowhere(got.plain()), want.plain(); g != w {
			t.Errorf("%s %s %q tells that it exists elsewhere:\n%.600s\nnot\n%.600s", q.method, q.path, q.headers, g, w)
		}
	}
	n := 0
	for _, r := range routes {
		if r.method == "POST" {
			continue // below
		}
		seen := map[string]bool{}
		for _, u := range foreign {
			path := r.at(u)
			if seen[path] || !strings.Contains(path, onlyB.Study) {
				continue
			}
			seen[path] = true
			for _, accept := range accepted {
				headers := []string{}
				if accept != "" {
					headers = []string{"Accept", accept}
				}
				same(asked{method: r.method, path: path, headers: headers})
				n++
			}
			same(asked{method: r.method, path: path, headers: []string{"If-None-Match", "*"}})
			same(asked{method: r.method, path: path, headers: []string{"Range", "bytes=0-10"}})
		}
	}
	for _, path := range searches(onlyB) {
		same(asked{method: "GET", path: path})
	}
	if n < 500 {
		t.Errorf("only %d requests were compared", n)
	}

	// What is stored is new, though another has it; to the last bit of the answer.
	same(asked{method: "POST", path: "/dicom-web/studies", headers: []string{"Content-Type", "application/dicom"}, body: onlyB.file()})
	same(asked{method: "POST", path: "/dicom-web/studies/" + onlyB.Study, headers: []string{"Content-Type", "application/dicom"}, body: onlyB.file()})
	same(asked{method: "DELETE", path: "/dicom-web/studies/" + onlyB.Study})
	same(asked{method: "GET", path: "/dicom-web/studies/" + onlyB.Study + "/metadata"})
	if r := h.do(asked{method: "DELETE", path: "/t/a/dicom-web/studies/" + bothA.Study, token: aToken}); r.status != 204 {
		t.Fatalf("deleting what is a's own: %d", r.status)
	}

	after := h.holdings(routes, "b", bToken, bothB, onlyB)
	for q, text := range before {
		if after[q] != text {
			t.Errorf("what a did changed b's %s:\n%.400s\nwas\n%.400s", q, after[q], text)
		}
	}
	// The feeds are apart, too: the first that b hears of is its own.
	if e := h.next(eventsA); !strings.Contains(e, `"create"`) || !strings.Contains(e, onlyB.Study) {
		t.Errorf("a hears first: %s", e)
	}
	if r := h.do(asked{method: "DELETE", path: "/t/b/dicom-web/studies/" + onlyB.Study, token: bToken}); r.status != 204 {
		t.Fatalf("b deletes: %d", r.status)
	}
	if e := h.next(eventsB); !strings.Contains(e, `"delete"`) || !strings.Contains(e, `"sequence":3,`) {
		t.Errorf("b hears first: %s", e)
	}
}

// holdings is everything that a tenant's routes answer about pictures, asked
// twice, so that the second answer comes out of the caches.
func (h *house) holdings(routes []route, tenant, token string, pictures ...picture) map[string]string {
	h.t.Helper()
	out := map[string]string{}
	ask := func(path, accept string) {
		h.t.Helper()
		q := asked{method: "GET", path: "/t/" + tenant + path, token: token, headers: []string{"Accept", accept}}
		first, second := h.do(q).plain(), h.do(q).plain()
		if first != second {
			h.t.Errorf("%s is another when asked again:\n%.400s\n%.400s", q.path, first, second)
		}
		out[path+" "+accept] = second
	}
	ask("/dicom-web/changes?limit=1000", "application/json")
	for _, at := range []string{"/studies", "/series", "/instances"} {
		ask("/dicom-web"+at+"?includefield=all", "application/dicom+json") // with the counts
	}
	for _, p := range pictures {
		for _, r := range routes {
			if path := r.at(p.UIDs); r.method == "GET" && strings.Contains(path, p.Study) {
				for _, accept := range []string{"*/*", "application/dicom+json"} {
					ask(path, accept)
				}
			}
		}
		for _, path := range searches(p) {
			ask(path, "application/dicom+json")
		}
	}
	return out
}

// TestTokens: who gets in where.
func TestTokens(t *testing.T) {
	h := newHouse(t)
	status := func(path, token string) response {
		return h.do(asked{method: "GET", path: path, token: token})
	}
	for _, tt := range []struct {
		path                         string
		none, operator, tenant, fake int
	}{
		{"/t/a/dicom-web/studies", 401, 200, 200, 401},
		{"/t/b/dicom-web/studies", 401, 200, 404, 401},
		{"/t/c/dicom-web/studies", 401, 404, 404, 401},
		{"/t/A/dicom-web/studies", 401, 404, 404, 401},
		{"/dicom-web/studies", 401, 200, 404, 401},
		{"/wado", 401, 400, 404, 401},
		{"/t/a/wado", 401, 400, 400, 401},
		{"/metrics", 401, 200, 403, 401},
		{"/nothing", 401, 404, 403, 401},
		{"/t/a", 401, 404, 403, 401},
		{"/api/tenants", 401, 200, 403, 401},
		{"/api/tenants/a", 401, 200, 403, 401},
		{"/api/tenants/a/keys", 401, 200, 403, 401},
		{"/api/tenants/nobody", 401, 404, 403, 401},
		{"/api/openapi.yaml", 401, 200, 403, 401},
		{"/healthz", 200, 200, 200, 200},
		{"/readyz", 200, 200, 200, 200},
	} {
		for token, want := range map[string]int{"": tt.none, ownerToken: tt.operator, aToken: tt.tenant, "a:" + aToken: tt.fake} {
			if got := status(tt.path, token); got.status != want {
				t.Errorf("%s with %q: %d, want %d", tt.path, token, got.status, want)
			}
		}
	}
	// A tenant that there is, and one that there is not, look the same to another.
	for _, path := range []string{"/dicom-web/studies", "/dicom-web", "/dicom-web/studies/1.2/metadata", "/wado", "/dicom-web/nothing"} {
		for _, token := range []string{"", aToken} {
			b, c := status("/t/b"+path, token), status("/t/c"+path, token)
			if b.plain() != c.plain() {
				t.Errorf("%s tells whether there is a tenant:\n%s\n%s", path, b.plain(), c.plain())
			}
		}
	}
	if r := h.do(asked{method: "GET", path: "/t/a/dicom-web/studies", headers: []string{"Authorization", "Basic " + aToken}}); r.status != 401 {
		t.Errorf("not a bearer's: %d", r.status)
	}
}

// TestTokenFile: what is wrong with the file is said by the setting's name, and
// never with what is in the file.
func TestTokenFile(t *testing.T) {
	const secret = "Secret-0123456789"
	for _, tt := range []struct{ name, text, says string }{
		{"short", "Secret-0", "shorter than 16 characters"},
		{"short one of a tenant", "north:Secret-0", "shorter than 16 characters"},
		{"no tenant's name", "North:" + secret, "must be a tenant's name"},
		{"no name", ":" + secret, "must be a tenant's name"},
		{"empty", "\n \n", "holds no token"},
	} {
		path := filepath.Join(t.TempDir(), "tokens")
		if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := (&Config{TokenFile: path}).readTokens()
		if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "token-file: ") || !strings.Contains(err.Error(), tt.says) || strings.Contains(err.Error(), "Secret") {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	if _, err := (&Config{TokenFile: filepath.Join(t.TempDir(), "none")}).readTokens(); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "token-file: ") {
		t.Errorf("no file: %v", err)
	}
	if f, err := (&Config{}).readTokens(); f != nil || err != nil {
		t.Errorf("no setting: %v", err)
	}
}
