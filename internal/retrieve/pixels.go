package retrieve

import (
	"context"
	"io"

	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/fault"
)

const octets = "application/octet-stream"

// Pixels says what pixel data an instance has.
type Pixels struct {
	Path   string // as in BulkDataURI: "7FE00010"; empty when there is none
	Frames int    // that can be retrieved; a video stream counts as one
	// Encapsulated pixel data is given a frame at a time, native also as one value.
	Encapsulated bool
}

// where returns the layout of an instance found with Layouts.
func (in *Instance) where() (*dicom.Layout, error) {
	if in.layout == nil {
		return new(dicom.Layout), nil
	}
	return in.layout.parse()
}

// Pixels describes the pixel data of an instance found with Layouts.
func (in *Instance) Pixels() (Pixels, error) {
	l, err := in.where()
	if err != nil || l.Frames.Tag == 0 {
		return Pixels{}, err
	}
	return Pixels{l.Frames.Tag.String(), l.Frames.Count, !l.Frames.Native}, nil
}

// Frame returns frame n, from 1, of an instance found with Layouts, in a
// transfer syntax. With "" it is as stored: a native one as little endian
// octets that begin with its first pixel, in Explicit VR Little Endian; another
// as the encoded bit stream. Otherwise it is transcoded while it is written
// unless it is stored so: what cannot be, is fault.NotAcceptable here or of
// Write before its first byte. fault.NotFound past the last frame.
func (r *Reader) Frame(in *Instance, n int, syntax string) (*Body, error) {
	l, err := in.where()
	if err != nil {
		return nil, err
	}
	f := &l.Frames
	spans, err := f.Spans(n - 1)
	if err != nil {
		return nil, err
	}
	ts := dicom.Syntax(in.Syntax)
	native := f.Native || ts.UID == dicom.EncapsulatedUncompressed
	octetsToo := native && (syntax == dicom.ExplicitVRLittleEndian || syntax == dicom.ImplicitVRLittleEndian) // the same octets
	if syntax != "" && syntax != in.Syntax && !octetsToo {
		return r.transcodedFrame(in, f, n, syntax)
	}
	c := cut{spans: spans, size: total(spans)}
	if !f.Whole(n - 1) {
		_, bits := f.Bits(n - 1)
		c.size = (bits + 7) / 8
		c.filter = func(w io.Writer) io.WriteCloser { return f.LittleEndian(n-1, w) }
	}
	switch {
	case octetsToo:
		return r.newBody(in, octets, syntax, c), nil
	case native:
		return r.newBody(in, octets, dicom.ExplicitVRLittleEndian, c), nil
	}
	return r.newBody(in, ts.MediaType, in.Syntax, c), nil
}

// transcodedFrame returns frame n, from 1, of the instance's frames f, in a syntax
// that it is not stored in.
func (r *Reader) transcodedFrame(in *Instance, f *dicom.Frames, n int, to string) (*Body, error) {
	ts := dicom.Syntax(to)
	if ts.BigEndian || ts.Deflated {
		return nil, errTarget // of which a frame has nothing
	}
	if err := r.possible(in.Syntax, to); err != nil {
		return nil, err
	}
	b := &Body{MediaType: ts.MediaType, Syntax: to, Size: -1, Version: in.version(), reader: r}
	if spans, err := f.Spans(n - 1); err == nil {
		b.from = in.holds(spans)
	}
	b.prepare = func(ctx context.Context, m *memory) (writer, error) {
		h, err := r.Header(ctx, in)
		if err != nil {
			return nil, err
		}
		c := r.coder(in, h, to)
		switch {
		case h.FormatErr != nil:
			return nil, h.FormatErr
		case h.PixelData != pixelData:
			return nil, errNoFrames // it is native, and asked for otherwise
		}
		if err := c.Possible(); err != nil {
			return nil, err
		}
		if err := m.take(ctx, c.weight()); err != nil {
			return nil, err
		}
		bits, err := frameBits(f, n-1, nil, r.appendSpans(ctx, in))
		if err != nil {
			return nil, err
		}
		made, err := r.frame(ctx, c, bits)
		return func(_ context.Context, w io.Writer) error {
			_, err := w.Write(made.Bits)
			return err
		}, err
	}
	return b, nil
}

// BulkPaths lists the paths of the instance's bulk values, as in BulkDataURI,
// in the order of the file.
func (in *Instance) BulkPaths() ([]string, error) {
	l, err := in.where()
	if err != nil {
		return nil, err
	}
	paths := make([]string, len(l.Bulk))
	for i := range l.Bulk {
		paths[i] = l.Bulk[i].Path
	}
	return paths, nil
}

// Bulk returns the bulk value of the path, in little endian, of an instance
// found with Layouts. fault.NotFound when there is none.
func (r *Reader) Bulk(in *Instance, path string) (*Body, error) {
	l, err := in.where()
	if err != nil {
		return nil, err
	}
	v := l.Find(path)
	if v == nil {
		return nil, fault.New(fault.NotFound, "this instance has no bulk data of this path; its metadata names those it has")
	}
	c := cut{spans: []dicom.Span{v.Span}, size: v.Length}
	word := 1
	if l.BigEndian {
		if word = v.VR.Size(); l.Frames.Tag != 0 && path == l.Frames.Tag.String() {
			word = l.Frames.Word
		}
	}
	if word > 1 {
		c.filter = func(w io.Writer) io.WriteCloser { return dicom.NewSwapper(w, word) }
	}
	return r.newBody(in, octets, dicom.ExplicitVRLittleEndian, c), nil
}
