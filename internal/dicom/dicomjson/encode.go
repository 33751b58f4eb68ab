package dicomjson

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"math"
	"strconv"

	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/dicom/charset"
	"github.com/strata-pacs/strata/internal/fault"
)

// element reads an element's object.
func (p *parser) element(t dicom.Tag) (dicom.Element, error) {
	e := dicom.Element{Tag: t}
	m, err := p.members()
	if err != nil {
		return e, err
	}
	if p.skipped > 16*len(p.b) { // each level of nesting is passed over once by those above it
		return e, fault.New(fault.TooLarge, "sequences in the metadata are nested too deeply")
	}
	e.VR = m.vr(t)
	end := p.i
	switch {
	case m.bulk >= 0 && e.VR != dicom.SQ:
		p.i = m.bulk
		uri, err := p.scalar()
		if err != nil {
			return e, err
		}
		if len(uri) > 0 {
			e.Bulk, e.Offset = true, int64(len(p.uris))
			p.uris = append(p.uris, string(uri))
		}
	case m.inline >= 0 && e.VR != dicom.SQ:
		p.i = m.inline
		if e.Value, err = p.inline(t); err != nil {
			return e, err
		}
	case m.value >= 0:
		p.i = m.value
		if e.VR == dicom.SQ {
			e.Items, err = p.items(t)
		} else {
			e.Value, err = p.encode(t, e.VR)
		}
		if err != nil {
			return e, err
		}
	}
	if e.Value == nil && e.VR != dicom.SQ && !e.Bulk {
		e.Value = []byte{} // held, and empty
	}
	if len(e.Value)%2 == 1 {
		pad := byte(0)
		if e.VR.IsText() && e.VR != dicom.UI {
			pad = ' '
		}
		e.Value = append(e.Value[:len(e.Value):len(e.Value)], pad)
	}
	e.Length = int64(len(e.Value))
	p.i = end
	return e, nil
}

// items reads the Value of a sequence.
func (p *parser) items(t dicom.Tag) ([]*dicom.Dataset, error) {
	var items []*dicom.Dataset
	if p.depth--; p.depth < 0 {
		return nil, fault.New(fault.TooLarge, "sequences in the metadata are nested too deeply")
	}
	defer func() { p.depth++ }()
	err := p.each(func() error {
		if p.peek() != '{' {
			v, err := p.scalar()
			if err == nil && len(v) > 0 {
				err = fault.New(fault.Invalid, "%v is a sequence, but a value of it is no item", t)
			}
			return err
		}
		item, err := p.dataset()
		if err == nil {
			items = append(items, item)
		}
		return err
	})
	return items, err
}

// each calls f at every value of an array, or at the one value that is none.
func (p *parser) each(f func() error) error {
	if p.peek() != '[' {
		return f()
	}
	p.i++
	for first := true; ; first = false {
		more, err := p.next(first, ']')
		if err != nil || !more {
			return err
		}
		if err := p.count(); err != nil {
			return err
		}
		if err := f(); err != nil {
			return err
		}
	}
}

// scalar reads a string, or a literal as it is written; null is nothing.
func (p *parser) scalar() ([]byte, error) {
	if p.peek() == '"' {
		return p.str()
	}
	v, err := p.literal()
	if string(v) == "null" {
		v = nil
	}
	return v, err
}

// joined reads a Value as text: backslashes between values, '=' between the
// component groups of a name.
func (p *parser) joined() ([]byte, error) {
	var out []byte
	first := true
	err := p.each(func() error {
		if !first {
			out = append(out, '\\')
		}
		first = false
		if p.peek() == '{' {
			var err error
			out, err = p.name(out)
			return err
		}
		v, err := p.scalar()
		out = append(out, v...)
		return err
	})
	return out, err
}

// name reads the object of a person name.
func (p *parser) name(dst []byte) ([]byte, error) {
	if err := p.take('{'); err != nil {
		return dst, err
	}
	var parts [3][]byte
	for first := true; ; first = false {
		more, err := p.next(first, '}')
		if err != nil {
			return dst, err
		}
		if !more {
			break
		}
		k, err := p.key()
		if err != nil {
			return dst, err
		}
		i := 0
		switch string(k) {
		case "Alphabetic":
		case "Ideographic":
			i = 1
		case "Phonetic":
			i = 2
		default:
			i = -1
		}
		if c := p.peek(); i < 0 || c == '{' || c == '[' {
			if err := p.skip(); err != nil {
				return dst, err
			}
			continue
		}
		if parts[i], err = p.scalar(); err != nil {
			return dst, err
		}
	}
	dst = append(dst, parts[0]...)
	if len(parts[1])+len(parts[2]) > 0 {
		dst = append(append(dst, '='), parts[1]...)
	}
	if len(parts[2]) > 0 {
		dst = append(append(dst, '='), parts[2]...)
	}
	return dst, nil
}

