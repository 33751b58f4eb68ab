package charset

import (
	"bytes"
	"unicode/utf8"

	"golang.org/x/text/encoding"
)

// appendEncoded decodes b as the encoding says. Where that fails, text that is
// valid UTF-8 is taken so; otherwise a byte that begins no character stands for
// its character in Windows-1252.
func appendEncoded(dst, b []byte, e encoding.Encoding) []byte {
	d := e.NewDecoder()
	out, err := d.Bytes(b)
	if err == nil && !bytes.Contains(out, []byte("\uFFFD")) {
		return append(dst, out...)
	}
	if utf8.Valid(b) {
		return append(dst, b...)
	}
	var buf [16]byte
	for len(b) > 0 {
		n := 1
		if b[0] < 0x80 {
			dst = append(dst, b[0])
			b = b[1:]
			continue
		}
		for ; n <= min(4, len(b)); n++ {
			d.Reset()
			if w, _, err := d.Transform(buf[:], b[:n], true); err == nil && !bytes.Contains(buf[:w], []byte("\uFFFD")) {
				dst = append(dst, buf[:w]...)
				break
			}
		}
		if n > min(4, len(b)) {
			dst = utf8.AppendRune(dst, western(b[0]))
			n = 1
		}
		b = b[n:]
	}
	return dst
}

// appendPatchedUTF8 copies what is UTF-8; other bytes stand for their
// characters in Windows-1252. Often it is only the last character that was cut.
func appendPatchedUTF8(dst, b []byte) []byte {
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError && n == 1 {
			r = western(b[0])
		}
		dst = utf8.AppendRune(dst, r)
		b = b[n:]
	}
	return dst
}

// hasMultibyte reports whether there is a character of UTF-8 of three or more
// bytes, or more of two bytes than bytes that belong to none.
func hasMultibyte(b []byte) bool {
	two, none := 0, 0
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		switch {
		case n > 2:
			return true
		case n == 2:
			two++
		case r == utf8.RuneError:
			none++
		}
		b = b[n:]
	}
	return two > none
}

// surelyUTF8 reports whether text that is labelled as Chinese or Japanese is UTF-8
// instead: two characters of three bytes are hardly ever there by chance.
func surelyUTF8(b []byte) bool {
	long := 0
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError && n == 1 {
			return false
		}
		if n > 2 {
			long++
		}
		b = b[n:]
	}
	return long > 1
}

// hasC1 reports whether there is a byte of 80H to 9FH, which no part of ISO 8859
// gives a character.
func hasC1(b []byte) bool {
	for _, c := range b {
		if c >= 0x80 && c < 0xA0 {
			return true
		}
	}
	return false
}

// likelyChinese reports whether the bytes above 7FH are the characters of
// GB 18030: they come in pairs that make words, since an accented letter stands
// among others. Where the label allows accented letters (latin), the pairs are of
// GB 2312 and a word begins with a character of its first level.
func likelyChinese(b []byte, latin bool) bool {
	for i := 0; i < len(b); {
		if b[i] < 0x80 {
			i++
			continue
		}
		start := i
		for i < len(b) && b[i] >= 0x80 {
			if i+1 == len(b) || !gbPair(b[i], b[i+1], latin, i > start) {
				return false
			}
			i += 2
		}
		if latin && b[start] >= 0xD8 {
			return false
		}
		amongLetters := start > 0 && letter(b[start-1]) || i < len(b) && letter(b[i])
		if amongLetters && (latin || i-start < 6) {
			return false
		}
	}
	return true
}

// gbPair reports whether two bytes are a Chinese character: of GB 2312, or of GBK
// where accented letters are out of the question. The second byte is a letter of
// ASCII only inside a word.
func gbPair(a, b byte, latin, inside bool) bool {
	if a >= 0xB0 && a <= 0xF7 && b >= 0xA1 && b <= 0xFE {
		return true
	}
	if latin || a < 0x81 || a > 0xFE {
		return false
	}
	return b >= 0x80 && b <= 0xFE || inside && letter(b)
}

func letter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }
