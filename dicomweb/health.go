package dicomweb

import (
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/strata-pacs/strata/internal/fault"
)

const (
	pathHealth = "/healthz"
	pathReady  = "/readyz"
)

// mountHealth: /healthz answers while the process serves at all; /readyz while
// it can do its work.
func (s *Server) mountHealth() {
	alive := func(c echo.Context) error { return healthy(c) }
	ready := func(c echo.Context) error {
		select {
		case <-s.stopping:
			return fault.New(fault.Unavailable, "the server is shutting down")
		default:
		}
		if s.o.Ready != nil {
			if err := s.o.Ready(c.Request().Context()); err != nil {
				return fault.Wrap(fault.Unavailable, err, "the server is not ready: %s", fault.Message(err))
			}
		}
		var impaired []string
		if s.o.Impaired != nil {
			impaired = s.o.Impaired(c.Request().Context())
		}
		return healthy(c, impaired...)
	}
	for path, h := range map[string]echo.HandlerFunc{pathHealth: alive, pathReady: ready} {
		s.e.GET(path, h)
		s.e.HEAD(path, h)
	}
}

// healthy answers ok, and what is impaired a line each.
func healthy(c echo.Context, impaired ...string) error {
	c.Response().Header().Set("Cache-Control", "no-store")
	return c.String(http.StatusOK, strings.Join(append([]string{"ok"}, impaired...), "\n")+"\n")
}
