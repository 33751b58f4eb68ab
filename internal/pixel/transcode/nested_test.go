package transcode

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/pixel"
)

// icon returns the data set of a 2×2 icon in RLE, and its code stream.
func icon(t *testing.T, more ...dicom.Element) (*dicom.Dataset, []byte) {
	t.Helper()
	f := pixel.Format{Rows: 2, Columns: 2, Samples: 1, BitsAllocated: 8, BitsStored: 8, HighBit: 7, Photometric: pixel.Monochrome2}
	bits, _, err := pixel.New(nil).Encode(ctx, dicom.RLELossless, pixel.Image{Format: f, Data: []byte("abcd")}, pixel.EncodeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	d := dataset(append([]dicom.Element{number(samplesPerPixel, 1), text(photometric, dicom.CS, "MONOCHROME2"), number(planarConfiguration, 0), number(0x00280010, 2), number(0x00280011, 2),
		number(bitsAllocated, 8), number(bitsStored, 8), number(highBit, 7), number(pixelRepresentation, 0),
		{Tag: pixelData, VR: dicom.OB, Bulk: true, Length: 100, Fragments: []dicom.Span{{Offset: 8, Length: 0}, {Offset: 16, Length: int64(len(bits))}}}}, more...)...)
	return d, bits
}

func sequence(t dicom.Tag, items ...*dicom.Dataset) dicom.Element {
	return dicom.Element{Tag: t, VR: dicom.SQ, Items: items, Length: 200}
}

func TestNested(t *testing.T) {
	curve := dicom.Element{Tag: 0x00283006, VR: dicom.OW, Bulk: true, Offset: 500, Length: 70000}
	d, bits := icon(t)
	with, _ := icon(t, sequence(0x00081140, dataset(curve)))
	slices.SortFunc(with.Elements, func(a, b dicom.Element) int { return int(a.Tag) - int(b.Tag) })
	broken, _ := icon(t)
	broken.Elements[3] = number(0x00280010, 300)
	native := dataset(number(0x00280010, 2), dicom.Element{Tag: pixelData, VR: dicom.OB, Value: []byte("abcd")})
	n := Nested{Codecs: pixel.New(nil), From: dicom.RLELossless,
		Read: func(_ context.Context, s []dicom.Span) ([]byte, error) {
			if len(s) != 1 || s[0].Offset != 16 {
				t.Errorf("reads %v", s)
			}
			return bits, nil
		},
		Value: func(_ context.Context, e *dicom.Element) ([]byte, error) {
			return bytes.Repeat([]byte{7}, int(e.Length)), nil
		}}
	for _, c := range []struct {
		name string
		d    *dicom.Dataset
		want string
	}{
		{"none", dataset(text(photometric, dicom.CS, "RGB")), ""},
		{"a native icon", dataset(sequence(iconImage, native)), ""},
		{"an icon", dataset(sequence(iconImage, d)), "00880200="},
		{"within a reference", dataset(sequence(0x00081140, dataset(sequence(iconImage, d)), dataset(sequence(0x00081199, native)))), "00081140="},
		{"one with a curve", dataset(sequence(iconImage, with)), "00880200="},
		{"a broken icon", dataset(sequence(iconImage, broken)), "-00880200"},
		{"a broken icon within", dataset(sequence(0x00081140, dataset(sequence(iconImage, broken), number(0x00280010, 9)))), "00081140="},
	} {
		before := len(c.d.Elements)
		e, err := n.Edit(ctx, c.d)
		if got := describe(e); err != nil || got != c.want {
			t.Errorf("%s: %q, %v", c.name, got, err)
		}
		for i := range e.Set {
			if compressed(&e.Set[i]) {
				t.Errorf("%s: still compressed", c.name)
			}
			held(t, &e.Set[i])
		}
		if len(c.d.Elements) != before || d.Lookup(pixelData).Fragments == nil || with.Lookup(0x00081140).Items[0].Elements[0].Value != nil {
			t.Errorf("%s: the data set itself was changed", c.name)
		}
	}
	e, err := n.Edit(ctx, dataset(sequence(iconImage, d)))
	if err != nil {
		t.Fatal(err)
	}
	made := e.Set[0].Items[0]
	if p := made.Lookup(pixelData); p == nil || string(p.Value) != "abcd" || p.Bulk || p.Fragments != nil || made.Lookup(planarConfiguration) != nil {
		t.Errorf("made %+v", made)
	}
	if !slices.IsSortedFunc(made.Elements, func(a, b dicom.Element) int { return int(a.Tag) - int(b.Tag) }) {
		t.Error("out of order")
	}
}

// held fails for an element that does not hold its value.
func held(t *testing.T, e *dicom.Element) {
	if e.Bulk || e.Fragments != nil {
		t.Errorf("%s is not held", e.Tag)
	}
	for _, item := range e.Items {
		for i := range item.Elements {
			held(t, &item.Elements[i])
		}
	}
}

func TestNestedRefuses(t *testing.T) {
	d, bits := icon(t)
	huge, _ := icon(t, dicom.Element{Tag: 0x7FE10010, VR: dicom.OB, Bulk: true, Length: maxNested})
	empty, _ := icon(t)
	empty.Elements[len(empty.Elements)-1].Fragments = []dicom.Span{}
	wide, _ := icon(t)
	wide.Elements[4] = number(0x00280011, 0)
	failed := errors.New("failed")
	for _, c := range []struct {
		name string
		d    *dicom.Dataset
		from string
		err  error
		kind fault.Kind
	}{
		{"another syntax", dataset(sequence(0x00081140, d)), dicom.JPEG2000, nil, fault.NotAcceptable},
		{"too large", dataset(sequence(0x00081140, huge)), dicom.RLELossless, nil, fault.NotAcceptable},
		{"no fragments", dataset(sequence(0x00081140, empty)), dicom.RLELossless, nil, fault.NotAcceptable},
		{"no format", dataset(sequence(0x00081140, wide)), dicom.RLELossless, nil, fault.NotAcceptable},
		{"the store fails", dataset(sequence(iconImage, d)), dicom.RLELossless, failed, fault.Internal},
	} {
		n := Nested{Codecs: pixel.New(nil), From: c.from,
			Read:  func(context.Context, []dicom.Span) ([]byte, error) { return bits, c.err },
			Value: func(_ context.Context, e *dicom.Element) ([]byte, error) { return make([]byte, e.Length), c.err }}
		if _, err := n.Edit(ctx, c.d); !fault.Is(err, c.kind) || c.err != nil && !errors.Is(err, c.err) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
