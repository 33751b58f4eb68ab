package dicomjson

import (
	"bytes"
	"encoding/binary"
	"math"
	"strconv"
	"unsafe"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/dicom"
)

// AppendAttr appends `"ggggeeee":{"vr":"…","Value":[…]}` of an attribute in its
// index form, without a comma. It does not allocate.
func AppendAttr(dst []byte, a archive.Attr) []byte {
	dst = appendHead(dst, a.Tag, a.VR)
	switch {
	case a.Value == "":
	case a.VR == dicom.SQ:
		if a.Value != "[]" {
			dst = append(dst, `,"Value":`...)
			dst = append(dst, a.Value...)
		}
	case a.VR.IsText() || dicom.NumberSize(a.VR) > 0:
		// Read only, so the string's own bytes will do.
		dst = appendText(dst, a.VR, unsafe.Slice(unsafe.StringData(a.Value), len(a.Value)))
	}
	return append(dst, '}')
}

// appendHead appends `"ggggeeee":{"vr":"…"`.
func appendHead(dst []byte, t dicom.Tag, v dicom.VR) []byte {
	dst = t.Append(append(dst, '"'))
	dst = append(dst, `":{"vr":"`...)
	return append(dst, byte(v>>8), byte(v), '"')
}

// appendText appends `,"Value":[…]` of UTF-8 text with backslashes between
// values, or nothing when no value holds anything. An empty one among several
// is null (PS3.18 §F.2.5).
func appendText(dst []byte, vr dicom.VR, text []byte) []byte {
	mark, found := len(dst), false
	dst = append(dst, `,"Value":[`...)
	if vr != dicom.PN && vr != dicom.DS && vr != dicom.IS && vr.IsText() && plain(text) {
		// One value without anything to escape: most text is.
		if text = trim(vr, text); len(text) == 0 {
			return dst[:mark]
		}
		dst = append(append(append(dst, '"'), text...), '"')
		return append(dst, ']')
	}
	multiple := vr.IsMultiple() || dicom.NumberSize(vr) > 0
	for first := true; ; first = false {
		value, more := text, false
		if multiple {
			if i := bytes.IndexByte(text, '\\'); i >= 0 {
				value, text, more = text[:i], text[i+1:], true
			}
		}
		if !first {
			dst = append(dst, ',')
		}
		n := len(dst)
		if dst = appendValue(dst, vr, trim(vr, value)); len(dst) == n {
			dst = append(dst, "null"...)
		} else {
			found = true
		}
		if !more {
			break
		}
	}
	if !found {
		return dst[:mark]
	}
	return append(dst, ']')
}

// trim is dicom.VR.Trim.
func trim(vr dicom.VR, b []byte) []byte {
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == 0) {
		b = b[:len(b)-1]
	}
	switch vr {
	case dicom.AE, dicom.CS, dicom.DS, dicom.IS:
		for len(b) > 0 && b[0] == ' ' {
			b = b[1:]
		}
	}
	return b
}

// appendValue appends one value, or nothing when it is empty.
func appendValue(dst []byte, vr dicom.VR, v []byte) []byte {
	if len(v) == 0 {
		return dst
	}
	switch vr {
	case dicom.PN:
		return appendName(dst, v)
	case dicom.DS, dicom.IS:
		if usual(v, vr == dicom.DS) {
			return append(dst, v...)
		}
		out, form := appendDecimal(dst, v)
		if form.ok && (vr == dicom.DS || form.whole) && exact(out[len(dst):], form.digits) {
			return out
		}
	case dicom.US, dicom.SS, dicom.UL, dicom.SL, dicom.SV, dicom.UV, dicom.FL, dicom.FD:
		if numeric(v, vr) {
			if out, form := appendDecimal(dst, v); form.ok {
				return out
			}
		}
	}
	return appendString(dst, v)
}

var groups = [3]string{`"Alphabetic":`, `"Ideographic":`, `"Phonetic":`}

// appendName appends the object of a person name (PS3.18 §F.2.2), or nothing
// when all its component groups are empty.
func appendName(dst, v []byte) []byte {
	mark := len(dst)
	dst = append(dst, '{')
	for i, name := range groups {
		group := v
		if j := bytes.IndexByte(v, '='); j >= 0 && i < 2 {
			group, v = v[:j], v[j+1:]
		} else {
			v = nil
		}
		if group = trim(dicom.PN, group); len(bytes.Trim(group, "^ ")) == 0 {
			continue // delimiters of empty components say nothing (PS3.5 §6.2.1.1)
		}
		if len(dst) > mark+1 {
			dst = append(dst, ',')
		}
		dst = append(dst, name...)
		dst = appendString(dst, group)
	}
	if len(dst) == mark+1 {
		return dst[:mark]
	}
	return append(dst, '}')
}

