package move

import (
	"context"
	"io"

	"github.com/strata-pacs/strata/storage"
)

// paced reads a store no faster than it may.
type paced struct {
	b    *storage.Bucket
	pace func(ctx context.Context, n int) error
}

// Open implements pack.Object.
func (p paced) Open(ctx context.Context, key string, off, n int64) (io.ReadCloser, error) {
	r, err := p.b.Open(ctx, key, off, n)
	if err != nil {
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{pacedReader{ctx, r, p.pace}, r}, nil
}

type pacedReader struct {
	ctx  context.Context
	r    io.Reader
	pace func(ctx context.Context, n int) error
}

func (p pacedReader) Read(b []byte) (int, error) {
	n, err := p.r.Read(b)
	if p.pace == nil || n == 0 {
		return n, err
	}
	if wait := p.pace(p.ctx, n); wait != nil {
		return n, wait
	}
	return n, err
}
