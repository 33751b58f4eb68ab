// Package dicomxml writes and reads the Native DICOM Model (PS3.19 §A.1), the
// XML form of a data set. The archive keeps DICOM JSON; XML is made from it, and
// what comes in as XML is read by way of it, so both say the same.
package dicomxml

import (
	"encoding/json"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/dicom/dicomjson"
	"github.com/strata-pacs/strata/internal/fault"
)

// Namespace is the XML namespace of the Native DICOM Model.
const Namespace = "http://dicom.nema.org/PS3.19/models/NativeDICOM"

const (
	head = `<?xml version="1.0" encoding="UTF-8"?>` + "\n" + `<NativeDicomModel xmlns="` + Namespace + `" xml:space="preserve">`
	tail = `</NativeDicomModel>`
)

// Append appends the document of the data set; bulkBase goes before each
// reference to bulk data. See [dicomjson.Append] for what it holds.
func Append(dst []byte, d *dicom.Dataset, bulkBase string) []byte {
	return model(dst, dicomjson.Append(nil, d), bulkBase)
}

// FromJSON appends the document of a DICOM JSON object that dicomjson.Append
// wrote; bulkBase goes before each BulkDataURI. An error is fault.Corrupt.
//
// A private attribute has its creator in privateCreator and zeros in place of
// its block, as the standard's readers expect; the private creators are there too.
func FromJSON(dst, text []byte, bulkBase string) ([]byte, error) {
	if len(text) == 0 || text[0] != '{' || !json.Valid(text) {
		return dst, fault.New(fault.Corrupt, "the stored metadata is not DICOM JSON")
	}
	return model(dst, text, bulkBase), nil
}

func model(dst, text []byte, bulkBase string) []byte {
	w := writer{buf: append(dst, head...), base: bulkBase}
	w.dataset(text)
	return append(w.buf, tail...)
}

type writer struct {
	buf  []byte
	base string
}

// dataset writes the attributes of a JSON object.
func (w *writer) dataset(text []byte) {
	var creators map[dicom.Tag]string
	for t, element := range dicomjson.Elements(text) {
		e := dicomjson.ParseStored(t, element)
		creator := ""
		switch {
		case t.IsPrivateCreator() && e.VR == dicom.LO && e.Value != "":
			if creators == nil {
				creators = map[dicom.Tag]string{}
			}
			creators[t] = e.Value
		case t.IsPrivate():
			if creator = creators[t&0xFFFF0000|t>>8&0xFF]; creator != "" {
				t &= 0xFFFF00FF
			}
		}
		w.buf = append(w.buf, `<DicomAttribute tag="`...)
		w.buf = t.Append(w.buf)
		w.buf = append(w.buf, `" vr="`...)
		w.buf = append(w.buf, e.VR.String()...)
		if creator != "" {
			w.buf = append(w.buf, `" privateCreator="`...)
			w.buf = appendEscaped(w.buf, creator, true)
		} else if keyword := dicom.KeywordOf(t); keyword != "" {
			w.buf = append(w.buf, `" keyword="`...)
			w.buf = append(w.buf, keyword...)
		}
		w.buf = append(w.buf, `">`...)
		w.value(&e)
		w.buf = append(w.buf, `</DicomAttribute>`...)
	}
}

func (w *writer) value(e *dicomjson.Stored) {
	switch {
	case e.BulkDataURI != "":
		w.buf = append(w.buf, `<BulkData uri="`...)
		w.buf = appendEscaped(w.buf, w.base+e.BulkDataURI, true)
		w.buf = append(w.buf, `"/>`...)
	case e.InlineBinary != "":
		w.buf = append(w.buf, `<InlineBinary>`...)
		w.buf = appendEscaped(w.buf, e.InlineBinary, false)
		w.buf = append(w.buf, `</InlineBinary>`...)
	case e.Value == "":
	case e.VR == dicom.SQ:
		n := 0
		for item := range dicomjson.Items([]byte(e.Value)) {
			n++
			w.open("Item", n)
			w.dataset(item)
			w.close("Item")
		}
	case e.VR.IsMultiple() || dicom.NumberSize(e.VR) > 0:
		values := strings.Split(e.Value, `\`)
		for i, v := range values {
			// An empty one is left out, the numbers of the others tell; but not
			// at the end, where none would.
			if v != "" || i == len(values)-1 {
				w.single(e.VR, v, i+1)
			}
		}
	default:
		w.single(e.VR, e.Value, 1)
	}
}

// single writes one value.
func (w *writer) single(vr dicom.VR, v string, n int) {
	switch vr {
	case dicom.PN:
		w.open("PersonName", n)
		w.name(v)
		w.close("PersonName")
	default:
		w.open("Value", n)
		w.buf = appendEscaped(w.buf, v, false)
		w.close("Value")
	}
}

var (
	groups     = [...]string{"Alphabetic", "Ideographic", "Phonetic"}
	components = [...]string{"FamilyName", "GivenName", "MiddleName", "NamePrefix", "NameSuffix"}
)

func (w *writer) name(v string) {
	for i, group := range strings.SplitN(v, "=", len(groups)) {
		if group == "" {
			continue
		}
		w.open(groups[i], 0)
		for j, c := range strings.SplitN(group, "^", len(components)) {
			if c != "" {
				w.open(components[j], 0)
				w.buf = appendEscaped(w.buf, c, false)
				w.close(components[j])
			}
		}
		w.close(groups[i])
	}
}

// open writes a start tag, with a number unless that is 0.
func (w *writer) open(name string, n int) {
	w.buf = append(append(w.buf, '<'), name...)
	if n > 0 {
		w.buf = append(w.buf, ` number="`...)
		w.buf = append(strconv.AppendInt(w.buf, int64(n), 10), '"')
	}
	w.buf = append(w.buf, '>')
}

func (w *writer) close(name string) {
	w.buf = append(append(append(w.buf, "</"...), name...), '>')
}

// appendEscaped appends UTF-8 text. Characters that XML cannot write, which are
// most controls, become U+FFFD.
func appendEscaped(dst []byte, s string, attribute bool) []byte {
	for i, r := range s {
		switch {
		case r == '&':
			dst = append(dst, "&amp;"...)
		case r == '<':
			dst = append(dst, "&lt;"...)
		case r == '>':
			dst = append(dst, "&gt;"...)
		case r == '"' && attribute:
			dst = append(dst, "&quot;"...)
		case r == '\r', attribute && (r == '\n' || r == '\t'): // a reader would make it a line feed, or a space
			dst = append(dst, "&#"...)
			dst = append(strconv.AppendInt(dst, int64(r), 10), ';')
		case r < ' ' && r != '\t' && r != '\n', r == 0xFFFE, r == 0xFFFF, r == utf8.RuneError:
			dst = append(dst, "\uFFFD"...)
		case r < utf8.RuneSelf:
			dst = append(dst, s[i])
		default:
			dst = utf8.AppendRune(dst, r)
		}
	}
	return dst
}
