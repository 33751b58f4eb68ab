package api

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
)

func TestRestores(t *testing.T) {
	h := serve(t, nil)
	const root = "/tenants/alpha/restores"
	r := h.do("POST", root, `{"studies":["1.2.3"],"series":"1.2.3.4","priority":"bulk","days":3,"webhook":"https://ris.example/"}`)
	const id = "01JZ0000000000000000000001"
	if r.StatusCode != 202 || r.Header.Get("Location") != Root+root+"/"+id || !strings.Contains(r.body, `"objects":4`) || !strings.Contains(r.body, `"ready":"2026-07-01T16:00:00Z"`) {
		t.Errorf("%d %v %s", r.StatusCode, r.Header, r.body)
	}
	h.memory.Do(func() {
		q := h.memory.Restores().Last
		if q.Studies[0] != "1.2.3" || q.First.Series != "1.2.3.4" || q.Priority != archive.Bulk || q.For != 72*time.Hour || q.Webhook != "https://ris.example/" || q.By == "" {
			t.Errorf("%+v", q)
		}
	})
	if r := h.do("POST", root, `{"studies":["1.2.9"]}`); r.StatusCode != 200 || strings.Contains(r.body, `"id"`) || r.Header.Get("Location") != "" || !strings.Contains(r.body, `"state":"done"`) {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	h.do("POST", root, `{"patientId":"P1"}`)
	if r := h.do("GET", root+"?limit=1", ""); r.StatusCode != 200 || strings.Count(r.body, `"id"`) != 1 || !strings.Contains(r.body, `"next":"`+id) {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	if r := h.do("GET", root+"?after="+id, ""); strings.Count(r.body, `"id"`) != 1 || strings.Contains(r.body, id) {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	if r := h.do("DELETE", root+"/"+id, ""); r.StatusCode != 200 || !strings.Contains(r.body, `"state":"cancelled"`) {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	if r := h.do("DELETE", root+"/"+id, ""); r.StatusCode != 409 {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	if r := h.do("GET", root+"?open=true", ""); strings.Contains(r.body, id) || strings.Count(r.body, `"id"`) != 1 {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	if r := h.do("GET", "/tenants/beta/restores/"+id, ""); r.StatusCode != 404 {
		t.Errorf("another tenant's: %d %s", r.StatusCode, r.body)
	}
	r = h.do("POST", root+"/estimate", `{"query":"ModalitiesInStudy=CT"}`)
	if r.StatusCode != 200 || !strings.Contains(r.body, `"choices":[{"cost":0.25,"longestSeconds":18000,"priority":"standard","typicalSeconds":14400},{"cost":0.1,`) {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	r = h.do("POST", "/tenants/alpha/prefetch", `{"appointments":[{"patientId":"P1","issuerOfPatientId":"I","at":"2026-07-02T08:00:00+02:00","modality":"CT","bodyPart":"CHEST","priors":2}]}`)
	if r.StatusCode != 202 || r.Header.Get("Location") == "" || !strings.Contains(r.body, `"priors":2,"readable":1`) {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	h.memory.Do(func() {
		a := h.memory.Restores().Appointments[0]
		if a.PatientID != "P1" || a.Issuer != "I" || a.Modality != "CT" || a.BodyPart != "CHEST" || a.Priors != 2 || !a.At.Equal(time.Date(2026, 7, 2, 6, 0, 0, 0, time.UTC)) {
			t.Errorf("%+v", a)
		}
	})
	if r := h.do("POST", "/tenants/alpha/prefetch", `{"appointments":[{"patientId":"P9","at":"2026-07-02T08:00:00Z"}]}`); r.StatusCode != 200 {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	h.memory.Do(func() { h.memory.Fail = fault.New(fault.TooMany, "as many as there may be") })
	if r := h.do("POST", root, `{"studies":["1.2.3"]}`); r.StatusCode != 429 || r.Header.Get("Retry-After") == "" || !strings.Contains(r.body, "too-many-requests") {
		t.Errorf("%d %v %s", r.StatusCode, r.Header, r.body)
	}
	h.memory.Do(func() { h.memory.Fail = nil })
	for _, bad := range []string{`{"studies":[]}`, `{"studies":["patient"]}`, `{"studies":["1.2"],"priority":"now"}`, `{"patientId":"P","series":"1.2"}`, `{"days":0}`, `{"name":"x"}`} {
		if r := h.do("POST", root, bad); r.StatusCode != 400 || strings.Contains(r.body, "patient\"") {
			t.Errorf("%s: %d %s", bad, r.StatusCode, r.body)
		}
	}
}

func TestRestoreEvents(t *testing.T) {
	allowed := true
	h := serve(t, func(*http.Request) error {
		if !allowed {
			return fault.New(fault.Forbidden, "no more")
		}
		return nil
	})
	h.do("POST", "/tenants/alpha/restores", `{"studies":["1.2.3"]}`)
	const path = "/tenants/alpha/restores/01JZ0000000000000000000001/events"
	r := h.do("GET", path, "")
	events := strings.Split(strings.TrimSpace(r.body), "\n\n")
	if r.StatusCode != 200 || r.Header.Get("Content-Type") != "text/event-stream" || len(events) < 4 || events[0] != "retry: 2000" {
		t.Fatalf("%d %v %q", r.StatusCode, r.Header, r.body)
	}
	ids := map[string]bool{}
	for i, e := range events[1:] {
		id, rest, _ := strings.Cut(e, "\n")
		name := "progress"
		if i == len(events)-2 {
			name = "end"
		}
		if ids[id] || !strings.HasPrefix(id, "id: ") || !strings.HasPrefix(rest, "event: "+name+"\ndata: {") || strings.Count(e, "\n") != 2 {
			t.Errorf("event %d: %q", i, e)
		}
		ids[id] = true
	}
	if last := events[len(events)-1]; !strings.Contains(last, `"state":"done"`) || !strings.Contains(last, `"objectsReady":4`) {
		t.Errorf("%s", last)
	}
	id, _, _ := strings.Cut(strings.TrimPrefix(events[len(events)-1], "id: "), "\n")
	again := func(last string) reply {
		q, err := http.NewRequest("GET", h.url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		q.Header.Set("Last-Event-ID", last)
		resp, err := http.DefaultClient.Do(q)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return reply{resp, ""}
	}
	if r := again(id); r.StatusCode != 204 {
		t.Errorf("who has the end: %d", r.StatusCode)
	}
	if r := again("something else"); r.StatusCode != 200 {
		t.Errorf("who has something else: %d", r.StatusCode)
	}
	if r := again(strings.Repeat("x", 65)); r.StatusCode != 400 {
		t.Errorf("a long one: %d", r.StatusCode)
	}
	h.memory.Do(func() { h.memory.Fail = fault.New(fault.KeyDenied, "revoked") })
	if r := h.do("GET", path, ""); r.StatusCode != 403 {
		t.Errorf("while the key is revoked: %d %s", r.StatusCode, r.body)
	}
	allowed = false
	if r := h.do("GET", path, ""); r.StatusCode != 403 {
		t.Errorf("without permission: %d", r.StatusCode)
	}
}
