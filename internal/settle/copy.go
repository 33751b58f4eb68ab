package settle

import (
	"context"
	"fmt"
	"io"
	"sync"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/pack"
	"github.com/strata-pacs/strata/internal/seal"
)

// copyPack copies blobs from where they lie into a new pack, in order, and tells
// the instances where they lie now. Each blob is authenticated on the way: damage
// must not be taken along when the source, which may be mended, is about to go.
func (s *Settler) copyPack(ctx context.Context, list []*archive.Instance) (_ archive.PackPlace, err error) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()

	places := make([]archive.Location, len(list))
	for i, in := range list {
		places[i] = in.At
	}
	f, run := newFeed(ctx, s.o.Bucket, places)
	wg.Go(run)

	stage := pack.NewPack(ctx, s.o.Bucket, func() string { return pack.NewName(s.o.Tenant, s.o.Now(), s.o.Rand) })
	defer stage.Abort()
	to := make([]archive.Location, len(list))
	for i, in := range list {
		if s.o.Pace != nil {
			if err := s.o.Pace(ctx, int(in.At.Length)); err != nil {
				return archive.PackPlace{}, err
			}
		}
		from := stage.Offset()
		if err := s.copyBlob(ctx, stage, f, in); err != nil {
			return archive.PackPlace{}, fmt.Errorf("copying what lies in %s: %w", in.At.Object, err)
		}
		to[i] = stage.Keep(in.Blob, from)
	}
	body, err := stage.Finish(ctx)
	if err != nil {
		if body.Object != "" {
			s.discard(ctx, []archive.PackPlace{{Object: body.Object}}) // it may be there all the same
		}
		return archive.PackPlace{}, fmt.Errorf("writing a pack: %w", err)
	}
	for i, in := range list {
		in.At = to[i]
		in.At.Object = body.Object
	}
	return archive.PackPlace{Object: body.Object, Size: body.Length, Digest: body.Digest, Tier: archive.HotTier}, nil
}

// copyBlob copies the next blob of the feed.
func (s *Settler) copyBlob(ctx context.Context, w io.Writer, f *feed, in *archive.Instance) error {
	secret, err := s.o.Keys.Secret(ctx, in.Key)
	if err != nil {
		return err
	}
	defer secret.Wipe()
	src := &tee{from: f, to: w}
	rd := seal.NewReader(src, secret, seal.Binding{Tenant: s.o.Tenant, Kind: seal.KindInstance, Key: in.Key},
		seal.ReadOptions{Blob: in.Blob, Coding: in.Coding, SegmentBits: in.SegmentBits, Plain: in.Size, Sealed: in.At.Length})
	_, err = rd.WriteRange(ctx, io.Discard, 0, -1)
	if src.err != nil {
		return src.err // of the store: what was made of it is worse
	}
	return err
}

// tee is the source of one blob, which is read once, from its beginning to its
// end, and copied meanwhile.
type tee struct {
	from io.Reader
	to   io.Writer
	left int64
	err  error // of the stores, apart from that the blob has ended
}

// ReadRange implements [seal.Source].
func (t *tee) ReadRange(_ context.Context, _, n int64) (io.ReadCloser, error) {
	t.left = n
	return io.NopCloser(t), nil
}

// Read implements io.Reader.
func (t *tee) Read(p []byte) (int, error) {
	if t.left == 0 {
		return 0, io.EOF
	}
	n, err := t.from.Read(p[:min(int64(len(p)), t.left)])
	t.left -= int64(n)
	if err == nil {
		_, err = t.to.Write(p[:n])
	}
	t.err = err
	return n, err
}
