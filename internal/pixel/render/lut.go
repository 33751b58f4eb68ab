package render

import (
	"context"
	"encoding/binary"
	"math"
	"math/bits"

	"github.com/strata-pacs/strata/internal/dicom"
)

// lut is a lookup table of greyscale (PS3.3 §C.11.1.1, §C.11.2.1.1) or of one
// colour of a palette.
type lut struct {
	first int      // stored value that the first entry is for
	data  []uint16 // never empty
	top   float64  // the greatest entry that its bits allow
}

// at returns the entry for the value; values outside of the table have its
// first or last one.
func (l *lut) at(v float64) float64 {
	i := math.Floor(v+0.5) - float64(l.first)
	switch {
	case !(i > 0):
		return float64(l.data[0])
	case i >= float64(len(l.data)):
		return float64(l.data[len(l.data)-1])
	}
	return float64(l.data[int(i)])
}

// descriptor is a LUT Descriptor: number of entries, first value mapped, bits of
// an entry.
type descriptor struct {
	entries, first, bits int
}

// descriptorOf reads a descriptor. Its second value is signed where the values
// mapped are, whatever VR it came with.
func descriptorOf(d *dicom.Dataset, t dicom.Tag, signed bool) (descriptor, bool) {
	e := d.Lookup(t)
	if e == nil || len(e.Value) < 6 {
		return descriptor{}, false
	}
	order := d.Order
	if e.VR == dicom.UN {
		order = binary.LittleEndian
	}
	w := words(e.Value[:6], order)
	out := descriptor{entries: int(w[0]), first: int(w[1]), bits: int(w[2])}
	if out.entries == 0 {
		out.entries = 1 << 16
	}
	if signed || e.VR == dicom.SS {
		out.first = int(int16(w[1]))
	}
	return out, true
}

// newLUT makes a table of the data: entries of one byte or of two, as its length
// tells, since descriptors often do not. It returns nil when there is no data.
func newLUT(d descriptor, data []byte, vr dicom.VR, order binary.ByteOrder) *lut {
	l := &lut{first: d.first}
	switch {
	case len(data) >= 2*d.entries, d.bits > 8 && len(data) < d.entries:
		l.data = words(data[:min(len(data), 2*d.entries)], order)
	default:
		data = octets(data, vr, order)
		l.data = make([]uint16, min(len(data), d.entries))
		for i := range l.data {
			l.data[i] = uint16(data[i])
		}
	}
	if len(l.data) == 0 {
		return nil
	}
	greatest := uint16(0)
	for _, v := range l.data {
		greatest = max(greatest, v)
	}
	n := min(max(d.bits, 1), 16)
	l.top = float64(uint32(1)<<max(n, bits.Len16(greatest)) - 1)
	return l
}

// maxLUTs is how many tables a renderer keeps; frames seldom have their own.
const maxLUTs = 8

// lutOf returns the table in an item of a Modality or VOI LUT Sequence; nil when
// it holds none.
func (x *Renderer) lutOf(ctx context.Context, d *dicom.Dataset, signed bool) (*lut, error) {
	if d == nil {
		return nil, nil
	}
	x.mu.Lock()
	l, ok := x.luts[d]
	x.mu.Unlock()
	if ok {
		return l, nil
	}
	desc, ok := descriptorOf(d, lutDescriptor, signed)
	if e := d.Lookup(lutData); ok && e != nil {
		b, err := x.bytes(ctx, e)
		if err != nil {
			return nil, err
		}
		l = newLUT(desc, b, e.VR, d.Order)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.luts) >= maxLUTs || x.luts == nil {
		x.luts = make(map[*dicom.Dataset]*lut)
	}
	x.luts[d] = l
	return l, nil
}
