package dicom

import (
	"context"
	"errors"
	"io"
)

// ReadHeader reads a DICOM file as [Read] does, but only up to its pixel data:
// f.Data holds the elements before it, and r may end anywhere behind the header
// of the Pixel Data element. A file without pixel data is read to its end. Size
// and what NewLayout needs are not known.
func ReadHeader(ctx context.Context, r io.Reader, l Limits) (*File, error) {
	rd := newReader(ctx, r, l)
	defer rd.release()
	f, sc, err := rd.begin()
	if err != nil {
		return nil, err
	}
	if err := rd.walk(headerReader{rd}, sc); err != nil && !errors.Is(err, errPixels) {
		return nil, err
	}
	f.Data, f.Warnings = rd.finishDataset(0, sc), rd.warnings
	return f, nil
}

// errPixels ends a walk at the pixel data.
var errPixels = errors.New("pixel data")

// headerReader is a reader that stops at the data set's own pixel data.
type headerReader struct{ *reader }

func (r headerReader) value(h header, sc *scope) error {
	if sc.depth == 0 && isPixelData(h.tag) {
		return errPixels
	}
	return r.reader.value(h, sc)
}

func (r headerReader) encapsulated(h header, sc *scope) error {
	if sc.depth == 0 && isPixelData(h.tag) {
		return errPixels
	}
	return r.reader.encapsulated(h, sc)
}
