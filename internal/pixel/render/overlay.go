package render

import (
	"context"
	"encoding/binary"

	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/pixel"
)

// overlay is one overlay plane of group 60xx (PS3.3 §C.9.2).
type overlay struct {
	rows, columns int
	top, left     int // of the image's pixel that its first one lies on, from 0; may be outside
	frames        int // planes in data
	first         int // image frame, from 1, that the first plane is for; 0: the one plane is for all
	outline       bool
	data          []byte // a bit a pixel, the least significant first (PS3.5 §8.2)
	embedded      bool   // in the samples instead, at bit
	bit           int
}

// overlayPlanes returns the instance's overlays.
func (x *Renderer) overlayPlanes(ctx context.Context) ([]overlay, error) {
	x.mu.Lock()
	planes, ok := x.overlays, x.overlays != nil
	x.mu.Unlock()
	if ok {
		return planes, nil
	}
	planes = []overlay{}
	for i := range x.data.Elements {
		t := x.data.Elements[i].Tag
		if g := t.Group(); t.Element() != uint16(overlayRows&0xFFFF) || g < 0x6000 || g > 0x601E || g&1 != 0 {
			continue
		}
		o, ok, err := x.overlay(ctx, t-overlayRows)
		if err != nil {
			return nil, err
		}
		if ok {
			planes = append(planes, o)
		}
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.overlays = planes
	return planes, nil
}

// overlay reads the plane whose tags are so far from those of group 6000.
func (x *Renderer) overlay(ctx context.Context, group dicom.Tag) (overlay, bool, error) {
	d := x.data
	o := overlay{
		rows:    whole(d, overlayRows+group, 0),
		columns: whole(d, overlayColumns+group, 0),
		outline: text(d, overlayType+group) == "R",
		frames:  max(whole(d, overlayFrames+group, 1), 1),
		first:   max(whole(d, overlayFrameOrigin+group, 1), 1),
		top:     whole(d, overlayOrigin+group, 1) - 1,
	}
	if left, ok := value(d, overlayOrigin+group, 1); ok && left > -1<<16 && left < 1<<16 {
		o.left = int(left) - 1
	}
	if d.Lookup(overlayFrames+group) == nil && d.Lookup(overlayFrameOrigin+group) == nil {
		o.first = 0
	}
	if o.rows < 1 || o.columns < 1 || o.rows > 1<<16 || o.columns > 1<<16 {
		return o, false, nil
	}
	e := d.Lookup(overlayData + group)
	if e == nil {
		o.embedded, o.bit = true, whole(d, overlayBitPosition+group, 0)
		return o, whole(d, overlayBitsAllocated+group, 1) > 1 && o.bit > 0, nil
	}
	b, err := x.bytes(ctx, e)
	if err != nil {
		return o, false, err
	}
	if e.VR == dicom.OW && d.Order == binary.ByteOrder(binary.BigEndian) {
		b = octets(b, e.VR, d.Order)
	}
	o.data = b
	return o, len(b) > 0, nil
}

// plane is an overlay as it is for one frame.
type plane struct {
	overlay
	set func(x, y int) bool // of its own pixels, within its rows and columns
}

// planes returns what is drawn on frame n.
func (x *Renderer) planes(ctx context.Context, n int, img pixel.Image) ([]plane, error) {
	overlays, err := x.overlayPlanes(ctx)
	if err != nil || len(overlays) == 0 {
		return nil, err
	}
	var out []plane
	for _, o := range overlays {
		if p, ok := o.of(n, img); ok {
			out = append(out, p)
		}
	}
	return out, nil
}

func (o overlay) of(n int, img pixel.Image) (plane, bool) {
	p := plane{overlay: o}
	if o.embedded {
		lowest := img.HighBit + 1 - img.BitsStored
		if img.Samples != 1 || img.Float || o.bit >= img.BitsAllocated || o.bit >= lowest && o.bit <= img.HighBit {
			return p, false
		}
		size := img.BitsAllocated / 8
		p.rows, p.columns = min(o.rows, img.Rows), min(o.columns, img.Columns)
		p.set = func(x, y int) bool {
			return img.Data[(y*img.Columns+x)*size+o.bit/8]>>(o.bit%8)&1 != 0
		}
		return p, true
	}
	i := 0
	if o.first > 0 {
		if i = n - o.first; i < 0 || i >= o.frames || i > 8*len(o.data)/(o.rows*o.columns) {
			return p, false
		}
	}
	from := i * o.rows * o.columns
	p.set = func(x, y int) bool {
		at := from + y*o.columns + x
		return at>>3 < len(o.data) && o.data[at>>3]>>(at&7)&1 != 0
	}
	return p, from/8 < len(o.data)
}

// draw draws row y of the image's on dst, in white: the plane's pixels, or, of a
// region of interest, its outline, so that what it is about stays visible.
func (p *plane) draw(y int, dst []byte, channels, width int) {
	y -= p.top
	if y < 0 || y >= p.rows {
		return
	}
	for x := max(0, -p.left); x < p.columns && x+p.left < width; x++ {
		if !p.set(x, y) || p.outline && p.inside(x, y) {
			continue
		}
		at := (x + p.left) * channels
		for c := range channels {
			dst[at+c] = 255
		}
	}
}

// inside reports whether the pixel's four neighbours are set too.
func (p *plane) inside(x, y int) bool {
	return x > 0 && y > 0 && x+1 < p.columns && y+1 < p.rows &&
		p.set(x-1, y) && p.set(x+1, y) && p.set(x, y-1) && p.set(x, y+1)
}

// drawn returns the picture with the planes on it.
func (p picture) drawn(planes []plane) picture {
	if len(planes) == 0 {
		return p
	}
	row := p.row
	p.row = func(y int, dst []byte) {
		row(y, dst)
		for i := range planes {
			planes[i].draw(y, dst, p.channels, p.width)
		}
	}
	return p
}
