package dicom

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/flate"
)

var errDeflate = errors.New("damaged deflate stream")

// inflateLimit is the error past Limits.Inflated.
type inflateLimit struct{ bytes int64 }

func (e *inflateLimit) Error() string { return fmt.Sprintf("inflates to more than %d bytes", e.bytes) }

var inflaters = sync.Pool{New: func() any { return flate.NewReader(nil) }}

// inflater inflates the rest of a source within limits (PS3.5 §A.5).
type inflater struct {
	raw   *source
	fr    io.ReadCloser
	start int64 // of the deflated bytes
	n     int64 // inflated so far
	free  int64
	ratio int64
}

func newInflater(raw *source, l Limits) *inflater {
	fr := inflaters.Get().(io.ReadCloser)
	// Reset of a flate reader always succeeds.
	_ = fr.(flate.Resetter).Reset(raw, nil)
	return &inflater{raw: raw, fr: fr, start: raw.offset(), free: l.Inflated, ratio: l.InflatedRatio}
}

func (f *inflater) release() {
	inflaters.Put(f.fr)
	f.fr = nil
}

func (f *inflater) Read(p []byte) (int, error) {
	n, err := f.fr.Read(p)
	f.n += int64(n)
	if limit := f.free + f.ratio*(f.raw.offset()-f.start); f.n > limit {
		return n, &inflateLimit{limit}
	}
	if err == nil || err == io.EOF {
		return n, err
	}
	if f.raw.err != nil && f.raw.err != io.EOF {
		return n, f.raw.err
	}
	return n, fmt.Errorf("%w: %v", errDeflate, err)
}
