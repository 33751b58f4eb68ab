package render

import (
	"context"
	"encoding/binary"
	"math"

	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/pixel"
)

// truecolour returns a frame of RGB or YBR (PS3.3 §C.7.6.3.1.2).
func truecolour(img pixel.Image) (picture, error) {
	img, err := pixel.ToRGB(img)
	if err != nil {
		return picture{}, err
	}
	if img.Samples != 3 || img.BitsAllocated == 1 || img.BitsAllocated == 64 || img.Float {
		return picture{}, fault.New(fault.NotAcceptable, "colours of %d samples of %d bits cannot be shown", img.Samples, img.BitsAllocated)
	}
	p := picture{width: img.Columns, height: img.Rows, channels: 4}
	size := img.BitsAllocated / 8
	stride := 3 * size * img.Columns
	if img.BitsAllocated == 8 && img.BitsStored == 8 {
		p.row = func(y int, dst []byte) {
			src := img.Data[y*stride:][:stride]
			for len(dst) >= 4 && len(src) >= 3 {
				dst[0], dst[1], dst[2], dst[3] = src[0], src[1], src[2], 255
				dst, src = dst[4:], src[3:]
			}
		}
		return p, nil
	}
	shift := uint(img.HighBit + 1 - img.BitsStored)
	top := uint64(1)<<img.BitsStored - 1
	at := func(b []byte) uint8 {
		var v uint32
		switch size {
		case 1:
			v = uint32(b[0])
		case 2:
			v = uint32(binary.LittleEndian.Uint16(b))
		default:
			v = binary.LittleEndian.Uint32(b)
		}
		return uint8((uint64(v>>shift)&top*255 + top/2) / top)
	}
	p.row = func(y int, dst []byte) {
		src := img.Data[y*stride:][:stride]
		for ; len(dst) >= 4; dst = dst[4:] {
			for s := range 3 {
				dst[s] = at(src)
				src = src[size:]
			}
			dst[3] = 255
		}
	}
	return p, nil
}

// colourTable is a palette: what stored values look like, from first on.
type colourTable struct {
	first   int
	entries [][4]byte
}

func (t *colourTable) at(v int) [4]byte {
	return t.entries[min(max(v-t.first, 0), len(t.entries)-1)]
}

// paletteColour returns a frame of indices into the palette. Indices outside of
// it have its first or last colour (PS3.3 §C.7.6.3.1.5).
func (x *Renderer) paletteColour(ctx context.Context, img pixel.Image) (picture, error) {
	t, err := x.palette(ctx, img.Signed)
	if err != nil {
		return picture{}, err
	}
	if t == nil || img.Float || img.BitsAllocated > 16 {
		return picture{}, fault.New(fault.NotAcceptable, "the palette of this image is missing or cannot be read")
	}
	p := picture{width: img.Columns, height: img.Rows, channels: 4}
	at := samples(img)
	if img.BitsAllocated == 8 {
		var table [1 << 8][4]byte
		number := stored(img.Format)
		for v := range table {
			table[v] = t.at(number(uint32(v)))
		}
		p.row = func(y int, dst []byte) {
			for _, v := range img.Data[y*img.Columns:][:img.Columns] {
				copy(dst[:4], table[v][:])
				dst = dst[4:]
			}
		}
		return p, nil
	}
	p.row = func(y int, dst []byte) {
		for i := range img.Columns {
			v := t.at(int(at(y*img.Columns + i)))
			copy(dst[4*i:4*i+4], v[:])
		}
	}
	return p, nil
}

// supplemental colours the pixels of a greyscale picture whose values begin where
// the Supplemental Palette Color Lookup Table does (PS3.3 §C.7.6.19).
func (x *Renderer) supplemental(ctx context.Context, img pixel.Image, grey picture) (picture, error) {
	if text(x.data, pixelPresentation) != "COLOR" || img.BitsAllocated > 16 {
		return grey, nil
	}
	t, err := x.palette(ctx, img.Signed)
	if err != nil || t == nil {
		return grey, err
	}
	at := samples(img)
	return picture{width: grey.width, height: grey.height, channels: 4, row: func(y int, dst []byte) {
		line := make([]byte, img.Columns)
		grey.row(y, line)
		for i, g := range line {
			c := [4]byte{g, g, g, 255}
			if v := int(at(y*img.Columns + i)); v >= t.first {
				c = t.at(v)
			}
			copy(dst[4*i:4*i+4], c[:])
		}
	}}, nil
}

// palette returns the instance's palette; nil when it has none that can be read.
func (x *Renderer) palette(ctx context.Context, signed bool) (*colourTable, error) {
	x.mu.Lock()
	t, ok := x.colours, x.colours != nil
	x.mu.Unlock()
	if ok {
		return t, nil
	}
	var luts [3]*lut
	for i := range luts {
		l, err := x.colourLUT(ctx, dicom.Tag(i), signed)
		if err != nil || l == nil {
			return nil, err
		}
		luts[i] = l
	}
	t = &colourTable{first: luts[0].first}
	top, n := 0.0, 0
	for _, l := range luts {
		top, n = max(top, greatest(l)), max(n, len(l.data))
	}
	// Palettes that say 16 bits and have 8 are common.
	if top <= 255 {
		top = 255
	} else {
		top = math.MaxUint16
	}
	t.entries = make([][4]byte, n)
	for i := range t.entries {
		for s, l := range luts {
			t.entries[i][s] = level(float64(l.data[min(i, len(l.data)-1)]) / top)
		}
		t.entries[i][3] = 255
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.colours = t
	return t, nil
}

func greatest(l *lut) float64 {
	top := uint16(0)
	for _, v := range l.data {
		top = max(top, v)
	}
	return float64(top)
}

// colourLUT returns the table of red (0), green (1) or blue (2).
func (x *Renderer) colourLUT(ctx context.Context, colour dicom.Tag, signed bool) (*lut, error) {
	d := x.data
	desc, ok := descriptorOf(d, redDescriptor+colour, signed)
	if !ok {
		return nil, nil
	}
	if e := d.Lookup(redData + colour); e != nil {
		b, err := x.bytes(ctx, e)
		if err != nil {
			return nil, err
		}
		if l := newLUT(desc, b, e.VR, d.Order); l != nil {
			return l, nil
		}
	}
	e := d.Lookup(segmentedRedData + colour)
	if e == nil {
		return nil, nil
	}
	b, err := x.bytes(ctx, e)
	if err != nil {
		return nil, err
	}
	var segments []uint16
	if desc.bits == 8 {
		b = octets(b, e.VR, d.Order)
		segments = make([]uint16, len(b))
		for i, v := range b {
			segments[i] = uint16(v)
		}
	} else {
		segments = words(b, d.Order)
	}
	data := expand(segments, desc.entries, desc.bits == 8)
	if len(data) == 0 {
		return nil, nil
	}
	return &lut{first: desc.first, data: data, top: math.MaxUint16}, nil
}
