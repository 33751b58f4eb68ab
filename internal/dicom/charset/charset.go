// Package charset decodes text of the character repertoires that DICOM names
// in Specific Character Set (0008,0005), with and without code extensions
// (PS3.3 §C.12.1.1.2, PS3.5 §6.1), into UTF-8.
//
// Text that does not hold what its label promises is decoded as well as can be
// and never dropped: see [Set.Append].
package charset

import (
	"bytes"
	"unicode/utf8"
)

// Kind says where a value resets code extensions (PS3.5 §6.1.2.5.3).
type Kind uint8

const (
	Values Kind = iota // at backslashes, between values
	Name               // also at ^ and = (PN)
	Text               // one value, of lines; a backslash is a character (ST, LT, UT)
)

// Set is a value of Specific Character Set, ready to decode with. The zero Set
// is the default repertoire. A Set is immutable.
type Set struct {
	first *repertoire // of value 1, in force at the beginning; nil is the default repertoire
	pairs *repertoire // the first declared one of two bytes above 7FH, whose escape sequence may be missing
}

// Parse reads the values of Specific Character Set. It also understands the
// spellings seen in the wild, and takes what it does not know for undeclared.
func Parse(terms []string) Set {
	var s Set
	for i, t := range terms {
		r := repertoireOf(t)
		if i == 0 {
			s.first = r
		}
		if s.pairs == nil && r != nil && r.form == pairsAbove {
			s.pairs = r
		}
	}
	return s
}

// Known reports whether the term names a repertoire that is not the default one.
func Known(term string) bool { return repertoireOf(term) != nil }

// Decode returns the value as UTF-8: [Set.Append] with [Parse].
func Decode(b []byte, terms []string, k Kind) string {
	if IsASCII(b) {
		return string(b)
	}
	s := Parse(terms)
	return string(s.Append(nil, b, k))
}

const esc = 0x1B

// IsASCII reports whether the bytes mean the same in every repertoire: they
// are below 80H and there is no ESC among them.
func IsASCII(b []byte) bool {
	for len(b) >= 8 {
		w := uint64(b[0]) | uint64(b[1])<<8 | uint64(b[2])<<16 | uint64(b[3])<<24 |
			uint64(b[4])<<32 | uint64(b[5])<<40 | uint64(b[6])<<48 | uint64(b[7])<<56
		x := w ^ 0x1B1B1B1B1B1B1B1B // a byte is zero where it was ESC
		if (w|(x-0x0101010101010101)&^x)&0x8080808080808080 != 0 {
			return false
		}
		b = b[8:]
	}
	for _, c := range b {
		if c >= 0x80 || c == esc {
			return false
		}
	}
	return true
}

// Append appends the value as valid UTF-8. A backslash in the result was one in
// the value, never the second byte of a character.
//
// Escape sequences are obeyed whether declared or not. Where the bytes are not
// of the repertoire they are labelled with, text that is UTF-8 is read so, also
// under the label of ISO 8859-1, where it is possible otherwise but improbable;
// then text whose bytes above 7FH are all of Chinese characters is read as
// GB 18030; of the rest, a byte that fits nothing stands for its character in
// Windows-1252.
func (s *Set) Append(dst, b []byte, k Kind) []byte {
	if IsASCII(b) {
		return append(dst, b...)
	}
	if bytes.IndexByte(b, esc) >= 0 {
		return s.appendExtended(dst, b, k)
	}
	if s.first == nil && s.pairs == nil {
		return appendUnlabelled(dst, b)
	}
	if s.first == nil {
		if utf8.Valid(b) {
			return append(dst, b...)
		}
		return s.appendExtended(dst, b, k)
	}
	switch r := s.first; r.form {
	case unicode:
		if !utf8.Valid(b) {
			return appendUnlabelled(dst, b)
		}
		return append(dst, b...)
	case encoded:
		if surelyUTF8(b) {
			return append(dst, b...)
		}
		return appendEncoded(dst, b, r.encoding)
	case single:
		if utf8.Valid(b) && (r.western() || hasC1(b)) {
			return append(dst, b...)
		}
		if r.western() && likelyChinese(b, true) {
			return appendEncoded(dst, b, gb18030)
		}
	default:
		if utf8.Valid(b) {
			return append(dst, b...)
		}
	}
	return s.appendExtended(dst, b, k)
}

// appendUnlabelled decodes text with bytes above 7FH whose repertoire nothing
// says, or whose label is wrong.
func appendUnlabelled(dst, b []byte) []byte {
	switch {
	case utf8.Valid(b):
		return append(dst, b...)
	case hasMultibyte(b):
		return appendPatchedUTF8(dst, b)
	case likelyChinese(b, false):
		return appendEncoded(dst, b, gb18030)
	}
	for _, c := range b {
		dst = utf8.AppendRune(dst, western(c))
	}
	return dst
}
