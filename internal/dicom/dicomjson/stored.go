package dicomjson

import (
	"iter"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/dicom"
)

// AttrOf returns an element of the data set in its index form. Binary values
// have none: their Value is "".
func AttrOf(d *dicom.Dataset, e *dicom.Element) archive.Attr {
	a := archive.Attr{Tag: e.Tag, VR: e.VR}
	switch {
	case e.IsSequence():
		a.VR = dicom.SQ
		if len(e.Items) > 0 {
			a.Value = string(AppendItems(nil, e))
		}
	case e.Tag == charsetTag:
		a.VR, a.Value = dicom.CS, "ISO_IR 192"
	default:
		a.Value = d.TextOf(e)
		if known := dicom.VROf(e.Tag); e.VR == dicom.UN && known != dicom.SQ {
			a.VR = known // as which TextOf read it
		}
	}
	return a
}

// Elements yields the elements of a JSON object that Append wrote: the tag, and
// the element's text, `{"vr":…}`, which is a part of json. It stops where the
// text is not as Append writes it.
func Elements(json []byte) iter.Seq2[dicom.Tag, []byte] {
	return func(yield func(dicom.Tag, []byte) bool) {
		s := scanner{b: json}
		if s.take('{') != nil {
			return
		}
		for first := true; ; first = false {
			more, err := s.next(first, '}')
			if err != nil || !more {
				return
			}
			k, err := s.key()
			if err != nil {
				return
			}
			t, ok := dicom.ParseTag(string(k))
			s.peek()
			start := s.i
			if s.skip() != nil || !ok || !yield(t, json[start:s.i]) {
				return
			}
		}
	}
}

// Items yields the objects of a sequence's Value, a JSON array that Append wrote.
func Items(array []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		s := scanner{b: array}
		if s.take('[') != nil {
			return
		}
		for first := true; ; first = false {
			more, err := s.next(first, ']')
			if err != nil || !more {
				return
			}
			s.peek()
			start := s.i
			if s.skip() != nil || !yield(array[start:s.i]) {
				return
			}
		}
	}
}

// Stored is an element read from text that Append wrote.
type Stored struct {
	archive.Attr
	InlineBinary string // base64
	BulkDataURI  string
}

// ParseAttr reads one element's text, as Elements yields it, into its index
// form. Of binary values and bulk data only the VR is known.
func ParseAttr(t dicom.Tag, element []byte) archive.Attr { return ParseStored(t, element).Attr }

// ParseStored reads one element's text, as Elements yields it.
func ParseStored(t dicom.Tag, element []byte) Stored {
	out := Stored{Attr: archive.Attr{Tag: t, VR: dicom.UN}}
	p := parser{scanner: scanner{b: element}, left: len(element)}
	m, err := p.members()
	if err != nil {
		return out
	}
	out.VR = m.vr(t)
	scalar := func(at int) string {
		p.i = at
		v, err := p.scalar()
		if err != nil {
			return ""
		}
		return string(v)
	}
	if m.inline >= 0 {
		out.InlineBinary = scalar(m.inline)
	}
	if m.bulk >= 0 {
		out.BulkDataURI = scalar(m.bulk)
	}
	if m.value < 0 {
		return out
	}
	p.i = m.value
	if out.VR != dicom.SQ {
		if v, err := p.joined(); err == nil {
			out.Value = string(v)
		}
	} else if p.skip() == nil && string(element[m.value:p.i]) != "[]" {
		out.Value = string(element[m.value:p.i])
	}
	return out
}
