package render

import (
	"context"
	"math"

	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/pixel"
)

// curve is the way from a stored value to grey. It is comparable, so that tables
// made of it can be found again.
type curve struct {
	modality         *lut // else slope and intercept
	slope, intercept float64
	voi              *lut   // else the window
	window           Window // of width 0: low to high
	low, high        float64
	invert           bool
	pad              padding
}

// padding is the range of stored values that are no pixels (PS3.3 §C.7.5.1.1.2).
type padding struct {
	any       bool
	low, high float64
}

func (p padding) has(v float64) bool { return p.any && v >= p.low && v <= p.high }

// rescaled is the Modality LUT (PS3.3 §C.11.1).
func (c *curve) rescaled(v float64) float64 {
	if c.modality != nil {
		return c.modality.at(v)
	}
	return v*c.slope + c.intercept
}

// grey returns what a stored value looks like: 0 is black.
func (c *curve) grey(stored float64) uint8 {
	if c.pad.has(stored) || math.IsNaN(stored) {
		return 0
	}
	v := c.rescaled(stored)
	var y float64
	switch {
	case c.voi != nil:
		y = c.voi.at(v) / c.voi.top
	case c.window.Width > 0:
		y = c.window.at(v)
	default:
		y = (v - c.low) / (c.high - c.low)
	}
	if c.invert {
		y = 1 - y
	}
	return level(y)
}

// level returns 0 to 1 as 0 to 255; what is no number is black.
func level(y float64) uint8 {
	switch {
	case !(y > 0):
		return 0
	case y >= 1:
		return 255
	}
	return uint8(y*255 + 0.5)
}

// at applies the window, from 0 to 1 (PS3.3 §C.11.2.1.2.1, §C.11.2.1.3).
func (w Window) at(x float64) float64 {
	switch {
	case w.Function == Sigmoid:
		return 1 / (1 + math.Exp(-4*(x-w.Center)/w.Width))
	case w.Function == LinearExact, w.Width < 1:
		switch {
		case x <= w.Center-w.Width/2:
			return 0
		case x > w.Center+w.Width/2:
			return 1
		}
		return (x-w.Center)/w.Width + 0.5
	case x <= w.Center-0.5-(w.Width-1)/2:
		return 0
	case x > w.Center-0.5+(w.Width-1)/2:
		return 1
	}
	return (x-(w.Center-0.5))/(w.Width-1) + 0.5
}

// X-ray angiography and fluoroscopy, whose Modality LUT is for measuring, not for
// display, where pixels are not linear to the beam (PS3.3 §C.8.7.1.1.2).
const (
	xaImage  = "1.2.840.10008.5.1.4.1.1.12.1"
	xrfImage = "1.2.840.10008.5.1.4.1.1.12.2"
)

// curve returns the way to grey of frame n, whose values still have to be looked
// at where neither table nor window is there: spans.
func (x *Renderer) curve(ctx context.Context, n int, f pixel.Format, o Options) (c curve, spans bool, err error) {
	c.slope = 1
	d := x.with(n, pixelTransformation, rescaleSlope, rescaleIntercept)
	if s, ok := value(d, rescaleSlope, 0); ok && s != 0 {
		c.slope = s
	} else if s, ok := value(x.data, doseGridScaling, 0); ok && s > 0 {
		c.slope = s
	}
	if i, ok := value(d, rescaleIntercept, 0); ok {
		c.intercept = i
	}
	if x.rescales() {
		if c.modality, err = x.lutOf(ctx, item(x.data, modalityLUTSequence), f.Signed); err != nil {
			return c, false, err
		}
	}
	c.pad = x.padding(f)
	c.invert = f.Photometric == pixel.Monochrome1 || text(x.data, presentationLUTShape) == "INVERSE"
	if o.Window != nil {
		c.window = exactly(*o.Window, f)
		return c, false, nil
	}
	signed := c.modality == nil && (f.Signed || c.intercept < 0)
	d = x.with(n, frameVOILUT, windowCenter, voiLUTSequence)
	if c.voi, err = x.lutOf(ctx, item(d, voiLUTSequence), signed); err != nil || c.voi != nil {
		return c, false, err
	}
	if w, ok := windowOf(d); ok {
		c.window = exactly(w, f)
		return c, false, nil
	}
	if top, ok := x.representable(f); ok && c.modality == nil {
		c.low, c.high = c.rescaled(0), c.rescaled(top)
		if c.low > c.high {
			c.low, c.high = c.high, c.low
		}
		return c, false, nil
	}
	return c, true, nil
}

