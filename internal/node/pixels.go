package node

import (
	"context"
	"path/filepath"

	"github.com/strata-pacs/strata/internal/pixel"
	"github.com/strata-pacs/strata/internal/pixel/sandbox"
	"github.com/strata-pacs/strata/internal/thumbnail"
)

// openPixels opens the codecs.
func (n *Node) openPixels() {
	n.pool = sandbox.New(sandbox.Options{Cache: n.o.PixelCache, Workers: n.o.PixelWorkers, Timeout: n.o.PixelTimeout, Log: n.o.Slog})
	n.Codecs = pixel.New(n.pool)
}

// backgroundPixels starts a process ahead, if the options want it.
func (n *Node) backgroundPixels(ctx context.Context) {
	if !n.o.WarmPixels || !sandbox.Available() {
		return
	}
	n.wg.Go(func() {
		if err := n.pool.Warm(ctx); err != nil && ctx.Err() == nil {
			n.o.Slog.Error("the decoders do not start: compressed images are answered as stored", "error", err)
		}
	})
}

// follow makes thumbnails ahead while the archive is open, if the options want it.
func (a *Archive) follow(ctx context.Context) {
	if a.n.o.ThumbnailAfter <= 0 {
		return
	}
	name := "thumbnails.cursor"
	if a.Tenant != a.n.Tenant {
		name = "thumbnails-" + string(a.Tenant) + ".cursor"
	}
	a.Thumbnail.Follow(ctx, thumbnail.FollowOptions{Tenant: a.Tenant, Feed: a.Index, After: a.n.o.ThumbnailAfter,
		Cursor: filepath.Join(a.n.o.Data, name)})
}
