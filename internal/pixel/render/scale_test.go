package render

import (
	"bytes"
	"context"
	"image"
	"math"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/pixel"
)

func frame(t *testing.T, d *dicom.Dataset, img pixel.Image, v *Viewport) image.Image {
	t.Helper()
	m, err := New(d, nil).Frame(context.Background(), 1, img, Options{Viewport: v})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestSize checks the size of pictures (PS3.18 §8.3.5.1.3) and that pixels become
// square.
func TestSize(t *testing.T) {
	img := gradient(400, 200, func(x, y int) int { return x })
	for _, tt := range []struct {
		name string
		d    *dicom.Dataset
		v    *Viewport
		want image.Point
	}{
		{"as it is", set(), nil, image.Pt(400, 200)},
		{"fits the width", set(), &Viewport{Width: 100, Height: 100}, image.Pt(100, 50)},
		{"fits the height", set(), &Viewport{Width: 1000, Height: 100}, image.Pt(200, 100)},
		{"larger", set(), &Viewport{Width: 800, Height: 800}, image.Pt(800, 400)},
		{"tiny", set(), &Viewport{Width: 1, Height: 1}, image.Pt(1, 1)},
		{"region", set(), &Viewport{Width: 100, Height: 100, X: 100, Y: 50, W: 100, H: 100}, image.Pt(100, 100)},
		{"region up to the edges", set(), &Viewport{Width: 100, Height: 100, X: 300, Y: 0}, image.Pt(50, 100)},
		{"region past the edges", set(), &Viewport{Width: 100, Height: 100, X: 300, Y: 100, W: 1e9, H: -1e9}, image.Pt(100, 100)},
		{"region of less than a pixel", set(), &Viewport{Width: 10, Height: 10, X: 1.25, Y: 3.5, W: 0.5, H: 0.5}, image.Pt(10, 10)},
		{"spacing of square pixels", set(ds(pixelSpacing, `0.488281\0.48828`)), nil, image.Pt(400, 200)},
		{"pixels twice as high", set(ds(pixelSpacing, `1.0\0.5`)), nil, image.Pt(400, 400)},
		{"pixels twice as wide", set(ds(pixelSpacing, `0.5\1.0`)), nil, image.Pt(800, 200)},
		{"twice as high in a viewport", set(ds(imagerPixelSpacing, `1.0\0.5`)), &Viewport{Width: 100, Height: 100}, image.Pt(100, 100)},
		{"aspect ratio", set(ds(pixelAspectRatio, `4\3`)), nil, image.Pt(400, 267)},
		{"spacing goes before the aspect ratio", set(ds(pixelSpacing, `1\1`), ds(pixelAspectRatio, `4\3`)), nil, image.Pt(400, 200)},
		{"spacing in functional groups", set(sq(sharedGroups, set(sq(pixelMeasures, set(ds(pixelSpacing, `1.0\0.5`)))))), nil, image.Pt(400, 400)},
		{"an aspect ratio that nothing has", set(ds(pixelAspectRatio, `1\100000`)), nil, image.Pt(400, 200)},
		{"an aspect ratio that is none", set(ds(pixelAspectRatio, `0\0`)), nil, image.Pt(400, 200)},
		{"a spacing that is none", set(ds(pixelSpacing, `NaN\1`)), nil, image.Pt(400, 200)},
		{"one value of spacing", set(ds(pixelSpacing, `5`)), nil, image.Pt(400, 200)},
	} {
		if got := frame(t, tt.d, img, tt.v).Bounds().Size(); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

// TestScale checks what is in the pictures.
func TestScale(t *testing.T) {
	grey := func(v *Viewport, f func(x, y int) int) *image.Gray {
		return frame(t, set(), gradient(64, 64, f), v).(*image.Gray)
	}
	checker := func(x, y int) int { return (x + y) % 2 * 255 }
	for i, v := range grey(&Viewport{Width: 32, Height: 32}, checker).Pix {
		if v < 127 || v > 128 { // the mean of the area, not one of its pixels
			t.Fatalf("pixel %d of a checkerboard made smaller is %d", i, v)
		}
	}
	for i, v := range grey(&Viewport{Width: 48, Height: 48}, func(int, int) int { return 200 }).Pix {
		if v != 200 { // weights add up, whatever the factor
			t.Fatalf("pixel %d of an even area is %d", i, v)
		}
	}
	for i, v := range grey(&Viewport{Width: 1000, Height: 1000}, func(int, int) int { return 255 }).Pix {
		if v != 255 {
			t.Fatalf("pixel %d of an even area made larger is %d", i, v)
		}
	}
	ramp := func(x, _ int) int { return 4 * x }
	for _, n := range []int{10, 63, 65, 100, 640} {
		m := grey(&Viewport{Width: n, Height: n}, ramp)
		for x := range n {
			want := 4*((float64(x)+0.5)*64/float64(n)) - 2
			within(t, "a ramp", float64(m.GrayAt(x, n/2).Y), math.Min(math.Max(want, 0), 252), 1.01)
		}
	}
	at := func(x, y int) int { return 3*x + y }
	for _, tt := range []struct {
		name string
		v    Viewport
		want int // at 0, 0
	}{
		{"region as it is", Viewport{Width: 8, Height: 8, X: 20, Y: 30, W: 8, H: 8}, 90},
		{"flipped horizontally", Viewport{Width: 8, Height: 8, X: 20, Y: 30, W: -8, H: 8}, 3*27 + 30},
		{"flipped vertically", Viewport{Width: 8, Height: 8, X: 20, Y: 30, W: 8, H: -8}, 97},
		{"flipped both ways", Viewport{Width: 8, Height: 8, X: 20, Y: 30, W: -8, H: -8}, 3*27 + 37},
		{"flipped as a whole", Viewport{Width: 64, Height: 64, W: -64}, 3 * 63},
	} {
		if got := grey(&tt.v, at).GrayAt(0, 0).Y; int(got) != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
	// What lies beside the region does not bleed in.
	m := grey(&Viewport{Width: 80, Height: 80, X: 8, Y: 8, W: 8, H: 8}, func(x, y int) int {
		if x >= 8 && x < 16 && y >= 8 && y < 16 {
			return 100
		}
		return 255
	})
	for i, v := range m.Pix {
		if v != 100 {
			t.Fatalf("pixel %d of the region is %d", i, v)
		}
	}
	red := triples(pixel.Format{BitsAllocated: 8, Photometric: pixel.RGB}, 255, 0, 0, 0, 0, 255)
	c := frame(t, set(), red, &Viewport{Width: 1, Height: 1}).(*image.RGBA)
	if p := c.Pix; p[0] < 127 || p[0] > 128 || p[1] != 0 || p[2] < 127 || p[2] > 128 || p[3] != 255 {
		t.Errorf("the mean of red and blue is %v", p)
	}
}

// TestAxis: the weights of every pixel add up, none is outside of the frame.
func TestAxis(t *testing.T) {
	for _, tt := range []struct {
		start, length float64
		size, n       int
	}{{0, 512, 512, 128}, {0, 512, 512, 100}, {0, 3, 3, 16384}, {0, 65535, 65535, 1}, {0, 65535, 65535, 7}, {99.5, 0.001, 100, 50}, {0.1, 0.9, 1, 3}, {10, 1e-300, 20, 5}} {
		for _, flip := range []bool{false, true} {
			a := newAxis(tt.start, tt.length, tt.size, tt.n, flip)
			for i := range tt.n {
				w := a.weights[a.from[i]:a.from[i+1]]
				sum := uint32(0)
				for _, v := range w {
					sum += v
				}
				if sum != unit || a.first[i] < 0 || int(a.first[i])+len(w) > tt.size {
					t.Fatalf("%+v pixel %d: %d weights from %d add up to %d", tt, i, len(w), a.first[i], sum)
				}
			}
		}
	}
}

func TestCanceled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	img := gradient(100, 100, func(x, _ int) int { return x })
	for _, v := range []*Viewport{nil, {Width: 50, Height: 50}} {
		if _, err := New(set(), nil).Frame(ctx, 1, img, Options{Viewport: v}); err == nil {
			t.Error("rendered for someone who has gone")
		}
	}
}

func TestDelay(t *testing.T) {
	for _, tt := range []struct {
		name string
		d    *dicom.Dataset
		n    int
		want time.Duration
	}{
		{"none", set(), 1, 100 * time.Millisecond},
		{"frame time", set(ds(frameTime, "40")), 1, 40 * time.Millisecond},
		{"vector", set(ds(frameTimeVector, `0\50\70`), ds(frameTime, "40")), 2, 70 * time.Millisecond},
		{"behind the vector", set(ds(frameTimeVector, `0\50\70`), ds(frameTime, "40")), 3, 40 * time.Millisecond},
		{"recommended", set(ds(recommendedFrameRate, "25"), ds(frameTime, "1000")), 1, 40 * time.Millisecond},
		{"cine rate", set(ds(cineRate, "10")), 1, 100 * time.Millisecond},
		{"too fast", set(ds(frameTime, "0.001")), 1, 20 * time.Millisecond},
		{"too slow", set(ds(frameTime, "1e300")), 1, 10 * time.Second},
		{"below zero", set(ds(frameTime, "-5")), 1, 100 * time.Millisecond},
	} {
		if got := New(tt.d, nil).Delay(tt.n); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

// TestRelease: a picture made in memory that was given back shows nothing of the last.
func TestRelease(t *testing.T) {
	old := image.NewGray(image.Rect(0, 0, 8, 8))
	for i := range old.Pix {
		old.Pix[i] = 0xAA
	}
	Release(old)
	Release(nil)
	Release(image.NewRGBA(image.Rect(0, 0, 1, 1)))
	for _, size := range []image.Point{{4, 3}, {8, 8}, {9, 9}} {
		m, pix, stride := newImage(size.X, size.Y, 1)
		if m.Bounds() != (image.Rectangle{Max: size}) || stride != size.X || len(pix) != size.X*size.Y || bytes.ContainsFunc(pix, func(r rune) bool { return r != 0 }) {
			t.Errorf("%v: %v, stride %d, %d bytes", size, m.Bounds(), stride, len(pix))
		}
		Release(m)
	}
}
