// Package problem turns errors into answers over HTTP: the one place that maps
// kinds of [fault] to status codes, and the only writer of problem documents
// (RFC 9457). Package dicomweb and package api answer through it, so that an
// error looks the same wherever a client meets it.
package problem

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/strata-pacs/strata/internal/fault"
)

// ContentType is that of a problem document.
const ContentType = "application/problem+json"

// TypePrefix is what the type of every problem begins with; a name follows,
// mostly that of the fault's kind.
const TypePrefix = "urn:strata:problem:"

// HeaderRequestID names the request in an answer, in the log, and in the
// instance of its problem document.
const HeaderRequestID = "X-Request-Id"

// StatusClientGone is what the log shows of a request whose client went away.
const StatusClientGone = 499

// StatusOf maps a kind to its HTTP status code.
func StatusOf(k fault.Kind) int {
	switch k {
	case fault.Invalid:
		return http.StatusBadRequest
	case fault.Unauthenticated:
		return http.StatusUnauthorized
	case fault.Forbidden, fault.KeyDenied:
		return http.StatusForbidden
	case fault.NotFound:
		return http.StatusNotFound
	case fault.NotAcceptable:
		return http.StatusNotAcceptable
	case fault.Conflict, fault.Exists:
		return http.StatusConflict
	case fault.TooLarge:
		return http.StatusRequestEntityTooLarge
	case fault.UnsupportedMedia:
		return http.StatusUnsupportedMediaType
	case fault.RangeInvalid:
		return http.StatusRequestedRangeNotSatisfiable
	case fault.Timeout:
		return http.StatusRequestTimeout
	case fault.TooMany:
		return http.StatusTooManyRequests
	case fault.Full:
		return http.StatusInsufficientStorage
	case fault.Busy, fault.Unavailable, fault.KeyUnreachable, fault.Archived:
		return http.StatusServiceUnavailable
	case fault.Canceled:
		return StatusClientGone
	}
	return http.StatusInternalServerError
}

// Document is a problem document (RFC 9457).
type Document struct {
	Type   string `json:"type"` // TypePrefix and a name
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"` // a sentence that says what to do
	// Instance names this occurrence: the request id that the log has too.
	Instance string `json:"instance,omitempty"`
	// Restore is what brings back what lies in an archive.
	Restore *Restore `json:"restore,omitempty"`
	// RetryAfter is when to ask again, for the header; 0: soon.
	RetryAfter time.Duration `json:"-"`
}

// Restore tells clients of a restore. Times are RFC 3339 in UTC, empty where not known.
type Restore struct {
	Href     string `json:"href"` // where to ask how far it is
	State    string `json:"state"`
	Priority string `json:"priority"`
	// Objects are what is restored one by one; those that are ready can be read.
	Objects      int    `json:"objects"`
	ObjectsReady int    `json:"objectsReady"`
	Bytes        int64  `json:"bytes"`
	BytesReady   int64  `json:"bytesReady"`
	Asked        string `json:"asked,omitempty"`
	Ready        string `json:"ready,omitempty"` // when the last object is expected, or was there
	Until        string `json:"until,omitempty"` // when the readable copies go
	Failure      string `json:"failure,omitempty"`
}

// statusError gives an error a status of its own.
type statusError struct {
	status int
	name   string // of the problem type
	err    error
}

func (e *statusError) Error() string { return e.err.Error() }
func (e *statusError) Unwrap() error { return e.err }

// WithStatus gives err a status and a problem type of its own where its kind
// is too coarse (414).
func WithStatus(status int, name string, err error) error {
	return &statusError{status, name, err}
}

// Of describes err to the client. An echo.HTTPError says that no route matched;
// elsewhere ends the sentence of a resource that does not exist, by saying where
// there are some.
func Of(err error, elsewhere string) Document {
	kind := fault.KindOf(err)
	status, name, detail := StatusOf(kind), kind.String(), fault.Message(err)
	var own *statusError
	var routing *echo.HTTPError
	switch {
	case errors.As(err, &own):
		status, name = own.status, own.name
	case errors.As(err, &routing):
		status = routing.Code
		switch status {
		case http.StatusNotFound:
			name, detail = fault.NotFound.String(), "there is no such resource; "+elsewhere
		case http.StatusMethodNotAllowed:
			name, detail = "method-not-allowed", "this resource does not have the method; the Allow header lists those it has"
		}
	}
	title := http.StatusText(status)
	if status == StatusClientGone {
		title = "Client Closed Request"
	}
	d := Document{Type: TypePrefix + name, Title: title, Status: status, Detail: detail}
	var later interface{ RetryAfter() time.Duration }
	if errors.As(err, &later) {
		d.RetryAfter = later.RetryAfter()
	}
	return d
}

// Clear takes back the headers of an answer that is not given after all, and
// forbids that what is answered instead is kept.
func Clear(h http.Header) {
	for _, name := range []string{"Content-Encoding", "Content-Length", "Content-Disposition", "ETag", "Last-Modified", "Accept-Ranges", "Content-Location"} {
		h.Del(name)
	}
	h.Set("Cache-Control", "no-store")
}

// Write answers with the document. The headers of the answer that it replaces
// go; X-Request-Id, where it is set, becomes the document's instance.
func Write(w http.ResponseWriter, d Document) {
	h := w.Header()
	if id := h.Get(HeaderRequestID); id != "" {
		d.Instance = "urn:strata:request:" + id
	}
	Clear(h)
	switch d.Status {
	case http.StatusUnauthorized:
		h.Set("WWW-Authenticate", `Bearer realm="strata"`)
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		if h.Get("Retry-After") == "" {
			h.Set("Retry-After", strconv.FormatInt(max(2, int64(d.RetryAfter/time.Second)), 10))
		}
	}
	body, _ := json.Marshal(d)
	h.Set("Content-Type", ContentType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(d.Status)
	_, _ = w.Write(body) // the client may be gone; nothing is lost
}
