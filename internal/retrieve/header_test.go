package retrieve_test

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/pixel"
	"github.com/strata-pacs/strata/internal/retrieve"
	"github.com/strata-pacs/strata/internal/retrieve/retrievetest"
	"github.com/strata-pacs/strata/internal/testdata"
)

var grey16 = pixel.Format{Rows: 9, Columns: 7, Samples: 1, BitsAllocated: 16, BitsStored: 12, HighBit: 11, Photometric: pixel.Monochrome2}

// TestHeader: one read of what stands before the pixels, and none once it is held.
func TestHeader(t *testing.T) {
	a := retrievetest.New()
	r := newReader(t, a)
	raw := native(t, grey16, picture(grey16, 3))
	in := one(t, r, a.Store(t, tenant, raw)[0])
	h, err := r.Header(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	if h.Format != grey16 || h.FormatErr != nil || h.Frames != 3 || !h.Native || h.PixelData != 0x7FE00010 || h.Data.Lookup(0x7FE00010) != nil {
		t.Errorf("%+v", h)
	}
	if name, _ := h.Data.Text(0x00100010); name != "Test^Pixels" {
		t.Errorf("%q", name)
	}
	opens := a.Opens.Load()
	again, err := r.Header(t.Context(), one(t, r, ct))
	if err != nil || again != h || a.Opens.Load() != opens {
		t.Errorf("not held: %v", err)
	}
	a.Secrets = func(archive.KeyID) (archive.Secret, error) {
		return archive.Secret{}, fault.New(fault.KeyDenied, "revoked")
	}
	if _, err := r.Header(t.Context(), in); !fault.Is(err, fault.KeyDenied) {
		t.Errorf("held, and given without the key: %v", err)
	}
}

// TestHeaderFiles: the header of every real file has what the file has, also
// when nothing is known of its layout.
func TestHeaderFiles(t *testing.T) {
	for _, f := range testdata.Files(t, "ok", "ok-derived") {
		if testing.Short() && f.Size > 100<<10 {
			continue
		}
		a := retrievetest.New()
		r := newReader(t, a)
		raw := f.Bytes(t)
		u := a.Store(t, tenant, raw)[0]
		h, err := r.Header(t.Context(), one(t, r, u))
		if err != nil {
			t.Errorf("%s: %v", f.Name, err)
			continue
		}
		whole, err := dicom.ReadHeader(t.Context(), bytes.NewReader(raw), dicom.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if strings.Join(lines(h.Data, true), "\n") != strings.Join(lines(whole.Data, true), "\n") {
			t.Errorf("%s: another data set", f.Name)
		}
		list, err := newReader(t, a).Find(t.Context(), tenant, u, retrieve.Files)
		if err != nil {
			t.Fatal(err)
		}
		r2 := newReader(t, a)
		if h2, err := r2.Header(t.Context(), &list[0]); err != nil || h2.Format != h.Format || h2.Frames != h.Frames {
			t.Errorf("%s, found without layout: %v", f.Name, err)
		}
		if h.PixelData == 0 && !fault.Is(h.FormatErr, fault.NotAcceptable) {
			t.Errorf("%s has no pixels: %v", f.Name, h.FormatErr)
		}
	}
}

// TestHeaderTooLarge: a header that takes more than its share is not held for
// all, but is for the request that found the instance.
func TestHeaderTooLarge(t *testing.T) {
	var many []dicom.Element
	for i := range 200 {
		v := bytes.Repeat([]byte{byte(i)}, 60<<10)
		many = append(many, dicom.Element{Tag: dicom.Tag(0x00091000 + i), VR: dicom.OB, Value: v, Length: int64(len(v))})
	}
	a := retrievetest.New()
	r := newReader(t, a)
	in := one(t, r, a.Store(t, tenant, native(t, grey16, picture(grey16, 1), many...))[0])
	h, err := r.Header(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	opens := a.Opens.Load()
	if again, err := r.Header(t.Context(), in); err != nil || again != h || a.Opens.Load() != opens {
		t.Errorf("read again in one request: %v", err)
	}
	if other, err := r.Header(t.Context(), one(t, r, ct)); err != nil || other == h {
		t.Errorf("held for others: %v", err)
	}
}

func TestValue(t *testing.T) {
	lut := bytes.Repeat([]byte("12345678"), 16<<10)
	for _, to := range containers {
		a := retrievetest.New()
		r := newReader(t, a)
		raw := converted(t, native(t, grey16, picture(grey16, 1), dicom.Element{Tag: 0x00281201, VR: dicom.OW, Value: lut, Length: int64(len(lut))}), to)
		in := one(t, r, a.Store(t, tenant, raw)[0])
		h, err := r.Header(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		e := h.Data.Lookup(0x00281201)
		if e == nil || !e.Bulk {
			t.Fatal("held")
		}
		v, err := r.Value(t.Context(), in, e)
		if h.Data.Order == binary.BigEndian {
			dicom.Swap(v, 2)
		}
		if err != nil || !bytes.Equal(v, lut) {
			t.Errorf("%s: another value, %v", to, err)
		}
		if v, err := r.Value(t.Context(), in, h.Data.Lookup(0x00100010)); err != nil || !strings.HasPrefix(string(v), "Test^Pixels") {
			t.Errorf("%q, %v", v, err)
		}
		huge := *e
		huge.Length = 1 << 40
		coded := *e
		coded.Fragments = []dicom.Span{}
		for _, e := range []*dicom.Element{&huge, &coded} {
			if _, err := r.Value(t.Context(), in, e); !fault.Is(err, fault.NotAcceptable) {
				t.Errorf("%v", err)
			}
		}
		beyond := *e
		beyond.Offset = int64(len(lut)) * 4
		if _, err := r.Value(t.Context(), in, &beyond); !fault.Is(err, fault.Corrupt) {
			t.Errorf("%s: outside of the file: %v", to, err)
		}
	}
}

func TestImageRefuses(t *testing.T) {
	f := grey16
	f.Rows = 300
	for _, c := range []struct {
		name string
		raw  []byte
		n    int
		kind fault.Kind
	}{
		{"no pixels", part10(t, dicom.ExplicitVRLittleEndian, 1), 1, fault.NotAcceptable},
		{"no frame 0", native(t, grey16, picture(grey16, 2)), 0, fault.NotFound},
		{"no frame 3", native(t, grey16, picture(grey16, 2)), 3, fault.NotFound},
		{"cut short", native(t, f, picture(grey16, 1)), 1, fault.NotFound},
		{"nothing describes it", part10(t, dicom.ExplicitVRLittleEndian, 1, dicom.Element{Tag: 0x7FE00010, VR: dicom.OW, Value: []byte("1234")}), 1, fault.NotAcceptable},
		{"unknown syntax", retrievetest.Part10(retrievetest.Image{UIDs: ct, Syntax: "1.2.3", Rows: 2, Columns: 2, Fragments: [][]byte{[]byte("1234")}}), 1, fault.NotAcceptable},
		{"video", retrievetest.Part10(retrievetest.Image{UIDs: ct, Syntax: "1.2.840.10008.1.2.4.102", Rows: 2, Columns: 2, Fragments: [][]byte{[]byte("1234")}}), 1, fault.NotAcceptable},
		{"damaged", retrievetest.Part10(retrievetest.Image{UIDs: ct, Syntax: dicom.RLELossless, Rows: 2, Columns: 2, Fragments: [][]byte{[]byte("1234")}}), 1, fault.NotAcceptable},
	} {
		a := retrievetest.New()
		r := newReader(t, a)
		in := one(t, r, a.Store(t, tenant, c.raw)[0])
		if _, err := r.Image(t.Context(), in, c.n); !fault.Is(err, c.kind) && !fault.Is(err, fault.NotAcceptable) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// TestImageMislabelled: native pixels are read whatever the transfer syntax says.
func TestImageMislabelled(t *testing.T) {
	a := retrievetest.New()
	r := newReader(t, a)
	frames := picture(grey16, 2)
	in := one(t, r, a.Store(t, tenant, part10(t, dicom.JPEGBaseline8Bit, 2, append(formatElements(grey16), dicom.Element{Tag: 0x7FE00010, VR: dicom.OW, Value: bytes.Join(frames, nil)})...))[0])
	if img, err := r.Image(t.Context(), in, 2); err != nil || !bytes.Equal(img.Data, frames[1]) {
		t.Errorf("%v", err)
	}
	b, err := r.File(in, dicom.ExplicitVRLittleEndian)
	if got := read(t, b, err); !bytes.Equal(got, native(t, grey16, frames)) && len(got) < 300 {
		t.Error("another file")
	}
}

func BenchmarkHeader(b *testing.B) {
	for _, f := range testdata.Files(b, "ok") {
		if f.Name != "ok/pydicom/CT_small.dcm" && f.Field("modality") != "CT" {
			continue
		}
		a := retrievetest.New()
		r := newReader(b, a)
		u := a.Store(b, tenant, f.Bytes(b))[0]
		in := one(b, r, u)
		b.Run("read", func(b *testing.B) {
			for b.Loop() {
				fresh := newReader(b, a)
				if _, err := fresh.Header(b.Context(), in); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("held", func(b *testing.B) {
			for b.Loop() {
				if _, err := r.Header(b.Context(), in); err != nil {
					b.Fatal(err)
				}
			}
		})
		return
	}
}
