package dicomxml

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/dicom/charset"
	"github.com/strata-pacs/strata/internal/dicom/dicomjson"
	"github.com/strata-pacs/strata/internal/fault"
)

// Parse reads one Native DICOM Model document, in UTF-8 or an encoding that
// package charset knows. Entities of a document type are not known, let alone
// fetched. What clients leave out is made up for
// as [dicomjson.Parse] does: VRs, numbers, keyword in place of tag. Errors are
// fault.Invalid and fault.TooLarge.
func Parse(text []byte, l dicomjson.Limits) (*dicomjson.Parsed, error) {
	depth := l.Depth
	if depth <= 0 {
		depth = 64
	}
	r := reader{d: xml.NewDecoder(bytes.NewReader(text)), depth: depth, gaps: len(text) / 8}
	r.d.CharsetReader = func(label string, rest io.Reader) (io.Reader, error) {
		if !charset.Known(label) {
			return nil, errors.New("the encoding is not known")
		}
		b, err := io.ReadAll(rest)
		if err != nil {
			return nil, err
		}
		return strings.NewReader(charset.Decode(b, []string{label}, charset.Text)), nil
	}
	root, err := r.start()
	switch {
	case err != nil:
		return nil, err
	case root == nil || root.Name.Local != "NativeDicomModel":
		return nil, fault.New(fault.Invalid, "the XML is not a Native DICOM Model")
	}
	if err := r.dataset(); err != nil {
		return nil, err
	}
	if after, err := r.start(); err != nil || after != nil {
		return nil, fault.New(fault.Invalid, "the XML goes on after its NativeDicomModel")
	}
	parsed, err := dicomjson.Parse(r.buf, l)
	if err != nil {
		return nil, err
	}
	return parsed[0], nil
}

// reader turns XML into DICOM JSON.
type reader struct {
	d     *xml.Decoder
	buf   []byte
	depth int // sequences that may still be opened
	gaps  int // values that numbers may still leave out
}

func malformed(err error) error {
	return fault.Wrap(fault.Invalid, err, "the XML is malformed")
}

// start returns the next start tag, or nil at an end tag or the end of the text.
func (r *reader) start() (*xml.StartElement, error) {
	for {
		t, err := r.d.Token()
		if errors.Is(err, io.EOF) {
			return nil, nil
		}
		if err != nil {
			return nil, malformed(err)
		}
		switch t := t.(type) {
		case xml.StartElement:
			return &t, nil
		case xml.EndElement:
			return nil, nil
		}
	}
}

// each calls f at every child element of the one just started. f reads to the child's end.
func (r *reader) each(f func(child *xml.StartElement) error) error {
	for {
		child, err := r.start()
		if err != nil || child == nil {
			return err
		}
		if err := f(child); err != nil {
			return err
		}
	}
}

func (r *reader) skip() error {
	if err := r.d.Skip(); err != nil {
		return malformed(err)
	}
	return nil
}

// text reads the character data up to the end of the element.
func (r *reader) text() (string, error) {
	var b []byte
	for {
		t, err := r.d.Token()
		if err != nil {
			return "", malformed(err)
		}
		switch t := t.(type) {
		case xml.CharData:
			b = append(b, t...)
		case xml.StartElement:
			if err := r.skip(); err != nil {
				return "", err
			}
		case xml.EndElement:
			return string(b), nil
		}
	}
}

func attribute(e *xml.StartElement, name string) string {
	for i := range e.Attr {
		if e.Attr[i].Name.Local == name {
			return e.Attr[i].Value
		}
	}
	return ""
}

