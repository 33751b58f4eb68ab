package search

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/strata-pacs/strata/internal/archive"
)

func TestPatternMatch(t *testing.T) {
	for _, c := range []struct {
		pattern, text string
		want          bool
	}{
		{"", "", true}, {"*", "", true}, {"?", "", false}, {"a", "a", true}, {"a", "ab", false},
		{"a*", "abc", true}, {"*c", "abc", true}, {"*b*", "abc", true}, {"*d*", "abc", false},
		{"a?c", "abc", true}, {"a?c", "ac", false}, {"??", "äö", true}, {"?", "ä", true}, {"a**c", "ac", true},
		{"*ab*ab*", "abab", true}, {"*ab*ab*", "aba", false}, {"山*", "山田", true}, {"山?", "山田", true}, {"*?", "x", true},
		{strings.Repeat("*a", 50) + "b", strings.Repeat("a", 5000), false},
	} {
		p := compilePattern(c.pattern, literal)
		if got := p.match(c.text); got != c.want {
			t.Errorf("%.20q matches %.20q: %v", c.pattern, c.text, got)
		}
		if got := p.matcher()(c.text); got != c.want {
			t.Errorf("%.20q matches %.20q in the vocabulary: %v", c.pattern, c.text, got)
		}
	}
}

func TestPatternKeepsWildcardsThatFoldingMakes(t *testing.T) {
	if p := compilePattern("＊", archive.Fold); p.match("abc") || !p.match("*") {
		t.Error("a full-width asterisk became a wildcard")
	}
}

func TestPatternWords(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"*", ""}, {"*mül*", "*mul*"}, {"smith*john", "smith* *john"}, {"Smith^J*", "smith j*"},
		{"*o'br*", "*o br*"}, {"mu?ller", "mu* *ller"}, {"^*^", ""}, {"a b", "a b"},
	} {
		var got []string
		for _, p := range compilePattern(c.in, archive.Fold).words() {
			got = append(got, strings.ReplaceAll(string(p), string(anyRunes), "*"))
		}
		for i := range got {
			got[i] = strings.ReplaceAll(got[i], "\uFFFD", "*")
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("words of %q are %q, want %q", c.in, got, c.want)
		}
	}
}

// What a pattern matches has a word for each of its word patterns: otherwise
// the index would leave out matches.
func TestPatternWordsAreSound(t *testing.T) {
	alphabet := rapid.SampledFrom([]rune("abAB^ =-ß'é山"))
	rapid.Check(t, func(t *rapid.T) {
		text := string(rapid.SliceOfN(alphabet, 0, 12).Draw(t, "text"))
		key := []rune(text)
		for range rapid.IntRange(0, 4).Draw(t, "wildcards") {
			if len(key) == 0 {
				break
			}
			from := rapid.IntRange(0, len(key)-1).Draw(t, "from")
			to := rapid.IntRange(from, len(key)).Draw(t, "to")
			with := "*"
			if to == from+1 {
				with = rapid.SampledFrom([]string{"*", "?"}).Draw(t, "with")
			}
			key = []rune(string(key[:from]) + with + string(key[to:]))
		}
		p := compilePattern(string(key), archive.Fold)
		if !p.match(archive.Fold(text)) {
			return // such as '?' for ß
		}
		words := archive.FoldWords(nil, 0, text)
	next:
		for _, w := range p.words() {
			for _, have := range words {
				if w.match(have) {
					continue next
				}
			}
			t.Fatalf("%q matches %q, but no word of %q matches %q", string(key), text, words, string(w))
		}
	})
}