// exactly returns the window for pixels of the format: for numbers that are not
// whole, LINEAR, whose half and one are those of whole numbers, is LINEAR_EXACT.
func exactly(w Window, f pixel.Format) Window {
	if f.Float && w.Function != Sigmoid {
		w.Function = LinearExact
	}
	return w
}

// rescales reports whether the Modality LUT Sequence is for display.
func (x *Renderer) rescales() bool {
	switch text(x.data, sopClassUID) {
	case xaImage, xrfImage:
		r := text(x.data, pixelIntensityRelation)
		return r != "LOG" && r != "DISP"
	}
	return true
}

// representable returns the greatest value, for images of values that speak for
// themselves: bits, bytes, and fractions of a segment (PS3.3 §C.8.20.2). Labels
// do not.
func (x *Renderer) representable(f pixel.Format) (float64, bool) {
	if f.Float || f.Signed || f.BitsAllocated > 8 || text(x.data, segmentationType) == "LABELMAP" {
		return 0, false
	}
	if f.BitsStored == 1 {
		return 1, true
	}
	if text(x.data, segmentationType) == "FRACTIONAL" {
		if top, ok := value(x.data, maximumFractional, 0); ok && top >= 1 && top <= 255 {
			return top, true
		}
	}
	return 255, f.BitsStored == 8
}

// windowOf returns the first window of the data set, if it has one that makes sense.
func windowOf(d *dicom.Dataset) (Window, bool) {
	center, ok1 := value(d, windowCenter, 0)
	width, ok2 := value(d, windowWidth, 0)
	w := Window{Center: center, Width: width, Function: Linear}
	switch text(d, voiLUTFunction) {
	case "SIGMOID":
		w.Function = Sigmoid
	case "LINEAR_EXACT":
		w.Function = LinearExact
	}
	return w, ok1 && ok2 && width > 0
}

// padding returns the stored values that are no pixels. Whatever VR they came
// with, they are of the pixels' representation.
func (x *Renderer) padding(f pixel.Format) padding {
	from, to := pixelPaddingValue, pixelPaddingLimit
	switch {
	case f.Float && f.BitsAllocated == 32:
		from, to = floatPaddingValue, floatPaddingLimit
	case f.Float:
		from, to = doublePaddingValue, doublePaddingLimit
	}
	a, ok := value(x.data, from, 0)
	if !ok || f.BitsStored == 1 {
		return padding{}
	}
	b, ok := value(x.data, to, 0)
	if !ok {
		b = a
	}
	if !f.Float {
		a, b = represented(a, f), represented(b, f)
	}
	return padding{any: true, low: min(a, b), high: max(a, b)}
}

// represented returns a 16-bit number, read as unsigned or signed, as pixels of
// the format are.
func represented(v float64, f pixel.Format) float64 {
	half, all := math.Ldexp(1, f.BitsStored-1), math.Ldexp(1, f.BitsStored)
	switch {
	case f.Signed && v >= half && v < all:
		return v - all
	case f.Signed && v >= 1<<15 && v < 1<<16 && f.BitsStored < 16:
		return v - 1<<16
	case !f.Signed && v < 0 && v >= -1<<15:
		return v + 1<<16
	}
	return v
}
