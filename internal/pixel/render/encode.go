package render

import (
	"image"
	"io"
	"iter"
	"time"

	"github.com/strata-pacs/strata/internal/fault"
)

// Encode writes the picture as o.MediaType with the ICC profile, if any, embedded;
// GIF has no place for one.
func Encode(w io.Writer, img image.Image, o Options, icc []byte) error {
	return fault.New(fault.NotAcceptable, "rendering is not built in")
}

// Bounds of an animation.
const (
	MaxAnimationFrames = 4096
	MaxAnimationPixels = 1 << 28
)

// CheckAnimation reports, as fault.NotAcceptable, that so many frames as large as
// size are more than [EncodeGIF] writes.
func CheckAnimation(frames int, size image.Point) error {
	if frames > MaxAnimationFrames || int64(frames)*int64(size.X)*int64(size.Y) > MaxAnimationPixels {
		return fault.New(fault.NotAcceptable, "this is too much for an animation; ask for some of its frames, for a smaller viewport, or for single frames")
	}
	return nil
}

// EncodeGIF writes frames as an animated GIF that repeats for ever, each as soon
// as it comes and none kept. All are as large as the first. delay says how long
// frame i, counted from 0, is shown; see [Renderer.Delay]. It ends with the error
// that frames yields, or of CheckAnimation.
func EncodeGIF(w io.Writer, frames iter.Seq2[image.Image, error], delay func(i int) time.Duration) error {
	return fault.New(fault.NotAcceptable, "rendering is not built in")
}

// Delay returns how long frame n, counted from 1, is shown in an animation.
func (x *Renderer) Delay(n int) time.Duration { return 0 }
