package api

import "testing"

// TestForms: what may be left out may be left out everywhere, and what the contract does not know is noticed in a
// query as in a body.
func TestForms(t *testing.T) {
	h := serve(t, nil)
	for _, body := range []string{"", "{}"} {
		if r := h.do("POST", "/tenants/alpha/lifecycle/plan", body); r.StatusCode != 200 {
			t.Errorf("a plan of %q: %d %s", body, r.StatusCode, r.body)
		}
		if r := h.do("POST", "/tenants/alpha/drill", body); r.StatusCode != 202 {
			t.Errorf("a drill of %q: %d %s", body, r.StatusCode, r.body)
		}
		h.do("DELETE", "/tenants/alpha/drill", "")
	}
	for _, path := range []string{"/tenants?limti=3", "/tenants/alpha/retention/report?Zebra=1", "/tenants/alpha/usage?tenant=alpha", "/tenants/alpha/retention/report?held=true&held_=true"} {
		wantProblem(t, h.do("GET", path, ""), 400, "invalid")
	}
	for query, status := range map[string]int{"": 200, "?before=2030-01-01": 200, "?before=2030-01-01T12:00:00Z": 200, "?before=2030-01-01T12:00:00%2B02:00": 200,
		"?before=2030-13-01": 400, "?before=soon": 400, "?before=2030-01-01Tea": 400, "?before=2030-01": 400} {
		if r := h.do("GET", "/tenants/alpha/retention/report"+query, ""); r.StatusCode != status {
			t.Errorf("%s: %d %s", query, r.StatusCode, r.body)
		}
	}
	day, err := dayOrMoment("2030-01-01")
	moment, merr := dayOrMoment("2030-01-01T00:00:00Z")
	if err != nil || merr != nil || !day.Equal(moment) {
		t.Error(day, err, moment, merr)
	}
}
