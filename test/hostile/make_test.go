//go:build linux

package hostile

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A small writer of little endian files, which writes whatever it is told to.

// el is an element: tag, VR, value. Of an element without VR the value is all
// that follows the tag.
type el struct {
	tag   uint32
	vr    string
	value string
}

const (
	explicitLE = "1.2.840.10008.1.2.1"
	implicitLE = "1.2.840.10008.1.2"
	explicitBE = "1.2.840.10008.1.2.2"
	deflatedLE = "1.2.840.10008.1.2.1.99"
	jpeg8      = "1.2.840.10008.1.2.4.50"
	jpeg12     = "1.2.840.10008.1.2.4.51"
	jpegLL     = "1.2.840.10008.1.2.4.57"
	jpegSV1    = "1.2.840.10008.1.2.4.70"
	jpegLS     = "1.2.840.10008.1.2.4.80"
	jpegLSNear = "1.2.840.10008.1.2.4.81"
	j2kLL      = "1.2.840.10008.1.2.4.90"
	j2k        = "1.2.840.10008.1.2.4.91"
	htj2kLL    = "1.2.840.10008.1.2.4.201"
	htj2kRPCL  = "1.2.840.10008.1.2.4.202"
	htj2k      = "1.2.840.10008.1.2.4.203"
	rle        = "1.2.840.10008.1.2.5"
	deflFrame  = "1.2.840.10008.1.2.8.1"
)

// compressedSyntaxes are those whose fragments a decoder of ours reads.
var compressedSyntaxes = []string{jpeg8, jpeg12, jpegLL, jpegSV1, jpegLS, jpegLSNear, j2kLL, j2k, htj2kLL, htj2kRPCL, htj2k, rle, deflFrame}

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

func us(values ...uint16) string {
	var b []byte
	for _, v := range values {
		b = binary.LittleEndian.AppendUint16(b, v)
	}
	return string(b)
}

func quads(values ...uint64) string {
	var b []byte
	for _, v := range values {
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	return string(b)
}

func item(list ...el) string {
	b := encode(list...)
	return string(binary.LittleEndian.AppendUint32([]byte{0xFE, 0xFF, 0x00, 0xE0}, uint32(len(b)))) + string(b)
}

// part10 is a file of data set bytes.
func part10(syntax string, data []byte) []byte {
	meta := encode(el{0x00020001, "OB", "\x00\x01"}, el{0x00020010, "UI", syntax}, el{0x00020012, "UI", "1.2.3.4"})
	var b bytes.Buffer
	b.Write(make([]byte, 128))
	b.WriteString("DICM")
	b.Write(encode(el{0x00020000, "UL", string(binary.LittleEndian.AppendUint32(nil, uint32(len(meta))))}))
	b.Write(meta)
	b.Write(data)
	return b.Bytes()
}

// uids of an instance: its study, series and itself are numbers.
type uids struct{ Study, Series, Instance string }

func numbered(n int) uids {
	s := "2.999.3." + strconv.Itoa(n)
	return uids{s, s + ".1", s + ".1.1"}
}

func (u uids) path() string {
	return "/studies/" + u.Study + "/series/" + u.Series + "/instances/" + u.Instance
}

// elements are those of an image of 8 by 8 pixels of 8 bits, with what more
// replaces and adds; a VR of "-" removes. They ascend by tag.
func elements(u uids, more ...el) []el {
	list := map[uint32]el{}
	for _, e := range append([]el{
		{0x00080005, "CS", "ISO_IR 192"}, {0x00080016, "UI", "1.2.840.10008.5.1.4.1.1.7"}, {0x00080018, "UI", u.Instance},
		{0x00080020, "DA", "20240102"}, {0x00080060, "CS", "OT"}, {0x00100010, "PN", "Fern^Ada"}, {0x00100020, "LO", "P1"},
		{0x0020000D, "UI", u.Study}, {0x0020000E, "UI", u.Series}, {0x00200013, "IS", "1"},
		{0x00280002, "US", us(1)}, {0x00280004, "CS", "MONOCHROME2"}, {0x00280010, "US", us(8)}, {0x00280011, "US", us(8)},
		{0x00280100, "US", us(8)}, {0x00280101, "US", us(8)}, {0x00280102, "US", us(7)}, {0x00280103, "US", us(0)},
		{0x7FE00010, "OW", string(gradient(64))},
	}, more...) {
		list[e.tag] = e
		if e.vr == "-" {
			delete(list, e.tag)
		}
	}
	all := make([]el, 0, len(list))
	for _, e := range list {
		all = append(all, e)
	}
	slices.SortFunc(all, func(a, b el) int { return int(int64(a.tag) - int64(b.tag)) })
	return all
}

func gradient(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i/64)
	}
	return b
}

// size are the elements that say how large an image is.
func size(rows, columns, samples, bits uint16) []el {
	photometric, planar := "MONOCHROME2", el{0x00280006, "-", ""}
	if samples == 3 {
		photometric, planar = "RGB", el{0x00280006, "US", us(0)}
	}
	return []el{{0x00280002, "US", us(samples)}, {0x00280004, "CS", photometric}, planar, {0x00280010, "US", us(rows)}, {0x00280011, "US", us(columns)},
		{0x00280100, "US", us(bits)}, {0x00280101, "US", us(bits)}, {0x00280102, "US", us(bits - 1)}}
}

func frames(n string) el { return el{0x00280008, "IS", n} }

func native(b []byte) el { return el{0x7FE00010, "OW", string(b)} }

// fragments are Pixel Data, the first of them the Basic Offset Table. What is
// claimed replaces the length of the last one when it is not 0.
func fragments(claimed uint32, list ...string) el {
	v := []byte("OB\x00\x00\xff\xff\xff\xff")
	for i, f := range list {
		if len(f)%2 == 1 {
			f += "\x00"
		}
		n := uint32(len(f))
		if claimed != 0 && i == len(list)-1 {
			n = claimed
		}
		v = binary.LittleEndian.AppendUint32(append(v, 0xFE, 0xFF, 0x00, 0xE0), n)
		v = append(v, f...)
	}
	return el{0x7FE00010, "", string(v) + "\xfe\xff\xdd\xe0\x00\x00\x00\x00"}
}

// specimen is a file that is made to do harm.
type specimen struct {
	name string
	file func(u uids) []byte
	// refused says that nothing can be made of frame 1. What is native is given
	// as it is stored all the same.
	refused bool
}

// image is a specimen of the elements in a syntax.
func image(name, syntax string, refused bool, more ...el) specimen {
	return specimen{name, func(u uids) []byte { return part10(syntax, encode(elements(u, more...)...)) }, refused}
}

func with(list []el, more ...el) []el { return append(slices.Clone(list), more...) }

func named(format string, args ...any) string { return fmt.Sprintf(format, args...) }
