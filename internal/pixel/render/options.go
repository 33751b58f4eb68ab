package render

import (
	"math"

	"github.com/strata-pacs/strata/internal/fault"
)

// The media types that pictures are made in.
const (
	JPEG = "image/jpeg"
	PNG  = "image/png"
	GIF  = "image/gif"
)

// Bounds of what may be asked for.
const (
	// MaxViewport is the greatest width and height of a viewport, in pixels.
	MaxViewport = 16384
	// MaxPixels is the most pixels that a picture has.
	MaxPixels = 1 << 25
	// DefaultQuality of JPEG, where none is asked for.
	DefaultQuality = 90
)

// Options say how to render. The zero value is a JPEG of the whole frame as the
// data set wants it shown.
type Options struct {
	MediaType string    // JPEG, PNG or GIF; "" is JPEG
	Quality   int       // of JPEG, 1 to 100; 0 is DefaultQuality (PS3.18 §8.3.5.1.2)
	Window    *Window   // instead of the data set's own (PS3.18 §8.3.5.1.4)
	Viewport  *Viewport // PS3.18 §8.3.5.1.3
	Patient   bool      // burn in who it is (PS3.18 §8.3.5.1.1)
	Technique bool      // burn in how it was made
	// ICC says which profile the picture carries, and which space its colours
	// are converted into: "" or "no" (none), "yes" (the image's own, or sRGB),
	// "srgb", "adobergb", "rommrgb", "displayp3" (PS3.18 §8.3.5.1.5).
	ICC string
}

// Function is a VOI LUT Function as query parameters spell it (PS3.3 §C.11.2.1.3).
type Function string

// The functions.
const (
	Linear      Function = "linear"       // PS3.3 §C.11.2.1.2.1
	LinearExact Function = "linear-exact" // PS3.3 §C.11.2.1.3.2
	Sigmoid     Function = "sigmoid"      // PS3.3 §C.11.2.1.3.1
)

// Window is a window of interest in the units of the Modality LUT's output.
type Window struct {
	Center, Width float64
	Function      Function // "" is Linear
}

// Viewport is the size to scale to and the region of the image to show.
type Viewport struct {
	Width, Height int // in pixels of the picture; it fits within, its aspect ratio kept
	// X and Y are the region's top left corner, in pixels of the image.
	X, Y float64
	// W and H are the region's size, in pixels of the image; 0 is up to the right
	// or bottom edge. Below zero the region is flipped horizontally or vertically.
	W, H float64
}

// Validate reports, as fault.Invalid, what of the options is none.
func (o Options) Validate() error {
	switch o.MediaType {
	case "", JPEG, PNG, GIF:
	default:
		return fault.New(fault.NotAcceptable, "pictures are made as image/jpeg, image/png and image/gif")
	}
	if o.Quality < 0 || o.Quality > 100 {
		return fault.New(fault.Invalid, "quality must be a number from 1 to 100")
	}
	if o.Window != nil {
		if err := o.Window.validate(); err != nil {
			return err
		}
	}
	if o.Viewport != nil {
		if err := o.Viewport.validate(); err != nil {
			return err
		}
	}
	switch o.ICC {
	case "", "no", "yes", "srgb", "adobergb", "rommrgb", "displayp3":
		return nil
	}
	return fault.New(fault.Invalid, "iccprofile must be one of no, yes, srgb, adobergb, rommrgb, displayp3")
}

func (w *Window) validate() error {
	least := math.SmallestNonzeroFloat64
	switch w.Function {
	case "", Linear:
		least = 1
	case LinearExact, Sigmoid:
	default:
		return fault.New(fault.Invalid, "the function of a window must be one of linear, linear-exact, sigmoid")
	}
	switch {
	case !finite(w.Center) || !finite(w.Width):
		return fault.New(fault.Invalid, "the center and the width of a window must be numbers")
	case w.Width < least && least == 1:
		return fault.New(fault.Invalid, "the width of a linear window must be at least 1; linear-exact takes less")
	case w.Width < least:
		return fault.New(fault.Invalid, "the width of a window must be greater than 0")
	}
	return nil
}

func (v *Viewport) validate() error {
	switch {
	case v.Width < 1 || v.Height < 1 || v.Width > MaxViewport || v.Height > MaxViewport:
		return fault.New(fault.Invalid, "the width and the height of a viewport must be numbers from 1 to %d", MaxViewport)
	case !finite(v.X) || !finite(v.Y) || !finite(v.W) || !finite(v.H) || v.X < 0 || v.Y < 0:
		return fault.New(fault.Invalid, "the region of a viewport must be numbers, its corner within the image")
	}
	return nil
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }
