package dicom

import (
	"encoding/binary"
	"strings"
)

// maker writes data sets byte by byte, so that tests can write wrong ones.
type maker struct {
	b        []byte
	implicit bool
	big      bool
}

func (m *maker) order() binary.AppendByteOrder {
	if m.big {
		return binary.BigEndian
	}
	return binary.LittleEndian
}

// head writes a header with any length.
func (m *maker) head(t Tag, vr string, length uint32) *maker {
	o := m.order()
	m.b = o.AppendUint16(o.AppendUint16(m.b, t.Group()), t.Element())
	switch {
	case m.implicit || t.Group() == 0xFFFE:
		m.b = o.AppendUint32(m.b, length)
	case vrForm(MakeVR(vr[0], vr[1])) == longForm:
		m.b = o.AppendUint32(append(m.b, vr[0], vr[1], 0, 0), length)
	default:
		m.b = o.AppendUint16(append(m.b, vr[0], vr[1]), uint16(length))
	}
	return m
}

// el writes an element with its value as it is.
func (m *maker) el(t Tag, vr, value string) *maker {
	m.head(t, vr, uint32(len(value)))
	m.b = append(m.b, value...)
	return m
}

// us writes an element of VR US.
func (m *maker) us(t Tag, v uint16) *maker {
	return m.el(t, "US", string(m.order().AppendUint16(nil, v)))
}

// raw appends bytes.
func (m *maker) raw(s string) *maker {
	m.b = append(m.b, s...)
	return m
}

func (m *maker) item(length uint32) *maker { return m.head(itemTag, "  ", length) }
func (m *maker) itemEnd() *maker           { return m.head(itemDelimiter, "  ", 0) }
func (m *maker) seqEnd() *maker            { return m.head(sequenceEnd, "  ", 0) }

// frag writes a fragment.
func (m *maker) frag(payload string) *maker {
	return m.item(uint32(len(payload))).raw(payload)
}

// explicit, implicit and bigEndian begin data sets.
func explicit() *maker  { return &maker{} }
func implicit() *maker  { return &maker{implicit: true} }
func bigEndian() *maker { return &maker{big: true} }

// part10 makes a file of a data set.
func part10(syntax string, data *maker) []byte {
	meta := explicit().el(0x00020001, "OB", "\x00\x01").el(0x00020010, "UI", even(syntax))
	b := append(make([]byte, 128), "DICM"...)
	b = append(b, explicit().el(0x00020000, "UL", string(binary.LittleEndian.AppendUint32(nil, uint32(len(meta.b))))).b...)
	return append(append(b, meta.b...), data.b...)
}

func even(s string) string { return s + strings.Repeat("\x00", len(s)%2) }

// image writes the attributes of an image.
func (m *maker) image(frames string, rows, cols, samples, bits uint16) *maker {
	m.us(samplesPerPixel, samples)
	if frames != "" {
		m.el(numberOfFrames, "IS", frames)
	}
	return m.us(0x00280010, rows).us(0x00280011, cols).us(bitsAllocated, bits)
}
