package render

import (
	"context"
	"image"
	"sync"

	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/pixel"
)

// Renderer renders the frames of one instance. It is safe for concurrent use.
type Renderer struct {
	data  *dicom.Dataset
	value func(context.Context, *dicom.Element) ([]byte, error)

	mu       sync.Mutex // what follows is made when it is first needed
	luts     map[*dicom.Dataset]*lut
	tables   map[tableKey][]uint8
	colours  *colourTable
	overlays []overlay // nil: not read yet
}

// New returns a renderer of the instance with the data set, which reads with
// value what d does not hold: the data of lookup tables, overlays and profiles.
// Without value these are missing.
func New(d *dicom.Dataset, value func(ctx context.Context, e *dicom.Element) ([]byte, error)) *Renderer {
	if d == nil {
		d = &dicom.Dataset{}
	}
	return &Renderer{data: d, value: value}
}

// Frame returns the picture of frame n, counted from 1, which img is: *image.Gray
// or an opaque *image.RGBA, in the colour space that [Renderer.Profile]
// describes. A frame that cannot be shown, among them one of more than MaxPixels
// without a smaller viewport, is fault.NotAcceptable; options that are not valid,
// or whose region lies outside of the image, are fault.Invalid.
func (x *Renderer) Frame(ctx context.Context, n int, img pixel.Image, o Options) (image.Image, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	size, err := img.FrameBytes()
	if err != nil {
		return nil, err
	}
	if int64(len(img.Data)) < size {
		return nil, fault.New(fault.NotAcceptable, "a frame of this image is cut short; retrieve it as it is stored")
	}
	g, err := lay(img.Columns, img.Rows, x.aspect(n), o.Viewport)
	if err != nil {
		return nil, err
	}
	p, err := x.picture(ctx, n, img, o)
	if err != nil {
		return nil, err
	}
	planes, err := x.planes(ctx, n, img)
	if err != nil {
		return nil, err
	}
	out, err := p.drawn(planes).scaled(ctx, g)
	if err != nil {
		return nil, err
	}
	if err := x.convert(ctx, out, o); err != nil {
		return nil, err
	}
	if o.Patient || o.Technique {
		x.annotate(out, n, o)
	}
	return out, nil
}

// picture returns the frame in grey or in colours.
func (x *Renderer) picture(ctx context.Context, n int, img pixel.Image, o Options) (picture, error) {
	switch p := img.Photometric; {
	case (p == pixel.Monochrome1 || p == pixel.Monochrome2) && img.Samples == 1:
		grey, err := x.greyscale(ctx, n, img, o)
		if err != nil {
			return picture{}, err
		}
		return x.supplemental(ctx, img, grey)
	case p == pixel.PaletteColor && img.Samples == 1:
		return x.paletteColour(ctx, img)
	case (p == pixel.RGB || p.IsYBR()) && img.Samples == 3:
		return truecolour(img)
	}
	return picture{}, fault.New(fault.NotAcceptable, "images of this Photometric Interpretation (0028,0004) cannot be shown")
}
