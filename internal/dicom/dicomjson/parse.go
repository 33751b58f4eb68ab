package dicomjson

import (
	"bytes"
	"encoding/binary"
	"slices"

	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/fault"
)

// Limits bound what [Parse] takes in. A zero field has its default.
type Limits struct {
	Elements  int // elements, items and values of the whole text; default 1<<20
	Depth     int // nested sequences; default 64
	Instances int // default 10,000
}

func (l Limits) withDefaults() Limits {
	if l.Elements <= 0 {
		l.Elements = 1 << 20
	}
	if l.Depth <= 0 {
		l.Depth = 64
	}
	if l.Instances <= 0 {
		l.Instances = 10_000
	}
	return l
}

// Parsed is one instance of a DICOM JSON or XML text.
type Parsed struct {
	// Meta holds the elements of group 0002, which metadata need not have.
	Meta *dicom.Dataset
	// Data holds the others: ascending, no tag twice, little endian, padded to
	// even length, without group lengths. Text is UTF-8, and Specific Character
	// Set says so where any is not ASCII.
	Data *dicom.Dataset
	// Bulk lists the elements whose value is elsewhere, in the order of Data.
	Bulk []Reference
	// Warnings name, by tag, values that were kept although they are not as
	// their VR wants them. At most 20.
	Warnings []string
}

// Reference is an element whose value is to be found elsewhere: its Bulk is
// set, its Value and Length are not.
type Reference struct {
	Element *dicom.Element // of Parsed.Data, or of an item in it
	URI     string         // as the text has it
}

// Parse reads a JSON array of objects, or a single object, as PS3.18 §F.2
// describes them and clients write them: values may be null, "" or [null]
// where they are empty, single where they should be in an array, strings where
// they should be numbers and the other way round; names of members that are no
// attributes are passed over. Errors are fault.Invalid and fault.TooLarge.
func Parse(text []byte, l Limits) ([]*Parsed, error) {
	l = l.withDefaults()
	p := parser{scanner: scanner{b: bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))}, depth: l.Depth, left: l.Elements}
	var out []*Parsed
	if p.peek() == '{' {
		one, err := p.instance()
		if err != nil {
			return nil, err
		}
		out = append(out, one)
	} else {
		if err := p.take('['); err != nil {
			return nil, err
		}
		for first := true; ; first = false {
			more, err := p.next(first, ']')
			if err != nil {
				return nil, err
			}
			if !more {
				break
			}
			if len(out) == l.Instances {
				return nil, fault.New(fault.TooLarge, "the DICOM JSON holds more than %d instances", l.Instances)
			}
			one, err := p.instance()
			if err != nil {
				return nil, err
			}
			out = append(out, one)
		}
	}
	if p.peek() != 0 {
		return nil, p.malformed()
	}
	return out, nil
}

// parser reads data sets.
type parser struct {
	scanner
	depth int // sequences that may still be opened
	left  int // elements, items and values that may still come

	uris     []string // of the elements with Bulk, whose Offset is the index
	unicode  bool     // some text is not ASCII
	warnings []string
}

func (p *parser) count() error {
	if p.left--; p.left < 0 {
		return fault.New(fault.TooLarge, "the metadata holds too many elements and values")
	}
	return nil
}

const maxWarnings = 20

func (p *parser) warn(t dicom.Tag, what string) {
	if len(p.warnings) < maxWarnings {
		p.warnings = append(p.warnings, t.String()+" "+what)
	}
}

// instance reads one object of the outermost level.
func (p *parser) instance() (*Parsed, error) {
	p.uris, p.unicode, p.warnings = nil, false, nil
	d, err := p.dataset()
	if err != nil {
		return nil, err
	}
	out := &Parsed{Data: d, Warnings: p.warnings}
	if n, _ := slices.BinarySearchFunc(d.Elements, 0x00030000, byTag); n > 0 {
		out.Meta = &dicom.Dataset{Order: d.Order, Elements: slices.Clone(d.Elements[:n])}
		d.Elements = d.Elements[n:]
	}
	i, there := slices.BinarySearchFunc(d.Elements, charsetTag, byTag)
	if p.unicode || there {
		if !there {
			d.Elements = slices.Insert(d.Elements, i, dicom.Element{Tag: charsetTag, VR: dicom.CS})
		}
		utf8Labelled(d)
	}
	p.references(d, &out.Bulk)
	return out, nil
}

