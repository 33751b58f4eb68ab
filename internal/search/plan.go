package search

import (
	"cmp"
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

// plan is how candidates are found.
type plan struct {
	filter archive.StudyFilter
	none   bool // nothing can match
	exact  bool // every candidate at study level is a match
	// rows are the instances of the asked-for SOP Instance UIDs by series, when
	// the query names such; nil otherwise.
	rows map[int64][]archive.InstanceRow
}

func (s *Searcher) plan(ctx context.Context, t archive.Tenant, q *Query) (*plan, error) {
	p := &plan{exact: len(q.at[archive.LevelSeries]) == 0 && len(q.at[archive.LevelInstance]) == 0 && len(q.unindexed) == 0}
	if q.Scope.Study != "" {
		p.filter.UIDs = []string{q.Scope.Study}
	}
	for i := range q.at[archive.LevelStudy] {
		c := &q.at[archive.LevelStudy][i]
		switch k, _ := lookup(c.Tag); {
		case c.Tag == tagStudy && c.kind == matchUID:
			p.studyUIDs(c)
		case c.Tag == tagStudyDate && c.kind == matchWhen:
			p.dates(c)
		case c.Tag == tagModalities && c.kind == matchCode:
			p.modalities(c)
		case k.Lookup == archive.FullValue || k.Lookup == archive.Words:
			if err := s.terms(ctx, t, p, c, k.Lookup); err != nil {
				return nil, err
			}
			p.exact = false
		default:
			p.exact = false
		}
	}
	for i := range q.at[archive.LevelSeries] {
		if c := &q.at[archive.LevelSeries][i]; c.Tag == tagModality && c.kind == matchCode {
			p.modalities(c)
		}
	}
	if err := s.below(ctx, t, p, q); err != nil {
		return nil, err
	}
	f := &p.filter
	p.none = p.none || f.UIDs != nil && len(f.UIDs) == 0 || f.IDs != nil && len(f.IDs) == 0
	p.exact = p.exact && f.UIDs == nil && f.IDs == nil && f.All == nil
	return p, nil
}

func (p *plan) studyUIDs(c *Condition) {
	uids := c.uids()
	if have := p.filter.UIDs; have != nil {
		uids = slices.DeleteFunc(uids, func(u string) bool { return !slices.Contains(have, u) })
	}
	p.filter.UIDs = uids
}

func (c *Condition) uids() []string {
	uids := make([]string, 0, len(c.alts))
	for i := range c.alts {
		uids = append(uids, c.alts[i].text)
	}
	slices.Sort(uids)
	return slices.Compact(uids)
}

func (p *plan) dates(c *Condition) {
	whole := c.alts[0].when
	for _, a := range c.alts[1:] {
		whole.from, whole.to = min(whole.from, a.when.from), max(whole.to, a.when.to)
	}
	from, to := "", ""
	if whole.from > 0 {
		from = fmt.Sprintf("%08d", whole.from/day)
	}
	if whole.to < forever {
		to = fmt.Sprintf("%08d", whole.to/day)
	}
	if from == "" && to == "" || len(c.alts) > 1 {
		p.exact = false
	}
	// Dates given twice must both hold.
	if p.filter.From != "" || p.filter.To != "" {
		p.exact = false
	}
	p.filter.From = max(p.filter.From, from)
	if p.filter.To == "" || to != "" && to < p.filter.To {
		p.filter.To = to
	}
}

func (p *plan) modalities(c *Condition) {
	var codes []string
	for i := range c.alts {
		if c.alts[i].pattern != nil {
			p.exact = false
			return
		}
		codes = append(codes, c.alts[i].text)
	}
	if p.filter.Modalities != nil {
		p.exact = false
		return
	}
	slices.Sort(codes)
	p.filter.Modalities = slices.Compact(codes)
}

// below narrows the studies to those of the series and instances named by UID.
func (s *Searcher) below(ctx context.Context, t archive.Tenant, p *plan, q *Query) error {
	for i := range q.at[archive.LevelInstance] {
		c := &q.at[archive.LevelInstance][i]
		if c.Tag != tagSOPInstance || c.kind != matchUID || p.rows != nil {
			continue
		}
		rows, err := s.catalog.InstancesByUID(ctx, t, c.uids())
		if err != nil {
			return fmt.Errorf("looking instances up: %w", err)
		}
		p.rows = map[int64][]archive.InstanceRow{}
		var ids []int64
		for _, r := range rows {
			p.rows[r.SeriesID] = append(p.rows[r.SeriesID], r)
			ids = append(ids, r.StudyID)
		}
		for _, list := range p.rows {
			slices.SortFunc(list, func(a, b archive.InstanceRow) int {
				return cmp.Or(cmp.Compare(instanceNumber(&a), instanceNumber(&b)), strings.Compare(a.UIDs.Instance, b.UIDs.Instance), a.Source.Compare(b.Source))
			})
		}
		p.studyIDs(ids)
	}
	if q.Scope.Study != "" {
		return nil
	}
	for i := range q.at[archive.LevelSeries] {
		c := &q.at[archive.LevelSeries][i]
		if c.Tag != tagSeries || c.kind != matchUID {
			continue
		}
		rows, err := s.catalog.SeriesByUID(ctx, t, c.uids())
		if err != nil {
			return fmt.Errorf("looking series up: %w", err)
		}
		var ids []int64
		for _, r := range rows {
			ids = append(ids, r.StudyID)
		}
		p.studyIDs(ids)
	}
	return nil
}

func (p *plan) studyIDs(ids []int64) {
	slices.Sort(ids)
	ids = slices.Compact(ids)
	if have := p.filter.IDs; have != nil {
		ids = slices.DeleteFunc(ids, func(id int64) bool { return !slices.Contains(have, id) })
	}
	if ids == nil {
		ids = []int64{}
	}
	p.filter.IDs = ids
}

func instanceNumber(r *archive.InstanceRow) int64 {
	v, _ := r.Attrs.Get(0x00200013)
	n, _ := number(strings.Trim(v, " +"))
	return n
}

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
			terms, more, err := s.vocabulary(ctx, t, c.Tag, true, func(w string) bool { return len(w) > archive.MaxFullBytes-4 || p.match(w) })
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
		terms, more, err := s.vocabulary(ctx, t, tag, false, func(w string) bool { return len(w) > archive.MaxWordBytes-4 || p.match(w) })
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
