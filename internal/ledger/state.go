package ledger

import (
	"context"
	"fmt"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/pack"
)

// Appender is what State needs of a log.
type Appender interface {
	Append(ctx context.Context, f *archive.Fact, body *pack.Body) (archive.Entry, error)
}

// Applier is what State and Apply need of an index.
type Applier interface {
	Apply(ctx context.Context, t archive.Tenant, entries ...archive.Entry) ([]archive.Applied, error)
}

// State makes a fact without a body durable, then known. After an error it may be in the log all the same; then Catchup has
// the index know it.
func State(ctx context.Context, log Appender, x Applier, t archive.Tenant, f *archive.Fact) error {
	e, err := log.Append(ctx, f, nil)
	if err != nil {
		return err
	}
	return Apply(ctx, x, t, e)
}

// Apply has the index know entries that are in the log, and returns the first error that it has with any of them. It does so whatever
// becomes of the context: what is in the log is stated, and holds for whoever reads the log next, so that an index which
// does not know it answers falsely, also him whose request ended or ran out of time in between. How long it may take is the index's to bound.
func Apply(ctx context.Context, x Applier, t archive.Tenant, entries ...archive.Entry) error {
	applied, err := x.Apply(context.WithoutCancel(ctx), t, entries...)
	for i := 0; i < len(applied) && err == nil; i++ {
		err = applied[i].Err
	}
	if err != nil {
		return fmt.Errorf("indexing what was stated: %w", err)
	}
	return nil
}
