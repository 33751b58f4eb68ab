package charset

import (
	"strings"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/encoding/simplifiedchinese"
)

// form says how a repertoire's bytes make characters.
type form uint8

const (
	single     form = iota // ASCII, and one byte above 7FH (G1)
	kana                   // JIS X 0201: romaji below 80H, katakana above
	pairsBelow             // two bytes below 80H (G0), after an escape sequence
	pairsAbove             // two bytes above 7FH (G1), after an escape sequence
	encoded                // an encoding of its own, without code extensions
	unicode                // UTF-8
)

// repertoire is one character repertoire.
type repertoire struct {
	form     form
	charmap  *charmap.Charmap  // single
	encoding encoding.Encoding // encoded, and the pairs: with both bytes above 7FH
	prefix   byte              // pairs: stands before both bytes in the encoding, if not 0
}

// western reports whether text of another repertoire is often labelled as this one.
func (r *repertoire) western() bool {
	return r.charmap == charmap.ISO8859_1 || r.charmap == charmap.ISO8859_15
}

var gb18030 = simplifiedchinese.GB18030

// The repertoires of PS3.3 Tables C.12-2 to C.12-5, by the number of their
// registration, and others by number alone that only wrong labels name.
var (
	latin1   = &repertoire{charmap: charmap.ISO8859_1}
	latin2   = &repertoire{charmap: charmap.ISO8859_2}
	latin3   = &repertoire{charmap: charmap.ISO8859_3}
	latin4   = &repertoire{charmap: charmap.ISO8859_4}
	cyrillic = &repertoire{charmap: charmap.ISO8859_5}
	arabic   = &repertoire{charmap: charmap.ISO8859_6}
	greek    = &repertoire{charmap: charmap.ISO8859_7}
	hebrew   = &repertoire{charmap: charmap.ISO8859_8}
	latin5   = &repertoire{charmap: charmap.ISO8859_9}
	latin9   = &repertoire{charmap: charmap.ISO8859_15}
	thai     = &repertoire{charmap: charmap.Windows874} // TIS 620 and more
	jisx0201 = &repertoire{form: kana}
	jisx0208 = &repertoire{form: pairsBelow, encoding: japanese.EUCJP}
	jisx0212 = &repertoire{form: pairsBelow, encoding: japanese.EUCJP, prefix: 0x8F}
	ksx1001  = &repertoire{form: pairsAbove, encoding: korean.EUCKR}
	gb2312   = &repertoire{form: pairsAbove, encoding: simplifiedchinese.GB18030}
	chinese  = &repertoire{form: encoded, encoding: simplifiedchinese.GB18030}
	shiftJIS = &repertoire{form: encoded, encoding: japanese.ShiftJIS}
	eucJP    = &repertoire{form: encoded, encoding: japanese.EUCJP}
	eucKR    = &repertoire{form: encoded, encoding: korean.EUCKR}
	utf8Form = &repertoire{form: unicode}
)

// repertoireOf returns the repertoire of a defined term, nil for the default
// repertoire and for what it does not know. Case and punctuation do not count:
// "ISO-IR 100", "iso_ir_100" and "ISO 2022 IR 100" are the same.
func repertoireOf(term string) *repertoire {
	var buf [16]byte
	key := buf[:0]
	for _, c := range []byte(term) {
		switch {
		case c >= 'a' && c <= 'z':
			c -= 'a' - 'A'
		case (c < 'A' || c > 'Z') && (c < '0' || c > '9'):
			continue
		}
		if len(key) == cap(key) {
			return nil
		}
		key = append(key, c)
	}
	name := string(key)
	number := strings.TrimPrefix(name, "ISO")
	number = strings.TrimPrefix(number, "2022")
	number = strings.TrimPrefix(number, "IR")
	switch number {
	case "100", "LATIN1", "88591", "WINDOWS1252", "CP1252", "1252":
		return latin1
	case "101", "LATIN2", "88592":
		return latin2
	case "109", "LATIN3", "88593":
		return latin3
	case "110", "LATIN4", "88594":
		return latin4
	case "144", "88595", "CYRILLIC":
		return cyrillic
	case "127", "88596", "ARABIC":
		return arabic
	case "126", "88597", "GREEK":
		return greek
	case "138", "88598", "HEBREW":
		return hebrew
	case "148", "88599", "LATIN5":
		return latin5
	case "203", "885915", "LATIN9":
		return latin9
	case "166", "TIS620", "885911", "WINDOWS874":
		return thai
	case "13", "14":
		return jisx0201
	case "87":
		return jisx0208
	case "159":
		return jisx0212
	case "149":
		return ksx1001
	case "58":
		return gb2312
	case "192", "UTF8", "UNICODE", "106461":
		return utf8Form
	case "GB18030", "GBK", "GB2312", "GB", "CP936", "EUCCN":
		return chinese
	case "SHIFTJIS", "SJIS", "CP932", "WINDOWS31J":
		return shiftJIS
	case "EUCJP":
		return eucJP
	case "EUCKR", "CP949":
		return eucKR
	}
	return nil
}

// escaped returns what an escape sequence designates, and its length after ESC;
// length 0 when it is none that DICOM names (PS3.3 Tables C.12-3 and C.12-4).
// below says whether it is for bytes below 80H; a nil repertoire is ASCII then.
func escaped(b []byte) (r *repertoire, below bool, length int) {
	if len(b) < 2 {
		return nil, false, 0
	}
	switch {
	case b[0] == '(' && b[1] == 'B':
		return nil, true, 2
	case b[0] == '(' && b[1] == 'J':
		return jisx0201, true, 2
	case b[0] == ')' && b[1] == 'I':
		return jisx0201, false, 2
	case b[0] == '$' && (b[1] == 'B' || b[1] == '@'): // @: the edition of 1978
		return jisx0208, true, 2
	case b[0] == '$' && len(b) > 2:
		switch [2]byte{b[1], b[2]} {
		case [2]byte{'(', 'B'}:
			return jisx0208, true, 3
		case [2]byte{'(', 'D'}:
			return jisx0212, true, 3
		case [2]byte{')', 'C'}:
			return ksx1001, false, 3
		case [2]byte{')', 'A'}:
			return gb2312, false, 3
		}
	case b[0] == '-':
		if r := highHalf(b[1]); r != nil {
			return r, false, 2
		}
	}
	return nil, false, 0
}

// highHalf returns the repertoire of a 96-character set's final byte.
func highHalf(final byte) *repertoire {
	switch final {
	case 'A':
		return latin1
	case 'B':
		return latin2
	case 'C':
		return latin3
	case 'D':
		return latin4
	case 'F':
		return greek
	case 'G':
		return arabic
	case 'H':
		return hebrew
	case 'L':
		return cyrillic
	case 'M':
		return latin5
	case 'T':
		return thai
	case 'b':
		return latin9
	}
	return nil
}
