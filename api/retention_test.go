package api

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
)

// as sends the requests of a client in a person's name.
func as(person string) RequestEditorFn {
	return func(_ context.Context, r *http.Request) error {
		r.Header.Set("Person", person)
		return nil
	}
}

func TestRetention(t *testing.T) {
	h := serve(t, nil)
	ctx := t.Context()
	sets, err := h.client.ListRetentionSetsWithResponse(ctx)
	if err != nil || sets.JSON200 == nil || len(sets.JSON200.Sets) < 3 {
		t.Fatal(err, string(sets.Body))
	}
	for _, s := range sets.JSON200.Sets {
		if s.Notes == nil || s.Since == nil || len(s.Rules) == 0 || s.Rules[0].Source == nil {
			t.Errorf("%+v", s)
		}
	}
	years, set := 12, "de"
	put, err := h.client.SetRetentionWithResponse(ctx, "alpha", RetentionDocument{Set: &set, Rules: &[]RetentionRule{{Name: "house", Years: &years}}}, as("alice"))
	if err != nil || put.JSON200 == nil || *put.JSON200.By != "alice" || put.JSON200.Default || len(put.JSON200.Rules) != 1 || *put.JSON200.Rules[0].Years != 12 || put.JSON200.Stated == nil {
		t.Fatalf("%v %s", err, put.Body)
	}
	if h.memory.Retained.Set != "de" || h.memory.Retained.Rules[0].Name != "house" {
		t.Errorf("%+v", h.memory.Rules)
	}
	got, err := h.client.GetRetentionWithResponse(ctx, "alpha")
	if err != nil || string(got.Body) != string(put.Body) {
		t.Errorf("%v %s", err, got.Body)
	}
	wantProblem(t, h.do("GET", "/tenants/nobody/retention", ""), 404, "not-found")
	for _, body := range []string{`{"set":"atlantis"}`, `{"sets":"de"}`, `{"rules":[{"name":"a","years":151}]}`, `{"rules":[{"years":1}]}`, `{"rules":[{"name":"a"}]}`} {
		wantProblem(t, h.do("PUT", "/tenants/alpha/retention", body), 400, "invalid")
	}
	c, err := h.client.CheckRetentionWithResponse(ctx, "alpha", StudyName{Study: "1.2.3"})
	if err != nil || c.JSON200 == nil || *c.JSON200.Until != "2030-12-31" || !c.JSON200.Free.Equal(time.Date(2031, 1, 1, 12, 0, 0, 0, time.UTC)) || len(c.JSON200.Holds) != 0 {
		t.Errorf("%v %s", err, c.Body)
	}
	wantProblem(t, h.do("POST", "/tenants/alpha/retention/check", `{"study":"1.2.9"}`), 404, "not-found")
	if r := h.do("POST", "/tenants/alpha/retention/check", `{"study":"Müller"}`); r.StatusCode != 400 || strings.Contains(r.body, "Müller") {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	var studies []string
	before := "2032-01-01"
	for p := (&ReportRetentionParams{Before: &before}); ; {
		page, err := h.client.ReportRetentionWithResponse(ctx, "alpha", p)
		if err != nil || page.JSON200 == nil {
			t.Fatalf("%v %s", err, page.Body)
		}
		for _, s := range page.JSON200.Studies {
			studies = append(studies, s.Study)
		}
		if p.After = page.JSON200.Next; p.After == nil {
			break
		}
	}
	if strings.Join(studies, " ") != "1.2.4 1.2.3" {
		t.Error(studies)
	}
}

func TestHolds(t *testing.T) {
	h := serve(t, nil)
	ctx := t.Context()
	study, patient := "1.2.3", "P1"
	one, err := h.client.AddHoldWithResponse(ctx, "alpha", NewHold{Study: &study, Reason: "case 1"}, as("alice"))
	if err != nil || one.JSON201 == nil || one.JSON201.Of != HoldOfStudy || one.JSON201.By != "alice" || one.JSON201.Lifted || one.JSON201.Studies != nil {
		t.Fatalf("%v %s", err, one.Body)
	}
	two, err := h.client.AddHoldWithResponse(ctx, "alpha", NewHold{PatientId: &patient, Reason: "case 2"})
	if err != nil || two.JSON201 == nil || two.JSON201.Of != HoldOfPatient || two.JSON201.By != nobody || two.JSON201.Reference != (archive.Ref{2}).String() || two.JSON201.Studies == nil || *two.JSON201.Studies != 0 {
		t.Fatalf("%v %s", err, two.Body)
	}
	wantProblem(t, h.do("POST", "/tenants/alpha/holds", `{"reason":"r"}`), 400, "invalid")
	wantProblem(t, h.do("POST", "/tenants/alpha/holds", `{"study":"1.2.3"}`), 400, "invalid")
	release := func(id, who string) *ReleaseHoldResponse {
		t.Helper()
		r, err := h.client.ReleaseHoldWithResponse(ctx, "alpha", id, ReleaseReason{Reason: "settled"}, as(who))
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	if r := release(one.JSON201.Id, ""); r.StatusCode() != 403 {
		t.Errorf("nobody releases: %s", r.Body)
	}
	if r := release(one.JSON201.Id, "bob"); r.JSON200 == nil || r.JSON200.Lifted || r.JSON200.Releases[0].By != "bob" {
		t.Errorf("%s", r.Body)
	}
	if r := release(one.JSON201.Id, "Bob"); r.StatusCode() != 409 {
		t.Errorf("twice the same person: %s", r.Body)
	}
	if r := release(one.JSON201.Id, "alice"); r.JSON200 == nil || !r.JSON200.Lifted {
		t.Errorf("%s", r.Body)
	}
	if r := release(strings.Repeat("9", 32), "alice"); r.StatusCode() != 404 {
		t.Errorf("%s", r.Body)
	}
	limit := 1
	page, err := h.client.ListHoldsWithResponse(ctx, "alpha", &ListHoldsParams{Limit: &limit})
	if err != nil || page.JSON200 == nil || len(page.JSON200.Holds) != 1 || !page.JSON200.Holds[0].Lifted || page.JSON200.Next == nil {
		t.Fatalf("%v %s", err, page.Body)
	}
	page, err = h.client.ListHoldsWithResponse(ctx, "alpha", &ListHoldsParams{After: page.JSON200.Next})
	if err != nil || page.JSON200 == nil || len(page.JSON200.Holds) != 1 || page.JSON200.Holds[0].Id != two.JSON201.Id || page.JSON200.Next != nil {
		t.Fatalf("%v %s", err, page.Body)
	}
	for _, secret := range []string{"1.2.3", "case"} {
		if !strings.Contains(h.log.String(), "by=alice") {
			t.Error("the log does not tell who administers")
		}
		if strings.Contains(h.log.String(), secret) {
			t.Errorf("%s is in the log", secret)
		}
	}
}

func TestUndelete(t *testing.T) {
	h := serve(t, nil)
	ctx := t.Context()
	yes, study := true, "1.2.3"
	if r, err := h.client.UndeleteWithResponse(ctx, "alpha", Undelete{AsOf: noon.Add(-time.Hour), DryRun: &yes}); err != nil || r.JSON200 == nil || *r.JSON200.StoredSince != 7 || len(h.memory.Rewinds) != 0 {
		t.Fatalf("%v %s", err, r.Body)
	}
	u, calls := Undelete{AsOf: noon.Add(-time.Hour), Study: &study}, 0
	for ; ; calls++ {
		r, err := h.client.UndeleteWithResponse(ctx, "alpha", u)
		if err != nil || r.JSON200 == nil || r.JSON200.Deletions != 20 || r.JSON200.Versions != 1 || r.JSON200.StoredSince != nil {
			t.Fatalf("%v %s", err, r.Body)
		}
		if u.After = r.JSON200.Next; u.After == nil {
			break
		}
	}
	if calls != 1 || len(h.memory.Rewinds) != 2 || h.memory.Rewinds[1].Study != "1.2.3" || h.memory.Rewinds[1].After == "" || !h.memory.Rewinds[0].At.Equal(noon.Add(-time.Hour)) {
		t.Errorf("%d calls, %+v", calls, h.memory.Rewinds)
	}
	wantProblem(t, h.do("POST", "/tenants/alpha/undelete", `{"asOf":"2026-07-01T12:00:01Z"}`), 400, "invalid")
	wantProblem(t, h.do("POST", "/tenants/alpha/undelete", `{"asOf":"yesterday"}`), 400, "invalid")
}
