package report

import (
	"bytes"
	"encoding/binary"
	"encoding/xml"
	"io"
	"strings"
	"testing"

	"github.com/strata-pacs/strata/internal/dicom"
)

// set makes a data set in UTF-8; parts are elements.
func set(elements ...dicom.Element) *dicom.Dataset {
	return &dicom.Dataset{Elements: elements, Order: binary.LittleEndian, Charset: []string{"ISO_IR 192"}}
}

func el(t dicom.Tag, vr dicom.VR, value string) dicom.Element {
	return dicom.Element{Tag: t, VR: vr, Value: []byte(value), Length: int64(len(value))}
}

func sq(t dicom.Tag, items ...*dicom.Dataset) dicom.Element {
	return dicom.Element{Tag: t, VR: dicom.SQ, Items: items}
}

func coded(t dicom.Tag, value, scheme, meaning string) dicom.Element {
	return sq(t, set(el(codeValue, dicom.SH, value), el(schemeDesignator, dicom.SH, scheme), el(codeMeaning, dicom.LO, meaning)))
}

// content makes a content item.
func content(relation, kind, concept string, more ...dicom.Element) *dicom.Dataset {
	all := []dicom.Element{el(relationshipType, dicom.CS, relation), el(valueType, dicom.CS, kind)}
	if concept != "" {
		all = append(all, coded(conceptName, "1", "99T", concept))
	}
	return set(append(all, more...)...)
}

// document makes a report with items below its root.
func document(items ...*dicom.Dataset) *dicom.Dataset {
	return set(el(0x00080016, dicom.UI, storage+"88.33"), el(valueType, dicom.CS, "CONTAINER"), coded(conceptName, "1", "99T", "Findings"),
		sq(contentSequence, items...))
}

func floats(v ...uint32) string {
	var b []byte
	for _, x := range v {
		b = binary.LittleEndian.AppendUint32(b, x)
	}
	return string(b)
}

// shown is what a page shows: its text with words apart by one space, and its links.
type shown struct {
	page, text string
	links      []string
	ids        map[string]bool
}

// show makes the page and checks that it is well-formed and consists of what the template has.
func show(tb testing.TB, d *dicom.Dataset) shown {
	tb.Helper()
	var b bytes.Buffer
	if err := HTML(&b, d, FromInstance); err != nil {
		tb.Fatal(err)
	}
	s := shown{page: b.String(), ids: map[string]bool{}}
	x := xml.NewDecoder(&b)
	x.Strict, x.AutoClose, x.Entity = false, xml.HTMLAutoClose, xml.HTMLEntity
	var text strings.Builder
	var open []string
	for {
		token, err := x.Token()
		if err == io.EOF {
			break
		} else if err != nil {
			tb.Fatalf("%v in %.2000s", err, s.page)
		}
		switch t := token.(type) {
		case xml.StartElement:
			open = append(open, t.Name.Local)
			s.element(tb, t)
			text.WriteByte(' ')
		case xml.EndElement:
			if len(open) == 0 || open[len(open)-1] != t.Name.Local {
				tb.Fatalf("</%s> in %v", t.Name.Local, open)
			}
			open = open[:len(open)-1]
			text.WriteByte(' ')
		case xml.CharData:
			if len(open) > 0 && open[len(open)-1] != "style" {
				text.Write(t)
			}
		case xml.Comment, xml.ProcInst:
			tb.Errorf("%T %s", t, t)
		}
	}
	s.text = strings.Join(strings.Fields(text.String()), " ")
	return s
}

const elements = " html head meta title style body header main footer section h1 h2 h3 h4 h5 h6 dl div dt dd p span b code a "

const attributes = " lang charset name content http-equiv class role dir id title href aria-level "

func (s *shown) element(tb testing.TB, t xml.StartElement) {
	tb.Helper()
	if !strings.Contains(elements, " "+t.Name.Local+" ") {
		tb.Errorf("an element %s", t.Name.Local)
	}
	for _, a := range t.Attr {
		if !strings.Contains(attributes, " "+a.Name.Local+" ") {
			tb.Errorf("an attribute %s of %s", a.Name.Local, t.Name.Local)
		}
		switch a.Name.Local {
		case "href":
			if !strings.HasPrefix(a.Value, FromInstance+"/") && !strings.HasPrefix(a.Value, "#i") {
				tb.Errorf("a link to %s", a.Value)
			}
			s.links = append(s.links, a.Value)
		case "id":
			if s.ids[a.Value] {
				tb.Errorf("%s twice", a.Value)
			}
			s.ids[a.Value] = true
		}
	}
}