// dataset reads the attributes of a model or item.
func (r *reader) dataset() error {
	var blocks blocks
	r.buf = append(r.buf, '{')
	empty := len(r.buf)
	err := r.each(func(e *xml.StartElement) error {
		if e.Name.Local != "DicomAttribute" {
			return r.skip()
		}
		t, ok := dicom.ParseTag(strings.TrimSpace(attribute(e, "tag")))
		if !ok {
			if t, ok = dicom.TagOf(attribute(e, "keyword")); !ok {
				return r.skip()
			}
		}
		// With its block left out a private attribute looks like a private creator:
		// that it has one tells them apart.
		creator := strings.TrimSpace(attribute(e, "privateCreator"))
		if creator != "" && t.IsPrivate() {
			at, added, err := blocks.resolve(t, creator)
			if err != nil {
				return err
			}
			if added != 0 {
				r.member(added, "LO", empty)
				r.buf = append(appendJSON(append(r.buf, `,"Value":[`...), creator), "]}"...)
			}
			t = at
		}
		r.member(t, attribute(e, "vr"), empty)
		start := len(r.buf)
		if err := r.value(); err != nil {
			return err
		}
		if t.IsPrivateCreator() && creator == "" {
			element := slices.Concat([]byte(`{"vr":"LO"`), r.buf[start:], []byte{'}'})
			blocks.declare(t, strings.TrimSpace(dicomjson.ParseAttr(t, element).Value))
		}
		r.buf = append(r.buf, '}')
		return nil
	})
	r.buf = append(r.buf, '}')
	return err
}

// member begins a member of a JSON object that began before empty.
func (r *reader) member(t dicom.Tag, vr string, empty int) {
	if len(r.buf) > empty {
		r.buf = append(r.buf, ',')
	}
	r.buf = append(t.Append(append(r.buf, '"')), `":{"vr":`...)
	r.buf = appendJSON(r.buf, vr)
}

func appendJSON(dst []byte, s string) []byte {
	b, _ := json.Marshal(s) // a string always can be
	return append(dst, b...)
}

// value reads the content of an attribute, and appends members to its JSON object.
func (r *reader) value() error {
	values := 0
	begin := func(e *xml.StartElement) {
		n, err := strconv.Atoi(strings.TrimSpace(attribute(e, "number")))
		if values == 0 {
			r.buf = append(r.buf, `,"Value":[`...)
		} else {
			r.buf = append(r.buf, ',')
		}
		values++
		for ; err == nil && n > values && r.gaps > 0; values++ {
			r.buf = append(r.buf, "null,"...)
			r.gaps--
		}
	}
	var other []byte
	err := r.each(func(e *xml.StartElement) error {
		switch e.Name.Local {
		case "Value":
			text, err := r.text()
			begin(e)
			r.buf = appendJSON(r.buf, text)
			return err
		case "PersonName":
			begin(e)
			return r.name()
		case "Item":
			begin(e)
			if r.depth--; r.depth < 0 {
				return fault.New(fault.TooLarge, "sequences in the metadata are nested too deeply")
			}
			defer func() { r.depth++ }()
			return r.dataset()
		case "BulkData":
			uri := attribute(e, "uri")
			if uri == "" {
				uri = attribute(e, "uuid")
			}
			other = appendJSON(append(other, `,"BulkDataURI":`...), uri)
			return r.skip()
		case "InlineBinary":
			text, err := r.text()
			other = appendJSON(append(other, `,"InlineBinary":`...), text)
			return err
		}
		return r.skip()
	})
	if values > 0 {
		r.buf = append(r.buf, ']')
	}
	r.buf = append(r.buf, other...)
	return err
}

// name reads the content of a PersonName into a JSON object.
func (r *reader) name() error {
	r.buf = append(r.buf, '{')
	first := true
	err := r.each(func(e *xml.StartElement) error {
		group := e.Name.Local
		if group != groups[0] && group != groups[1] && group != groups[2] {
			return r.skip()
		}
		var parts [len(components)]string
		err := r.each(func(e *xml.StartElement) error {
			for i, c := range components {
				if e.Name.Local == c {
					var err error
					parts[i], err = r.text()
					return err
				}
			}
			return r.skip()
		})
		if !first {
			r.buf = append(r.buf, ',')
		}
		first = false
		r.buf = append(appendJSON(r.buf, group), ':')
		r.buf = appendJSON(r.buf, strings.TrimRight(strings.Join(parts[:], "^"), "^"))
		return err
	})
	r.buf = append(r.buf, '}')
	return err
}