// plain reports whether a JSON string may hold the text as it is, and a DICOM
// value too: no control, quote or backslash is in it.
func plain(b []byte) bool {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	for len(b) >= 8 {
		w := binary.LittleEndian.Uint64(b)
		quote, slash := w^'"'*ones, w^'\\'*ones // a byte is zero where it matches
		if ((w-' '*ones)&^w|(quote-ones)&^quote|(slash-ones)&^slash)&highs != 0 {
			return false
		}
		b = b[8:]
	}
	for _, c := range b {
		if c < ' ' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// appendString appends a JSON string of UTF-8 text.
func appendString(dst, v []byte) []byte {
	const digits = "0123456789abcdef"
	dst = append(dst, '"')
	if plain(v) {
		return append(append(dst, v...), '"')
	}
	start := 0
	for i, c := range v {
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		dst = append(dst, v[start:i]...)
		start = i + 1
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
		}
	}
	dst = append(dst, v[start:]...)
	return append(dst, '"')
}

// usual reports whether a DS or IS is what nearly all are: at most 15 digits,
// perhaps after a minus sign, without a leading zero; a DS also with a point
// between them.
func usual(v []byte, point bool) bool {
	if len(v) > 0 && v[0] == '-' {
		v = v[1:]
	}
	if len(v) == 0 || len(v) > 16 || !digit(v[0]) || v[0] == '0' && len(v) > 1 && v[1] != '.' {
		return false
	}
	points, allowed := 0, 0
	if point {
		allowed = 1
	}
	for i, c := range v {
		if !digit(c) {
			if c != '.' || i == len(v)-1 {
				return false
			}
			points++
		}
	}
	return points <= allowed && len(v)-points <= 15
}

// decimal says how a number is written.
type decimal struct {
	ok     bool // it is a number
	whole  bool // without point and exponent
	digits int  // before the exponent
}

// appendDecimal appends a number as DS and IS write it (PS3.5 §6.2) as a JSON
// number of the same digits: JSON knows no plus sign, no leading zero and no
// point without a digit on both sides. What is no number is not appended.
func appendDecimal(dst, v []byte) ([]byte, decimal) {
	mark := len(dst)
	rest := v
	if len(rest) > 0 && (rest[0] == '+' || rest[0] == '-') {
		if rest[0] == '-' {
			dst = append(dst, '-')
		}
		rest = rest[1:]
	}
	integer, rest := leadingDigits(rest)
	fraction, point := rest[:0], len(rest) > 0 && rest[0] == '.'
	if point {
		fraction, rest = leadingDigits(rest[1:])
	}
	form := decimal{ok: len(integer)+len(fraction) > 0, whole: !point && len(rest) == 0}
	for len(integer) > 1 && integer[0] == '0' {
		integer = integer[1:]
	}
	form.digits = len(integer) + len(fraction)
	if len(integer) == 0 {
		dst = append(dst, '0')
	}
	dst = append(dst, integer...)
	if len(fraction) > 0 {
		dst = append(append(dst, '.'), fraction...)
	}
	if len(rest) > 0 && rest[0]|0x20 == 'e' {
		dst = append(dst, 'e')
		rest = rest[1:]
		if len(rest) > 0 && (rest[0] == '+' || rest[0] == '-') {
			dst = append(dst, rest[0])
			rest = rest[1:]
		}
		var exponent []byte
		exponent, rest = leadingDigits(rest)
		form.ok = form.ok && len(exponent) > 0 && len(exponent) < 6
		dst = append(dst, exponent...)
	}
	if !form.ok || len(rest) > 0 {
		return dst[:mark], decimal{}
	}
	return dst, form
}

func leadingDigits(b []byte) (digits, rest []byte) {
	i := 0
	for i < len(b) && digit(b[i]) {
		i++
	}
	return b[:i], b[i:]
}

func digit(c byte) bool { return c >= '0' && c <= '9' }

// exact reports whether double precision keeps a JSON number of so many digits:
// 15 always do, of more only those that come back.
func exact(number []byte, digits int) bool {
	if digits <= 15 && bytes.IndexByte(number, 'e') < 0 {
		return true
	}
	f, err := strconv.ParseFloat(string(number), 64)
	if err != nil || math.IsInf(f, 0) {
		return false
	}
	if digits <= 15 {
		return f != 0 || significant(number) == ""
	}
	return significant(number) == significant(strconv.AppendFloat(nil, f, 'e', -1, 64))
}

// significant returns a number's digits without sign, point, exponent and the
// zeros before and after.
func significant(number []byte) string {
	if i := bytes.IndexByte(number, 'e'); i >= 0 {
		number = number[:i]
	}
	var out []byte
	for _, c := range number {
		if digit(c) && (c != '0' || len(out) > 0) {
			out = append(out, c)
		}
	}
	return string(bytes.TrimRight(out, "0"))
}

// numeric reports whether a binary number in decimal is a JSON number for every
// reader: finite, and of 64 bits not past what double precision counts to.
func numeric(v []byte, vr dicom.VR) bool {
	if vr == dicom.SV || vr == dicom.UV {
		n, err := strconv.ParseInt(string(v), 10, 64)
		return err == nil && n <= 1<<53 && n >= -1<<53
	}
	return digit(v[len(v)-1]) // not NaN, not Infinity
}
