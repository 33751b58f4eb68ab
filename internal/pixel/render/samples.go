package render

import (
	"encoding/binary"
	"math"

	"github.com/strata-pacs/strata/internal/pixel"
)

// picture is a frame at its own size, a row at a time, so that a frame of any
// size is scaled without a picture of that size.
type picture struct {
	width, height int
	channels      int // bytes of a pixel: 1, or 4 of which the last is 255
	row           func(y int, dst []byte)
}

// stored returns the number in the stored bits of a sample (PS3.5 §8.1.1).
func stored(f pixel.Format) func(raw uint32) int {
	shift := uint(f.HighBit + 1 - f.BitsStored)
	mask := uint32(1)<<f.BitsStored - 1 // of 32 bits: all
	sign := uint32(0)
	if f.Signed {
		sign = uint32(1) << (f.BitsStored - 1)
	}
	return func(raw uint32) int {
		v := raw >> shift & mask
		if v&sign != 0 {
			return int(v) - int(mask) - 1
		}
		return int(v)
	}
}

// samples returns a reader of sample i of an image of one sample a pixel that
// has more than 16 bits, or less than 8.
func samples(img pixel.Image) func(i int) float64 {
	b, number := img.Data, stored(img.Format)
	switch {
	case img.BitsAllocated == 1:
		return func(i int) float64 { return float64(b[i>>3] >> (i & 7) & 1) }
	case img.BitsAllocated == 8:
		return func(i int) float64 { return float64(number(uint32(b[i]))) }
	case img.BitsAllocated == 16:
		return func(i int) float64 { return float64(number(uint32(binary.LittleEndian.Uint16(b[2*i:])))) }
	case img.BitsAllocated == 32 && img.Float:
		return func(i int) float64 { return float64(math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))) }
	case img.BitsAllocated == 32:
		return func(i int) float64 { return float64(number(binary.LittleEndian.Uint32(b[4*i:]))) }
	case img.Float:
		return func(i int) float64 { return math.Float64frombits(binary.LittleEndian.Uint64(b[8*i:])) }
	}
	shift, unused := uint(img.HighBit+1-img.BitsStored), uint(64-img.BitsStored)
	return func(i int) float64 {
		v := binary.LittleEndian.Uint64(b[8*i:]) >> shift << unused
		if img.Signed {
			return float64(int64(v) >> unused)
		}
		return float64(v >> unused)
	}
}

// extent returns the least and the greatest stored value of the image, without
// padding and what is no number; zeros when there is none.
func extent(img pixel.Image, pad padding) (low, high float64) {
	if f := img.Format; f.BitsAllocated == 16 || f.BitsAllocated == 8 {
		return countedExtent(img, pad)
	}
	low, high = math.Inf(1), math.Inf(-1)
	at := samples(img)
	for i := range img.Rows * img.Columns {
		if v := at(i); finite(v) && !pad.has(v) {
			low, high = min(low, v), max(high, v)
		}
	}
	if low > high {
		return 0, 0
	}
	return low, high
}

// countedExtent is extent for few enough values to note which there are, which is
// the quickest to do for each pixel.
func countedExtent(img pixel.Image, pad padding) (low, high float64) {
	seen := make([]bool, 1<<16)
	if img.BitsAllocated == 8 {
		for _, v := range img.Data {
			seen[v] = true
		}
	} else {
		seen := (*[1 << 16]bool)(seen)
		for b := img.Data; len(b) >= 2; b = b[2:] {
			seen[uint16(b[0])|uint16(b[1])<<8] = true
		}
	}
	low, high = math.Inf(1), math.Inf(-1)
	number := stored(img.Format)
	for raw, ok := range seen {
		if !ok {
			continue
		}
		if v := float64(number(uint32(raw))); !pad.has(v) {
			low, high = min(low, v), max(high, v)
		}
	}
	if low > high {
		return 0, 0
	}
	return low, high
}
