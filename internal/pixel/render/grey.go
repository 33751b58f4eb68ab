package render

import (
	"context"
	"math"

	"github.com/strata-pacs/strata/internal/pixel"
)

// greyscale returns the frame in grey.
func (x *Renderer) greyscale(ctx context.Context, n int, img pixel.Image, o Options) (picture, error) {
	c, spans, err := x.curve(ctx, n, img.Format, o)
	if err != nil {
		return picture{}, err
	}
	if spans {
		low, high := extent(img, c.pad)
		if text(x.data, segmentationType) == "LABELMAP" {
			low = 0 // no label, also where the frame has one label only
		}
		c.span(low, high)
	}
	p := picture{width: img.Columns, height: img.Rows, channels: 1}
	switch {
	case img.BitsAllocated == 8:
		table := (*[1 << 8]uint8)(x.table(c, img.Format))
		p.row = func(y int, dst []byte) {
			src := img.Data[y*img.Columns:][:len(dst)]
			for i, v := range src {
				dst[i] = table[v]
			}
		}
	case img.BitsAllocated == 16:
		table := (*[1 << 16]uint8)(x.table(c, img.Format))
		p.row = func(y int, dst []byte) {
			src := img.Data[2*y*img.Columns:]
			for i := range dst {
				if len(src) < 2 {
					return
				}
				dst[i] = table[uint16(src[0])|uint16(src[1])<<8]
				src = src[2:]
			}
		}
	default:
		at := samples(img)
		p.row = func(y int, dst []byte) {
			from := y * img.Columns
			for i := range dst {
				dst[i] = c.grey(at(from + i))
			}
		}
	}
	return p, nil
}

// span makes the curve show stored values from low to high, whatever the
// Modality LUT makes of those between. A single value is black.
func (c *curve) span(low, high float64) {
	c.low, c.high = c.rescaled(low), c.rescaled(high)
	if l := c.modality; l != nil {
		// Between the ends a table need not be monotonic.
		for i := max(low, float64(l.first)); i <= min(high, float64(l.first+len(l.data)-1)); i++ {
			v := l.at(i)
			c.low, c.high = min(c.low, v), max(c.high, v)
		}
	}
	if c.low > c.high {
		c.low, c.high = c.high, c.low
	}
	if !finite(c.high - c.low) {
		c.low, c.high = max(c.low, -math.MaxFloat64/4), min(c.high, math.MaxFloat64/4)
	}
}

// tableKey is what a table follows from.
type tableKey struct {
	curve                           curve
	allocated, stored, high, signed int
}

// maxTables is how many tables a renderer keeps: one does, unless frames or
// requests have windows of their own.
const maxTables = 8

// table returns the grey of each sample as it lies in memory, of 8 or 16 bits.
func (x *Renderer) table(c curve, f pixel.Format) []uint8 {
	k := tableKey{curve: c, allocated: f.BitsAllocated, stored: f.BitsStored, high: f.HighBit}
	if f.Signed {
		k.signed = 1
	}
	x.mu.Lock()
	t, ok := x.tables[k]
	x.mu.Unlock()
	if ok {
		return t
	}
	t = makeTable(c, f)
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.tables) >= maxTables || x.tables == nil {
		x.tables = make(map[tableKey][]uint8)
	}
	x.tables[k] = t
	return t
}

// makeTable works out the grey of every stored value once and copies it to
// the samples that differ in bits that are not stored.
func makeTable(c curve, f pixel.Format) []uint8 {
	number := stored(f)
	values := make([]uint8, 1<<f.BitsStored)
	shift := f.HighBit + 1 - f.BitsStored
	for v := range values {
		values[v] = c.grey(float64(number(uint32(v) << shift)))
	}
	if f.BitsStored == f.BitsAllocated {
		return values
	}
	t := make([]uint8, 1<<f.BitsAllocated)
	for raw := range t {
		t[raw] = values[raw>>shift&(len(values)-1)]
	}
	return t
}
