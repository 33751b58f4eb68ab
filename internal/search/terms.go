package search

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/dicom"
)

const (
	// maxWords: where more words than this match a wildcard, so many studies do
	// that looking at the newest ones finds them sooner.
	maxWords = 2000
	// maxTerms bounds the conditions that are looked up; all are matched.
	maxTerms = 8
)

// terms adds what the index can look up of a condition. Every study that fulfils
// the condition has the terms.
func (s *Searcher) terms(ctx context.Context, t archive.Tenant, p *plan, c *Condition, by archive.Lookup) error {
	var union []archive.Term
	for i := range c.alts {
		conds, err := s.alternative(ctx, t, c, &c.alts[i], by)
		switch {
		case err != nil:
			return fmt.Errorf("looking words up: %w", err)
		case len(conds) == 0: // this one cannot be looked up
			return nil
		case len(c.alts) == 1:
			p.filter.All = append(p.filter.All, conds[:min(len(conds), max(0, maxTerms-len(p.filter.All)))]...)
			for _, terms := range conds {
				p.none = p.none || len(terms) == 0
			}
			return nil
		}
		// Of several alternatives each gives the condition with the fewest terms.
		union = append(union, slices.MinFunc(conds, func(a, b []archive.Term) int { return len(a) - len(b) })...)
	}
	if len(union) == 0 {
		p.none = p.none || len(c.alts) > 0
		return nil
	}
	if len(union) <= maxWords && len(p.filter.All) < maxTerms {
		p.filter.All = append(p.filter.All, union)
	}
	return nil
}

// alternative returns conditions that all hold where the alternative does; none
// when nothing can be looked up. A condition without terms cannot hold.
func (s *Searcher) alternative(ctx context.Context, t archive.Tenant, c *Condition, a *alternative, by archive.Lookup) ([][]archive.Term, error) {
	switch {
	case c.kind == matchWhen && !a.ranged && by == archive.FullValue:
		d := fmt.Sprintf("%08d", a.when.from/day)
		return [][]archive.Term{{{Tag: c.Tag, Word: d, Full: true}, {Tag: c.Tag, Word: d[:4] + "." + d[4:6] + "." + d[6:], Full: true}}}, nil
	case c.kind == matchWhen && by == archive.FullValue:
		terms, more, err := s.vocabulary(ctx, t, c.Tag, true, c.matches)
		if err != nil || more {
			return nil, err
		}
		return [][]archive.Term{terms}, nil
	case c.kind == matchName || c.kind == matchFolded || c.kind == matchText || c.kind == matchCode:
	default:
		return nil, nil
	}
	if a.words != nil && by == archive.Words {
		return s.byWords(ctx, t, c.Tag, a.words)
	}
	texts := []string{a.raw}
	if c.VR == dicom.PN {
		texts = strings.Split(a.raw, "=")
	}
	var out [][]archive.Term
	for _, text := range texts {
		p := compilePattern(text, archive.Fold)
		switch {
		case !hasWildcard(text):
			for _, full := range archive.FoldFull(nil, c.VR, text) {
				out = append(out, []archive.Term{{Tag: c.Tag, Word: full, Full: true}})
			}
		case by == archive.Words:
			conds, err := s.byWords(ctx, t, c.Tag, p.words())
			if err != nil {
				return nil, err
			}
			out = append(out, conds...)
		default:
			match := p.matcher()
			terms, more, err := s.vocabulary(ctx, t, c.Tag, true, func(w string) bool { return len(w) > archive.MaxFullBytes-4 || match(w) })
			if err != nil {
				return nil, err
			}
			if !more {
				out = append(out, terms)
			}
		}
	}
	return out, nil
}

// byWords returns a condition for each word pattern that does not match too many words.
func (s *Searcher) byWords(ctx context.Context, t archive.Tenant, tag dicom.Tag, patterns []pattern) ([][]archive.Term, error) {
	var out [][]archive.Term
	for _, p := range patterns[:min(len(patterns), maxTerms)] {
		if text, ok := p.text(); ok {
			out = append(out, []archive.Term{{Tag: tag, Word: archive.Cut(text, archive.MaxWordBytes)}})
			continue
		}
		// A word that was cut may go on in any way.
		match := p.matcher()
		terms, more, err := s.vocabulary(ctx, t, tag, false, func(w string) bool { return len(w) > archive.MaxWordBytes-4 || match(w) })
		if err != nil {
			return nil, err
		}
		if !more {
			out = append(out, terms)
		}
	}
	return out, nil
}

func (s *Searcher) vocabulary(ctx context.Context, t archive.Tenant, tag dicom.Tag, full bool, match func(string) bool) (terms []archive.Term, more bool, err error) {
	words, more, err := s.catalog.Words(ctx, t, tag, match, maxWords)
	if err != nil || more {
		return nil, more, err
	}
	terms = make([]archive.Term, len(words))
	for i, w := range words {
		terms[i] = archive.Term{Tag: tag, Word: w, Full: full}
	}
	return terms, false, nil
}
