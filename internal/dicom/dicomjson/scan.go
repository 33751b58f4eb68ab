package dicomjson

import (
	"bytes"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/strata-pacs/strata/internal/dicom/charset"
	"github.com/strata-pacs/strata/internal/fault"
)

// scanner reads JSON (RFC 8259) where it lies.
type scanner struct {
	b       []byte
	i       int
	skipped int // bytes passed over, some of them to be read later
}

func (s *scanner) malformed() error {
	return fault.New(fault.Invalid, "the DICOM JSON is malformed at byte %d", s.i)
}

// peek returns the next byte after white space, or 0 at the end.
func (s *scanner) peek() byte {
	for s.i < len(s.b) {
		switch c := s.b[s.i]; c {
		case ' ', '\n', '\r', '\t':
			s.i++
		default:
			return c
		}
	}
	return 0
}

// take passes over c, which must come next.
func (s *scanner) take(c byte) error {
	if s.peek() != c {
		return s.malformed()
	}
	s.i++
	return nil
}

// next is called at the beginning of an array or object and after each of its
// values. It reports whether another value comes, past comma or opening; close
// is ] or }.
func (s *scanner) next(first bool, close byte) (bool, error) {
	switch c := s.peek(); {
	case c == close:
		s.i++
		return false, nil
	case first && c != 0:
		return true, nil
	case c == ',':
		s.i++
		return true, nil
	}
	return false, s.malformed()
}

// key reads a member's name and the colon after it.
func (s *scanner) key() ([]byte, error) {
	k, err := s.str()
	if err != nil {
		return nil, err
	}
	return k, s.take(':')
}

// str reads a string. The result is valid UTF-8; it lies in the text unless
// there are escapes in it.
func (s *scanner) str() ([]byte, error) {
	if err := s.take('"'); err != nil {
		return nil, err
	}
	for start := s.i; s.i < len(s.b); s.i++ {
		switch s.b[s.i] {
		case '"':
			v := s.b[start:s.i]
			s.i++
			return valid(v), nil
		case '\\':
			return s.escaped(start)
		}
	}
	return nil, s.malformed()
}

func valid(b []byte) []byte {
	if utf8.Valid(b) {
		return b
	}
	var set charset.Set
	return set.Append(nil, b, charset.Text)
}

// escaped reads the string that began at start from its first escape on.
func (s *scanner) escaped(start int) ([]byte, error) {
	out := bytes.Clone(s.b[start:s.i])
	for s.i < len(s.b) {
		c := s.b[s.i]
		s.i++
		switch {
		case c == '"':
			return valid(out), nil
		case c != '\\':
			out = append(out, c)
			continue
		case s.i == len(s.b):
			return nil, s.malformed()
		}
		c = s.b[s.i]
		s.i++
		switch c {
		case '"', '\\', '/':
			out = append(out, c)
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		case 'u':
			r, ok := s.hex4()
			if !ok {
				return nil, s.malformed()
			}
			if utf16.IsSurrogate(r) && s.i+1 < len(s.b) && s.b[s.i] == '\\' && s.b[s.i+1] == 'u' {
				back := s.i
				s.i += 2
				low, ok := s.hex4()
				if !ok {
					return nil, s.malformed()
				}
				if r = utf16.DecodeRune(r, low); r == utf8.RuneError {
					s.i = back
				}
			}
			out = utf8.AppendRune(out, r)
		default:
			return nil, s.malformed()
		}
	}
	return nil, s.malformed()
}

func (s *scanner) hex4() (rune, bool) {
	if s.i+4 > len(s.b) {
		return 0, false
	}
	var r rune
	for _, c := range s.b[s.i : s.i+4] {
		switch {
		case digit(c):
			c -= '0'
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	s.i += 4
	return r, true
}

// literal reads a number, true, false or null.
func (s *scanner) literal() ([]byte, error) {
	s.peek()
	start := s.i
	for s.i < len(s.b) {
		c := s.b[s.i]
		if !digit(c) && (c|0x20 < 'a' || c|0x20 > 'z') && c != '-' && c != '+' && c != '.' {
			break
		}
		s.i++
	}
	v := s.b[start:s.i]
	switch {
	case len(v) == 0:
	case string(v) == "null", string(v) == "true", string(v) == "false":
		return v, nil
	case digit(v[0]) || v[0] == '-' || v[0] == '.' || v[0] == '+':
		if _, form := appendDecimal(nil, v); form.ok {
			return v, nil
		}
	}
	s.i = start
	return nil, s.malformed()
}

// skip passes over a value of any kind, and checks little more than that its
// brackets and strings end.
func (s *scanner) skip() error {
	if s.peek() == 0 {
		return s.malformed()
	}
	defer func(start int) { s.skipped += s.i - start }(s.i)
	for depth := 0; s.i < len(s.b); {
		switch s.b[s.i] {
		case '"':
			if !s.skipString() {
				return s.malformed()
			}
		case '{', '[':
			depth++
			s.i++
		case '}', ']':
			depth--
			s.i++
		case ',', ':', ' ', '\n', '\r', '\t':
			if depth == 0 {
				return s.malformed()
			}
			s.i++
		default:
			start := s.i
			for s.i < len(s.b) && !delimits(s.b[s.i]) {
				s.i++
			}
			if s.i == start {
				return s.malformed()
			}
		}
		if depth == 0 {
			return nil
		}
		if depth < 0 {
			break
		}
	}
	return s.malformed()
}

func (s *scanner) skipString() bool {
	for from := s.i + 1; ; {
		j := bytes.IndexByte(s.b[from:], '"')
		if j < 0 {
			return false
		}
		j += from
		k := j
		for s.b[k-1] == '\\' {
			k--
		}
		// s.b[s.i] is a quote, so k stops at latest after it.
		if (j-k)%2 == 0 {
			s.i = j + 1
			return true
		}
		from = j + 1
	}
}

func delimits(c byte) bool {
	switch c {
	case '"', '{', '}', '[', ']', ',', ':', ' ', '\n', '\r', '\t':
		return true
	}
	return false
}
