package render

import (
	"context"
	"image"
	"math"
	"slices"
	"testing"

	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/pixel"
)

// TestWindow checks the functions against values worked out by hand from their
// formulas.
func TestWindow(t *testing.T) {
	for _, tt := range []struct {
		name string
		w    Window
		x    float64
		want float64
	}{
		// PS3.3 §C.11.2.1.2.1, notes 1 and 2.
		{"c=2048 w=4096: 0 is the least", Window{2048, 4096, Linear}, 0, 0},
		{"c=2048 w=4096: 4095 is the most", Window{2048, 4096, Linear}, 4095, 1},
		{"c=2048 w=4096", Window{2048, 4096, Linear}, 1, 1.0 / 4095},
		{"c=2048 w=1: up to 2047 black", Window{2048, 1, Linear}, 2047, 0},
		{"c=2048 w=1: from 2048 white", Window{2048, 1, Linear}, 2048, 1},
		{"c=0 w=100: -50 is the least", Window{0, 100, Linear}, -50, 0},
		{"c=0 w=100: 49 is the most", Window{0, 100, Linear}, 49, 1},
		{"c=40 w=400", Window{40, 400, Linear}, 100, 60.5/399 + 0.5},
		// §C.11.2.1.3.2.
		{"exact: c=2048 w=4096: 4096 is the most", Window{2048, 4096, LinearExact}, 4096, 1},
		{"exact: 4095 is not", Window{2048, 4096, LinearExact}, 4095, 4095.0 / 4096},
		{"exact: below 1", Window{0.5, 0.5, LinearExact}, 0.6, 0.7},
		{"linear below 1 is exact", Window{0.5, 0.5, Linear}, 0.6, 0.7},
		// §C.11.2.1.3.1.
		{"sigmoid: the center is grey", Window{100, 50, Sigmoid}, 100, 0.5},
		{"sigmoid", Window{100, 50, Sigmoid}, 125, 1 / (1 + math.Exp(-2))},
		{"sigmoid: far out", Window{0, 1e-300, Sigmoid}, -1e308, 0},
	} {
		within(t, tt.name, tt.w.at(tt.x), tt.want, 1e-12)
	}
}

// greys renders a line of values and returns what became of them.
func greys(t *testing.T, d *dicom.Dataset, img pixel.Image, n int, o Options) []uint8 {
	t.Helper()
	m, err := New(d, nil).Frame(context.Background(), n, img, o)
	if err != nil {
		t.Fatal(err)
	}
	g, ok := m.(*image.Gray)
	if !ok {
		t.Fatalf("a picture of type %T", m)
	}
	return g.Pix
}

func lutItem(descriptor, data []int) *dicom.Dataset {
	return set(us(lutDescriptor, descriptor...), word(lutData, dicom.OW, data...))
}

func fractional(slope, center, width string) *dicom.Dataset {
	return set(
		sq(frameVOILUT, set(ds(windowCenter, center), ds(windowWidth, width))),
		sq(pixelTransformation, set(ds(rescaleIntercept, "0"), ds(rescaleSlope, slope))),
	)
}

