package retrieve

import (
	"bufio"
	"context"
	"encoding/binary"
	"io"
	"sync"

	"github.com/klauspost/compress/flate"

	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/fault"
)

// writeInflated writes spans of a file whose data set is deflated (PS3.5 §A.5),
// inflating up to the end of the last one.
func (r *Reader) writeInflated(ctx context.Context, w io.Writer, in *Instance, spans []dicom.Span) error {
	if len(spans) == 0 {
		return nil
	}
	src, err := r.stream(ctx, in)
	if err != nil {
		return err
	}
	defer src.Close()
	last := spans[len(spans)-1]
	out := &exactly{w: &pick{w: w, spans: append([]dicom.Span(nil), spans...)}, left: last.Offset + last.Length}
	if err := inflate(out, src); err != nil && out.left > 0 {
		return err
	}
	if out.err == nil && out.left > 0 {
		return errLayout
	}
	return out.err
}

// exactly passes left bytes, then ends the source. It remembers its own error,
// which is that of the destination and not of the source.
type exactly struct {
	w    io.Writer
	left int64
	err  error
}

func (e *exactly) Write(p []byte) (int, error) {
	k := min(int64(len(p)), e.left)
	if _, e.err = e.w.Write(p[:k]); e.err != nil {
		return 0, e.err
	}
	if e.left -= k; e.left == 0 {
		return len(p), errEnough
	}
	return len(p), nil
}

var (
	inflaters = sync.Pool{New: func() any { return flate.NewReader(nil) }}
	readers   = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, filterBuffer) }}
)

// inflate writes a deflated file with its data set inflated: the preamble and
// the File Meta Information as they are, then what the rest inflates to.
func inflate(w io.Writer, src io.Reader) error {
	br := readers.Get().(*bufio.Reader)
	br.Reset(src)
	defer func() {
		br.Reset(nil)
		readers.Put(br)
	}()
	if err := copyMeta(w, br); err != nil {
		return err
	}
	fr := inflaters.Get().(io.ReadCloser)
	defer inflaters.Put(fr)
	if err := fr.(flate.Resetter).Reset(br, nil); err != nil {
		return err
	}
	buf := filterBuffers.Get().(*[filterBuffer]byte)
	defer func() {
		clear(buf[:])
		filterBuffers.Put(buf)
	}()
	for {
		n, err := fr.Read(buf[:])
		if n > 0 {
			if _, err := w.Write(buf[:n]); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		} else if err != nil {
			if fault.KindOf(err) == fault.Internal {
				err = fault.Wrap(fault.Corrupt, err, "a deflated instance cannot be inflated")
			}
			return err
		}
	}
}

// copyMeta copies what comes before the data set: the preamble, and group 0002
// as far as its length says, or the next group (PS3.10 §7.1). It is always in
// Explicit VR Little Endian.
func copyMeta(w io.Writer, br *bufio.Reader) error {
	const preamble = 132
	if head, err := br.Peek(preamble); err == nil && string(head[128:]) == "DICM" {
		if _, err := io.CopyN(w, br, preamble); err != nil {
			return err
		}
	} else if head, err := br.Peek(4); err == nil && string(head) == "DICM" {
		if _, err := io.CopyN(w, br, 4); err != nil {
			return err
		}
	}
	for at, end := int64(0), int64(-1); at != end; {
		head, err := br.Peek(12)
		if err != nil && len(head) < 8 || binary.LittleEndian.Uint16(head) != 2 {
			return nil
		}
		n := int64(8) + int64(binary.LittleEndian.Uint16(head[6:]))
		switch string(head[4:6]) {
		case "OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV":
			if len(head) < 12 {
				return errLayout
			}
			n = 12 + int64(binary.LittleEndian.Uint32(head[8:]))
		case "UL":
			if binary.LittleEndian.Uint16(head[2:]) == 0 && n == 12 {
				end = at + n + int64(binary.LittleEndian.Uint32(head[8:]))
			}
		}
		if _, err := io.CopyN(w, br, n); err != nil {
			return err
		}
		at += n
	}
	return nil
}
