package render

import (
	"encoding/binary"
	"math"
	"unicode/utf16"
)

// profile makes an ICC profile of the space (ICC.1:2010, version 4.3): a display
// profile of three components, or of its neutral axis for pictures in grey.
func (s *space) profile(neutral bool) []byte {
	white := xyz(s.white)
	name, class := s.name, "RGB "
	if neutral {
		name, class = s.name+" grey", "GRAY"
	}
	type tag struct {
		signature string
		data      []byte
	}
	trc := s.transfer.curve()
	m := s.colorants()
	column := func(j int) []byte { return xyzType(m[0][j], m[1][j], m[2][j]) }
	tags := []tag{
		{"desc", textType(name)},
		{"cprt", textType("No copyright, use freely")},
		{"wtpt", xyzType(d50XYZ[0], d50XYZ[1], d50XYZ[2])},
		{"chad", matrixType(adaptation(white))},
	}
	if neutral {
		tags = append(tags, tag{"kTRC", trc})
	} else {
		tags = append(tags, tag{"rXYZ", column(0)}, tag{"gXYZ", column(1)}, tag{"bXYZ", column(2)},
			tag{"rTRC", trc}, tag{"gTRC", trc}, tag{"bTRC", trc})
	}
	b := make([]byte, 128, 1024)
	binary.BigEndian.PutUint32(b[8:], 0x04300000)
	copy(b[12:], "mntr"+class+"XYZ ")
	for i, v := range []uint16{2026, 1, 1, 0, 0, 0} {
		binary.BigEndian.PutUint16(b[24+2*i:], v)
	}
	copy(b[36:], "acsp")
	for i, v := range d50XYZ {
		binary.BigEndian.PutUint32(b[68+4*i:], s15Fixed16(v))
	}
	b = binary.BigEndian.AppendUint32(b, uint32(len(tags)))
	table := len(b)
	b = append(b, make([]byte, 12*len(tags))...)
	for i, t := range tags {
		entry := b[table+12*i:]
		copy(entry, t.signature)
		if i > 0 && t.signature[1:] == "TRC" && tags[i-1].signature[1:] == "TRC" {
			copy(entry[4:12], b[table+12*(i-1)+4:]) // the same data
			continue
		}
		binary.BigEndian.PutUint32(entry[4:], uint32(len(b)))
		binary.BigEndian.PutUint32(entry[8:], uint32(len(t.data)))
		b = append(b, t.data...)
		b = append(b, make([]byte, -len(b)&3)...)
	}
	binary.BigEndian.PutUint32(b, uint32(len(b)))
	return b
}

// s15Fixed16 is an s15Fixed16Number.
func s15Fixed16(v float64) uint32 { return uint32(int32(math.Round(v * 65536))) }

func numbersType(signature string, v ...float64) []byte {
	b := append([]byte(signature), 0, 0, 0, 0)
	for _, n := range v {
		b = binary.BigEndian.AppendUint32(b, s15Fixed16(n))
	}
	return b
}

func xyzType(x, y, z float64) []byte { return numbersType("XYZ ", x, y, z) }

func matrixType(m matrix) []byte {
	return numbersType("sf32", m[0][0], m[0][1], m[0][2], m[1][0], m[1][1], m[1][2], m[2][0], m[2][1], m[2][2])
}

// curve is the transfer as a parametricCurveType.
func (t transfer) curve() []byte {
	if t.d < 0 {
		b := numbersType("para", 0, t.g)
		return b
	}
	b := numbersType("para", 0, t.g, t.a, t.b, t.c, t.d)
	b[9] = 3 // function type
	return b
}

// textType is a multiLocalizedUnicodeType of one English text.
func textType(s string) []byte {
	u := utf16.Encode([]rune(s))
	b := []byte("mluc\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x0CenUS")
	b = binary.BigEndian.AppendUint32(b, uint32(2*len(u)))
	b = binary.BigEndian.AppendUint32(b, 28)
	for _, c := range u {
		b = binary.BigEndian.AppendUint16(b, c)
	}
	return b
}

