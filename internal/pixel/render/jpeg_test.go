package render

import (
	"bytes"
	"errors"
	"image"
	"image/jpeg"
	"math"
	"math/rand/v2"
	"testing"
)

// TestJPEG decodes what is written with the standard library and compares.
func TestJPEG(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for _, size := range []image.Point{{1, 1}, {8, 8}, {7, 9}, {16, 16}, {17, 31}, {64, 40}, {200, 3}} {
		for _, quality := range []int{1, 25, 50, 75, 89, 90, 100} {
			grey := image.NewGray(image.Rectangle{Max: size})
			rgb := image.NewRGBA(image.Rectangle{Max: size})
			for y := range size.Y {
				for x := range size.X {
					v := uint8(128 + 100*math.Sin(float64(x)/9)*math.Cos(float64(y)/7))
					grey.Pix[y*grey.Stride+x] = v
					copy(rgb.Pix[y*rgb.Stride+4*x:], []uint8{v, 255 - v, uint8(x), 255})
				}
			}
			// By quality: the mean error that a smooth picture may have.
			most := map[int]float64{1: 40, 25: 12, 50: 8, 75: 6, 89: 6, 90: 3, 100: 1.5}[quality]
			for _, m := range []image.Image{grey, rgb} {
				var b bytes.Buffer
				if err := encodeJPEG(&b, m, quality, nil); err != nil {
					t.Fatal(err)
				}
				back, err := jpeg.Decode(&b)
				if err != nil {
					t.Fatalf("%v at %d: %v", size, quality, err)
				}
				if got := meanError(m, back); got > most {
					t.Errorf("%T %v at %d: mean error %.2f, at most %v", m, size, quality, got, most)
				}
			}
		}
	}
	// Blocks of one value each, in whose place nothing else may stand.
	even := image.NewGray(image.Rect(0, 0, 128, 128))
	for i := range even.Pix {
		even.Pix[i] = uint8(i/128/8*16 + i%128/8)
	}
	for _, quality := range []int{1, 50, 100} {
		var b bytes.Buffer
		if err := encodeJPEG(&b, even, quality, nil); err != nil {
			t.Fatal(err)
		}
		back, err := jpeg.Decode(&b)
		if err != nil {
			t.Fatal(err)
		}
		// The mean is coded in steps of the table's first entry: 8 times the values.
		step := float64(quantization(0, quality)[0]) / 8
		for i, v := range even.Pix {
			got := float64(back.(*image.Gray).Pix[i])
			if math.Abs(got-float64(v)) > step/2+1 {
				t.Fatalf("an even block of %d is %v at %d", v, got, quality)
			}
		}
	}
	// Noise of extremes has the largest coefficients there are.
	noise := image.NewGray(image.Rect(0, 0, 128, 128))
	for i := range noise.Pix {
		noise.Pix[i] = uint8(r.IntN(2) * 255)
	}
	for i := range 64 { // a block that is all one frequency
		noise.Pix[i/8*128+i%8] = uint8((i%8 + i/8) % 2 * 255)
	}
	var b bytes.Buffer
	if err := encodeJPEG(&b, noise, 100, nil); err != nil {
		t.Fatal(err)
	}
	back, err := jpeg.Decode(&b)
	if err != nil {
		t.Fatal(err)
	}
	if got := meanError(noise, back); got > 1.5 {
		t.Errorf("noise: mean error %.2f", got)
	}
}

// TestJPEGLikeTheStandardLibrary: as small and as good.
func TestJPEGLikeTheStandardLibrary(t *testing.T) {
	m := colours(256)
	grey := image.NewGray(m.Rect)
	for i := range grey.Pix {
		grey.Pix[i] = m.Pix[4*i+2]
	}
	for _, img := range []image.Image{grey, m} {
		var ours, theirs bytes.Buffer
		if err := encodeJPEG(&ours, img, 80, nil); err != nil {
			t.Fatal(err)
		}
		if err := jpeg.Encode(&theirs, img, &jpeg.Options{Quality: 80}); err != nil {
			t.Fatal(err)
		}
		sizes := [2]int{ours.Len(), theirs.Len()}
		a, err := jpeg.Decode(&ours)
		if err != nil {
			t.Fatal(err)
		}
		b, err := jpeg.Decode(&theirs)
		if err != nil {
			t.Fatal(err)
		}
		if ea, eb := meanError(img, a), meanError(img, b); ea > 1.05*eb+0.05 || sizes[0] > sizes[1]*21/20 {
			t.Errorf("%T: error %.3f in %d bytes; the standard library's %.3f in %d", img, ea, sizes[0], eb, sizes[1])
		}
	}
}

func meanError(a, b image.Image) float64 {
	size := a.Bounds().Size()
	if b.Bounds().Size() != size {
		return math.Inf(1)
	}
	sum := 0.0
	for y := range size.Y {
		for x := range size.X {
			r1, g1, b1, _ := a.At(x, y).RGBA()
			r2, g2, b2, _ := b.At(x, y).RGBA()
			for _, d := range []float64{float64(r1) - float64(r2), float64(g1) - float64(g2), float64(b1) - float64(b2)} {
				sum += math.Abs(d) / 257 / 3
			}
		}
	}
	return sum / float64(size.X*size.Y)
}

type failing struct{ after int }

var errFull = errors.New("full")

func (f *failing) Write(b []byte) (int, error) {
	if f.after -= len(b); f.after < 0 {
		return 0, errFull
	}
	return len(b), nil
}

// TestWriteErrors: whoever reads has gone, at any point.
func TestWriteErrors(t *testing.T) {
	m := colours(300)
	for _, media := range []string{JPEG, PNG, GIF} {
		var whole bytes.Buffer
		if err := Encode(&whole, m, Options{MediaType: media}, nil); err != nil {
			t.Fatal(err)
		}
		for _, after := range []int{0, 5, 20, 60, 1000, whole.Len() / 2, whole.Len() - 1} {
			if err := Encode(&failing{after}, m, Options{MediaType: media}, nil); !errors.Is(err, errFull) {
				t.Errorf("%s after %d: %v", media, after, err)
			}
		}
	}
	if err := encodeJPEG(&bytes.Buffer{}, image.NewGray(image.Rect(0, 0, 65536, 1)), 90, nil); err == nil {
		t.Error("a JPEG of 65536 columns")
	}
	if err := encodeJPEG(&bytes.Buffer{}, image.NewNRGBA(image.Rect(0, 0, 1, 1)), 90, nil); err == nil {
		t.Error("a picture of a type that is never made")
	}
}
