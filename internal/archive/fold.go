package archive

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/strata-pacs/strata/internal/dicom"
)

// Bounds of what the index looks up, so that a hostile value cannot fill it.
// They are far above what DICOM allows (64 characters a component group or LO).
const (
	MaxWordBytes  = 64  // a longer word is cut
	MaxFullBytes  = 256 // a longer full value is cut
	MaxValueWords = 128 // further words of one value are not looked up
)

// Fold returns the most folded form of a text: compatibility forms decomposed,
// no case, no accents, no ligatures, ß as ss. What a person would call
// the same name folds to the same text. Marks that make another letter
// (Japanese voicing, Indic vowels) and Hangul syllables stay.
func Fold(s string) string {
	upper := false
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= utf8.RuneSelf {
			return foldUnicode(s)
		}
		upper = upper || 'A' <= c && c <= 'Z'
	}
	if !upper {
		return s
	}
	return strings.ToLower(s)
}

func foldUnicode(s string) string {
	var b strings.Builder
	b.Grow(len(s))
	for _, r := range norm.NFKD.String(strings.ToValidUTF8(s, "\uFFFD")) {
		if r < utf8.RuneSelf {
			if 'A' <= r && r <= 'Z' {
				r += 'a' - 'A'
			}
			b.WriteByte(byte(r))
			continue
		}
		if isAccent(r) {
			continue
		}
		r = unicode.ToLower(unicode.ToUpper(r)) // ς and σ, ſ and s
		if t := spelled(r); t != "" {
			b.WriteString(t)
			continue
		}
		b.WriteRune(r)
	}
	// Composed again, so that a wildcard's '?' stands for a whole syllable.
	return norm.NFC.String(b.String())
}

// isAccent reports whether the mark only decorates a letter: the general
// combining marks, Hebrew points and Arabic vowel signs.
func isAccent(r rune) bool {
	switch {
	case r < 0x0300:
		return false
	case r <= 0x036F, r >= 0x0483 && r <= 0x0489, r >= 0x0591 && r <= 0x05C7, r >= 0x064B && r <= 0x065F, r == 0x0670,
		r >= 0x06D6 && r <= 0x06ED, r >= 0x1AB0 && r <= 0x1AFF, r >= 0x1DC0 && r <= 0x1DFF,
		r >= 0x20D0 && r <= 0x20FF, r >= 0xFE20 && r <= 0xFE2F:
		return unicode.Is(unicode.M, r)
	}
	return false
}

// spelled returns the plain spelling of lower-case letters that do not decompose.
func spelled(r rune) string {
	switch r {
	case 'ß', 'ẞ':
		return "ss"
	case 'æ':
		return "ae"
	case 'œ':
		return "oe"
	case 'ø':
		return "o"
	case 'ł':
		return "l"
	case 'đ', 'ð':
		return "d"
	case 'þ':
		return "th"
	case 'ħ':
		return "h"
	case 'ı':
		return "i"
	case 'ŧ':
		return "t"
	}
	return ""
}

// WordRune reports whether a folded rune is part of a word; all others separate words.
func WordRune(r rune) bool {
	if r < utf8.RuneSelf {
		return 'a' <= r && r <= 'z' || '0' <= r && r <= '9' || 'A' <= r && r <= 'Z'
	}
	return unicode.IsLetter(r) || unicode.IsNumber(r) || unicode.Is(unicode.M, r)
}

// FoldWords appends the distinct folded words of an attribute's value, as
// [Attr].Value has it, to dst: the runs of letters and digits of every value,
// and of every component of a PN. At most [MaxValueWords], each cut to [MaxWordBytes].
func FoldWords(dst []string, _ dicom.VR, value string) []string {
	f := Fold(value)
	from, start := len(dst), -1
	for i, r := range f {
		if WordRune(r) {
			if start < 0 {
				start = i
			}
			continue
		}
		if start >= 0 {
			dst = appendWord(dst, from, f[start:i])
			start = -1
			if len(dst)-from >= MaxValueWords {
				return dst
			}
		}
	}
	if start >= 0 {
		dst = appendWord(dst, from, f[start:])
	}
	return dst
}

func appendWord(dst []string, from int, w string) []string {
	w = Cut(w, MaxWordBytes)
	for _, have := range dst[from:] {
		if have == w {
			return dst
		}
	}
	return append(dst, w)
}

// FoldFull appends the distinct folded full values of an attribute's value to dst:
// one for each value, of a PN one for each component group, in the form of
// [FoldName]. Empty ones are left out; each is cut to [MaxFullBytes].
func FoldFull(dst []string, vr dicom.VR, value string) []string {
	from := len(dst)
	for len(value) > 0 && len(dst)-from < MaxValueWords {
		var one string
		one, value = cutValue(vr, value)
		if vr != dicom.PN {
			if one = strings.Trim(one, " \x00"); one != "" {
				dst = appendFull(dst, from, Fold(one))
			}
			continue
		}
		for more := true; more && len(dst)-from < MaxValueWords; {
			var group string
			group, one, more = strings.Cut(one, "=")
			if group = FoldName(group); group != "" {
				dst = appendFull(dst, from, group)
			}
		}
	}
	return dst
}

func appendFull(dst []string, from int, v string) []string {
	v = Cut(v, MaxFullBytes)
	for _, have := range dst[from:] {
		if have == v {
			return dst
		}
	}
	return append(dst, v)
}

// cutValue splits off the first of several values. Texts of one value keep their backslashes (PS3.5 §6.4).
func cutValue(vr dicom.VR, s string) (first, rest string) {
	switch vr {
	case dicom.ST, dicom.LT, dicom.UT, dicom.UR:
		return s, ""
	}
	first, rest, _ = strings.Cut(s, `\`)
	return first, rest
}

// FoldName returns the folded form of one component group of a PN: components
// without the spaces around them, and no empty components at the end
// (PS3.5 §6.2.1: they may be left out).
func FoldName(group string) string {
	f := Fold(group)
	if !strings.ContainsAny(f, " \x00") {
		return strings.TrimRight(f, "^")
	}
	parts := strings.Split(f, "^")
	for i, p := range parts {
		parts[i] = strings.Trim(p, " \x00")
	}
	return strings.TrimRight(strings.Join(parts, "^"), "^")
}

// Cut returns the longest beginning of s of at most n bytes that ends between runes.
func Cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
