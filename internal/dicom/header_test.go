package dicom

import (
	"bytes"
	"context"
	"io"
	"testing"
	"testing/iotest"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/testdata"
)

// TestReadHeader compares with what Read holds, and shows that nothing behind
// the pixel data's own header is needed.
func TestReadHeader(t *testing.T) {
	ctx := context.Background()
	for _, file := range testdata.Files(t, "ok", "ok-derived") {
		raw := file.Bytes(t)
		whole, err := Read(ctx, bytes.NewReader(raw), Limits{})
		if err != nil {
			t.Fatalf("%s: %v", file.Name, err)
		}
		l, err := NewLayout(whole)
		if err != nil {
			t.Fatal(err)
		}
		var src io.Reader = bytes.NewReader(raw)
		if l.Frames.Tag != 0 && !whole.Deflated {
			src = io.MultiReader(bytes.NewReader(raw[:l.Frames.Value.Offset]), iotest.ErrReader(io.ErrUnexpectedEOF))
		}
		f, err := ReadHeader(ctx, src, Limits{})
		if err != nil {
			t.Errorf("%s: %v", file.Name, err)
			continue
		}
		if f.Syntax != whole.Syntax || f.Deflated != whole.Deflated || f.Preamble != whole.Preamble {
			t.Errorf("%s: another file", file.Name)
		}
		n := len(whole.Data.Elements)
		for i := range whole.Data.Elements {
			if isPixelData(whole.Data.Elements[i].Tag) {
				n = i
				break
			}
		}
		if len(f.Data.Elements) != n {
			t.Errorf("%s: %d elements instead of %d", file.Name, len(f.Data.Elements), n)
			continue
		}
		for i := range f.Data.Elements {
			a, b := &f.Data.Elements[i], &whole.Data.Elements[i]
			if a.Tag != b.Tag || a.VR != b.VR || a.Offset != b.Offset || a.Length != b.Length || !bytes.Equal(a.Value, b.Value) || len(a.Items) != len(b.Items) {
				t.Errorf("%s: %s differs", file.Name, a.Tag)
			}
		}
	}
}

func TestReadHeaderDamage(t *testing.T) {
	for _, c := range []struct {
		name string
		raw  []byte
	}{
		{"empty", nil},
		{"no DICOM", bytes.Repeat([]byte("text"), 100)},
		{"cut within a value", part10(ExplicitVRLittleEndian, explicit().head(0x00100010, "PN", 100).raw("NAME"))},
	} {
		if f, err := ReadHeader(context.Background(), bytes.NewReader(c.raw), Limits{}); !fault.Is(err, fault.Invalid) || f != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
