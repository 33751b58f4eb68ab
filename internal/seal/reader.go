package seal

import (
	"context"
	"errors"
	"io"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
)

// Source gives the sealed bytes of one blob; offsets count from its header.
type Source interface {
	// ReadRange reads n bytes from off. Its reader ends with
	// io.ErrUnexpectedEOF where the blob is shorter, and honours ctx.
	ReadRange(ctx context.Context, off, n int64) (io.ReadCloser, error)
}

// ReadOptions say what is known of a blob from a place that is authenticated
// itself: a fact, or the index.
type ReadOptions struct {
	Blob        archive.BlobID
	Coding      archive.Coding
	SegmentBits uint8 // 0 is DefaultSegmentBits
	// Plain is the length of the plaintext in bytes; -1 when it is not known:
	// then Sealed must be, and the last segment is opened before any other.
	Plain int64
	// Sealed is the length of the blob in bytes, 0 when it is not known.
	Sealed int64
}

// Reader opens ranges of one blob. It is safe for concurrent use unless its
// length is unknown; then Size must have returned first.
//
// Errors are fault.Corrupt where the blob is not what was sealed, and otherwise
// those of the source and of the destination.
type Reader struct {
	src    Source
	s      sealer
	bits   uint8
	plain  int64
	sealed int64
	err    error
}

// NewReader prepares a reader. It does no I/O; what is wrong with the options is
// said by the first call that reads.
func NewReader(src Source, secret archive.Secret, b Binding, o ReadOptions) *Reader {
	h := Header{SegmentBits: o.SegmentBits, Coding: o.Coding, Key: b.Key, Blob: o.Blob}
	if h.SegmentBits == 0 {
		h.SegmentBits = DefaultSegmentBits
	}
	r := &Reader{src: src, bits: h.SegmentBits, plain: o.Plain, sealed: o.Sealed}
	switch {
	case r.bits < MinSegmentBits || r.bits > MaxSegmentBits || o.Coding > archive.Deflated:
		r.err = corrupt(ErrHeader)
	case r.plain >= 0 && r.sealed == 0:
		r.sealed = SealedSize(r.plain, r.bits)
	case r.plain >= 0 && r.sealed != SealedSize(r.plain, r.bits), PlainSize(r.sealed, r.bits) < 0:
		r.err = corrupt(ErrLength)
	}
	if r.err == nil {
		r.err = r.s.init(&secret, b, h)
	}
	return r
}

// Size returns the length of the plaintext in bytes, authenticated.
func (r *Reader) Size(ctx context.Context) (int64, error) {
	if r.err != nil || r.plain >= 0 {
		return r.plain, r.err
	}
	size := PlainSize(r.sealed, r.bits)
	first := (segments(size, r.bits) - 1) << r.bits
	st := r.stream(first, size-first, size)
	defer st.Close()
	if err := st.open(ctx); err != nil {
		return 0, err
	}
	if _, err := st.next(); err != nil {
		return 0, err
	}
	r.plain = size
	return size, nil
}

// Stream returns a reader of n bytes of plaintext from off; n < 0 means to the
// end, and a range that runs past the end stops there. It fails with
// fault.RangeInvalid if off is past the end.
func (r *Reader) Stream(ctx context.Context, off, n int64) (io.ReadCloser, error) {
	st, err := r.begin(ctx, off, n)
	if err != nil {
		return nil, err
	}
	return st, nil
}

func (r *Reader) begin(ctx context.Context, off, n int64) (*stream, error) {
	size, err := r.Size(ctx)
	if err != nil {
		return nil, err
	}
	if off < 0 || off > size {
		return nil, fault.New(fault.RangeInvalid, "the range begins past the end")
	}
	if n < 0 || n > size-off {
		n = size - off
	}
	st := r.stream(off, n, size)
	if n == 0 && size > 0 {
		return st, nil
	}
	if err := st.open(ctx); err != nil {
		st.Close()
		return nil, err
	}
	return st, nil
}

// ReadAt fills p with plaintext from off. As io.ReaderAt it returns io.EOF when
// the blob ends before p is full.
func (r *Reader) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	st, err := r.begin(ctx, off, int64(len(p)))
	if err != nil {
		return 0, err
	}
	defer st.Close()
	n, err := io.ReadFull(st, p)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = io.EOF
	}
	return n, err
}

// WriteRange writes n bytes of plaintext from off to w and returns how many it
// wrote; n < 0 means to the end. Nothing of a segment is written before the
// segment has been authenticated. Of a long range the next piece is read and
// opened while the last one is written.
func (r *Reader) WriteRange(ctx context.Context, w io.Writer, off, n int64) (int64, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	st, err := r.begin(ctx, off, n)
	if err != nil {
		return 0, err
	}
	defer st.Close()
	if st.left > pipelineFrom {
		return st.pipeline(ctx, cancel, w)
	}
	var done int64
	for {
		p, err := st.next()
		if err == io.EOF {
			return done, nil
		} else if err != nil {
			return done, err
		}
		if len(p) == 0 { // an empty blob
			continue
		}
		m, err := w.Write(p)
		done += int64(m)
		if err != nil {
			return done, err
		}
		if err := ctx.Err(); err != nil {
			return done, err
		}
	}
}

// source classifies what went wrong below: an object that is not there, or
// ends early, has lost stored bytes.
func source(err error) error {
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), fault.Is(err, fault.RangeInvalid):
		return corrupt(ErrLength)
	case fault.Is(err, fault.NotFound):
		return fault.Wrap(fault.Corrupt, err, "the object that holds these bytes is missing; check the store with strata verify")
	}
	return err
}
