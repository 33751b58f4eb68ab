package render

import (
	"bytes"
	"errors"
	"image"
	"image/gif"
	"image/png"
	"io"
	"iter"
	"math"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/fault"
)

func greyRamp(w, h int) *image.Gray {
	m := image.NewGray(image.Rect(0, 0, w, h))
	for i := range m.Pix {
		m.Pix[i] = uint8(i%w*7 + i/w*3)
	}
	return m
}

// TestPNG: pictures come back as they were, also those that are part of another.
func TestPNG(t *testing.T) {
	for _, m := range []image.Image{greyRamp(1, 1), greyRamp(300, 200), colours(1), colours(100), greyRamp(100, 50).SubImage(image.Rect(10, 5, 60, 40)), colours(64).SubImage(image.Rect(3, 5, 60, 64)), image.NewNRGBA(image.Rect(0, 0, 3, 3))} {
		var b bytes.Buffer
		if err := Encode(&b, m, Options{MediaType: PNG}, nil); err != nil {
			t.Fatal(err)
		}
		back, err := png.Decode(&b)
		if err != nil {
			t.Fatal(err)
		}
		if e := difference(m, back); e != 0 && m.Bounds().Dx() != 3 {
			t.Errorf("%T %v: mean error %v", m, m.Bounds(), e)
		}
	}
}

// difference is meanError for pictures that begin anywhere.
func difference(a, b image.Image) float64 {
	return meanError(plain(a), plain(b))
}

// TestGIF: greys and few colours are exact, many are near.
func TestGIF(t *testing.T) {
	few := image.NewRGBA(image.Rect(0, 0, 64, 64))
	for i := range 64 * 64 {
		copy(few.Pix[4*i:], []byte{byte(i % 16 * 16), byte(i / 16 % 16 * 16), 77, 255})
	}
	for _, tt := range []struct {
		m    image.Image
		most float64
	}{{greyRamp(100, 70), 0}, {few, 0}, {colours(128), 8}, {image.NewRGBA(image.Rect(0, 0, 1, 1)), 0}} {
		var b bytes.Buffer
		if err := Encode(&b, tt.m, Options{MediaType: GIF}, nil); err != nil {
			t.Fatal(err)
		}
		back, err := gif.Decode(&b)
		if err != nil {
			t.Fatal(err)
		}
		if _, opaque := tt.m.(*image.RGBA); opaque && tt.m.Bounds().Dx() == 1 {
			continue // transparent black has no colour to compare
		}
		if e := meanError(tt.m, back); e > tt.most {
			t.Errorf("%T: mean error %v", tt.m, e)
		}
	}
}

// sequence yields pictures, then an error if there is one.
func sequence(err error, all ...image.Image) iter.Seq2[image.Image, error] {
	return func(yield func(image.Image, error) bool) {
		for _, m := range all {
			if !yield(m, nil) {
				return
			}
		}
		if err != nil {
			yield(nil, err)
		}
	}
}

func TestAnimation(t *testing.T) {
	var b bytes.Buffer
	delays := []time.Duration{40 * time.Millisecond, 100 * time.Millisecond, time.Hour}
	delay := func(i int) time.Duration { return delays[i] }
	pictures := []image.Image{greyRamp(50, 40), colours(50).SubImage(image.Rect(0, 0, 50, 40)), greyRamp(50, 40)}
	if err := EncodeGIF(&b, sequence(nil, pictures...), delay); err != nil {
		t.Fatal(err)
	}
	all, err := gif.DecodeAll(&b)
	if err != nil {
		t.Fatal(err)
	}
	if len(all.Image) != 3 || all.LoopCount != 0 || all.Delay[0] != 4 || all.Delay[1] != 10 || all.Delay[2] != 65535 {
		t.Errorf("%d frames, delays %v, loops %d", len(all.Image), all.Delay, all.LoopCount)
	}
	if e := meanError(pictures[0], all.Image[2]); e != 0 {
		t.Errorf("mean error %v", e)
	}
	gone := errors.New("gone")
	if err := EncodeGIF(io.Discard, sequence(gone, pictures[0]), delay); err != gone {
		t.Errorf("frames that end in an error: %v", err)
	}
	if err := EncodeGIF(io.Discard, sequence(nil), delay); !fault.Is(err, fault.NotAcceptable) {
		t.Errorf("no frames: %v", err)
	}
	if err := EncodeGIF(io.Discard, sequence(nil, pictures[0], greyRamp(40, 50)), delay); !fault.Is(err, fault.NotAcceptable) {
		t.Errorf("frames of two sizes: %v", err)
	}
	if err := EncodeGIF(&failing{100}, sequence(nil, pictures...), delay); !errors.Is(err, errFull) {
		t.Errorf("a reader that has gone: %v", err)
	}
	// An animation is not written for ever.
	endless := func(yield func(image.Image, error) bool) {
		for yield(greyRamp(1, 1), nil) {
		}
	}
	if err := EncodeGIF(io.Discard, endless, func(int) time.Duration { return 0 }); !fault.Is(err, fault.NotAcceptable) {
		t.Errorf("endless frames: %v", err)
	}
	if CheckAnimation(1024, image.Pt(512, 512)) != nil || CheckAnimation(1025, image.Pt(512, 512)) == nil || CheckAnimation(math.MaxInt32, image.Pt(65535, 65535)) == nil {
		t.Error("the bound of an animation")
	}
}

func TestEncodeRefuses(t *testing.T) {
	if err := Encode(io.Discard, greyRamp(2, 2), Options{MediaType: "image/tiff"}, nil); !fault.Is(err, fault.NotAcceptable) {
		t.Errorf("%v", err)
	}
	if err := Encode(io.Discard, greyRamp(2, 2), Options{Quality: 1000}, nil); !fault.Is(err, fault.Invalid) {
		t.Errorf("%v", err)
	}
}
