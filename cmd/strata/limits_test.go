package main

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
)

func (h *house) limit(t archive.Tenant, l archive.TenantLimits) {
	h.t.Helper()
	_, err := h.node.Tenants().Change(h.t.Context(), t, func(s *archive.TenantSettings) error { s.Limits = l; return nil })
	if err != nil {
		h.t.Fatal(err)
	}
}

// within waits until the limits that were set are in force: a lease at most,
// and what the machine takes.
func (h *house) within(what string, f func() bool) {
	h.t.Helper()
	for end := time.Now().Add(20 * time.Second); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			h.t.Fatal(what + ": not in 20 s")
		}
	}
}

// TestTenantLimits: a tenant over its limit is told so, by 429 and when to come
// back; another one is not held up; and limits change while the archive is open.
func TestTenantLimits(t *testing.T) {
	h := newHouse(t, "STRATA_KEY_LEASE=100ms")
	get := func(tenant, token string) response {
		return h.do(asked{method: "GET", path: "/t/" + tenant + "/dicom-web/studies", token: token})
	}
	const perDay = 1.0 / 86400
	if r := get("a", aToken); r.status != 200 {
		t.Fatalf("before: %d %s", r.status, r.body)
	}
	h.limit("a", archive.TenantLimits{RequestsPerSecond: perDay})
	h.within("refused", func() bool { return get("a", aToken).status == 429 })
	for range 50 {
		r := get("a", aToken)
		if r.status != 429 || r.header.Get("Retry-After") == "" || !strings.Contains(r.body, `"urn:strata:problem:too-many-requests"`) {
			t.Fatalf("%d %v %s", r.status, r.header, r.body)
		}
		if r := get("b", bToken); r.status != 200 {
			t.Fatalf("b pays for a: %d", r.status)
		}
	}
	if r := get("a", ownerToken); r.status != 429 {
		t.Errorf("the operator at a: %d", r.status)
	}
	h.limit("a", archive.TenantLimits{})
	h.within("let in again", func() bool { return get("a", aToken).status == 200 })

	// Requests at once: event streams stay.
	h.limit("a", archive.TenantLimits{Concurrent: 2})
	time.Sleep(200 * time.Millisecond) // a lease, and a half that is asked for
	get("a", aToken)
	h.hold("a", aToken)
	stop := h.hold("a", aToken)
	if r := get("a", aToken); r.status != 429 {
		t.Errorf("a third at once: %d", r.status)
	}
	if r := get("b", bToken); r.status != 200 {
		t.Errorf("b pays for a: %d", r.status)
	}
	stop()
	h.within("one has left", func() bool { return get("a", aToken).status == 200 })
}

// hold opens an event stream, which the function it returns ends.
func (h *house) hold(tenant, token string) (stop func()) {
	h.t.Helper()
	var resp *http.Response
	h.within("let in", func() bool { // the last request may be leaving still
		r, err := http.NewRequest("GET", h.url+"/t/"+tenant+"/dicom-web/changes", nil)
		if err != nil {
			h.t.Fatal(err)
		}
		r.Header.Set("Accept", "text/event-stream")
		r.Header.Set("Authorization", "Bearer "+token)
		if resp, err = h.hc.Do(r); err != nil {
			h.t.Fatal(err)
		}
		if resp.StatusCode != 200 {
			_ = resp.Body.Close()
		}
		return resp.StatusCode == 200
	})
	stop = sync.OnceFunc(func() { _ = resp.Body.Close() })
	h.t.Cleanup(stop)
	return stop
}

// TestTenantBytes: a download at the tenant's rate takes longer than a stall and
// is not ended for it; lifting the limit lets it go; another tenant's is not held up.
func TestTenantBytes(t *testing.T) {
	h := newHouse(t, "STRATA_KEY_LEASE=100ms", "STRATA_LIMITS_IDLE=100ms")
	p := pictureOf(100001, "Alder^Anna", 256) // 128 KiB
	for tenant, token := range map[string]string{"a": aToken, "b": bToken} {
		if r := h.store(tenant, token, p); r.status != 200 {
			t.Fatalf("storing: %d %s", r.status, r.body)
		}
	}
	fetch := func(tenant, token string) asked {
		return asked{method: "GET", path: "/t/" + tenant + "/dicom-web/studies/" + p.Study + "/series/" + p.Series + "/instances/" + p.Instance,
			token: token, headers: []string{"Accept", "application/dicom"}}
	}
	want := string(p.file())
	h.limit("a", archive.TenantLimits{BytesPerSecond: 1000})
	time.Sleep(200 * time.Millisecond)
	h.do(fetch("b", bToken))

	begun, done := make(chan struct{}), make(chan string, 1)
	go func() {
		q := fetch("a", aToken)
		r, _ := http.NewRequest(q.method, h.url+q.path, nil)
		r.Header.Set("Accept", "application/dicom")
		r.Header.Set("Authorization", "Bearer "+aToken)
		close(begun)
		resp, err := h.hc.Do(r)
		if err != nil {
			done <- err.Error()
			return
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			done <- err.Error()
			return
		}
		done <- string(b)
	}()
	<-begun
	for range 20 { // while a waits for two minutes' worth of bytes
		if r := h.do(fetch("b", bToken)); r.body != want {
			t.Fatalf("b's own: %d, %d bytes", r.status, len(r.body))
		}
	}
	time.Sleep(400 * time.Millisecond) // four times the stall
	select {
	case got := <-done:
		t.Fatalf("it was not held back, or was ended: %d bytes, %.100q", len(got), got)
	default:
	}
	h.limit("a", archive.TenantLimits{})
	select {
	case got := <-done:
		if got != want {
			t.Errorf("%d bytes came of %d: %.100q", len(got), len(want), got)
		}
	case <-time.After(20 * time.Second):
		t.Error("the limit was lifted, and the download goes on as slowly")
	}
}
