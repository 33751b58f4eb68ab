package dicomweb

import (
	"context"
	"io"

	"github.com/labstack/echo/v4"

	"github.com/strata-pacs/strata/internal/archive"
)

// Storer begins a store request of a tenant. The study is the UID that the URL
// names, or empty.
type Storer func(t archive.Tenant, study string) StoreRequest

// StoreRequest takes the instances of one request.
type StoreRequest interface {
	// Add takes one Part 10 file, read to its end. The outcome is not final.
	Add(ctx context.Context, part io.Reader) StoreResult
	// Commit makes what was added durable and visible, and returns the final
	// results in the order of Add.
	Commit(ctx context.Context) ([]StoreResult, error)
	// Abort lets go of everything. After Commit it does nothing.
	Abort()
}

func (s *Server) mountStore() {
	s.handle("POST", pathStudies, s.store)
	s.handle("POST", pathStudy, s.store)
}

func (s *Server) store(c echo.Context) error { return nil }
