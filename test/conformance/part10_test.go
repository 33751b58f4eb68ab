package conformance

import (
	"bytes"
	"encoding/binary"
	"strconv"
	"strings"
)

// A small writer of Explicit VR Little Endian files, apart from the one under test.

// el is an element: tag, VR, value. The value of SQ is its items, encoded. Of an
// element without VR the value is all that follows the tag.
type el struct {
	tag   uint32
	vr    string
	value string
}

const explicitLE = "1.2.840.10008.1.2.1"

func encode(list ...el) []byte {
	var b []byte
	for _, e := range list {
		b = binary.LittleEndian.AppendUint16(b, uint16(e.tag>>16))
		b = binary.LittleEndian.AppendUint16(b, uint16(e.tag))
		if e.vr == "" {
			b = append(b, e.value...)
			continue
		}
		v := []byte(e.value)
		if len(v)%2 == 1 {
			pad := byte(' ')
			if strings.Contains("UI OB OW UN", e.vr) {
				pad = 0
			}
			v = append(v, pad)
		}
		b = append(b, e.vr...)
		if strings.Contains("OB OW OF OD OL OV SQ UC UR UT UN SV UV", e.vr) {
			b = binary.LittleEndian.AppendUint32(append(b, 0, 0), uint32(len(v)))
		} else {
			b = binary.LittleEndian.AppendUint16(b, uint16(len(v)))
		}
		b = append(b, v...)
	}
	return b
}

// item is an item of a sequence, for the value of an SQ element.
func item(list ...el) string {
	b := encode(list...)
	head := binary.LittleEndian.AppendUint32([]byte{0xFE, 0xFF, 0x00, 0xE0}, uint32(len(b)))
	return string(head) + string(b)
}

func us(values ...uint16) string {
	var b []byte
	for _, v := range values {
		b = binary.LittleEndian.AppendUint16(b, v)
	}
	return string(b)
}

// part10 is a file of the elements in a transfer syntax, behind a preamble.
func part10(syntax string, preamble []byte, list ...el) []byte {
	meta := encode(el{0x00020001, "OB", "\x00\x01"}, el{0x00020010, "UI", syntax}, el{0x00020012, "UI", "1.2.3.4"})
	var b bytes.Buffer
	b.Write(append(bytes.Clone(preamble), make([]byte, 128-len(preamble))...))
	b.WriteString("DICM")
	b.Write(encode(el{0x00020000, "UL", string(binary.LittleEndian.AppendUint32(nil, uint32(len(meta))))}))
	b.Write(meta)
	b.Write(encode(list...))
	return b.Bytes()
}

const secondaryCapture = "1.2.840.10008.5.1.4.1.1.7"

// image is a small instance of 4 by 4 pixels; more replaces or adds elements.
func image(study, series, instance string, more ...el) []byte {
	pixels := make([]byte, 4*4*2)
	for i := range pixels {
		pixels[i] = byte(i * 7)
	}
	list := map[uint32]el{}
	for _, e := range append([]el{
		{0x00080005, "CS", "ISO_IR 192"}, {0x00080016, "UI", secondaryCapture}, {0x00080018, "UI", instance},
		{0x00080020, "DA", "20240102"}, {0x00080030, "TM", "101500"}, {0x00080050, "SH", ""}, {0x00080060, "CS", "OT"},
		{0x00100010, "PN", "Fern^Ada"}, {0x00100020, "LO", "P1"},
		{0x0020000D, "UI", study}, {0x0020000E, "UI", series}, {0x00200011, "IS", "1"}, {0x00200013, "IS", "1"},
		{0x00280002, "US", us(1)}, {0x00280004, "CS", "MONOCHROME2"}, {0x00280010, "US", us(4)}, {0x00280011, "US", us(4)},
		{0x00280100, "US", us(16)}, {0x00280101, "US", us(16)}, {0x00280102, "US", us(15)}, {0x00280103, "US", us(0)},
		{0x7FE00010, "OW", string(pixels)},
	}, more...) {
		list[e.tag] = e
	}
	return part10(explicitLE, nil, sorted(list)...)
}

func sorted(m map[uint32]el) []el {
	list := make([]el, 0, len(m))
	for _, e := range m {
		i := len(list)
		for i > 0 && list[i-1].tag > e.tag {
			i--
		}
		list = append(list[:i], append([]el{e}, list[i:]...)...)
	}
	return list
}

// undefined is a sequence of undefined length with one such item.
func undefined(tag uint32, list ...el) el {
	return el{tag, "", "SQ\x00\x00\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff" + string(encode(list...)) +
		"\xfe\xff\x0d\xe0\x00\x00\x00\x00\xfe\xff\xdd\xe0\x00\x00\x00\x00"}
}

// encapsulated is Pixel Data in fragments of even length, the first of them the Basic Offset Table.
func encapsulated(fragments ...string) el {
	v := []byte("OB\x00\x00\xff\xff\xff\xff")
	for _, f := range fragments {
		v = binary.LittleEndian.AppendUint32(append(v, 0xFE, 0xFF, 0x00, 0xE0), uint32(len(f)))
		v = append(v, f...)
	}
	return el{0x7FE00010, "", string(v) + "\xfe\xff\xdd\xe0\x00\x00\x00\x00"}
}

// compressed is an instance in an encapsulated transfer syntax.
func compressed(syntax, study, series, instance string, frames int, more ...el) []byte {
	list := append([]el{{0x00280008, "IS", strconv.Itoa(frames)}, {0x00280100, "US", us(8)}, {0x00280101, "US", us(8)}, {0x00280102, "US", us(7)}}, more...)
	return relabel(image(study, series, instance, list...), syntax)
}

// relabel changes the transfer syntax that a file of part10 names.
func relabel(file []byte, syntax string) []byte {
	at := bytes.Index(file, encode(el{0x00020012, "UI", "1.2.3.4"})) + len(encode(el{0x00020012, "UI", "1.2.3.4"}))
	return append(part10(syntax, file[:128]), file[at:]...)
}

func words(values ...uint64) string {
	var b []byte
	for _, v := range values {
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	return string(b)
}
