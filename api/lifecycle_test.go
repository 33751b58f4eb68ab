package api

import (
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/strata-pacs/strata/api/apitest"
)

const rulesBody = `{"rules":[{"name":"old","when":{"age":{"over":"1y"},"not":{"modality":["MG"]},"any":[{"free":{"under":"10%"}},{"size":{"over":"500MB"}},{"studies":{"over":1000}}]},"action":"move","to":"cold"},{"action":"settle"}]}`

func TestLifecycle(t *testing.T) {
	h := serve(t, nil)
	ctx := t.Context()
	rules, err := h.client.GetLifecycleRulesWithResponse(ctx, "alpha")
	if err != nil || rules.JSON200 == nil || string(rules.Body) != `{"rules":[]}`+"\n" {
		t.Fatalf("%v %s", err, rules.Body)
	}
	if r := h.do("PUT", "/tenants/alpha/lifecycle/rules", rulesBody); r.StatusCode != 200 || !strings.Contains(r.body, `"rules":2`) || !strings.Contains(r.body, `"by":"alice"`) {
		t.Fatalf("%d %s", r.StatusCode, r.body)
	}
	// What comes back is what was stated, whatever the order of its members.
	if rules, err = h.client.GetLifecycleRulesWithResponse(ctx, "alpha"); err != nil || rules.JSON200 == nil {
		t.Fatalf("%v %s", err, rules.Body)
	}
	if first := rules.JSON200.Rules[0]; *first.When.Age.Over != "1y" || (*first.When.Any)[0].Free == nil || *first.To != "cold" || (*first.When.Not.Modality)[0] != "MG" {
		t.Errorf("%s", rules.Body)
	}
	if r := h.do("POST", "/tenants/alpha/lifecycle/check", rulesBody); r.StatusCode != 204 {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	for body, want := range map[string]string{
		`{"rules":[{"action":"move","to":"nowhere"}]}`:                    "there is no such tier",
		`{"rules":[{"action":"shred"}]}`:                                  "rules.0.action",
		`{"rules":[{"action":"keep","when":{"age":{"over":"90 days"}}}]}`: "12h, 90d, 12w, 6mo or 10y",
		`{"rules":[{"action":"keep","when":{"size":{}}}]}`:                "rules.0.when.size",
		`{"rules":[{"action":"keep","when":{"colour":["red"]}}]}`:         "rules.0.when has a member",
		`{"rules":[{"action":"keep","when":{"not":{"any":[]}}}]}`:         "rules.0.when.not.any",
		`{"rules":[],"paused":true}`:                                      "a member that the contract does not",
		`{}`:                                                              "rules is missing",
	} {
		for _, call := range []string{"POST /tenants/alpha/lifecycle/check", "PUT /tenants/alpha/lifecycle/rules"} {
			method, path, _ := strings.Cut(call, " ")
			r := h.do(method, path, body)
			wantProblem(t, r, 400, "invalid")
			if !strings.Contains(r.body, want) {
				t.Errorf("%s %s: %s", call, body, r.body)
			}
		}
	}
	for call, want := range map[string]string{"pause": `"paused":true`, "resume": `"paused":false`} {
		for range 2 { // twice is as good as once
			if r := h.do("POST", "/tenants/alpha/lifecycle/"+call, ""); r.StatusCode != 200 || !strings.Contains(r.body, want) {
				t.Errorf("%s: %d %s", call, r.StatusCode, r.body)
			}
		}
	}
	for body, want := range map[string]string{
		`{"study":"1.2.3"}`: `{"tags":["kept"]}`,
		`{"study":"1.2.3","add":["a","b"],"remove":["kept"]}`: `{"tags":["a","b"]}`,
		`{"study":"1.2.3","remove":["kept"]}`:                 `{"tags":[]}`,
	} {
		if r := h.do("POST", "/tenants/alpha/lifecycle/tags", body); r.StatusCode != 200 || !strings.Contains(r.body, want) {
			t.Errorf("%s: %d %s", body, r.StatusCode, r.body)
		}
	}
	wantProblem(t, h.do("POST", "/tenants/alpha/lifecycle/tags", `{"study":"1.2.4"}`), 404, "not-found")
	wantProblem(t, h.do("POST", "/tenants/nobody/lifecycle/tags", `{"study":"1.2.3"}`), 404, "not-found")
	for _, body := range []string{`{}`, `{"study":"x"}`, `{"study":"1.2.3","add":[""]}`, `{"study":"1.2.3","set":["a"]}`} {
		wantProblem(t, h.do("POST", "/tenants/alpha/lifecycle/tags", body), 400, "invalid")
	}
	for _, call := range []string{"GET ", "GET /rules", "POST /pause", "POST /resume", "POST /apply", "POST /plan"} {
		method, path, _ := strings.Cut(call, " ")
		wantProblem(t, h.do(method, "/tenants/nobody/lifecycle"+path, ""), 404, "not-found")
	}
}

func TestLifecyclePlan(t *testing.T) {
	h := serve(t, nil)
	for body, want := range map[string]string{
		"":                         "0  <nil>",
		`{"years":3,"growth":0.5}`: "3  0.5",
		`{"rules":{"rules":[{"action":"keep"}]}}`: `10 {"rules":[{"action":"keep"}]} <nil>`,
	} {
		r := h.do("POST", "/tenants/alpha/lifecycle/plan", body)
		if r.StatusCode != 200 {
			t.Fatalf("%d %s", r.StatusCode, r.body)
		}
		h.memory.Do(func() {
			q := h.memory.Question
			growth := "<nil>"
			if q.Growth != nil {
				growth = "0.5"
			}
			if got := strings.Join([]string{strconv.Itoa(q.Years), string(q.Rules), growth}, " "); got != want {
				t.Errorf("%s: asked %s, want %s", body, got, want)
			}
		})
	}
	for _, body := range []string{`{"years":31}`, `{"years":0}`, `{"growth":2}`, `{"rules":{}}`} {
		wantProblem(t, h.do("POST", "/tenants/alpha/lifecycle/plan", body), 400, "invalid")
	}
	p, err := h.client.PlanLifecycleWithResponse(t.Context(), "alpha", LifecycleQuestion{})
	if err != nil || p.JSON200 == nil {
		t.Fatalf("%v %s", err, p.Body)
	}
	g := p.JSON200
	if !g.At.Equal(apitest.Noon) || g.Currency != "EUR" || len(g.Forecast.Points) != 121 || g.Forecast.Points[1].Bytes[1] != 5e12 || g.Tiers[1].MonthAfter != 4 {
		t.Errorf("%s", p.Body)
	}
	if c := *g.Circles; len(c) != 1 || c[0].Moves != "old" || c[0].Back != "new" || *g.Sampled != 5 {
		t.Errorf("%+v", c)
	}
	if s := g.Steps[0]; *s.Rule != "old" || *s.To != "cold" || s.Before != 30 || s.Waits != nil {
		t.Errorf("%+v", s)
	}
	if s := g.Steps[1]; s.Waits == nil || s.To != nil {
		t.Errorf("%+v", s)
	}
}

func TestLifecycleState(t *testing.T) {
	h := serve(t, nil)
	state := func() *LifecycleState {
		t.Helper()
		s, err := h.client.GetLifecycleWithResponse(t.Context(), "alpha")
		if err != nil || s.JSON200 == nil {
			t.Fatalf("%v %s", err, s.Body)
		}
		return s.JSON200
	}
	if s := state(); s.Failing != nil || s.Retry != nil || s.Failure != nil || s.Round != nil || s.PausedBy != nil || s.PausedAt != nil {
		t.Errorf("of a tenant where nothing was: %+v", s)
	}
	h.memory.Due = 5
	h.do("POST", "/tenants/alpha/lifecycle/pause", "")
	s := state()
	if *s.PausedBy != "bob" || !s.PausedAt.Equal(apitest.Noon) || *s.Failing != 5 || !s.Retry.After(apitest.Noon) || s.Failure.Why != "the store has no room" {
		t.Errorf("%+v", s)
	}
	if r := s.Round; r.Done.Looked != 9 || r.Done.Failed != 5 || *r.Error != "the store does not answer" {
		t.Errorf("%+v", r)
	}
}

func TestLifecycleApply(t *testing.T) {
	h := serve(t, nil)
	h.memory.Due = 5
	var got []LifecycleDone
	for range 2 {
		a, err := h.client.ApplyLifecycleWithResponse(t.Context(), "alpha")
		if err != nil || a.JSON200 == nil {
			t.Fatalf("%v %s", err, a.Body)
		}
		got = append(got, *a.JSON200)
	}
	want := []LifecycleDone{{Looked: 3, Settled: 3, Moved: 3, Bytes: 3e9, More: true}, {Looked: 2, Settled: 2, Moved: 2, Bytes: 2e9}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
