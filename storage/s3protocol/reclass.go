package s3protocol

import (
	"cmp"
	"context"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/strata-pacs/strata/internal/fault"
)

const (
	copyMost    = 5 << 30   // bytes that can be copied at once (Amazon S3 API Reference, CopyObject)
	copyPart    = 512 << 20 // bytes of a part of what is copied in parts
	copyPartMin = 5 << 20   // the protocol's least for a part but the last
	copiesMost  = 4         // parts that are copied at once
	copyDropFor = 30 * time.Second
)

// CopyingAtMost returns the store with another limit of the bytes that are copied by one request, for a server that takes
// less than the protocol's 5 GiB; at least 5 MiB.
func (s *Store) CopyingAtMost(bytes int64) *Store {
	t := *s
	t.copyMost = max(bytes, copyPartMin)
	return &t
}

// SetClass implements driver.Classer: the object is copied onto itself, with its metadata: by one request up to 5 GiB,
// a larger one in parts, which appear together when the last is there. It is refused where the object was replaced meanwhile. Where
// the bucket keeps versions the object gets one more, under the same object lock; the one before stays in the class it was in.
func (s *Store) SetClass(ctx context.Context, key, class string) error {
	class = cmp.Or(class, s.at.Class, standard)
	h, err := s.head(ctx, key)
	if err != nil || cmp.Or(h.Class, standard) == class {
		return err
	}
	if !h.Lock.Until.After(s.now()) { // over, and no store takes a date that is past
		h.Lock.Mode, h.Lock.Until = "", time.Time{}
	}
	if h.Size > s.copyMost {
		return s.copyInParts(ctx, s.key(key), h, class)
	}
	return s.client.SetClass(ctx, s.key(key), h.ETag, class, h.Lock)
}

// copyInParts copies an object onto itself as an upload. Each part is copied, and the upload completed, only if the object is
// still the same. The copy has the store's own checksum, if any, and no CRC-32C: versitygw makes a wrong one of copied parts.
func (s *Store) copyInParts(ctx context.Context, key string, h Head, class string) (err error) {
	if h.Size > partsMost*min(copyPart, s.copyMost) {
		return errTooLarge
	}
	o := PutOptions{IfMatch: h.ETag, Class: class, Version: h.Version, Size: h.Size, Lock: h.Lock, Copied: true}
	upload, err := s.client.Start(ctx, key, o)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil { // what cannot be removed now is left to Sweep
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), copyDropFor)
			defer cancel()
			_ = s.client.Drop(ctx, key, upload)
		}
	}()
	size := min(copyPart, s.copyMost)
	parts := make([]Part, (h.Size+size-1)/size)
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(copiesMost)
	for i := range parts {
		off := int64(i) * size
		g.Go(func() (err error) {
			parts[i], err = s.client.CopyPart(gctx, key, upload, i+1, h.ETag, off, min(size, h.Size-off))
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	_, err = s.client.Complete(ctx, key, upload, parts, o)
	if fault.Is(err, fault.Conflict) || fault.Is(err, fault.NotFound) {
		return s.reclassed(ctx, key, class, err)
	}
	return err
}

// reclassed says what a refusal to complete means: also that an earlier attempt, whose answer was lost, did.
func (s *Store) reclassed(ctx context.Context, key, class string, refusal error) error {
	h, err := s.client.Head(ctx, key)
	if err == nil && cmp.Or(h.Class, standard) == class {
		return nil
	}
	return refusal
}
