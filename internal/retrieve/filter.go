package retrieve

import (
	"errors"
	"io"
	"sync"

	"github.com/strata-pacs/strata/internal/dicom"
)

// errEnough stops a source whose further bytes nobody wants.
var errEnough = errors.New("enough")

const filterBuffer = 64 << 10

var filterBuffers = sync.Pool{New: func() any { return new([filterBuffer]byte) }}

// window passes left bytes after skip others, and then stops the source.
type window struct {
	w          io.Writer
	skip, left int64
}

func (f *window) Write(p []byte) (int, error) {
	n := len(p)
	if k := min(f.skip, int64(len(p))); k > 0 {
		p, f.skip = p[k:], f.skip-k
	}
	if int64(len(p)) > f.left {
		p = p[:f.left]
	}
	if len(p) > 0 {
		k, err := f.w.Write(p)
		f.left -= int64(k)
		if err != nil {
			return n, err
		}
	}
	if f.left == 0 {
		return n, errEnough
	}
	return n, nil
}

// pick passes the bytes of spans, which ascend, out of a stream that begins at
// offset at.
type pick struct {
	w     io.Writer
	at    int64
	spans []dicom.Span // what is still to come; changed
}

func (f *pick) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 && len(f.spans) > 0 {
		s := &f.spans[0]
		if skip := min(s.Offset-f.at, int64(len(p))); skip > 0 {
			p, f.at = p[skip:], f.at+skip
		}
		if k := min(s.Length, int64(len(p))); k > 0 {
			if _, err := f.w.Write(p[:k]); err != nil {
				return n, err
			}
			p, f.at = p[k:], f.at+k
			s.Offset, s.Length = s.Offset+k, s.Length-k
		}
		if s.Length == 0 {
			f.spans = f.spans[1:]
		}
	}
	return n, nil
}
