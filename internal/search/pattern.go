package search

import (
	"strings"
	"unicode/utf8"

	"github.com/strata-pacs/strata/internal/archive"
)

// Wildcards in a compiled pattern (PS3.4 §C.2.2.2.4); no text has negative runes.
const (
	anyRunes rune = -1 // '*': zero or more characters
	oneRune  rune = -2 // '?': one character
)

// pattern is a text with wildcards, folded or literal.
type pattern []rune

// compilePattern reads the wildcards of s and folds what is between them, so
// that a character that only folds to '*' or '?' is none.
func compilePattern(s string, fold func(string) string) pattern {
	p := make(pattern, 0, len(s))
	for s != "" {
		i := strings.IndexAny(s, "*?")
		if i < 0 {
			return append(p, []rune(fold(s))...)
		}
		if i > 0 {
			p = append(p, []rune(fold(s[:i]))...)
		}
		switch {
		case s[i] == '?':
			p = append(p, oneRune)
		case len(p) == 0 || p[len(p)-1] != anyRunes:
			p = append(p, anyRunes)
		}
		s = s[i+1:]
	}
	return p
}

func literal(s string) string { return s }

// hasWildcard reports whether the text holds '*' or '?'.
func hasWildcard(s string) bool { return strings.ContainsAny(s, "*?") }

// match reports whether the whole text matches: in time proportional to the
// product of both lengths at worst.
func (p pattern) match(s string) bool {
	i, j := 0, 0        // into p, into s
	star, from := -1, 0 // the last '*', and where in s its run ends for now
	for j < len(s) {
		r, n := rune(s[j]), 1
		if r >= utf8.RuneSelf {
			r, n = utf8.DecodeRuneInString(s[j:])
		}
		switch {
		case i < len(p) && p[i] == anyRunes:
			star, from = i, j
			i++
		case i < len(p) && (p[i] == r || p[i] == oneRune):
			i++
			j += n
		case star >= 0:
			_, n = utf8.DecodeRuneInString(s[from:])
			from += n
			i, j = star+1, from
		default:
			return false
		}
	}
	for i < len(p) && p[i] == anyRunes {
		i++
	}
	return i == len(p)
}

// words returns patterns of which each matches at least one word of every text
// that p matches. A wildcard may stand for a separator, so it ends a word and
// opens the next.
func (p pattern) words() []pattern {
	var out []pattern
	var cur pattern
	letters := false
	flush := func() {
		if letters {
			out = append(out, cur)
		}
		cur, letters = nil, false
	}
	for _, r := range p {
		switch {
		case r < 0:
			cur = append(cur, anyRunes)
			flush()
			cur = pattern{anyRunes}
		case archive.WordRune(r):
			cur = append(cur, r)
			letters = true
		default:
			flush()
		}
	}
	flush()
	return out
}

// text returns the pattern's text when it has no wildcard.
func (p pattern) text() (string, bool) {
	for _, r := range p {
		if r < 0 {
			return "", false
		}
	}
	return string(p), true
}

// matcher returns a function that matches as match does, quickly where '*' is
// only at the ends: it runs over a whole vocabulary.
func (p pattern) matcher() func(string) bool {
	inner, before, after := p, false, false
	if len(inner) > 0 && inner[0] == anyRunes {
		inner, before = inner[1:], true
	}
	if n := len(inner); n > 0 && inner[n-1] == anyRunes {
		inner, after = inner[:n-1], true
	}
	text, plain := inner.text()
	switch {
	case !plain:
		return p.match
	case before && after:
		return func(s string) bool { return strings.Contains(s, text) }
	case before:
		return func(s string) bool { return strings.HasSuffix(s, text) }
	case after:
		return func(s string) bool { return strings.HasPrefix(s, text) }
	}
	return func(s string) bool { return s == text }
}
