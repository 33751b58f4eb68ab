package ingest

import (
	"slices"
	"sync"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/dicom/dicomjson"
	"github.com/strata-pacs/strata/internal/fault"
)

// The attributes a store cannot do without; the fifth, the transfer syntax, is
// in the file meta information.
const (
	tagSOPClass       dicom.Tag = 0x00080016
	tagSOPInstance    dicom.Tag = 0x00080018
	tagStudyInstance  dicom.Tag = 0x0020000D
	tagSeriesInstance dicom.Tag = 0x0020000E
)

// byTag returns the indexed attributes ascending by tag, whatever their level.
var byTag = sync.OnceValue(func() []archive.Indexed {
	all := slices.Clone(archive.IndexedAttributes())
	slices.SortFunc(all, func(a, b archive.Indexed) int { return int(int64(a.Tag) - int64(b.Tag)) })
	return all
})

// identify reads the UIDs of a data set and checks their form.
func identify(d *dicom.Dataset) (u archive.UIDs, class string, tags []dicom.Tag, reason uint16) {
	for _, want := range []struct {
		tag dicom.Tag
		to  *string
	}{{tagSOPClass, &class}, {tagSOPInstance, &u.Instance}, {tagStudyInstance, &u.Study}, {tagSeriesInstance, &u.Series}} {
		text, there := d.Text(want.tag)
		switch {
		case !there:
			tags, reason = append(tags, want.tag), ReasonMissingAttribute
		case text == "":
			tags = append(tags, want.tag)
			if reason != ReasonMissingAttribute {
				reason = ReasonMissingValue
			}
		case !ValidUID(text):
			tags = append(tags, want.tag)
			if reason == 0 {
				reason = ReasonInvalidInstance
			}
			// A malformed UID is not given back: it may be anything.
			text = ""
		}
		*want.to = text
	}
	return u, class, tags, reason
}

// ValidUID reports whether s can name an object: digits and dots, 1 to 64
// characters, no empty component (PS3.5 §9.1). Leading zeros in a component
// are let pass; devices have sent them for decades.
func ValidUID(s string) bool {
	if len(s) == 0 || len(s) > 64 {
		return false
	}
	last := byte('.')
	for i := range len(s) {
		c := s[i]
		if c == '.' && last == '.' || c != '.' && (c < '0' || c > '9') {
			return false
		}
		last = c
	}
	return last != '.'
}

// record fills the instance's index attributes from its data set.
func record(in *archive.Instance, d *dicom.Dataset) {
	want := byTag()
	for i, j := 0, 0; i < len(d.Elements) && j < len(want); {
		e := &d.Elements[i]
		switch {
		case e.Tag < want[j].Tag:
			i++
			continue
		case e.Tag > want[j].Tag:
			j++
			continue
		}
		if a, ok := attr(d, e); ok {
			switch want[j].Level {
			case archive.LevelStudy:
				in.Patient = append(in.Patient, a)
			case archive.LevelSeries:
				in.Series = append(in.Series, a)
			case archive.LevelInstance:
				in.Attrs = append(in.Attrs, a)
			}
		}
		i++
		j++
	}
}

// maxAttr bounds an indexed value, in bytes: longer ones stay in the log alone.
const maxAttr = 16 << 10

func attr(d *dicom.Dataset, e *dicom.Element) (archive.Attr, bool) {
	if e.ByReference() {
		return archive.Attr{}, false
	}
	a := dicomjson.AttrOf(d, e)
	return a, len(a.Value) <= maxAttr
}

// misfit says why a data set cannot be stored.
func misfit(reason uint16) error {
	switch reason {
	case ReasonMissingAttribute:
		return fault.New(fault.Invalid, "the instance lacks an attribute that identifies it: SOP Class, SOP Instance, Study or Series Instance UID")
	case ReasonMissingValue:
		return fault.New(fault.Invalid, "an attribute that identifies the instance is empty: SOP Class, SOP Instance, Study or Series Instance UID")
	}
	return fault.New(fault.Invalid, "a UID of the instance is not valid: only digits and single dots, at most 64 characters")
}
