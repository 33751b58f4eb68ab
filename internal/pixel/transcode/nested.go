package transcode

import (
	"bytes"
	"context"
	"slices"

	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/pixel"
)

// Nested decodes compressed pixel data inside of sequences, that of icons as a
// rule, which only the transfer syntax of the whole says how to read.
type Nested struct {
	Codecs *pixel.Codecs
	From   string
	// Read returns the bytes of spans one after another; Value the value of an
	// element that may not be held.
	Read  func(ctx context.Context, spans []dicom.Span) ([]byte, error)
	Value func(ctx context.Context, e *dicom.Element) ([]byte, error)

	left int64 // bytes that may still be held
}

// maxNested bounds the sequences that are made anew, in bytes.
const maxNested = 32 << 20

// Edit returns what to do with the sequences of d that hold compressed pixel
// data: each is set with its images native, which they may be in every transfer
// syntax (PS3.5 §A.4). An Icon Image Sequence that cannot be decoded is
// removed: icons are optional, and bits that nobody knows how to read are of no
// use. Of another sequence that is fault.NotAcceptable.
func (n *Nested) Edit(ctx context.Context, d *dicom.Dataset) (dicom.Edit, error) {
	var edit dicom.Edit
	n.left = maxNested
	for i := range d.Elements {
		e := &d.Elements[i]
		if !compressed(e) {
			continue
		}
		made, keep, err := n.sequence(ctx, e)
		switch {
		case err != nil:
			return dicom.Edit{}, err
		case keep:
			edit.Set = append(edit.Set, made)
		default:
			edit.Remove = append(edit.Remove, e.Tag)
		}
	}
	return edit, nil
}

// compressed reports whether the element is a sequence with compressed pixel
// data inside.
func compressed(e *dicom.Element) bool {
	for _, item := range e.Items {
		for i := range item.Elements {
			if in := &item.Elements[i]; in.Tag == pixelData && in.Fragments != nil || compressed(in) {
				return true
			}
		}
	}
	return false
}

// sequence returns e with its compressed images native, or that it is not to be kept.
func (n *Nested) sequence(ctx context.Context, e *dicom.Element) (made dicom.Element, keep bool, err error) {
	made = *e
	made.Items = make([]*dicom.Dataset, len(e.Items))
	for i, item := range e.Items {
		if made.Items[i], err = n.item(ctx, item); err != nil {
			if e.Tag == iconImage && fault.Is(err, fault.NotAcceptable) {
				return made, false, nil
			}
			return made, false, err
		}
	}
	return made, true, nil
}

func (n *Nested) item(ctx context.Context, d *dicom.Dataset) (*dicom.Dataset, error) {
	out := *d
	out.Elements = make([]dicom.Element, 0, len(d.Elements))
	for i := range d.Elements {
		e := d.Elements[i]
		switch {
		case e.Tag == pixelData && e.Fragments != nil:
			return n.image(ctx, d)
		case compressed(&e):
			made, keep, err := n.sequence(ctx, &e)
			if err != nil {
				return nil, err
			} else if keep {
				out.Elements = append(out.Elements, made)
			}
			continue
		}
		if err := n.hold(ctx, &e); err != nil {
			return nil, err
		}
		out.Elements = append(out.Elements, e)
	}
	return &out, nil
}

// hold makes an element hold its value, or what its items have.
func (n *Nested) hold(ctx context.Context, e *dicom.Element) error {
	if n.left -= max(e.Length, int64(len(e.Value))); n.left < 0 {
		return errNested
	}
	e.Items = slices.Clone(e.Items)
	for i, item := range e.Items {
		out := *item
		out.Elements = slices.Clone(item.Elements)
		for k := range out.Elements {
			if err := n.hold(ctx, &out.Elements[k]); err != nil {
				return err
			}
		}
		e.Items[i] = &out
	}
	if !e.Bulk {
		return nil
	}
	v, err := n.Value(ctx, e)
	e.Value, e.Bulk = v, false
	return err
}

var errNested = fault.New(fault.NotAcceptable, "an image inside of a sequence of this instance cannot be converted; ask with transfer-syntax=* for the instance as stored")

// image returns an item with its own pixel data decoded.
func (n *Nested) image(ctx context.Context, d *dicom.Dataset) (*dicom.Dataset, error) {
	f, err := pixel.FormatOf(d, pixelData)
	if err != nil {
		return nil, err
	}
	size, err := f.FrameBytes()
	if err != nil {
		return nil, err
	}
	e := d.Lookup(pixelData)
	if len(e.Fragments) < 2 || size > n.left || e.Length > n.left {
		return nil, errNested
	}
	bits, err := n.Read(ctx, e.Fragments[1:])
	if err != nil {
		return nil, err
	}
	c := Coder{Codecs: n.Codecs, From: n.From, To: dicom.ExplicitVRLittleEndian, Format: f}
	frame, err := c.Frame(ctx, bits)
	if err != nil {
		return nil, err
	}
	vr, _ := PixelVR(c.To, frame.Format)
	edit := Change{From: n.From, To: c.To, Now: frame.Format}.describe(d)
	out := *d
	out.Elements = nil
	for i := range d.Elements {
		e := d.Elements[i]
		if slices.Contains(edit.Remove, e.Tag) || e.Tag == pixelData || slices.ContainsFunc(edit.Set, func(s dicom.Element) bool { return s.Tag == e.Tag }) {
			continue
		}
		if err := n.hold(ctx, &e); err != nil {
			return nil, err
		}
		out.Elements = append(out.Elements, e)
	}
	// What is set is little endian, as the data sets of compressed syntaxes are.
	out.Elements = append(append(out.Elements, edit.Set...), dicom.Element{Tag: pixelData, VR: vr, Value: bytes.Clone(frame.Bits)})
	slices.SortStableFunc(out.Elements, func(a, b dicom.Element) int { return int(int64(a.Tag) - int64(b.Tag)) })
	return &out, nil
}
