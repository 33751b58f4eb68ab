package seal

import (
	"io"
	"sync"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
)

// buffers are recycled by capacity class: a process seals and opens at the rate
// of its network, and would otherwise leave a segment a blob to the collector.
var buffers [MaxSegmentBits + 1]sync.Pool

// slack is what a buffer has beyond its class: a header and the tags of some segments.
const slack = 256

// take returns a buffer of 1<<bits bytes and slack.
func take(bits uint8) *[]byte {
	if b, ok := buffers[bits].Get().(*[]byte); ok {
		return b
	}
	b := make([]byte, 1<<bits+slack)
	return &b
}

func give(bits uint8, b *[]byte) { buffers[bits].Put(b) }

// Writer seals what is written to it, segment by segment, as one blob. It is
// not safe for concurrent use.
type Writer struct {
	dst    io.Writer
	s      sealer
	h      Header
	buf    *[]byte // header or free space, then the segment being filled
	n      int     // bytes of the segment being filled
	seg    int64   // its number
	plain  int64
	sealed int64
	err    error
}

// NewWriter begins a blob that goes to dst. The header is written together with
// the first segment. A Writer that is not to be finished is simply dropped.
func NewWriter(dst io.Writer, secret archive.Secret, b Binding, o Options) (*Writer, error) {
	w := &Writer{dst: dst}
	var err error
	if w.h, err = w.s.start(&secret, b, o); err != nil {
		return nil, err
	}
	w.buf = take(w.h.SegmentBits)
	copy(*w.buf, w.s.header[:])
	return w, nil
}

// Write seals p. Errors are those of the destination.
func (w *Writer) Write(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	size := 1 << w.h.SegmentBits
	written := 0
	for len(p) > 0 {
		// A segment is sealed only once a byte behind it is known to follow:
		// the last one is sealed as the last.
		if w.n == size {
			if err := w.flush((*w.buf)[HeaderSize:HeaderSize+size], false); err != nil {
				return written, err
			}
			w.n = 0
		}
		if w.n == 0 && len(p) > size {
			if err := w.flush(p[:size], false); err != nil {
				return written, err
			}
			p, written = p[size:], written+size
			continue
		}
		n := copy((*w.buf)[HeaderSize+w.n:HeaderSize+size], p)
		p, w.n, written = p[n:], w.n+n, written+n
	}
	return written, nil
}

// flush seals one segment and writes it out, the header before the first.
func (w *Writer) flush(segment []byte, last bool) error {
	b := *w.buf
	out := w.s.aead.Seal(b[:HeaderSize], w.s.at(w.seg, last), segment, w.s.header[:])
	if w.seg > 0 {
		out = out[HeaderSize:]
	}
	n, err := w.dst.Write(out)
	if err == nil && n < len(out) {
		err = io.ErrShortWrite
	}
	if err != nil {
		w.err = err
		return err
	}
	w.plain += int64(len(segment))
	w.sealed += int64(n)
	w.seg++
	return nil
}

// Close seals the last segment. It does not close the destination. The blob is
// whole only if Close returns nil.
func (w *Writer) Close() error {
	if w.err != nil {
		return w.err
	}
	if err := w.flush((*w.buf)[HeaderSize:HeaderSize+w.n], true); err != nil {
		return err
	}
	give(w.h.SegmentBits, w.buf)
	w.buf = nil
	w.err = fault.New(fault.Internal, "sealing: the blob is already closed")
	return nil
}

// Blob returns the blob's identity.
func (w *Writer) Blob() archive.BlobID { return w.h.Blob }

// Plain returns how many bytes of plaintext have been sealed; all of them after Close.
func (w *Writer) Plain() int64 { return w.plain }

// Sealed returns how many bytes have gone to the destination; the length of the blob after Close.
func (w *Writer) Sealed() int64 { return w.sealed }

// SegmentBits returns log2 of the blob's segment size.
func (w *Writer) SegmentBits() uint8 { return w.h.SegmentBits }
