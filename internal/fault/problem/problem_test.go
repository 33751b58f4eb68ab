package problem

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/labstack/echo/v4"

	"github.com/strata-pacs/strata/internal/fault"
)

func TestStatusOfEveryKind(t *testing.T) {
	want := map[fault.Kind]int{fault.Internal: 500, fault.Invalid: 400, fault.Unauthenticated: 401, fault.Forbidden: 403, fault.NotFound: 404,
		fault.NotAcceptable: 406, fault.Conflict: 409, fault.Exists: 409, fault.TooLarge: 413, fault.UnsupportedMedia: 415, fault.RangeInvalid: 416,
		fault.Busy: 503, fault.Full: 507, fault.Unavailable: 503, fault.Timeout: 408, fault.Canceled: 499, fault.KeyDenied: 403, fault.KeyUnreachable: 503, fault.Corrupt: 500, fault.TooMany: 429, fault.Archived: 503}
	for k := fault.Internal; k <= fault.Archived; k++ {
		if got := StatusOf(k); got != want[k] {
			t.Errorf("%v: %d, want %d", k, got, want[k])
		}
	}
}

func TestOf(t *testing.T) {
	const elsewhere = "/here has some"
	for _, tt := range []struct {
		name string
		err  error
		want Document
	}{
		{"a kind", fmt.Errorf("reading /secret: %w", fault.New(fault.KeyDenied, "the key was revoked")),
			Document{Type: TypePrefix + "key-revoked", Title: "Forbidden", Status: 403, Detail: "the key was revoked"}},
		{"a defect says nothing", errors.New("secret"),
			Document{Type: TypePrefix + "internal", Title: "Internal Server Error", Status: 500, Detail: "the server failed to do this; its log says why"}},
		{"the client is gone", fault.New(fault.Canceled, "gone"),
			Document{Type: TypePrefix + "canceled", Title: "Client Closed Request", Status: 499, Detail: "gone"}},
		{"a status of its own", fmt.Errorf("x: %w", WithStatus(429, "too-many-requests", fault.New(fault.Busy, "slower"))),
			Document{Type: TypePrefix + "too-many-requests", Title: "Too Many Requests", Status: 429, Detail: "slower"}},
		{"no route", echo.ErrNotFound,
			Document{Type: TypePrefix + "not-found", Title: "Not Found", Status: 404, Detail: "there is no such resource; /here has some"}},
		{"no method", echo.ErrMethodNotAllowed,
			Document{Type: TypePrefix + "method-not-allowed", Title: "Method Not Allowed", Status: 405, Detail: "this resource does not have the method; the Allow header lists those it has"}},
	} {
		if diff := cmp.Diff(tt.want, Of(tt.err, elsewhere)); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
	}
	own := WithStatus(429, "x", fault.New(fault.Busy, "slower"))
	if !fault.Is(own, fault.Busy) || own.Error() != "slower" {
		t.Error("a status hides the error")
	}
}

func TestWrite(t *testing.T) {
	for _, tt := range []struct {
		status       int
		header, want string
	}{
		{http.StatusUnauthorized, "WWW-Authenticate", `Bearer realm="strata"`},
		{http.StatusServiceUnavailable, "Retry-After", "2"},
		{http.StatusConflict, "Retry-After", ""},
	} {
		w := httptest.NewRecorder()
		w.Header().Set("ETag", "old")
		w.Header().Set("Content-Length", "3")
		w.Header().Set(HeaderRequestID, "abc12345")
		Write(w, Document{Type: TypePrefix + "x", Status: tt.status, Detail: "say"})
		r := w.Result()
		if r.StatusCode != tt.status || r.Header.Get(tt.header) != tt.want || r.Header.Get("ETag") != "" || r.Header.Get("Cache-Control") != "no-store" ||
			r.Header.Get("Content-Type") != ContentType || r.ContentLength != int64(w.Body.Len()) {
			t.Errorf("%d: %v", tt.status, r)
		}
		var d Document
		if err := json.Unmarshal(w.Body.Bytes(), &d); err != nil || !strings.HasSuffix(d.Instance, ":abc12345") {
			t.Errorf("%v %+v", err, d)
		}
	}
	w := httptest.NewRecorder()
	Write(w, Of(fmt.Errorf("asking: %w", patient{fault.New(fault.TooMany, "full")}), ""))
	if w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") != "60" || strings.Contains(w.Body.String(), "etry") {
		t.Errorf("%d after %s: %s", w.Code, w.Header().Get("Retry-After"), w.Body)
	}
	w = httptest.NewRecorder()
	w.Header().Set("Retry-After", "30")
	Write(w, Document{Status: http.StatusServiceUnavailable})
	if w.Header().Get("Retry-After") != "30" {
		t.Error("the handler's own Retry-After is lost")
	}
}

// patient is an error that says when to ask again.
type patient struct{ error }

func (p patient) Unwrap() error           { return p.error }
func (patient) RetryAfter() time.Duration { return time.Minute }
