package dicomweb

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"runtime"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/fault/problem"
)

const headerRequestID = problem.HeaderRequestID

// requestID names the request in the log, in problem documents and in the
// X-Request-Id header.
func requestID(c echo.Context) string { return c.Response().Header().Get(headerRequestID) }

// observe is the outermost middleware: it names the request, watches its
// progress, turns errors and panics into answers, and tells log and metrics.
// Nothing it writes down holds a path, a query or a header of the client.
func (s *Server) observe(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		start := s.o.Now()
		w := c.Response()
		w.Header().Set(headerRequestID, s.newRequestID(c.Request()))
		body, writer, unwatch := s.watch(c)

		err := s.protect(next, c)
		r := c.Request()
		cut := unwatch() || err != nil && cutOff(r.Context())
		if cut {
			err = context.Cause(r.Context()) // whatever it has led to
		}
		aborted := err != nil && w.Committed
		if err != nil && !aborted {
			if !cut && drains(r, err) {
				body.drain(drainTime(err))
			}
			if r.ProtoMajor == 1 && (cut || !body.done) {
				w.Header().Set("Connection", "close") // what is left of the request is not waited for
			}
			writer.free() // what is wrong may be said
			s.problem(c, err)
		}
		writer.finish()
		s.record(c, err, aborted, s.o.Now().Sub(start), body.received)
		if aborted {
			// The client must not take the part it got for the whole.
			panic(http.ErrAbortHandler)
		}
		return nil
	}
}

// drains reports whether the rest of a refused request is read, so that the
// client hears the answer: not of who has sent nothing yet and waits for "100
// Continue", of who may be anybody, and of who has sent too much already.
func drains(r *http.Request, err error) bool {
	return r.Header.Get("Expect") == "" && !fault.Is(err, fault.Unauthenticated) && !fault.Is(err, fault.TooMany)
}

// drainTime is how long that may take, if a stall is not shorter: a moment when the
// keys are gone, for then everything comes to rest within seconds.
func drainTime(err error) time.Duration {
	if fault.Is(err, fault.KeyDenied) {
		return time.Second
	}
	return time.Minute
}

// protect runs the handler and makes an error of a panic.
func (s *Server) protect(next echo.HandlerFunc, c echo.Context) (err error) {
	defer func() {
		v := recover()
		if v == nil {
			return
		}
		if e, ok := v.(error); ok && errors.Is(e, http.ErrAbortHandler) {
			err = fault.Wrap(fault.Canceled, e, "the answer was cut off")
			return
		}
		// The value of a panic may quote data; its type, and what the runtime says, do not.
		what := fmt.Sprintf("%T", v)
		if e, ok := v.(runtime.Error); ok {
			what = e.Error()
		}
		s.log.LogAttrs(c.Request().Context(), slog.LevelError, "a request panicked",
			slog.String("id", requestID(c)), slog.String("route", c.Path()),
			slog.String("panic", what), slog.String("stack", string(debug.Stack())))
		err = errPanic
	}()
	return next(c)
}

var errPanic = errors.New("panic")

// newRequestID takes the name that a trusted proxy gave, so that its log and
// ours can be put side by side, or makes one.
func (s *Server) newRequestID(r *http.Request) string {
	if v := r.Header.Get(headerRequestID); v != "" && validRequestID(v) && s.public.fromTrusted(r) {
		return v
	}
	var b [16]byte
	return string(strconv.AppendUint(b[:0], 1<<63|rand.Uint64(), 16))
}

// validRequestID accepts hexadecimal names and UUIDs: nothing that could be a
// UID or a name of a person.
func validRequestID(v string) bool {
	if len(v) < 8 || len(v) > 64 {
		return false
	}
	for _, c := range []byte(v) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') && (c < 'A' || c > 'F') && c != '-' {
			return false
		}
	}
	return true
}

// record writes the access log's line and tells the metrics.
func (s *Server) record(c echo.Context, err error, aborted bool, d time.Duration, received int64) {
	r, w := c.Request(), c.Response()
	route, status := c.Path(), w.Status
	if route == "" {
		route = "none"
	}
	if aborted {
		status = problem.StatusOf(fault.KindOf(err))
	}
	method := r.Method
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodDelete, http.MethodOptions, http.MethodPut, http.MethodPatch:
	default:
		method = "other" // an unknown method is the client's own text
	}
	if s.o.Metrics != nil {
		s.o.Metrics.Request(method, route, status, d, received, w.Size)
	}
	level := slog.LevelInfo
	if status >= 500 && !fault.Is(err, fault.Archived) { // to be asked again is no failure
		level = slog.LevelError
	}
	if !s.log.Enabled(r.Context(), level) {
		return
	}
	attrs := make([]slog.Attr, 0, 12)
	attrs = append(attrs, slog.String("id", requestID(c)), slog.String("method", method), slog.String("route", route),
		slog.Int("status", status), slog.Duration("took", d), slog.Int64("received", received), slog.Int64("sent", w.Size),
		slog.String("remote", r.RemoteAddr))
	if t := refusalOf(r).tenant; t != "" {
		attrs = append(attrs, slog.String("tenant", string(t)))
	}
	if aborted {
		attrs = append(attrs, slog.Bool("aborted", true))
	}
	if err != nil && (status >= 500 || fault.Is(err, fault.Canceled)) {
		attrs = append(attrs, slog.String("kind", fault.KindOf(err).String()), slog.String("error", err.Error()))
	}
	s.log.LogAttrs(r.Context(), level, "request", attrs...)
}
