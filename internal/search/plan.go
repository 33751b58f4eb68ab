package search

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/strata-pacs/strata/internal/archive"
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
	if len(q.unindexed) == 0 {
		f.Want = s.limit(q) + 1
		if !p.exact {
			f.Want += q.Offset
		}
	}
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
