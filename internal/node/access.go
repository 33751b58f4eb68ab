package node

import (
	"context"

	"github.com/strata-pacs/strata/internal/lifecycle/access"
)

// accesses are the days on which studies were last read, on their way to the index.
type accesses struct {
	*access.Recorder
	end func()
}

// openAccesses writes them down until ctx ends, or end is called, which returns when the
// last are written: that needs the keys of their tenants.
func (n *Node) openAccesses(ctx context.Context) {
	r := access.New(access.Options{Index: n.Index, Now: n.o.Now,
		Failed: func(err error) { n.o.Slog.Warn("noting days of last access failed", "error", err) }})
	ctx, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	n.accesses = accesses{r, func() { stop(); <-done }}
	n.wg.Go(func() {
		defer close(done)
		r.Run(ctx)
	})
}
