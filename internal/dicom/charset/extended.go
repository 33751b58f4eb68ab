package charset

import (
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
)

// decoder is the state of code extension: what bytes below 80H (g0) and above
// 7FH (g1) stand for. nil is ASCII, and nothing.
type decoder struct {
	set    *Set
	g0, g1 *repertoire

	// Pairs of bytes wait until the encoding changes, to be decoded in one go.
	pending  []byte
	encoding encoding.Encoding
}

// reset returns to what value 1 designates.
func (d *decoder) reset() {
	d.g0, d.g1 = nil, nil
	switch r := d.set.first; {
	case r == nil:
	case r.form == single, r.form == pairsAbove:
		d.g1 = r
	case r.form == kana:
		d.g0, d.g1 = r, r
	}
	if d.g1 == nil {
		d.g1 = d.set.pairs
	}
}

// appendExtended decodes a value under code extension (PS3.5 §6.1.2.5).
func (s *Set) appendExtended(dst, b []byte, k Kind) []byte {
	d := decoder{set: s}
	d.reset()
	for i := 0; i < len(b); {
		c := b[i]
		switch {
		case c == esc:
			r, below, n := escaped(b[i+1:])
			if n == 0 {
				dst = append(d.flush(dst), c)
				i++
				continue
			}
			if below {
				d.g0 = r
			} else {
				d.g1 = r
			}
			i += 1 + n
		case c <= ' ' || c == 0x7F:
			dst = append(d.flush(dst), c)
			if c == '\t' || c == '\n' || c == '\f' || c == '\r' {
				d.reset()
			}
			i++
		case c < 0x80:
			if d.g0 != nil && d.g0.form == pairsBelow && i+1 < len(b) && b[i+1] > ' ' && b[i+1] < 0x7F {
				dst = d.pair(dst, d.g0, c|0x80, b[i+1]|0x80)
				i += 2
				continue
			}
			dst = d.flush(dst)
			i++
			if c == '~' && d.g0 != nil && d.g0.form == kana {
				dst = append(dst, "‾"...)
				continue
			}
			dst = append(dst, c)
			if resets(c, k) {
				d.reset()
			}
		default:
			n := 0
			dst, n = d.high(dst, b[i:])
			i += n
		}
	}
	return d.flush(dst)
}

// resets reports whether the delimiter c ends what code extensions designated.
func resets(c byte, k Kind) bool {
	switch c {
	case '\\':
		return k != Text
	case '^', '=':
		return k == Name
	}
	return false
}

// high decodes the character at b, whose first byte is above 7FH, and returns its length.
func (d *decoder) high(dst, b []byte) ([]byte, int) {
	c := b[0]
	switch r := d.g1; {
	case r == nil:
		n := 1
		for n < len(b) && b[n] >= 0x80 {
			n++
		}
		if first := d.set.first; first != nil && first.form == encoded {
			return appendEncoded(d.flush(dst), b[:n], first.encoding), n
		}
		return appendUnlabelled(d.flush(dst), b[:n]), n
	case r.form == pairsAbove && len(b) > 1 && c > 0xA0 && c < 0xFF && b[1] > 0xA0 && b[1] < 0xFF:
		return d.pair(dst, r, c, b[1]), 2
	case r.form == kana && c > 0xA0 && c < 0xE0:
		return utf8.AppendRune(d.flush(dst), 0xFF61+rune(c-0xA1)), 1
	case r.form == single:
		return utf8.AppendRune(d.flush(dst), r.decode(c)), 1
	}
	return utf8.AppendRune(d.flush(dst), western(c)), 1
}

func (d *decoder) pair(dst []byte, r *repertoire, first, second byte) []byte {
	if d.encoding != r.encoding {
		dst = d.flush(dst)
		d.encoding = r.encoding
	}
	if r.prefix != 0 {
		d.pending = append(d.pending, r.prefix)
	}
	d.pending = append(d.pending, first, second)
	return dst
}

func (d *decoder) flush(dst []byte) []byte {
	if len(d.pending) > 0 {
		dst = appendEncoded(dst, d.pending, d.encoding)
		d.pending = d.pending[:0]
	}
	return dst
}

// decode returns the character of a byte above 7FH.
func (r *repertoire) decode(c byte) rune {
	if c >= 0xA0 {
		if ch := r.charmap.DecodeByte(c); ch != utf8.RuneError {
			return ch
		}
	}
	return western(c)
}

// western returns the character of a byte in Windows-1252, which is ISO 8859-1
// with characters where that has controls. Five bytes remain controls.
func western(c byte) rune {
	if ch := charmap.Windows1252.DecodeByte(c); ch != utf8.RuneError {
		return ch
	}
	return rune(c)
}
