package api

import (
	"testing"

	"github.com/strata-pacs/strata/internal/archive"
)

// TestRecoveryDrill: begun, looked at, called off, and what a report says.
func TestRecoveryDrill(t *testing.T) {
	h := serve(t, nil)
	wantProblem(t, h.do("DELETE", "/tenants/alpha/drill", ""), 404, "not-found")
	wantProblem(t, h.do("GET", "/tenants/nobody/drill", ""), 404, "not-found")
	for _, body := range []string{`{"studies":0}`, `{"bytes":0}`, `{"seed":0}`, `{"priority":"now"}`, `{"scratch":"/"}`, `{"seed":9007199254740992}`} {
		wantProblem(t, h.do("POST", "/tenants/alpha/drill", body), 400, "invalid")
	}
	r := h.do("POST", "/tenants/alpha/drill", `{"studies":2,"seed":77,"bytes":1000,"priority":"expedited","noRestore":true,"fromLog":true}`)
	if r.StatusCode != 202 || r.Header.Get("Location") != "/api/tenants/alpha/drill" {
		t.Fatalf("%d %s", r.StatusCode, r.body)
	}
	if q := h.memory.DrillRuns["alpha"].Running.Asked; q != (archive.RecoveryDrill{Studies: 2, Seed: 77, Bytes: 1000, Priority: archive.Expedited, NoRestore: true, FromLog: true}) {
		t.Errorf("asked for %+v", q)
	}
	wantProblem(t, h.do("POST", "/tenants/alpha/drill", `{}`), 409, "conflict")
	get := func() *RecoveryDrills {
		t.Helper()
		r, err := h.client.GetRecoveryDrillWithResponse(t.Context(), "alpha")
		if err != nil || r.JSON200 == nil {
			t.Fatalf("%s, %v", r.Body, err)
		}
		return r.JSON200
	}
	if s := get(); s.Running == nil || s.Running.Done != 1 || s.Running.Total != 2 || s.Running.Seed != 77 || s.Last != nil || *s.Running.Phase == "" {
		t.Errorf("%+v", s)
	}
	if r := h.do("DELETE", "/tenants/alpha/drill", ""); r.StatusCode != 202 {
		t.Errorf("calling off: %d %s", r.StatusCode, r.body)
	}
	if s := get(); s.Running != nil || s.Last.State != "failed" || *s.Last.Failure != "the drill was called off" || s.Last.Report != nil || s.LastSuccess != nil {
		t.Errorf("called off: %+v", s)
	}
	h.do("POST", "/tenants/alpha/drill", `{}`)
	get()
	get()
	s := get()
	if s.LastSuccess == nil || s.LastSuccess.Report == nil {
		t.Fatalf("%+v", s)
	}
	got := *s.LastSuccess.Report
	if got.Seconds.Waiting != 48*3600 || got.BytesPerSecond != 75e6 || len(got.Tiers) != 2 || got.Tiers[1].Restored != 2 || len(got.Failures) != 0 ||
		*got.Whole.RebuildMostSeconds != 180 || *got.Whole.Tiers[0].BytesPerSecond != 1e8 || got.Of.Studies != 4000 || got.Of.Facts != nil || got.Whole.MostSeconds != 60*3600 {
		t.Errorf("%+v", got)
	}
}
