package retrieve_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/pixel"
)

func textElement(t dicom.Tag, vr dicom.VR, v string) dicom.Element {
	return dicom.Element{Tag: t, VR: vr, Value: []byte(v), Length: int64(len(v))}
}

func number(t dicom.Tag, v int) dicom.Element {
	return dicom.Element{Tag: t, VR: dicom.US, Value: binary.LittleEndian.AppendUint16(nil, uint16(v)), Length: 2}
}

// formatElements describe pixels of a format.
func formatElements(f pixel.Format) []dicom.Element {
	sign := 0
	if f.Signed {
		sign = 1
	}
	e := []dicom.Element{number(0x00280002, f.Samples), textElement(0x00280004, dicom.CS, string(f.Photometric)),
		number(0x00280010, f.Rows), number(0x00280011, f.Columns), number(0x00280100, f.BitsAllocated),
		number(0x00280101, f.BitsStored), number(0x00280102, f.HighBit), number(0x00280103, sign)}
	if f.Samples > 1 {
		e = append(e, number(0x00280006, 0))
	}
	return e
}

// picture returns n native frames of a format: gradients, each another, so
// that they compress.
func picture(f pixel.Format, n int) [][]byte {
	frames := make([][]byte, n)
	for i := range frames {
		b := make([]byte, (f.Rows*f.Columns*f.Samples*f.BitsAllocated+7)/8)
		for k := range b {
			switch f.BitsAllocated {
			case 1:
				b[k] = byte(k*7 + i)
			case 8:
				b[k] = byte((k/f.Samples%f.Columns)*2 + k%f.Samples*40 + i)
			case 16:
				v := uint16(k/2%f.Columns*3+k/2/f.Columns*5+i*11) & (1<<f.BitsStored - 1)
				b[k] = byte(v >> (k % 2 * 8))
			}
		}
		if bits := f.Rows * f.Columns; f.BitsAllocated == 1 && bits%8 > 0 {
			b[len(b)-1] &= 0xFF >> (8 - bits%8)
		}
		frames[i] = b
	}
	return frames
}

// native makes a file of frames in Explicit VR Little Endian, bits packed as
// native pixel data has them, with elements before and behind.
func native(tb testing.TB, f pixel.Format, frames [][]byte, more ...dicom.Element) []byte {
	tb.Helper()
	value := bytes.Join(frames, nil)
	if bits := f.Rows * f.Columns; f.BitsAllocated == 1 {
		value = make([]byte, (bits*len(frames)+7)/8)
		for i := range bits * len(frames) {
			value[i/8] |= frames[i/bits][i%bits/8] >> (i % bits % 8) & 1 << (i % 8)
		}
	}
	vr := dicom.OW
	if f.BitsAllocated <= 8 {
		vr = dicom.OB
	}
	e := append(formatElements(f), dicom.Element{Tag: 0x7FE00010, VR: vr, Value: value, Length: int64(len(value))})
	return part10(tb, dicom.ExplicitVRLittleEndian, len(frames), append(e, more...)...)
}

// part10 makes a file of elements, with those that every instance has, and
// others that an edit has to pass by.
func part10(tb testing.TB, syntax string, frames int, elements ...dicom.Element) []byte {
	tb.Helper()
	item := &dicom.Dataset{Order: binary.LittleEndian, Elements: []dicom.Element{textElement(0x00081150, dicom.UI, "1.2.3"), number(0x00280010, 7)}}
	e := append([]dicom.Element{
		textElement(0x00080016, dicom.UI, "1.2.840.10008.5.1.4.1.1.7"), textElement(0x00080018, dicom.UI, ct.Instance), textElement(0x00080060, dicom.CS, "OT"),
		{Tag: 0x00081140, VR: dicom.SQ, Items: []*dicom.Dataset{item}},
		textElement(0x00100010, dicom.PN, "Test^Pixels"), textElement(0x0020000D, dicom.UI, ct.Study), textElement(0x0020000E, dicom.UI, ct.Series),
		{Tag: 0xFFFCFFFC, VR: dicom.OB, Value: []byte{0, 0}, Length: 2},
	}, elements...)
	if frames > 1 {
		e = append(e, textElement(0x00280008, dicom.IS, strconv.Itoa(frames)))
	}
	var b bytes.Buffer
	if err := dicom.Write(&b, &dicom.File{Syntax: syntax, Data: &dicom.Dataset{Order: binary.LittleEndian, Elements: e}}, func(e *dicom.Element) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(e.Value)), nil // of fragments, see pixelFragments
	}); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

// pixelFragments is encapsulated pixel data of a fragment a frame, for part10.
func pixelFragments(frames ...[]byte) dicom.Element {
	e := dicom.Element{Tag: 0x7FE00010, VR: dicom.OB, Value: bytes.Join(frames, nil), Fragments: []dicom.Span{{}}}
	for _, f := range frames {
		e.Fragments = append(e.Fragments, dicom.Span{Length: int64(len(f))})
	}
	return e
}

// rle codes a frame.
func rle(tb testing.TB, f pixel.Format, frame []byte) []byte {
	tb.Helper()
	bits, _, err := pixel.New(nil).Encode(tb.Context(), dicom.RLELossless, pixel.Image{Format: f, Data: frame}, pixel.EncodeOptions{})
	if err != nil {
		tb.Fatal(err)
	}
	return bits
}

// coded makes a file of frames in RLE.
func coded(tb testing.TB, f pixel.Format, frames [][]byte, more ...dicom.Element) []byte {
	tb.Helper()
	return part10(tb, dicom.RLELossless, len(frames), append(append(formatElements(f), pixelFragments(frames...)), more...)...)
}

// converted gives an uncompressed file another container.
func converted(tb testing.TB, b []byte, to string) []byte {
	tb.Helper()
	var out bytes.Buffer
	if err := dicom.Convert(context.Background(), &out, bytes.NewReader(b), to); err != nil {
		tb.Fatal(err)
	}
	return out.Bytes()
}

// lines writes a data set as text, without what a transcoding may change in it.
func lines(d *dicom.Dataset, nested bool) (out []string) {
	for i := range d.Elements {
		e := &d.Elements[i]
		switch {
		case !nested && slices.Contains(described, e.Tag), e.Tag.IsGroupLength(), e.Fragments != nil:
			continue
		}
		v := bytes.Clone(e.Value)
		if d.Order == binary.BigEndian {
			dicom.Swap(v, e.VR.Size())
		}
		if e.Items == nil && !e.Bulk {
			out = append(out, fmt.Sprintf("%s %x", e.Tag, bytes.TrimRight(v, " \x00")))
		} else if e.Bulk {
			out = append(out, fmt.Sprintf("%s of %d", e.Tag, (e.Length+1)&^1))
		}
		for _, item := range e.Items {
			out = append(out, e.Tag.String()+": "+strings.Join(lines(item, true), ", "))
		}
	}
	return out
}

// described are the attributes that describe pixels, and the icon, which may
// have to be decoded.
var described = []dicom.Tag{0x00280002, 0x00280004, 0x00280006, 0x00280100, 0x00280101, 0x00280102, 0x00280103,
	0x00282110, 0x00282112, 0x00282114, 0x7FE00001, 0x7FE00002, 0x7FE00010, 0x00880200}
