package render

import (
	"context"
	"fmt"
	"image"
	"strings"
	"testing"

	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/pixel"
)

// overlayOf makes the elements of a plane in group 60xx: its bits, and more.
func overlayOf(group dicom.Tag, rows, columns, top, left int, bits ...byte) []dicom.Element {
	group *= 0x10000
	return []dicom.Element{us(overlayRows+group, rows), us(overlayColumns+group, columns), ds(overlayType+group, "G"),
		word(overlayOrigin+group, dicom.SS, top, left), us(overlayBitsAllocated+group, 1), us(overlayBitPosition+group, 0),
		ob(overlayData+group, bits...)}
}

// drawing returns rows of a picture: # is white.
func drawing(m image.Image) string {
	g := m.(*image.Gray)
	var b strings.Builder
	for y := range g.Rect.Dy() {
		if y > 0 {
			b.WriteByte('/')
		}
		for x := range g.Rect.Dx() {
			b.WriteByte("#."[1-g.GrayAt(x, y).Y/255])
		}
	}
	return b.String()
}

func TestOverlays(t *testing.T) {
	full := []byte{0xFF, 0xFF, 0xFF}
	tagged := func(e []dicom.Element, more ...dicom.Element) *dicom.Dataset { return set(append(e, more...)...) }
	for _, tt := range []struct {
		name string
		d    *dicom.Dataset
		n    int
		want string
	}{
		{"none", set(), 1, "..../..../...."},
		{"as large as the image", tagged(overlayOf(0, 3, 4, 1, 1, 0b0010_0001, 0b1000)), 1, "#.../.#../...#"},
		{"within the image", tagged(overlayOf(0, 1, 2, 2, 3, 0b11)), 1, "..../..##/...."},
		{"before the image", tagged(overlayOf(0, 2, 2, 0, 0, 0b1111)), 1, "#.../..../...."},
		{"behind the image", tagged(overlayOf(0, 2, 2, 3, 4, 0b1111)), 1, "..../..../...#"},
		{"outside", tagged(overlayOf(0, 2, 2, -100, 500, 0b1111)), 1, "..../..../...."},
		{"larger than the image", tagged(overlayOf(0, 4, 6, 1, 1, full...)), 1, "####/####/####"},
		{"cut short", tagged(overlayOf(0, 3, 4, 1, 1, 0xFF)), 1, "####/####/...."},
		{"huge", tagged(overlayOf(0, 65535, 65535, 1, 1, 0x0F)), 1, "####/..../...."},
		{"no rows", tagged(overlayOf(0, 0, 4, 1, 1, full...)), 1, "..../..../...."},
		{"two planes", tagged(append(overlayOf(0, 1, 1, 1, 1, 1), overlayOf(0x1E, 1, 1, 3, 4, 1)...)), 1, "#.../..../...#"},
		{"not of an overlay group", tagged(overlayOf(0x20, 1, 1, 1, 1, 1)), 1, "..../..../...."},
		{"region: its outline", set(us(overlayRows, 3), us(overlayColumns, 3), ds(overlayType, "R"), word(overlayOrigin, dicom.SS, 1, 1), ob(overlayData, 0xFF, 0x01)), 1, "###./#.#./###."},
		{"of the second frame", tagged(overlayOf(0, 1, 4, 1, 1, 0b1001_0110), ds(overlayFrames, "2"), us(overlayFrameOrigin, 2)), 3, "#..#/..../...."},
		{"before the first frame", tagged(overlayOf(0, 1, 4, 1, 1, 0b1001_0110), ds(overlayFrames, "2"), us(overlayFrameOrigin, 2)), 1, "..../..../...."},
		{"behind the last frame", tagged(overlayOf(0, 1, 4, 1, 1, 0b1001_0110), ds(overlayFrames, "2"), us(overlayFrameOrigin, 2)), 4, "..../..../...."},
		{"frames that are not there", tagged(overlayOf(0, 65535, 65535, 1, 1, 1), ds(overlayFrames, "2147483647")), 2147483647, "..../..../...."},
		{"one plane for all frames", tagged(overlayOf(0, 1, 1, 1, 1, 1)), 7, "#.../..../...."},
	} {
		img := gradient(4, 3, func(int, int) int { return 0 })
		m, err := New(tt.d, nil).Frame(context.Background(), tt.n, img, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if got := drawing(m); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

// TestEmbeddedOverlay: in bits of the samples that are not stored.
func TestEmbeddedOverlay(t *testing.T) {
	for _, tt := range []struct {
		bit  int
		want string
	}{{15, "#..."}, {12, ".#.."}, {11, "...."}, {16, "...."}, {99, "...."}} {
		d := set(us(overlayRows, 1), us(overlayColumns, 9), us(overlayBitsAllocated, 16), us(overlayBitPosition, tt.bit), ds(windowCenter, "1e6"), ds(windowWidth, "10"))
		img := line(pixel.Format{BitsStored: 12}, 0x8000, 0x1000, 0x0800, 0)
		m, err := New(d, nil).Frame(context.Background(), 1, img, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if got := drawing(m); got != tt.want {
			t.Errorf("bit %d: %s, want %s", tt.bit, got, tt.want)
		}
	}
}

// TestValuesAreRead: what the data set does not hold is asked for, once, and what
// goes wrong then is said.
func TestValuesAreRead(t *testing.T) {
	d := unheld(overlayOf(0, 3, 4, 1, 1, 0xFF, 0xFF))
	asked := 0
	x := New(d, func(_ context.Context, e *dicom.Element) ([]byte, error) {
		asked++
		return []byte{0xFF, 0xFF}, nil
	})
	img := gradient(4, 3, func(int, int) int { return 0 })
	for n := range 3 {
		m, err := x.Frame(context.Background(), n+1, img, Options{})
		if err != nil || drawing(m) != "####/####/####" {
			t.Fatalf("%v", err)
		}
	}
	if asked != 1 {
		t.Errorf("asked %d times", asked)
	}
	broken := fmt.Errorf("no such bytes")
	x = New(d, func(context.Context, *dicom.Element) ([]byte, error) { return nil, broken })
	if _, err := x.Frame(context.Background(), 1, img, Options{}); err != broken {
		t.Errorf("%v", err)
	}
	if m := frame(t, d, img, nil); drawing(m) != "..../..../...." {
		t.Error("an overlay without anything to read it from")
	}
}

// unheld makes a data set that does not hold the last value.
func unheld(e []dicom.Element) *dicom.Dataset {
	last := &e[len(e)-1]
	last.Value, last.Bulk = nil, true
	return set(e...)
}
