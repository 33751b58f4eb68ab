package dicomweb

import (
	"context"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/strata-pacs/strata/internal/archive"
)

// Remover hides studies, series and instances.
type Remover interface {
	// Delete hides all instances of the scope, once the fact is durable.
	// fault.NotFound when there are none.
	Delete(ctx context.Context, t archive.Tenant, scope archive.UIDs) error
}

func (s *Server) mountRemove() {
	for _, p := range []string{pathStudy, pathSeries, pathInstance} {
		s.handle(http.MethodDelete, p, s.remove)
	}
}

// remove answers 204 when the instances are hidden. What was deleted can be
// shown again (strata undelete).
func (s *Server) remove(c echo.Context) error {
	sel, err := uids(c)
	if err != nil {
		return err
	}
	if err := s.o.Remove.Delete(c.Request().Context(), s.o.Tenant, sel); err != nil {
		return err
	}
	return c.NoContent(http.StatusNoContent)
}
