package render

import (
	"math"

	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/fault"
)

// geometry is the region of the frame that is shown, and the size it gets.
type geometry struct {
	x, y, w, h    float64 // in pixels of the frame
	flipX, flipY  bool
	width, height int // of the picture
}

// whole reports whether the frame is shown as it is.
func (g geometry) identity(width, height int) bool {
	return g.x == 0 && g.y == 0 && g.w == float64(width) && g.h == float64(height) &&
		g.width == width && g.height == height && !g.flipX && !g.flipY
}

// maxAspect is how many times as high as wide, or the other way round, a pixel
// can be: no modality makes such, and pictures are not blown up by a typing error.
const maxAspect = 20

// aspect returns the height of a pixel of frame n over its width, exactly 1
// where they differ so little that nobody can see it (PS3.3 §C.7.6.3.1.7, §10.7.1.3).
func (x *Renderer) aspect(n int) float64 {
	for _, a := range []struct {
		d *dicom.Dataset
		t dicom.Tag
	}{
		{x.with(n, pixelMeasures, pixelSpacing), pixelSpacing},
		{x.data, imagerPixelSpacing},
		{x.data, nominalPixelSpacing},
		{x.data, pixelAspectRatio},
	} {
		v, ok1 := value(a.d, a.t, 0)
		h, ok2 := value(a.d, a.t, 1)
		if !ok1 || !ok2 || v <= 0 || h <= 0 {
			continue
		}
		r := v / h
		if r > maxAspect || r < 1.0/maxAspect || math.Abs(r-1) < 0.01 {
			return 1
		}
		return r
	}
	return 1
}

// lay works out the geometry of a frame whose pixels are aspect times as high as
// wide. Pixels that are not square are stretched, never shrunk. The picture fits
// the viewport, its aspect ratio kept (PS3.18 §8.3.5.1.3).
func lay(width, height int, aspect float64, v *Viewport) (geometry, error) {
	g := geometry{w: float64(width), h: float64(height)}
	if v != nil {
		g.flipX, g.flipY = v.W < 0, v.H < 0
		g.x, g.w = part(v.X, math.Abs(v.W), g.w)
		g.y, g.h = part(v.Y, math.Abs(v.H), g.h)
		if g.w <= 0 || g.h <= 0 {
			return g, fault.New(fault.Invalid, "the region of the viewport lies outside of the image, which has %d columns and %d rows", width, height)
		}
	}
	dw, dh := g.w, g.h
	if aspect >= 1 {
		dh *= aspect
	} else {
		dw /= aspect
	}
	scale := 1.0
	if v != nil {
		scale = min(float64(v.Width)/dw, float64(v.Height)/dh)
	}
	g.width, g.height = atLeastOne(dw*scale), atLeastOne(dh*scale)
	if v != nil {
		g.width, g.height = min(g.width, v.Width), min(g.height, v.Height)
	}
	if int64(g.width)*int64(g.height) > MaxPixels {
		return g, fault.New(fault.NotAcceptable, "the picture would have %d by %d pixels, more than %d megapixels; ask for a smaller viewport", g.width, g.height, MaxPixels>>20)
	}
	return g, nil
}

// part cuts a region to what there is of 0 to size; of length 0 it goes to the end.
func part(from, length, size float64) (float64, float64) {
	to := size
	if length > 0 {
		to = min(size, from+length)
	}
	return from, to - from
}

func atLeastOne(v float64) int { return max(1, int(min(v, 1<<30)+0.5)) }
