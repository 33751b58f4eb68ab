package dicomjson

import (
	"iter"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/dicom"
)

// AttrOf returns an attribute of the data set in its index form, and whether
// the data set has it. Binary values have none: their Value is "".
func AttrOf(d *dicom.Dataset, t dicom.Tag) (archive.Attr, bool) {
	e := d.Lookup(t)
	if e == nil {
		return archive.Attr{}, false
	}
	a := archive.Attr{Tag: t, VR: e.VR}
	switch {
	case e.IsSequence():
		a.VR = dicom.SQ
		if len(e.Items) > 0 {
			a.Value = string(AppendItems(nil, e))
		}
	case t == charsetTag:
		a.Value = "ISO_IR 192"
	default:
		a.Value = d.TextOf(e)
	}
	return a, true
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

// ParseAttr reads one element's text, as Elements yields it, into its index
// form. Of binary values and bulk data only the VR is known.
func ParseAttr(t dicom.Tag, element []byte) archive.Attr {
	a := archive.Attr{Tag: t, VR: dicom.UN}
	s := scanner{b: element}
	m, err := s.members()
	if err != nil {
		return a
	}
	a.VR = m.vr(t)
	if m.value < 0 {
		return a
	}
	s.i = m.value
	if a.VR == dicom.SQ {
		start := s.i
		if s.skip() == nil {
			if v := string(element[start:s.i]); v != "[]" {
				a.Value = v
			}
		}
		return a
	}
	p := parser{scanner: s, left: 1 << 20}
	if v, err := p.joined(a.VR); err == nil {
		a.Value = string(v)
	}
	return a
}
