package dicomjson

import (
	"iter"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/dicom"
)

// Append appends the DICOM JSON object of the data set.
func Append(dst []byte, d *dicom.Dataset) []byte { return append(dst, "{}"...) }

// AppendAttr appends `"ggggeeee":{"vr":…}` of an attribute in its index form, without a comma.
func AppendAttr(dst []byte, a archive.Attr) []byte { return dst }

// AttrOf returns the attribute of a data set in its index form, and whether the data set has it.
func AttrOf(d *dicom.Dataset, t dicom.Tag) (archive.Attr, bool) { return archive.Attr{}, false }

// Elements yields the tags of a DICOM JSON object as Append writes it, each
// with the text of its element, `{"vr":…}`. The text is a part of json.
func Elements(json []byte) iter.Seq2[dicom.Tag, []byte] { return func(func(dicom.Tag, []byte) bool) {} }

// ParseAttr reads one element's text, as Elements yields it, into its index form.
func ParseAttr(t dicom.Tag, element []byte) archive.Attr { return archive.Attr{} }

// Limits bounds what Parse accepts. Zero fields take the defaults.
type Limits struct {
	Elements  int // elements and items of the whole text; default 250,000
	Depth     int // nested sequences; default 64
	Instances int // default 10,000
}

// Parsed is one instance of a DICOM JSON or XML text.
type Parsed struct {
	Meta     *dicom.Dataset // elements of group 0002
	Data     *dicom.Dataset // the others, ascending, explicit little endian, text in UTF-8
	Bulk     []Reference
	Warnings []string // without values
}

// Reference is an element whose value is to be found elsewhere. Its Bulk is set.
type Reference struct {
	Element *dicom.Element // an element of Parsed.Data, or of an item in it
	URI     string         // as the text has it
}

// Parse reads a DICOM JSON array of objects, or a single object.
func Parse(text []byte, l Limits) ([]*Parsed, error) { return nil, nil }
