package render

import (
	"context"
	"image"
	"image/jpeg"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/pixel"
)

// slice is an image like a slice of CT: 512 by 512 of 16 bits, smooth shapes in noise.
func slice() (*dicom.Dataset, pixel.Image) {
	r := rand.New(rand.NewPCG(1, 2))
	img := pixel.Image{Format: pixel.Format{Rows: 512, Columns: 512, Samples: 1, BitsAllocated: 16, BitsStored: 16, HighBit: 15,
		Signed: true, Photometric: pixel.Monochrome2}, Data: make([]byte, 2*512*512)}
	for i := range 512 * 512 {
		x, y := i%512-256, i/512-256
		v := -1000
		if x*x+y*y < 200*200 {
			v = 40 + x*y>>8%60 + r.IntN(30)
		}
		img.Data[2*i], img.Data[2*i+1] = byte(v), byte(v>>8)
	}
	return set(ds(windowCenter, "40"), ds(windowWidth, "400"), ds(rescaleIntercept, "0"), ds(rescaleSlope, "1")), img
}

func benchmarkFrame(b *testing.B, o Options, encode bool) {
	d, img := slice()
	x := New(d, nil)
	ctx := context.Background()
	b.SetBytes(int64(len(img.Data)))
	for b.Loop() {
		m, err := x.Frame(ctx, 1, img, o)
		if err != nil {
			b.Fatal(err)
		}
		if encode {
			if err := Encode(io.Discard, m, o, nil); err != nil {
				b.Fatal(err)
			}
		}
	}
}

func BenchmarkFrame(b *testing.B)     { benchmarkFrame(b, Options{}, false) }
func BenchmarkFrameJPEG(b *testing.B) { benchmarkFrame(b, Options{}, true) }
func BenchmarkFramePNG(b *testing.B)  { benchmarkFrame(b, Options{MediaType: PNG}, true) }
func BenchmarkFrameGIF(b *testing.B)  { benchmarkFrame(b, Options{MediaType: GIF}, true) }
func BenchmarkThumbnail(b *testing.B) {
	benchmarkFrame(b, Options{Viewport: &Viewport{Width: 128, Height: 128}}, true)
}

// BenchmarkTable is what a window asked for the first time costs.
func BenchmarkTable(b *testing.B) {
	d, img := slice()
	x := New(d, nil)
	c, _, err := x.curve(context.Background(), 1, img.Format, Options{})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		makeTable(c, img.Format)
	}
}

func BenchmarkJPEGStandardLibrary(b *testing.B) {
	d, img := slice()
	m, err := New(d, nil).Frame(context.Background(), 1, img, Options{})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if err := jpeg.Encode(io.Discard, m, &jpeg.Options{Quality: DefaultQuality}); err != nil {
			b.Fatal(err)
		}
	}
}

func colours(n int) *image.RGBA {
	r := rand.New(rand.NewPCG(3, 4))
	m := image.NewRGBA(image.Rect(0, 0, n, n))
	for i := range n * n {
		x, y := i%n, i/n
		p := m.Pix[4*i:]
		p[0], p[1], p[2], p[3] = uint8(x*255/n), uint8(y*255/n), uint8(r.IntN(16)+(x+y)/8%200), 255
	}
	return m
}

func benchmarkColours(b *testing.B, o Options) {
	m := colours(512)
	for b.Loop() {
		if err := Encode(io.Discard, m, o, nil); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkColoursJPEG(b *testing.B)   { benchmarkColours(b, Options{}) }
func BenchmarkColoursJPEG75(b *testing.B) { benchmarkColours(b, Options{Quality: 75}) }
func BenchmarkColoursPNG(b *testing.B)    { benchmarkColours(b, Options{MediaType: PNG}) }
func BenchmarkColoursGIF(b *testing.B)    { benchmarkColours(b, Options{MediaType: GIF}) }

func BenchmarkColoursConvert(b *testing.B) {
	m := colours(512)
	x := New(nil, nil)
	for b.Loop() {
		if err := x.convert(context.Background(), m, Options{ICC: "adobergb"}); err != nil {
			b.Fatal(err)
		}
	}
}
