package dicomweb

import (
	"context"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/strata-pacs/strata/internal/archive"
)

// ChangeQuery selects changes.
type ChangeQuery struct {
	After    int64 // sequence; changes after it
	Limit    int
	From, To time.Time // zero is open
	Actions  []string  // empty is all
	Newest   bool      // newest first
}

// Feed is the tenant's change feed.
type Feed interface {
	Changes(ctx context.Context, t archive.Tenant, q ChangeQuery) ([]archive.Change, error)
	// Last is the sequence of the newest change.
	Last(ctx context.Context, t archive.Tenant) (int64, error)
	// Watch returns a channel that is closed at the next change.
	Watch() <-chan struct{}
}

func (s *Server) mountChanges() { s.get("/changes", s.changes) }

func (s *Server) changes(c echo.Context) error { return nil }
