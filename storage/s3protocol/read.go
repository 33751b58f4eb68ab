package s3protocol

import (
	"context"
	"errors"
	"hash/crc32"
	"io"

	"github.com/strata-pacs/strata/internal/fault"
)

// Open implements driver.Driver. The checksum of an object that is read whole, in
// one stream, is verified: its last bytes come only if it is right.
func (s *Store) Open(ctx context.Context, key string, off, n int64) (io.ReadCloser, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if n == 0 { // which no range can say
		return s.openEnd(ctx, key, off, 0)
	}
	body, h, err := s.client.Get(ctx, s.key(key), off, n)
	if fault.Is(err, fault.RangeInvalid) {
		return s.openEnd(ctx, key, off, n)
	}
	if err != nil {
		return nil, err
	}
	if h.Size < 0 {
		_ = body.Close()
		return nil, errNoSize
	}
	if off > h.Size { // of an answer without range, to a store that has none
		_ = body.Close()
		return nil, errRange
	}
	r := &reader{ctx: ctx, body: body, left: h.Size - off, end: io.EOF}
	switch {
	case n >= 0 && n < r.left:
		r.left = n
	case n > r.left:
		r.end = io.ErrUnexpectedEOF
	}
	if r.left == h.Size {
		r.want = h.CRC32C
	}
	return r, nil
}

// openEnd answers for ranges without a byte: the protocol knows no such range
// and refuses one that starts at the object's end.
func (s *Store) openEnd(ctx context.Context, key string, off, n int64) (io.ReadCloser, error) {
	h, err := s.head(ctx, key)
	switch {
	case err != nil:
		return nil, err
	case off > h.Size:
		return nil, errRange
	case off < h.Size && n != 0:
		return nil, fault.New(fault.Unavailable, "the object was replaced while it was opened")
	}
	r := &reader{ctx: ctx, body: io.NopCloser(nil), end: io.EOF}
	if n > 0 {
		r.end = io.ErrUnexpectedEOF
	}
	return r, nil
}

// reader streams a range.
type reader struct {
	ctx  context.Context // of Open
	body io.ReadCloser
	left int64  // bytes to come
	end  error  // what follows them
	want string // checksum of what comes; empty if it is not known
	crc  uint32
	err  error // for good
}

func (r *reader) Read(p []byte) (int, error) {
	switch {
	case r.err != nil:
		return 0, r.err
	case r.ctx.Err() != nil:
		return 0, r.ctx.Err()
	case r.left == 0:
		return 0, r.end
	case len(p) == 0:
		return 0, nil
	}
	n, err := r.body.Read(p[:min(int64(len(p)), r.left)])
	r.left -= int64(n)
	if r.want != "" {
		r.crc = crc32.Update(r.crc, castagnoli, p[:n])
		if r.left == 0 && encodeCRC(r.crc) != r.want {
			r.err = errDamaged
			return 0, r.err
		}
	}
	switch {
	case r.left == 0:
		err = nil // the end is told by the next call
	case r.ctx.Err() != nil && err != nil:
		r.err = r.ctx.Err()
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		r.err = errCut // never io.ErrUnexpectedEOF, which says that the object is short
	case err != nil:
		r.err = fault.Wrap(fault.Unavailable, err, "reading an object: the store does not answer")
	}
	if r.err != nil {
		err = r.err
	}
	return n, err
}

func (r *reader) Close() error {
	r.err = errClosed
	return r.body.Close()
}

var errClosed = fault.New(fault.Internal, "the object was read after it was closed")