func byTag(e dicom.Element, t dicom.Tag) int { return int(int64(e.Tag) - int64(t)) }

// utf8Labelled makes every Specific Character Set of d and its items say UTF-8.
func utf8Labelled(d *dicom.Dataset) {
	d.Charset = []string{"ISO_IR 192"}
	for i := range d.Elements {
		e := &d.Elements[i]
		if e.Tag == charsetTag {
			e.VR, e.Value, e.Length = dicom.CS, []byte("ISO_IR 192"), 10
		}
		for _, item := range e.Items {
			utf8Labelled(item)
		}
	}
}

// references lists the elements that are elsewhere.
func (p *parser) references(d *dicom.Dataset, to *[]Reference) {
	for i := range d.Elements {
		e := &d.Elements[i]
		if e.Bulk {
			*to = append(*to, Reference{Element: e, URI: p.uris[e.Offset]})
			e.Offset = 0
		}
		for _, item := range e.Items {
			p.references(item, to)
		}
	}
}

// dataset reads an object of elements.
func (p *parser) dataset() (*dicom.Dataset, error) {
	if err := p.take('{'); err != nil {
		return nil, err
	}
	d := &dicom.Dataset{Order: binary.LittleEndian}
	sorted := true
	for first := true; ; first = false {
		more, err := p.next(first, '}')
		if err != nil {
			return nil, err
		}
		if !more {
			break
		}
		k, err := p.key()
		if err != nil {
			return nil, err
		}
		t, ok := dicom.ParseTag(string(k))
		if !ok || t.IsGroupLength() || p.peek() != '{' {
			if err := p.skip(); err != nil {
				return nil, err
			}
			continue
		}
		if err := p.count(); err != nil {
			return nil, err
		}
		e, err := p.element(t)
		if err != nil {
			return nil, err
		}
		if n := len(d.Elements); n > 0 && d.Elements[n-1].Tag >= t {
			sorted = false
		}
		d.Elements = append(d.Elements, e)
	}
	if !sorted {
		slices.SortStableFunc(d.Elements, func(a, b dicom.Element) int { return byTag(a, b.Tag) })
		d.Elements = slices.CompactFunc(d.Elements, func(a, b dicom.Element) bool { return a.Tag == b.Tag })
	}
	return d, nil
}

// members are the places of an element's members in the text; -1 where absent.
type members struct {
	name                string // of the VR, as written
	value, inline, bulk int
}

// members reads an element's object and leaves values unread.
func (s *scanner) members() (members, error) {
	m := members{value: -1, inline: -1, bulk: -1}
	if err := s.take('{'); err != nil {
		return m, err
	}
	for first := true; ; first = false {
		more, err := s.next(first, '}')
		if err != nil || !more {
			return m, err
		}
		k, err := s.key()
		if err != nil {
			return m, err
		}
		c := s.peek()
		switch {
		case string(k) == "vr" && c == '"':
			v, err := s.str()
			if err != nil {
				return m, err
			}
			m.name = string(v)
			continue
		case string(k) == "Value":
			m.value = s.i
		case string(k) == "InlineBinary":
			m.inline = s.i
		case string(k) == "BulkDataURI":
			m.bulk = s.i
		}
		if err := s.skip(); err != nil {
			return m, err
		}
	}
}

// vr returns the element's VR: as written, or the dictionary's.
func (m *members) vr(t dicom.Tag) dicom.VR {
	if len(m.name) == 2 {
		if v := dicom.MakeVR(m.name[0], m.name[1]); exists(v) {
			return v
		}
	}
	return dicom.VROf(t)
}
