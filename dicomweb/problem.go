package dicomweb

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"github.com/labstack/echo/v4"

	"github.com/strata-pacs/strata/internal/fault"
)

// StatusClientGone is what the log shows of a request whose client went away.
const StatusClientGone = 499

// statusOf is the one place that maps kinds to HTTP status codes.
func statusOf(k fault.Kind) int {
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
	case fault.Full:
		return http.StatusInsufficientStorage
	case fault.Busy, fault.Unavailable, fault.KeyUnreachable, fault.Archived:
		return http.StatusServiceUnavailable
	case fault.Canceled:
		return StatusClientGone
	}
	return http.StatusInternalServerError
}

// Problem is a problem document (RFC 9457).
type Problem struct {
	Type   string `json:"type"` // "urn:strata:problem:" and the kind
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"` // a sentence that says what to do
	// Instance names this occurrence: the request id that the log has too.
	Instance string `json:"instance,omitempty"`
}

// statusError gives an error a status of its own where its kind is too coarse (414, 405).
type statusError struct {
	status int
	name   string // of the problem type
	err    error
}

func (e *statusError) Error() string { return e.err.Error() }
func (e *statusError) Unwrap() error { return e.err }

// problemOf describes an error to the client.
func problemOf(err error) Problem {
	kind := fault.KindOf(err)
	status, name, detail := statusOf(kind), kind.String(), fault.Message(err)
	var own *statusError
	var routing *echo.HTTPError
	switch {
	case errors.As(err, &own):
		status, name = own.status, own.name
	case errors.As(err, &routing):
		status = routing.Code
		switch status {
		case http.StatusNotFound:
			name, detail = fault.NotFound.String(), "there is no such resource; "+Root+" has the DICOMweb service"
		case http.StatusMethodNotAllowed:
			name, detail = "method-not-allowed", "this resource does not have the method; the Allow header lists those it has"
		}
	}
	title := http.StatusText(status)
	if status == StatusClientGone {
		title = "Client Closed Request"
	}
	return Problem{Type: "urn:strata:problem:" + name, Title: title, Status: status, Detail: detail}
}

// problem answers with the problem document of err. When the answer has begun
// already it can only be cut off: the caller then aborts the connection.
func (s *Server) problem(c echo.Context, err error) {
	w := c.Response()
	if w.Committed || err == nil {
		return
	}
	p := problemOf(err)
	if id := requestID(c); id != "" {
		p.Instance = "urn:strata:request:" + id
	}
	h := w.Header()
	for _, name := range []string{"Content-Encoding", "Content-Length", "Content-Disposition", "ETag", "Last-Modified", "Accept-Ranges", "Content-Location"} {
		h.Del(name)
	}
	switch p.Status {
	case http.StatusUnauthorized:
		h.Set("WWW-Authenticate", `Bearer realm="strata"`)
	case http.StatusServiceUnavailable:
		if h.Get("Retry-After") == "" {
			h.Set("Retry-After", "2")
		}
	}
	body, _ := json.Marshal(p)
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(p.Status)
	_, _ = w.Write(body) // the client may be gone; nothing is lost
}
