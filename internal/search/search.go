package search

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/dicom"
)

// Options of a Searcher. Zero fields take the defaults.
type Options struct {
	Catalog Catalog
	// Metadata gives what the index does not keep. Nil: such attributes are
	// neither returned nor matched, with a warning.
	Metadata MetadataFunc
	// Results is the most matches of one answer over the archive; default
	// 10,000. Within one study it is ten times that.
	Results int
	// Candidates is the most studies looked at for one answer; default 1,000,000.
	Candidates int
	// Reads is the most instances whose metadata is read for one answer; default 5,000.
	Reads int
}

// Searcher answers queries. It is safe for concurrent use.
type Searcher struct {
	catalog    Catalog
	metadata   MetadataFunc
	results    int
	candidates int
	reads      int
}

// New returns the searcher of the options.
func New(o Options) *Searcher {
	s := &Searcher{o.Catalog, o.Metadata, o.Results, o.Candidates, o.Reads}
	if s.results <= 0 {
		s.results = 10_000
	}
	if s.candidates <= 0 {
		s.candidates = 1_000_000
	}
	if s.reads <= 0 {
		s.reads = 5_000
	}
	return s
}

// Match is one entity that fulfils the query. It is valid until yield returns.
type Match struct {
	archive.UIDs // down to the query's level
	// Study and Series are nil where the path names them and nothing of them is returned.
	Study    *archive.StudyRow
	Series   *archive.SeriesRow
	Instance *archive.InstanceRow
	Below    archive.Attrs // for fields FromBelow, ascending
	Extra    []Extra       // for fields FromMetadata, ascending
}

// Extra is an attribute that came from the stored metadata.
type Extra struct {
	Tag  dicom.Tag
	JSON []byte // of the element: {"vr":…}
}

// Tier returns the availability of the matched entity.
func (m *Match) Tier() archive.Availability {
	switch {
	case m.Instance != nil:
		return m.Instance.Tier
	case m.Series != nil:
		return m.Series.Tier
	}
	return m.Study.Tier
}

// Value returns the value of a Computed field in the form of [archive.Attr], but
// for those an answer makes itself (RetrieveURL, character set).
func (m *Match) Value(t dicom.Tag) string {
	switch t {
	case tagStudy:
		return m.UIDs.Study
	case tagSeries:
		return m.UIDs.Series
	case tagSOPInstance:
		return m.UIDs.Instance
	case tagAvailability:
		return string(m.Tier())
	}
	switch {
	case t == tagSOPClass && m.Instance != nil:
		return m.Instance.SOPClass
	case t == tagSeriesInst && m.Series != nil:
		return strconv.Itoa(m.Series.Instances)
	case m.Study == nil:
		return ""
	case t == tagModalities || t == tagModality:
		return strings.Join(m.Study.Modalities, `\`)
	case t == tagSOPClasses:
		return strings.Join(m.Study.SOPClasses, `\`)
	case t == tagStudySeries:
		return strconv.Itoa(m.Study.Series)
	case t == tagStudyInstance:
		return strconv.Itoa(m.Study.Instances)
	}
	return ""
}

// value is what conditions see.
func (m *Match) value(t dicom.Tag) string {
	k, _ := lookup(t)
	if k.computed {
		return m.Value(t)
	}
	var as archive.Attrs
	switch {
	case k.Level == archive.LevelStudy && m.Study != nil:
		as = m.Study.Attrs
	case k.Level == archive.LevelSeries && m.Series != nil:
		as = m.Series.Attrs
	case k.Level == archive.LevelInstance && m.Instance != nil:
		as = m.Instance.Attrs
	}
	v, _ := as.Get(t)
	return v
}

// Outcome is what an answer has to say beside its matches.
type Outcome struct {
	// More: there are further matches, from offset plus the matches yielded.
	More     bool
	Warnings []string // the query's own included
}

// Search yields the matches of the query, studies newest first, series and
// instances within them by number, so that offset and limit page through them.
// It ends when yield returns false, which counts as More. Errors are those of
// the catalog; what could not be done for its cost is in the warnings.
func (s *Searcher) Search(ctx context.Context, t archive.Tenant, q *Query, yield func(*Match) bool) (Outcome, error) {
	w := &walk{s: s, ctx: ctx, t: t, q: q, yield: yield, skip: q.Offset, left: s.limit(q), warnings: append([]string(nil), q.Warnings...)}
	for _, f := range q.Fields() {
		switch {
		case f.Source == FromBelow:
			w.below = append(w.below, f)
		case f.Source == FromMetadata:
			w.extra = append(w.extra, f.Tag)
		case f.Source == FromStudy || f.Tag == tagModalities || f.Tag == tagSOPClasses || f.Tag == tagStudySeries || f.Tag == tagStudyInstance:
			w.needStudy = true
		case f.Source == FromSeries || f.Tag == tagSeriesInst:
			w.needSeries = true
		}
	}
	if s.metadata == nil && (len(w.extra) > 0 || len(q.unindexed) > 0) {
		w.warn("attributes that are not indexed were neither matched nor returned")
		w.extra, w.noMetadata = nil, true
	}
	if err := w.run(); err != nil {
		return Outcome{}, fmt.Errorf("searching: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return Outcome{}, fmt.Errorf("searching: %w", err)
	}
	return Outcome{w.more, w.warnings}, nil
}

// limit is the most matches of the answer.
func (s *Searcher) limit(q *Query) int {
	most := s.results
	if q.Results > 0 {
		most = q.Results
	}
	if q.Scope.Study != "" {
		most *= 10
	}
	if q.Limit >= 0 && q.Limit < most {
		return q.Limit
	}
	return most
}