// TestGreyscale checks each rule of the pipeline by what stored values become.
func TestGreyscale(t *testing.T) {
	signed := pixel.Format{Signed: true}
	bytes := pixel.Format{BitsAllocated: 8}
	window := func(c, w string) []dicom.Element {
		return []dicom.Element{ds(windowCenter, c), ds(windowWidth, w)}
	}
	with := func(e []dicom.Element, more ...dicom.Element) *dicom.Dataset { return set(append(e, more...)...) }
	for _, tt := range []struct {
		name string
		d    *dicom.Dataset
		img  pixel.Image
		n    int
		o    Options
		want []uint8
	}{
		{name: "window", d: with(window("128", "256")), img: line(pixel.Format{}, 0, 128, 255, 300), want: []uint8{0, 128, 255, 255}},
		{name: "first of several windows", d: with(window(`128\4`, `256\8`)), img: line(pixel.Format{}, 0, 128, 255), want: []uint8{0, 128, 255}},
		{name: "window asked for", d: with(window("128", "256")), img: line(pixel.Format{}, 0, 50, 101), o: Options{Window: &Window{Center: 51, Width: 102}}, want: []uint8{0, 126, 255}},
		{name: "exact window asked for", d: set(), img: line(pixel.Format{}, 0, 25, 50, 100), o: Options{Window: &Window{50, 100, LinearExact}}, want: []uint8{0, 64, 128, 255}},
		{name: "sigmoid of the data set", d: with(window("100", "50"), ds(voiLUTFunction, "SIGMOID")), img: line(pixel.Format{}, 100, 125, 75), want: []uint8{128, 225, 30}},
		{name: "exact of the data set", d: with(window("50", "100"), ds(voiLUTFunction, "LINEAR_EXACT")), img: line(pixel.Format{}, 25, 75), want: []uint8{64, 191}},
		{name: "rescaled", d: with(window("0", "256"), ds(rescaleSlope, "2"), ds(rescaleIntercept, "-1128")), img: line(pixel.Format{}, 500, 564, 627), want: []uint8{0, 128, 254}},
		{name: "slope below zero", d: set(ds(rescaleSlope, "-1"), ds(rescaleIntercept, "0")), img: line(pixel.Format{}, 0, 100), want: []uint8{255, 0}},
		{name: "slope of zero is none", d: set(ds(rescaleSlope, "0"), ds(rescaleIntercept, "0")), img: line(pixel.Format{}, 0, 100), want: []uint8{0, 255}},
		{name: "signed", d: with(window("0", "256")), img: line(signed, -128, 0, 127, -1000), want: []uint8{0, 128, 255, 0}},
		{name: "signed 12 of 16 bits, other bits above", d: set(), img: line(pixel.Format{Signed: true, BitsStored: 12}, 0x7800, 0x57FF, 0x3000), want: []uint8{0, 255, 128}},
		{name: "stored above the least bits", d: set(), img: line(pixel.Format{BitsStored: 12, HighBit: 15}, 0x000F, 0x8008, 0xFFF0), want: []uint8{0, 128, 255}},
		{name: "MONOCHROME1", d: with(window("128", "256")), img: line(pixel.Format{Photometric: pixel.Monochrome1}, 0, 100, 255), want: []uint8{255, 155, 0}},
		{name: "INVERSE", d: with(window("128", "256"), ds(presentationLUTShape, "INVERSE")), img: line(pixel.Format{}, 0, 100, 255), want: []uint8{255, 155, 0}},
		{name: "MONOCHROME1 and INVERSE are one thing", d: with(window("128", "256"), ds(presentationLUTShape, "INVERSE")), img: line(pixel.Format{Photometric: pixel.Monochrome1}, 0, 100, 255), want: []uint8{255, 155, 0}},
		{name: "no window: all values", d: set(), img: line(pixel.Format{}, 1000, 1100, 1200), want: []uint8{0, 128, 255}},
		{name: "no window, one value", d: set(), img: line(pixel.Format{}, 7, 7), want: []uint8{0, 0}},
		{name: "no window, bytes: as they are", d: set(), img: line(bytes, 10, 100, 200), want: []uint8{10, 100, 200}},
		{name: "no window, bytes of 4 bits: all values", d: set(), img: line(pixel.Format{BitsAllocated: 8, BitsStored: 4}, 0, 5, 0xFA), want: []uint8{0, 128, 255}},
		{name: "fractions", d: set(ds(segmentationType, "FRACTIONAL"), us(maximumFractional, 100)), img: line(bytes, 0, 50, 100), want: []uint8{0, 128, 255}},
		{name: "labels", d: set(ds(segmentationType, "LABELMAP"), us(pixelPaddingValue, 0)), img: line(bytes, 0, 1, 3), want: []uint8{0, 85, 255}},
		{name: "window of width 0 is none", d: with(window("128", "0")), img: line(pixel.Format{}, 0, 100), want: []uint8{0, 255}},
		{name: "window of width NaN is none", d: with(window("128", "NaN")), img: line(pixel.Format{}, 0, 100), want: []uint8{0, 255}},
		{name: "window of negative width is none", d: with(window("128", "-5")), img: line(pixel.Format{}, 0, 100), want: []uint8{0, 255}},
		{name: "window of no end", d: with(window("0", "1e308")), img: line(pixel.Format{}, 0, 65535), want: []uint8{128, 128}},
		{name: "intercept of no end", d: set(ds(rescaleSlope, "1e308"), ds(rescaleIntercept, "-1e308")), img: line(pixel.Format{}, 0, 1, 65535), want: []uint8{0, 128, 255}},

		{name: "padding", d: set(us(pixelPaddingValue, 60000)), img: line(pixel.Format{}, 60000, 100, 200), want: []uint8{0, 0, 255}},
		{name: "padding is black, inverted too", d: set(us(pixelPaddingValue, 0)), img: line(pixel.Format{Photometric: pixel.Monochrome1}, 0, 100, 200), want: []uint8{0, 255, 0}},
		{name: "range of padding", d: set(us(pixelPaddingValue, 10), us(pixelPaddingLimit, 20)), img: line(pixel.Format{}, 10, 15, 20, 21, 9), want: []uint8{0, 0, 0, 255, 0}},
		{name: "padding signed, sent as US", d: set(us(pixelPaddingValue, 63536)), img: line(signed, -2000, 0, 100), want: []uint8{0, 0, 255}},
		{name: "padding of 12 bits", d: set(us(pixelPaddingValue, 0x800)), img: line(pixel.Format{Signed: true, BitsStored: 12}, -2048, 0, 100), want: []uint8{0, 0, 255}},
		{name: "padding only", d: set(us(pixelPaddingValue, 5)), img: line(pixel.Format{}, 5, 5), want: []uint8{0, 0}},

		{name: "Modality LUT", d: with(window("1500", "1001"), sq(modalityLUTSequence, lutItem([]int{4, 10, 16}, []int{1000, 1500, 2000, 1250}))),
			img: line(pixel.Format{}, 9, 10, 11, 12, 13, 14), want: []uint8{0, 0, 128, 255, 64, 64}},
		{name: "Modality LUT, all its values", d: set(sq(modalityLUTSequence, lutItem([]int{4, 0, 16}, []int{1000, 3000, 2000, 1000}))),
			img: line(pixel.Format{}, 0, 1, 2, 3), want: []uint8{0, 255, 128, 0}},
		{name: "Modality LUT of angiography is not for display", d: set(ds(sopClassUID, xaImage), ds(pixelIntensityRelation, "LOG"),
			sq(modalityLUTSequence, lutItem([]int{3, 0, 16}, []int{2, 1, 0}))), img: line(pixel.Format{}, 0, 1, 2), want: []uint8{0, 128, 255}},
		{name: "VOI LUT goes before the window", d: with(window("0", "1"), sq(voiLUTSequence, lutItem([]int{3, 100, 8}, []int{255, 0, 51}), lutItem([]int{3, 100, 8}, []int{1, 2, 3}))),
			img: line(pixel.Format{}, 99, 100, 101, 102, 200), want: []uint8{255, 255, 0, 51, 51}},
		{name: "a window asked for goes before the VOI LUT", d: set(sq(voiLUTSequence, lutItem([]int{3, 0, 8}, []int{255, 0, 51}))),
			img: line(pixel.Format{}, 0, 1, 2), o: Options{Window: &Window{1, 2, LinearExact}}, want: []uint8{0, 128, 255}},
		{name: "VOI LUT of signed values", d: with(nil, ds(rescaleIntercept, "-1000"), ds(rescaleSlope, "1"), sq(voiLUTSequence, lutItem([]int{3, 65535, 8}, []int{51, 102, 255}))),
			img: line(pixel.Format{}, 999, 1000, 1001), want: []uint8{51, 102, 255}},
		{name: "VOI LUT of 12 bits", d: set(sq(voiLUTSequence, lutItem([]int{2, 0, 12}, []int{0, 4095}))), img: line(pixel.Format{}, 0, 1), want: []uint8{0, 255}},
		{name: "VOI LUT whose bits lie", d: set(sq(voiLUTSequence, lutItem([]int{2, 0, 8}, []int{32767, 65535}))), img: line(pixel.Format{}, 0, 1), want: []uint8{127, 255}},
		{name: "VOI LUT of bytes", d: set(sq(voiLUTSequence, set(us(lutDescriptor, 4, 0, 8), word(lutData, dicom.OW, 0x3300, 0xFF66)))),
			img: line(pixel.Format{}, 0, 1, 2, 3), want: []uint8{0, 51, 102, 255}},
		{name: "VOI LUT cut short goes on with its last value", d: set(sq(voiLUTSequence, lutItem([]int{1000, 0, 16}, []int{0, 65535}))),
			img: line(pixel.Format{}, 0, 1, 2, 999), want: []uint8{0, 255, 255, 255}},
		{name: "VOI LUT without data is none", d: with(window("1", "2"), sq(voiLUTSequence, lutItem([]int{1000, 0, 16}, nil))),
			img: line(pixel.Format{}, 0, 1, 2), want: []uint8{0, 255, 255}},

		{name: "functional groups: the frame's own", n: 2, img: line(pixel.Format{}, 0, 64, 127), want: []uint8{0, 128, 254},
			d: with(window("5", "1"), sq(sharedGroups, fractional("1", "9", "1")), sq(perFrameGroups, fractional("1", "3", "1"), fractional("2", "128", "255")))},
		{name: "functional groups: shared", n: 1, img: line(pixel.Format{}, 0, 64, 127), want: []uint8{0, 128, 254},
			d: with(window("5", "1"), sq(sharedGroups, fractional("2", "128", "255")), sq(perFrameGroups, set(), set()))},
		{name: "functional groups: none for the frame", n: 9, img: line(pixel.Format{}, 0, 128, 255), want: []uint8{0, 128, 255},
			d: with(window("128", "256"), sq(perFrameGroups, fractional("2", "1", "1")))},

		{name: "32 bits", d: set(ds(doseGridScaling, "0.001")), img: line(pixel.Format{BitsAllocated: 32}, 0, 1<<30, 1<<31), want: []uint8{0, 128, 255}},
		{name: "32 bits, a window in Gy", d: set(ds(doseGridScaling, "0.001")), img: line(pixel.Format{BitsAllocated: 32}, 0, 5000, 10000), o: Options{Window: &Window{5, 10, LinearExact}}, want: []uint8{0, 128, 255}},
		{name: "signed 32 bits", d: set(), img: line(pixel.Format{BitsAllocated: 32, Signed: true}, -1<<31, 0, 1<<31-1), want: []uint8{0, 128, 255}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := greys(t, tt.d, tt.img, max(tt.n, 1), tt.o); !slices.Equal(got, tt.want) {
				t.Errorf("%v, want %v", got, tt.want)
			}
		})
	}
}

