package dicom

import (
	"cmp"
	"fmt"
	"io"
	"slices"

	"github.com/strata-pacs/strata/internal/fault"
)

// Write writes a Part 10 file in f.Syntax (PS3.10 §7), always the same bytes for
// the same f: the File Meta Information of f.Meta, or one made from the SOP
// Class and Instance UID of f.Data, then the data set ascending by tag, with
// sequences of undefined length and without group lengths.
//
// Values that an element does not hold come from bulk, which is called once
// for each in the order of the file and must deliver e.Length bytes in the byte
// order of the data set it is in. Of encapsulated pixel data (e.Fragments is not nil)
// it delivers the payloads of the fragments one after the other, the Basic Offset Table first,
// whose lengths are those of e.Fragments.
//
// A bulk value of another length is fault.Invalid.
func Write(w io.Writer, f *File, bulk func(e *Element) (io.ReadCloser, error)) error {
	var own []Element
	for _, m := range [...]struct{ from, to Tag }{{0x00080016, metaClass}, {0x00080018, metaUID}} {
		if e := f.Data.Lookup(m.from); e != nil {
			own = append(own, Element{Tag: m.to, VR: UI, Value: e.Value})
		}
	}
	p := &printer{encoder: newEncoder(w), bulk: bulk}
	defer p.release()
	p.begin(f.Meta, own, f.Syntax)
	if e := f.Data.Lookup(bitsAllocated); e != nil && len(e.Value) >= 2 {
		p.allocated = f.Data.byteOrder().Uint16(e.Value)
	}
	if err := p.dataset(f.Data, 0); err != nil {
		return err
	}
	return p.finish()
}

// printer writes data sets from memory.
type printer struct {
	*encoder
	bulk      func(e *Element) (io.ReadCloser, error)
	allocated uint16
}

func sortElements(e []Element) {
	less := func(a, b Element) int { return cmp.Compare(a.Tag, b.Tag) }
	if !slices.IsSortedFunc(e, less) {
		slices.SortStableFunc(e, less)
	}
}

func (p *printer) dataset(d *Dataset, depth int) error {
	if limit := (Limits{}).withDefaults().Depth; depth > limit {
		return fault.New(fault.TooLarge, "sequences are nested more than %d deep", limit)
	}
	elements := slices.Clone(d.Elements)
	sortElements(elements)
	for i := range elements {
		e := &elements[i]
		var err error
		switch {
		case e.Tag.IsGroupLength() || e.Tag.Group() == 0xFFFE || e.Tag.Group() <= 2:
		case e.IsSequence():
			err = p.sequence(e, depth)
		case e.Fragments != nil:
			err = p.fragments(e)
		default:
			err = p.value(d, e, depth)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *printer) sequence(e *Element, depth int) error {
	p.header(e.Tag, SQ, undefined)
	for _, item := range e.Items {
		p.header(itemTag, 0, undefined)
		if err := p.dataset(item, depth+1); err != nil {
			return err
		}
		p.header(itemDelimiter, 0, 0)
	}
	p.header(sequenceEnd, 0, 0)
	return nil
}

// value writes the value of an element of d.
func (p *printer) value(d *Dataset, e *Element, depth int) error {
	n := int64(len(e.Value))
	if e.Bulk {
		n = e.Length
	}
	if n < 0 || n > undefined-2 {
		return fault.New(fault.Invalid, "%s is too long for its transfer syntax", name(e.Tag))
	}
	v := e.VR
	if !p.fits(v, n) {
		v = UN
	}
	word := 1
	if (encoding{big: p.enc.big}).order() != d.byteOrder() && v == e.VR {
		if word = v.Size(); depth == 0 && e.Tag == pixelDataTag && v == OW && (p.allocated == 32 || p.allocated == 64) {
			word = int(p.allocated / 8)
		}
	}
	p.header(e.Tag, v, uint32(n+n%2))
	s := NewSwapper(p.w, word)
	if !e.Bulk {
		s.Write(e.Value) // errors stick to the buffered writer
	} else if err := p.copyBulk(s, e, n); err != nil {
		return err
	}
	if err := s.Close(); err != nil {
		return err
	}
	p.padTo(v, n)
	return nil
}

// copyBulk writes the n bytes of a value that is not held.
func (p *printer) copyBulk(w io.Writer, e *Element, n int64) error {
	r, err := p.bulk(e)
	if err != nil {
		return fmt.Errorf("opening the bulk data of %s: %w", name(e.Tag), err)
	}
	defer r.Close()
	return p.copyN(w, r, e, n)
}

func (p *printer) copyN(w io.Writer, r io.Reader, e *Element, n int64) error {
	switch k, err := io.CopyN(w, r, n); {
	case err == io.EOF:
		return fault.New(fault.Invalid, "the bulk data of %s has %d bytes less than it should", name(e.Tag), n-k)
	case err != nil:
		return fmt.Errorf("copying the bulk data of %s: %w", name(e.Tag), err)
	}
	return nil
}

// fragments writes encapsulated pixel data (PS3.5 §A.4).
func (p *printer) fragments(e *Element) error {
	r, err := p.bulk(e)
	if err != nil {
		return fmt.Errorf("opening the bulk data of %s: %w", name(e.Tag), err)
	}
	defer r.Close()
	p.header(e.Tag, OB, undefined)
	for _, s := range e.Fragments {
		if s.Length < 0 || s.Length > undefined-2 {
			return fault.New(fault.Invalid, "a fragment of %s is too long", name(e.Tag))
		}
		p.header(itemTag, 0, uint32(s.Length+s.Length%2))
		if err := p.copyN(p.w, r, e, s.Length); err != nil {
			return err
		}
		p.padTo(OB, s.Length)
	}
	p.header(sequenceEnd, 0, 0)
	return nil
}
