package search

import (
	"slices"
	"sync"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/dicom"
)

// Attributes that no instance holds, or not in the form that a query sees.
const (
	tagCharset       dicom.Tag = 0x00080005
	tagSOPClass      dicom.Tag = 0x00080016
	tagSOPInstance   dicom.Tag = 0x00080018
	tagStudyDate     dicom.Tag = 0x00080020
	tagAvailability  dicom.Tag = 0x00080056
	tagModality      dicom.Tag = 0x00080060
	tagModalities    dicom.Tag = 0x00080061
	tagSOPClasses    dicom.Tag = 0x00080062
	tagTimezone      dicom.Tag = 0x00080201
	tagRetrieveURL   dicom.Tag = 0x00081190
	tagStudy         dicom.Tag = 0x0020000D
	tagSeries        dicom.Tag = 0x0020000E
	tagStudySeries   dicom.Tag = 0x00201206
	tagStudyInstance dicom.Tag = 0x00201208
	tagSeriesInst    dicom.Tag = 0x00201209
)

// Query is what is asked for: entities of one level that fulfil conditions.
type Query struct {
	Level archive.Level
	Scope archive.UIDs // of the resource's path: a study, or a study and a series
	Base  string       // the service's URL, below which BulkDataURIs of returned attributes lie
	Fuzzy bool
	// Limit is the most matches wanted, -1 when the query says nothing.
	Limit  int
	Offset int // matches passed over
	// Results is the most matches of the answer over the archive, ten times that
	// within one study; 0 leaves it to the searcher's options.
	Results int
	// Warnings are sentences about what could not be done as asked.
	Warnings []string

	at        [3][]Condition // by the level that holds the attribute
	unindexed []Condition    // on attributes that only the metadata has
	asked     []dicom.Tag    // to be returned beyond the defaults
	all       bool
	fields    []Field
}

// Source says where the value of a returned attribute comes from.
type Source uint8

// The sources of a field.
const (
	FromStudy    Source = iota // Match.Study.Attrs
	FromSeries                 // Match.Series.Attrs
	FromInstance               // Match.Instance.Attrs
	FromBelow                  // Match.Below: of the first series or instance that has it
	FromMetadata               // Match.Extra
	Computed                   // of the row itself: UIDs, counts, RetrieveURL, …
)

// Field is an attribute of the answer.
type Field struct {
	Tag    dicom.Tag
	VR     dicom.VR // by the dictionary, for a value that is not known
	Source Source
	// Required: returned without a value when there is none. Others are then left out.
	Required bool
}

// computed lists the attributes made from rows, and the level at which and below which they are known.
var computed = [...]archive.Indexed{
	{Tag: tagCharset, Level: archive.LevelStudy, Default: true},
	{Tag: tagSOPClass, Level: archive.LevelInstance, Default: true},
	{Tag: tagSOPInstance, Level: archive.LevelInstance, Default: true},
	{Tag: tagAvailability, Level: archive.LevelStudy, Default: true},
	{Tag: tagModalities, Level: archive.LevelStudy, Default: true},
	{Tag: tagSOPClasses, Level: archive.LevelStudy},
	{Tag: tagRetrieveURL, Level: archive.LevelStudy, Default: true},
	{Tag: tagStudy, Level: archive.LevelStudy, Default: true},
	{Tag: tagSeries, Level: archive.LevelSeries, Default: true},
	{Tag: tagStudySeries, Level: archive.LevelStudy, Default: true},
	{Tag: tagStudyInstance, Level: archive.LevelStudy, Default: true},
	{Tag: tagSeriesInst, Level: archive.LevelSeries, Default: true},
}

// optional are the default attributes that are left out when the instance has
// none: PS3.18 Tables 10.6.3-3 to 10.6.3-5 ask for them only where known.
var optional = []dicom.Tag{tagTimezone, 0x00280008, 0x00280010, 0x00280011, 0x00280100}

type known struct {
	archive.Indexed
	computed bool
}

// attributes are those the index knows, computed ones included, ascending by tag.
var attributes = sync.OnceValue(func() []known {
	var out []known
	for _, c := range computed {
		out = append(out, known{c, true})
	}
	for _, a := range archive.IndexedAttributes() {
		if !slices.ContainsFunc(out, func(k known) bool { return k.Tag == a.Tag }) {
			out = append(out, known{a, false})
		}
	}
	slices.SortFunc(out, func(a, b known) int { return int(int64(a.Tag) - int64(b.Tag)) })
	return out
})

func lookup(t dicom.Tag) (known, bool) {
	as := attributes()
	i, ok := slices.BinarySearchFunc(as, t, func(k known, t dicom.Tag) int { return int(int64(k.Tag) - int64(t)) })
	if !ok {
		return known{}, false
	}
	return as[i], true
}

// Fields returns what the answer to the query has for each match, ascending by tag.
func (q *Query) Fields() []Field {
	if q.fields != nil {
		return q.fields
	}
	out := make([]Field, 0, 32)
	for _, k := range attributes() {
		asked := slices.Contains(q.asked, k.Tag)
		if !asked && !q.returns(k) {
			continue
		}
		f := Field{Tag: k.Tag, VR: dicom.VROf(k.Tag), Source: Source(k.Level), Required: asked || !slices.Contains(optional, k.Tag)}
		switch {
		case k.computed && (k.Level <= q.Level):
			f.Source = Computed
		case k.computed && q.Level < k.Level:
			continue // a UID or count of what is below says nothing about the whole
		case k.Tag == tagModality && q.Level == archive.LevelStudy:
			f.Source = Computed // viewers ask for it at every study; the study row knows it
		case k.Level > q.Level:
			f.Source = FromBelow
		}
		if q.all && !asked && !k.Default {
			f.Required = false
		}
		out = append(out, f)
	}
	for _, t := range q.asked {
		if _, ok := lookup(t); !ok {
			vr := dicom.VROf(t)
			out = append(out, Field{Tag: t, VR: vr, Source: FromMetadata, Required: vr != dicom.UN && vr != 0})
		}
	}
	slices.SortFunc(out, func(a, b Field) int { return int(int64(a.Tag) - int64(b.Tag)) })
	q.fields = out
	return out
}

// returns reports whether the attribute is returned unasked: those of the level,
// and of the levels above that the path does not name (PS3.18 §10.6.3.3).
func (q *Query) returns(k known) bool {
	switch k.Tag {
	case tagStudy, tagCharset, tagRetrieveURL, tagAvailability:
		return true
	case tagSeries:
		return q.Level >= archive.LevelSeries
	}
	if !k.Default && (!q.all || k.Level != q.Level) {
		return false
	}
	switch k.Level {
	case archive.LevelStudy:
		return q.Level == archive.LevelStudy || q.Scope.Study == ""
	case archive.LevelSeries:
		return q.Level == archive.LevelSeries || q.Level == archive.LevelInstance && q.Scope.Series == ""
	}
	return q.Level == archive.LevelInstance
}