// matrixProfile is what a profile of three components says by curves and a
// matrix (ICC.1 §8.4.3).
type matrixProfile struct {
	light     [3][256]float64
	colorants matrix
}

// parseProfile reads a profile that converts by curves and a matrix. Others, of
// tables, are not read: ok is false.
func parseProfile(b []byte) (p matrixProfile, ok bool) {
	if !isProfile(b) || string(b[16:20]) != "RGB " || string(b[20:24]) != "XYZ " {
		return p, false
	}
	n := int(min(binary.BigEndian.Uint32(b[128:]), 100))
	tags := make(map[string][]byte, n)
	for i := range n {
		if 132+12*(i+1) > len(b) {
			break
		}
		e := b[132+12*i:]
		from, size := uint64(binary.BigEndian.Uint32(e[4:])), uint64(binary.BigEndian.Uint32(e[8:]))
		if from+size <= uint64(len(b)) {
			tags[string(e[:4])] = b[from : from+size]
		}
	}
	for j, c := range []string{"r", "g", "b"} {
		x := tags[c+"XYZ"]
		if len(x) < 20 {
			return p, false
		}
		for i := range 3 {
			p.colorants[i][j] = s15(x[8+4*i:])
		}
		curve := parseCurve(tags[c+"TRC"])
		if curve == nil {
			return p, false
		}
		for v := range 256 {
			p.light[j][v] = min(max(curve(float64(v)/255), 0), 1)
		}
	}
	_, ok = p.colorants.inverse()
	return p, ok
}

// isProfile reports whether b begins as a profile does that is as long as it says.
func isProfile(b []byte) bool {
	return len(b) >= 132 && string(b[36:40]) == "acsp" && int64(binary.BigEndian.Uint32(b)) <= int64(len(b)) &&
		binary.BigEndian.Uint32(b) >= 132
}

func s15(b []byte) float64 { return float64(int32(binary.BigEndian.Uint32(b))) / 65536 }

// parseCurve reads a curveType or parametricCurveType (ICC.1 §10.6, §10.18); nil
// when it is neither.
func parseCurve(b []byte) func(float64) float64 {
	if len(b) < 12 {
		return nil
	}
	switch string(b[:4]) {
	case "curv":
		return parseTable(b[12:], binary.BigEndian.Uint32(b[8:]))
	case "para":
		var v [7]float64
		kind := binary.BigEndian.Uint16(b[8:])
		if kind > 4 {
			return nil
		}
		count := [5]int{1, 3, 4, 5, 7}[kind]
		if len(b) < 12+4*count {
			return nil
		}
		for i := range count {
			v[i] = s15(b[12+4*i:])
		}
		return parametric(kind, v)
	}
	return nil
}

func parseTable(b []byte, n uint32) func(float64) float64 {
	switch {
	case n == 0:
		return func(v float64) float64 { return v }
	case uint64(len(b)) < 2*uint64(n):
		return nil
	case n == 1:
		g := float64(binary.BigEndian.Uint16(b)) / 256
		return func(v float64) float64 { return math.Pow(v, g) }
	}
	return func(v float64) float64 {
		at := v * float64(n-1)
		i := min(int(at), int(n)-2)
		low, high := float64(binary.BigEndian.Uint16(b[2*i:])), float64(binary.BigEndian.Uint16(b[2*i+2:]))
		return (low + (high-low)*(at-float64(i))) / 65535
	}
}

func parametric(kind uint16, v [7]float64) func(float64) float64 {
	g, a, b, c, d, e, f := v[0], v[1], v[2], v[3], v[4], v[5], v[6]
	switch kind {
	case 0:
		a, d = 1, -1
	case 1: // (ax+b)^g from -b/a on, else 0
		d = -b / a
	case 2: // the same, raised by c
		d, e, f, c = -b/a, c, c, 0
	}
	return func(x float64) float64 {
		if x < d {
			return c*x + f
		}
		return math.Pow(max(a*x+b, 0), g) + e
	}
}
