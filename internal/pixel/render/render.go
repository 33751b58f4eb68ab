package render

import (
	"context"
	"image"

	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/pixel"
)

// Renderer renders the frames of one instance. It is safe for concurrent use.
type Renderer struct {
	data  *dicom.Dataset
	value func(context.Context, *dicom.Element) ([]byte, error)
}

// New returns a renderer of the instance with the data set, which reads with
// value what d does not hold: the data of lookup tables, overlays and profiles.
// Without value these are missing.
func New(d *dicom.Dataset, value func(ctx context.Context, e *dicom.Element) ([]byte, error)) *Renderer {
	return &Renderer{data: d, value: value}
}

// Frame returns the picture of frame n, counted from 1, which img is: *image.Gray
// or an opaque *image.RGBA, in the colour space that [Renderer.Profile]
// describes. Options must be valid. A frame that cannot be shown, among them one
// of more than MaxPixels without a smaller viewport, is fault.NotAcceptable.
func (x *Renderer) Frame(ctx context.Context, n int, img pixel.Image, o Options) (image.Image, error) {
	return nil, fault.New(fault.NotAcceptable, "rendering is not built in")
}

// Profile returns the ICC profile to embed in pictures of the instance made with
// the options, for [Encode]; nil when they have none.
func (x *Renderer) Profile(ctx context.Context, o Options) ([]byte, error) {
	return nil, nil
}
