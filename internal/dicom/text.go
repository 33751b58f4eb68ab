package dicom

import (
	"encoding/binary"
	"math"
	"strconv"
	"strings"

	"github.com/strata-pacs/strata/internal/dicom/charset"
)

// Text returns the value of the attribute as UTF-8 text, see [Dataset.TextOf],
// and whether the data set has the attribute.
func (d *Dataset) Text(t Tag) (string, bool) {
	e := d.Lookup(t)
	if e == nil {
		return "", false
	}
	return d.TextOf(e), true
}

// TextOf returns the value of an element of d as UTF-8 text: without padding,
// several values joined by backslashes, the component groups of a PN by '=',
// binary numbers in decimal, attribute tags in eight hexadecimal digits.
// Sequences, binary values and values that were not held give "".
//
// A value sent as UN whose attribute the dictionary knows is read as the
// dictionary says (PS3.5 §6.2.2).
func (d *Dataset) TextOf(e *Element) string {
	if e.VR == UN && len(e.Value) > 0 {
		if vr := VROf(e.Tag); vr != UN && vr != SQ {
			known := *e
			known.VR = vr
			// Such values are little endian, whatever the data set is (CP-246).
			return (&Dataset{Order: binary.LittleEndian, Charset: d.Charset}).TextOf(&known)
		}
	}
	switch size := NumberSize(e.VR); {
	case size > 0:
		n := len(e.Value) / size
		if n == 0 {
			return ""
		}
		dst, order := make([]byte, 0, min(8*n, 64)), d.byteOrder()
		for i := range n {
			if i > 0 {
				dst = append(dst, '\\')
			}
			dst = AppendNumber(dst, e.VR, order, e.Value[i*size:(i+1)*size])
		}
		return string(dst)
	case !e.VR.IsText():
		return ""
	}
	text := charset.Decode(e.Value, d.Charset, e.VR.TextKind())
	if !e.VR.IsMultiple() || strings.IndexByte(text, '\\') < 0 {
		return e.VR.Trim(text)
	}
	var b strings.Builder
	b.Grow(len(text))
	for i := 0; ; i++ {
		value, rest, more := strings.Cut(text, `\`)
		if i > 0 {
			b.WriteByte('\\')
		}
		b.WriteString(e.VR.Trim(value))
		if !more {
			return b.String()
		}
		text = rest
	}
}

// IsText reports whether values are character strings (PS3.5 §6.2).
func (v VR) IsText() bool {
	switch v {
	case AE, AS, CS, DA, DS, DT, IS, LO, LT, PN, SH, ST, TM, UC, UI, UR, UT:
		return true
	}
	return false
}

// IsMultiple reports whether a backslash delimits values of the text (PS3.5 §6.2).
func (v VR) IsMultiple() bool {
	switch v {
	case LT, ST, UR, UT:
		return false
	}
	return v.IsText()
}

// TextKind returns where a value resets code extensions.
func (v VR) TextKind() charset.Kind {
	switch v {
	case PN:
		return charset.Name
	case LT, ST, UR, UT:
		return charset.Text
	}
	return charset.Values
}

// Trim removes the padding of one value of text: trailing spaces and NULs, and
// leading spaces where they have no meaning for a code, an application or a number.
func (v VR) Trim(s string) string {
	for len(s) > 0 && (s[len(s)-1] == ' ' || s[len(s)-1] == 0) {
		s = s[:len(s)-1]
	}
	switch v {
	case AE, CS, DS, IS:
		for len(s) > 0 && s[0] == ' ' {
			s = s[1:]
		}
	}
	return s
}

// NumberSize returns the bytes of one number of a VR of binary numbers, AT
// included, and 0 of other VRs.
func NumberSize(v VR) int {
	switch v {
	case US, SS:
		return 2
	case UL, SL, FL, AT:
		return 4
	case UV, SV, FD:
		return 8
	}
	return 0
}

// AppendNumber appends one number of NumberSize bytes: an integer in decimal, a
// float with the fewest digits that identify it ("NaN", "Infinity" and
// "-Infinity" among them), a tag in hexadecimal.
func AppendNumber(dst []byte, v VR, o binary.ByteOrder, b []byte) []byte {
	switch v {
	case US:
		return strconv.AppendUint(dst, uint64(o.Uint16(b)), 10)
	case SS:
		return strconv.AppendInt(dst, int64(int16(o.Uint16(b))), 10)
	case UL:
		return strconv.AppendUint(dst, uint64(o.Uint32(b)), 10)
	case SL:
		return strconv.AppendInt(dst, int64(int32(o.Uint32(b))), 10)
	case UV:
		return strconv.AppendUint(dst, o.Uint64(b), 10)
	case SV:
		return strconv.AppendInt(dst, int64(o.Uint64(b)), 10)
	case FL:
		return appendFloat(dst, float64(math.Float32frombits(o.Uint32(b))), 32)
	case FD:
		return appendFloat(dst, math.Float64frombits(o.Uint64(b)), 64)
	case AT:
		return (Tag(o.Uint16(b))<<16 | Tag(o.Uint16(b[2:]))).Append(dst)
	}
	return dst
}

func appendFloat(dst []byte, f float64, bits int) []byte {
	switch {
	case f != f:
		return append(dst, "NaN"...)
	case math.IsInf(f, 1):
		return append(dst, "Infinity"...)
	case math.IsInf(f, -1):
		return append(dst, "-Infinity"...)
	}
	format := byte('f')
	if a := math.Abs(f); a != 0 && (a < 1e-6 || a >= 1e21) {
		format = 'e'
	}
	return strconv.AppendFloat(dst, f, format, -1, bits)
}

// Append appends the eight upper-case hexadecimal digits of the tag.
func (t Tag) Append(dst []byte) []byte {
	const digits = "0123456789ABCDEF"
	return append(dst, digits[t>>28], digits[t>>24&15], digits[t>>20&15], digits[t>>16&15],
		digits[t>>12&15], digits[t>>8&15], digits[t>>4&15], digits[t&15])
}
