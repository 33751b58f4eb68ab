package dicomweb

import (
	"net/url"
	"strconv"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/dicom/dicomjson"
	"github.com/strata-pacs/strata/internal/search"
)

// Attributes that an answer makes, PS3.18 Tables 10.6.3-3 to 10.6.3-5.
const (
	tagCharset         dicom.Tag = 0x00080005
	tagRetrieveURL     dicom.Tag = 0x00081190
	tagStudySeries     dicom.Tag = 0x00201206
	tagStudyInstances  dicom.Tag = 0x00201208
	tagSeriesInstances dicom.Tag = 0x00201209
)

// rowWriter appends matches as DICOM JSON objects, attributes ascending by tag,
// by one merge of the query's fields with the rows' attributes. It runs for
// every match, so it neither reflects nor, for most, allocates.
type rowWriter struct {
	base   string
	fields []fieldWriter

	parent archive.UIDs // what url is of: the study, or the series, of the match before
	url    []byte
}

type fieldWriter struct {
	search.Field
	empty string // `"ggggeeee":{"vr":"XX"}`
	head  string // `"ggggeeee":{"vr":"XX","Value":["`
}

func newRowWriter(q *search.Query, base string) *rowWriter {
	fields := q.Fields()
	w := &rowWriter{base: base, fields: make([]fieldWriter, len(fields))}
	for i, f := range fields {
		vr := `"` + f.Tag.String() + `":{"vr":"` + f.VR.String() + `"`
		w.fields[i] = fieldWriter{f, vr + `}`, vr + `,"Value":["`}
	}
	return w
}

// cursor walks attributes that ascend by tag.
type cursor struct{ rest archive.Attrs }

func (c *cursor) seek(t dicom.Tag) (archive.Attr, bool) {
	for len(c.rest) > 0 && c.rest[0].Tag < t {
		c.rest = c.rest[1:]
	}
	if len(c.rest) == 0 || c.rest[0].Tag != t {
		return archive.Attr{}, false
	}
	return c.rest[0], true
}

// append appends the match as one object.
func (w *rowWriter) append(b []byte, m *search.Match) []byte {
	var from [4]cursor
	if m.Study != nil {
		from[search.FromStudy].rest = m.Study.Attrs
	}
	if m.Series != nil {
		from[search.FromSeries].rest = m.Series.Attrs
	}
	if m.Instance != nil {
		from[search.FromInstance].rest = m.Instance.Attrs
	}
	from[search.FromBelow].rest = m.Below
	extra := m.Extra

	b = append(b, '{')
	for i := range w.fields {
		f := &w.fields[i]
		start := len(b)
		if b[start-1] != '{' {
			b = append(b, ',')
		}
		switch f.Source {
		case search.Computed:
			b = w.computed(b, f, m)
			continue
		case search.FromMetadata:
			for len(extra) > 0 && extra[0].Tag < f.Tag {
				extra = extra[1:]
			}
			if len(extra) > 0 && extra[0].Tag == f.Tag {
				b = append(append(b, f.head[:len(`"ggggeeee":`)]...), extra[0].JSON...)
				continue
			}
		default:
			if a, ok := from[f.Source].seek(f.Tag); ok {
				b = dicomjson.AppendAttr(b, a)
				continue
			}
		}
		if f.Required {
			b = append(b, f.empty...)
		} else {
			b = b[:start]
		}
	}
	return append(b, '}')
}

func (w *rowWriter) computed(b []byte, f *fieldWriter, m *search.Match) []byte {
	switch f.Tag {
	case tagCharset:
		return append(b, `"00080005":{"vr":"CS","Value":["ISO_IR 192"]}`...)
	case tagRetrieveURL:
		b = w.appendURL(append(b, f.head...), m.UIDs)
		return append(b, `"]}`...)
	case tagStudySeries:
		if m.Study != nil {
			return appendCount(b, `"00201206":{"vr":"IS","Value":[`, m.Study.Series)
		}
	case tagStudyInstances:
		if m.Study != nil {
			return appendCount(b, `"00201208":{"vr":"IS","Value":[`, m.Study.Instances)
		}
	case tagSeriesInstances:
		if m.Series != nil {
			return appendCount(b, `"00201209":{"vr":"IS","Value":[`, m.Series.Instances)
		}
	}
	v := m.Value(f.Tag)
	switch {
	case v == "":
		return append(b, f.empty...)
	case f.VR == dicom.UI && validUID(v):
		return append(append(append(b, f.head...), v...), `"]}`...)
	}
	return dicomjson.AppendAttr(b, archive.Attr{Tag: f.Tag, VR: f.VR, Value: v})
}

func appendCount(b []byte, head string, n int) []byte {
	b = strconv.AppendInt(append(b, head...), int64(n), 10)
	return append(b, `]}`...)
}

// appendURL appends the URL under which the match is retrieved. The base is safe in JSON.
func (w *rowWriter) appendURL(b []byte, u archive.UIDs) []byte {
	instance := u.Instance
	if u.Instance = ""; u != w.parent || w.url == nil {
		w.parent = u
		w.url = appendSegment(append(append(w.url[:0], w.base...), "/studies/"...), u.Study)
		if u.Series != "" {
			w.url = appendSegment(append(w.url, "/series/"...), u.Series)
		}
	}
	b = append(b, w.url...)
	if instance != "" {
		b = appendSegment(append(b, "/instances/"...), instance)
	}
	return b
}

func appendSegment(b []byte, uid string) []byte {
	if !validUID(uid) {
		uid = url.PathEscape(uid)
	}
	return append(b, uid...)
}
