package node

import (
	"context"
	"path/filepath"

	"github.com/strata-pacs/strata/internal/pixel"
	"github.com/strata-pacs/strata/internal/pixel/sandbox"
	"github.com/strata-pacs/strata/internal/retrieve"
	"github.com/strata-pacs/strata/internal/thumbnail"
)

// openPixels opens retrieval with the codecs, and the thumbnails.
func (n *Node) openPixels() (err error) {
	if !n.o.Offline {
		n.pool = sandbox.New(sandbox.Options{Cache: n.o.PixelCache, Workers: n.o.PixelWorkers, Timeout: n.o.PixelTimeout, Log: n.o.Slog})
	}
	n.Codecs = pixel.New(n.pool)
	n.Retrieve = retrieve.New(retrieve.Options{Index: n.Index, Objects: n.Bucket, Secrets: n.ring, CacheBytes: n.o.CacheBytes, Codecs: n.Codecs})
	if n.o.Offline {
		return nil
	}
	n.Thumbnail, err = thumbnail.New(thumbnail.Options{Index: n.Index, Reader: n.Retrieve, Bucket: n.Bucket, Keys: n.ring,
		MemoryOnly: n.o.ThumbnailsInMemory, Log: n.o.Slog, Now: n.o.Now})
	return err
}

// backgroundPixels starts what the options want to be done ahead.
func (n *Node) backgroundPixels(ctx context.Context) {
	if n.o.WarmPixels && sandbox.Available() {
		n.wg.Go(func() {
			if err := n.pool.Warm(ctx); err != nil && ctx.Err() == nil {
				n.o.Slog.Error("the decoders do not start: compressed images are answered as stored", "error", err)
			}
		})
	}
	if n.o.ThumbnailAfter > 0 {
		n.wg.Go(func() {
			n.Thumbnail.Follow(ctx, thumbnail.FollowOptions{Tenant: n.Tenant, Feed: n.Index, After: n.o.ThumbnailAfter,
				Cursor: filepath.Join(n.o.Data, "thumbnails.cursor")})
		})
	}
}

// closePixels ends what openPixels began, the users before what they use.
func (n *Node) closePixels() error {
	if n.Thumbnail != nil {
		n.Thumbnail.Close()
	}
	if n.Retrieve != nil {
		n.Retrieve.Close()
	}
	if n.pool == nil {
		return nil
	}
	return n.pool.Close()
}