// inline reads base64, with or without its padding and line ends.
func (p *parser) inline(t dicom.Tag) ([]byte, error) {
	var out []byte
	err := p.each(func() error { // some clients put it into an array
		v, err := p.scalar()
		if err != nil {
			return err
		}
		if bytes.ContainsAny(v, " \t\r\n") {
			v = bytes.Join(bytes.Fields(v), nil)
		}
		v = bytes.TrimRight(v, "=")
		if out, err = base64.RawStdEncoding.AppendDecode(out, v); err != nil {
			return fault.New(fault.Invalid, "the InlineBinary of %v is not base64", t)
		}
		return nil
	})
	return out, err
}

// encode reads a Value and returns it as DICOM encodes it, without padding.
func (p *parser) encode(t dicom.Tag, vr dicom.VR) ([]byte, error) {
	if size := dicom.NumberSize(vr); size > 0 {
		return p.numbers(t, vr)
	}
	out, err := p.joined()
	if err != nil {
		return nil, err
	}
	if !vr.IsText() && vr != dicom.UN && len(out) > 0 {
		return nil, fault.New(fault.Invalid, "%v is binary: its value belongs in InlineBinary or behind a BulkDataURI", t)
	}
	if len(bytes.Trim(out, " \\")) == 0 && vr.IsMultiple() {
		return nil, nil // nothing but empty values
	}
	if vr == dicom.DS || vr == dicom.IS {
		out = p.decimals(t, vr, out)
	}
	p.unicode = p.unicode || vr.IsText() && !charset.IsASCII(out)
	return out, nil
}

// decimals fits numbers into DS and IS: 16 and 12 characters (PS3.5 §6.2). What
// does not fit is kept as it is, with a warning.
func (p *parser) decimals(t dicom.Tag, vr dicom.VR, v []byte) []byte {
	limit := 16
	if vr == dicom.IS {
		limit = 12
	}
	var out []byte
	for i, one := range bytes.Split(v, []byte{'\\'}) {
		if i > 0 {
			out = append(out, '\\')
		}
		out = append(out, p.decimal(t, vr, bytes.TrimSpace(one), limit)...)
	}
	return out
}

func (p *parser) decimal(t dicom.Tag, vr dicom.VR, v []byte, limit int) []byte {
	_, form := appendDecimal(nil, v)
	f, err := strconv.ParseFloat(string(v), 64)
	switch {
	case len(v) == 0, form.ok && form.whole && len(v) <= limit:
	case !form.ok || err != nil:
		p.warn(t, "holds a value that is no number")
	case vr == dicom.DS:
		for digits := 17; len(v) > limit; digits-- {
			v = strconv.AppendFloat(nil, f, 'g', digits, 64)
		}
	case f == math.Trunc(f) && math.Abs(f) < 1e11:
		v = strconv.AppendInt(nil, int64(f), 10)
	default:
		p.warn(t, "holds a value that is no integer of its range")
	}
	return v
}

// numbers reads a Value of binary numbers.
func (p *parser) numbers(t dicom.Tag, vr dicom.VR) ([]byte, error) {
	var out []byte
	le := binary.LittleEndian
	err := p.each(func() error {
		v, err := p.scalar()
		if err != nil {
			return err
		}
		text := string(bytes.TrimSpace(v))
		if text == "" {
			return nil
		}
		wrong := fault.New(fault.Invalid, "%v holds a value that is not a number of its VR's range", t)
		switch vr {
		case dicom.FL:
			f, err := strconv.ParseFloat(text, 32)
			if err != nil && !math.IsInf(f, 0) {
				return wrong
			}
			out = le.AppendUint32(out, math.Float32bits(float32(f)))
		case dicom.FD:
			f, err := strconv.ParseFloat(text, 64)
			if err != nil && !math.IsInf(f, 0) {
				return wrong
			}
			out = le.AppendUint64(out, math.Float64bits(f))
		case dicom.AT:
			at, ok := dicom.ParseTag(text)
			if !ok {
				return wrong
			}
			out = le.AppendUint16(le.AppendUint16(out, at.Group()), at.Element())
		default:
			n, ok := integer(text, vr)
			if !ok {
				return wrong
			}
			switch dicom.NumberSize(vr) {
			case 2:
				out = le.AppendUint16(out, uint16(n))
			case 4:
				out = le.AppendUint32(out, uint32(n))
			default:
				out = le.AppendUint64(out, n)
			}
		}
		return nil
	})
	return out, err
}

// integer reads a binary integer, also one written with a fraction of zero or
// an exponent, and reports whether the VR can hold it.
func integer(text string, vr dicom.VR) (uint64, bool) {
	bits := 8 * dicom.NumberSize(vr)
	signed := vr == dicom.SS || vr == dicom.SL || vr == dicom.SV
	if signed {
		if n, err := strconv.ParseInt(text, 10, bits); err == nil {
			return uint64(n), true
		}
	} else if n, err := strconv.ParseUint(text, 10, bits); err == nil {
		return n, true
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || f != math.Trunc(f) || math.Abs(f) > 1<<53 {
		return 0, false
	}
	text = strconv.FormatFloat(f, 'f', -1, 64)
	if signed {
		n, err := strconv.ParseInt(text, 10, bits)
		return uint64(n), err == nil
	}
	n, err := strconv.ParseUint(text, 10, bits)
	return n, err == nil
}
