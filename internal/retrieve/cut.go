package retrieve

import (
	"context"
	"errors"
	"io"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/fault"
)

// cut is a part of an instance's file.
type cut struct {
	spans []dicom.Span // ascending
	// filter makes what is given out of the bytes of spans; nil when they are it.
	filter func(w io.Writer) io.WriteCloser
	size   int64 // bytes given
}

func total(spans []dicom.Span) (n int64) {
	for _, s := range spans {
		n += s.Length
	}
	return n
}

func (r *Reader) newBody(in *Instance, mediaType, syntax string, c cut) *Body {
	return &Body{MediaType: mediaType, Syntax: syntax, Size: c.size, Version: in.version(), reader: r, from: in.holds(c.spans),
		write: func(ctx context.Context, w io.Writer, off, n int64) error { return r.writeCut(ctx, w, in, &c, off, n) }}
}

// writeCut writes n bytes from off of the part.
func (r *Reader) writeCut(ctx context.Context, w io.Writer, in *Instance, c *cut, off, n int64) error {
	if n == 0 {
		return nil
	}
	if c.filter == nil {
		return r.writeSpans(ctx, w, in, within(c.spans, off, n))
	}
	// The filter runs from the beginning; the window keeps what is asked for
	// and then stops the source.
	win := &window{w: w, skip: off, left: n}
	f := c.filter(win)
	err := r.writeSpans(ctx, f, in, c.spans)
	if e := f.Close(); err == nil {
		err = e
	}
	switch {
	case win.left == 0 && (err == nil || errors.Is(err, errEnough)):
		return nil
	case err == nil:
		return errLayout
	}
	return err
}

// within returns the pieces of spans that hold n bytes from off of their concatenation.
func within(spans []dicom.Span, off, n int64) []dicom.Span {
	out := make([]dicom.Span, 0, len(spans))
	for _, s := range spans {
		if skip := min(off, s.Length); skip > 0 {
			s.Offset, s.Length, off = s.Offset+skip, s.Length-skip, off-skip
		}
		if s.Length = min(s.Length, n); s.Length > 0 {
			out = append(out, s)
			n -= s.Length
		}
	}
	return out
}

// maxGap is how many unwanted bytes are read over rather than read around.
const maxGap = 64 << 10

// writeSpans writes the spans one after another.
func (r *Reader) writeSpans(ctx context.Context, w io.Writer, in *Instance, spans []dicom.Span) error {
	at := int64(0)
	for _, s := range spans {
		if s.Offset < at || s.Length < 0 || s.Offset+s.Length < s.Offset {
			return errLayout
		}
		at = s.Offset + s.Length
	}
	if in.Coding == archive.Deflated {
		return r.writeInflated(ctx, w, in, spans)
	}
	if at > in.Size {
		return errLayout
	}
	for len(spans) > 0 {
		k, end := 1, spans[0].Offset+spans[0].Length
		for k < len(spans) && spans[k].Offset-end <= maxGap {
			end = spans[k].Offset + spans[k].Length
			k++
		}
		out := w
		if k > 1 {
			out = &pick{w: w, at: spans[0].Offset, spans: append([]dicom.Span(nil), spans[:k]...)}
		}
		if err := r.writeStored(ctx, out, in, spans[0].Offset, end-spans[0].Offset); err != nil {
			return err
		}
		spans = spans[k:]
	}
	return nil
}

var errLayout = fault.New(fault.Corrupt, "the index says that a value lies outside of its instance; run 'strata rebuild'")
