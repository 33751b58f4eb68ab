package render

import (
	"image"
	"image/draw"
	"io"

	"github.com/strata-pacs/strata/internal/fault"
)

// Encode writes the picture as o.MediaType with the ICC profile, if any, embedded.
// GIF has no place for a profile; one of other components than the picture's is
// left out, since a reader would refuse the picture for it.
func Encode(w io.Writer, img image.Image, o Options, icc []byte) error {
	if err := o.Validate(); err != nil {
		return err
	}
	img = plain(img)
	want := "RGB "
	if _, ok := img.(*image.Gray); ok {
		want = "GRAY"
	}
	if !isProfile(icc) || string(icc[16:20]) != want {
		icc = nil
	}
	switch o.MediaType {
	case PNG:
		return encodePNG(w, img, icc)
	case GIF:
		return encodeStill(w, img)
	case "", JPEG:
		quality := o.Quality
		if quality == 0 {
			quality = DefaultQuality
		}
		return encodeJPEG(w, img, quality, icc)
	}
	return fault.New(fault.NotAcceptable, "pictures are made as image/jpeg, image/png and image/gif")
}

// plain returns the picture as *image.Gray or *image.RGBA that begins at 0, 0.
func plain(img image.Image) image.Image {
	b := img.Bounds()
	switch m := img.(type) {
	case *image.Gray:
		if b.Min == (image.Point{}) {
			return m
		}
		out := image.NewGray(image.Rect(0, 0, b.Dx(), b.Dy()))
		draw.Draw(out, out.Rect, img, b.Min, draw.Src)
		return out
	case *image.RGBA:
		if b.Min == (image.Point{}) {
			return m
		}
	}
	out := image.NewRGBA(image.Rect(0, 0, b.Dx(), b.Dy()))
	draw.Draw(out, out.Rect, img, b.Min, draw.Src)
	return out
}
