package dicom

import "encoding/binary"

// Dataset is a parsed data set or sequence item: its elements in the order of
// the stream. Values are the encoded bytes, in the byte order of Order.
type Dataset struct {
	Elements []Element
	Order    binary.ByteOrder // byte order of the values
	// Charset holds the values of the Specific Character Set (0008,0005) in
	// force here: the item's own, or the enclosing data set's (PS3.3 C.12.1.1.2).
	Charset []string
}

// Element is one data element.
type Element struct {
	Tag Tag
	VR  VR // as encoded, or from the dictionary under Implicit VR; UN when unknown; OB when encapsulated

	// Bulk is set when the value was left in the stream because it is pixel
	// data or larger than the reader holds.
	Bulk bool

	// Value is the encoded value, with its padding. It is nil where the value
	// was not held: see Bulk, Items and Fragments.
	Value []byte

	// Offset of the value's first byte, in bytes from the beginning of the file;
	// of a deflated file, from the beginning of the file with the data set inflated.
	Offset int64
	// Length of the value in bytes. For encapsulated pixel data: up to and with
	// the sequence delimiter.
	Length int64

	Items     []*Dataset // of a sequence (SQ, or UN of undefined length, CP-246)
	Fragments []Span     // of encapsulated pixel data, the Basic Offset Table first (PS3.5 §A.4)
}

// Span is a run of bytes: offset as in [Element], length in bytes.
type Span struct{ Offset, Length int64 }

// IsSequence reports whether the element holds items.
func (e *Element) IsSequence() bool { return e.VR == SQ || e.Items != nil }

// Lookup returns the element of the tag, or nil.
func (d *Dataset) Lookup(t Tag) *Element {
	if d == nil {
		return nil
	}
	for i := range d.Elements {
		if d.Elements[i].Tag == t {
			return &d.Elements[i]
		}
	}
	return nil
}
