package api

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"runtime"
	"runtime/debug"
	"strconv"

	"github.com/labstack/echo/v4"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/fault/problem"
)

// observe is the outermost middleware: it names the request, turns errors and
// panics into answers, and tells log and metrics. A handler around this one
// that has named the request already is followed.
func (s *server) observe(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		start := s.o.Now()
		r, w := c.Request(), c.Response()
		if h := w.Header(); h.Get(problem.HeaderRequestID) == "" {
			h.Set(problem.HeaderRequestID, strconv.FormatUint(1<<63|rand.Uint64(), 16))
		}
		err := s.protect(next, c)
		if err != nil && !w.Committed {
			fail(c, err)
		}
		d := s.o.Now().Sub(start)
		if s.o.Metrics != nil {
			s.o.Metrics.Request(method(r), route(c), w.Status, d, max(0, r.ContentLength), w.Size)
		}
		level := slog.LevelInfo
		if w.Status >= 500 {
			level = slog.LevelError
		}
		attrs := []slog.Attr{slog.String("id", w.Header().Get(problem.HeaderRequestID)), slog.String("method", method(r)),
			slog.String("route", route(c)), slog.Int("status", w.Status), slog.Duration("took", d), slog.String("remote", r.RemoteAddr)}
		// Who administers what must be seen afterwards; a tenant's name is no secret.
		if t := archive.Tenant(c.Param("tenant")); t.Valid() {
			attrs = append(attrs, slog.String("tenant", string(t)))
		}
		if by := person(c.Request().Context()); by != "" {
			attrs = append(attrs, slog.String("by", by))
		}
		if w.Status >= 500 && err != nil {
			attrs = append(attrs, slog.String("kind", fault.KindOf(err).String()), slog.String("error", err.Error()))
		}
		s.o.Log.LogAttrs(r.Context(), level, "administration", attrs...)
		return nil
	}
}

// protect runs the handler and makes an error of a panic. The value of a panic
// may quote a request; its type, and what the runtime says, do not.
func (s *server) protect(next echo.HandlerFunc, c echo.Context) (err error) {
	defer func() {
		v := recover()
		if v == nil {
			return
		}
		if e, ok := v.(error); ok && errors.Is(e, http.ErrAbortHandler) {
			panic(v)
		}
		what := fmt.Sprintf("%T", v)
		if e, ok := v.(runtime.Error); ok {
			what = e.Error()
		}
		s.o.Log.LogAttrs(c.Request().Context(), slog.LevelError, "a request panicked", slog.String("route", route(c)),
			slog.String("panic", what), slog.String("stack", string(debug.Stack())))
		err = errPanic
	}()
	return next(c)
}

var errPanic = errors.New("panic")

// route is the pattern that matched, never the path.
func route(c echo.Context) string {
	if p := c.Path(); p != "" {
		return p
	}
	return "none"
}

// method is the request's, unless it is the client's own text.
func method(r *http.Request) string {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodDelete, http.MethodOptions, http.MethodPut, http.MethodPatch:
		return r.Method
	}
	return "other"
}
