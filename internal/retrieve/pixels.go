package retrieve

import (
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
// as the encoded bit stream. fault.NotFound past the last frame,
// fault.NotAcceptable when the syntax is none that frames are given in.
func (r *Reader) Frame(in *Instance, n int, syntax string) (*Body, error) {
	if syntax != "" && syntax != in.Syntax {
		return nil, errSyntax(in)
	}
	l, err := in.where()
	if err != nil {
		return nil, err
	}
	f := &l.Frames
	spans, err := f.Spans(n - 1)
	if err != nil {
		return nil, err
	}
	c := cut{spans: spans, size: total(spans)}
	if !f.Whole(n - 1) {
		_, bits := f.Bits(n - 1)
		c.size = (bits + 7) / 8
		c.filter = func(w io.Writer) io.WriteCloser { return f.LittleEndian(n-1, w) }
	}
	ts := dicom.Syntax(in.Syntax)
	if f.Native || ts.UID == dicom.EncapsulatedUncompressed {
		return r.newBody(in, octets, dicom.ExplicitVRLittleEndian, c), nil
	}
	return r.newBody(in, ts.MediaType, in.Syntax, c), nil
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