// TestFloats: numbers that are none are black and do not count.
func TestFloats(t *testing.T) {
	f32 := pixel.Format{Rows: 1, Columns: 5, Samples: 1, BitsAllocated: 32, BitsStored: 32, HighBit: 31, Float: true, Signed: true, Photometric: pixel.Monochrome2}
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	img := pixel.Image{Format: f32, Data: fl(0, nan, 0.25, 0.5, inf, 0.75).Value}
	for _, tt := range []struct {
		name string
		d    *dicom.Dataset
		want []uint8
	}{
		{"all values", set(), []uint8{0, 0, 128, 255, 255}},
		{"LINEAR is exact here", set(ds(windowCenter, "0.5"), ds(windowWidth, "1")), []uint8{0, 64, 128, 255, 191}},
		{"padding", set(fl(floatPaddingValue, 0.75)), []uint8{0, 0, 255, 255, 0}},
	} {
		if got := greys(t, tt.d, img, 1, Options{}); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
	f64 := f32
	f64.BitsAllocated, f64.BitsStored, f64.HighBit, f64.Columns = 64, 64, 63, 3
	data := make([]byte, 0, 24)
	for _, v := range []float64{0, 1e-300, 2e-300} {
		for i := range 8 {
			data = append(data, byte(math.Float64bits(v)>>(8*i)))
		}
	}
	if got := greys(t, set(), pixel.Image{Format: f64, Data: data}, 1, Options{}); !slices.Equal(got, []uint8{0, 128, 255}) {
		t.Errorf("doubles: %v", got)
	}
}

// TestOneBit: frames are packed, the least significant bit first.
func TestOneBit(t *testing.T) {
	f := pixel.Format{Rows: 1, Columns: 10, Samples: 1, BitsAllocated: 1, BitsStored: 1, Photometric: pixel.Monochrome2}
	got := greys(t, set(us(pixelPaddingValue, 0)), pixel.Image{Format: f, Data: []byte{0b00000101, 0b10}}, 1, Options{})
	if want := []uint8{255, 0, 255, 0, 0, 0, 0, 0, 0, 255}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// TestTablesAreKept: frames of one window share a table, and their number is bounded.
func TestTablesAreKept(t *testing.T) {
	x := New(set(), nil)
	img := line(pixel.Format{}, 1, 2, 3)
	for i := range 100 {
		if _, err := x.Frame(context.Background(), 1, img, Options{Window: &Window{Center: float64(i), Width: 10}}); err != nil {
			t.Fatal(err)
		}
	}
	if len(x.tables) > maxTables {
		t.Errorf("%d tables are kept", len(x.tables))
	}
	before := len(x.tables)
	if _, err := x.Frame(context.Background(), 2, img, Options{Window: &Window{Center: 99, Width: 10}}); err != nil || len(x.tables) != before {
		t.Errorf("%d tables after the same window again: %v", len(x.tables), err)
	}
}

func TestRefused(t *testing.T) {
	grey := line(pixel.Format{}, 1, 2, 3)
	short := grey
	short.Data = short.Data[:5]
	of := func(p pixel.Photometric, samples int) pixel.Image {
		f := pixel.Format{Rows: 1, Columns: 1, Samples: samples, BitsAllocated: 8, BitsStored: 8, HighBit: 7, Photometric: p}
		return pixel.Image{Format: f, Data: make([]byte, 4)}
	}
	for _, tt := range []struct {
		name string
		img  pixel.Image
		o    Options
		want fault.Kind
	}{
		{"cut short", short, Options{}, fault.NotAcceptable},
		{"no format", pixel.Image{}, Options{}, fault.NotAcceptable},
		{"CMYK", of("CMYK", 4), Options{}, fault.NotAcceptable},
		{"RGB of one sample", of(pixel.RGB, 1), Options{}, fault.NotAcceptable},
		{"grey of three", of(pixel.Monochrome2, 3), Options{}, fault.NotAcceptable},
		{"palette without one", of(pixel.PaletteColor, 1), Options{}, fault.NotAcceptable},
		{"media type", grey, Options{MediaType: "image/webp"}, fault.NotAcceptable},
		{"quality", grey, Options{Quality: 101}, fault.Invalid},
		{"quality", grey, Options{Quality: -1}, fault.Invalid},
		{"window", grey, Options{Window: &Window{Width: 0}}, fault.Invalid},
		{"window", grey, Options{Window: &Window{Width: 0.5}}, fault.Invalid},
		{"window", grey, Options{Window: &Window{Width: math.NaN()}}, fault.Invalid},
		{"window", grey, Options{Window: &Window{Width: math.Inf(1)}}, fault.Invalid},
		{"window", grey, Options{Window: &Window{Width: -1, Function: Sigmoid}}, fault.Invalid},
		{"window", grey, Options{Window: &Window{Center: math.NaN(), Width: 1}}, fault.Invalid},
		{"window", grey, Options{Window: &Window{Width: 1, Function: "cubic"}}, fault.Invalid},
		{"profile", grey, Options{ICC: "cmyk"}, fault.Invalid},
		{"viewport", grey, Options{Viewport: &Viewport{Width: 1e9, Height: 1e9}}, fault.Invalid},
		{"viewport", grey, Options{Viewport: &Viewport{Width: 0, Height: 5}}, fault.Invalid},
		{"viewport", grey, Options{Viewport: &Viewport{Width: 5, Height: 5, X: -1}}, fault.Invalid},
		{"viewport", grey, Options{Viewport: &Viewport{Width: 5, Height: 5, X: math.NaN()}}, fault.Invalid},
		{"region", grey, Options{Viewport: &Viewport{Width: 5, Height: 5, X: 3}}, fault.Invalid},
		{"picture", grey, Options{Viewport: &Viewport{Width: 16384, Height: 16384, W: 1}}, fault.NotAcceptable},
	} {
		if _, err := New(set(), nil).Frame(context.Background(), 1, tt.img, tt.o); !fault.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
}
