package retrieve_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/pixel"
	"github.com/strata-pacs/strata/internal/retrieve"
	"github.com/strata-pacs/strata/internal/retrieve/retrievetest"
	"github.com/strata-pacs/strata/internal/testdata"
)

var containers = []string{dicom.ImplicitVRLittleEndian, dicom.ExplicitVRLittleEndian, dicom.ExplicitVRBigEndian, dicom.DeflatedExplicitVRLittleEndian}

// compressed are the transfer syntaxes that instances are given in on demand.
func compressed() []string {
	list := []string{dicom.RLELossless, dicom.JPEGLosslessSV1, dicom.JPEGBaseline8Bit, dicom.DeflatedImageFrame, dicom.EncapsulatedUncompressed}
	if pool() != nil {
		list = append(list, dicom.JPEGLSLossless, dicom.JPEG2000Lossless, dicom.HTJ2KLossless, dicom.HTJ2KLosslessRPCL)
	}
	return list
}

// shown is a decoded frame as any decoder that upsamples and knows the colours
// of lossy JPEG gives it.
func shown(tb testing.TB, r *retrieve.Reader, in *retrieve.Instance, n int) pixel.Image {
	tb.Helper()
	img, err := r.Image(tb.Context(), in, n)
	if err != nil {
		tb.Fatal(err)
	}
	if img.Photometric.IsYBR() && (in.Syntax == dicom.JPEGBaseline8Bit || in.Syntax == dicom.JPEGExtended12Bit) {
		if img, err = pixel.ToRGB(img); err != nil {
			tb.Fatal(err)
		}
	}
	return img.Interleaved()
}

// samePixels compares frames: all bytes, or for a lossy answer roughly.
func samePixels(got, want pixel.Image, lossy bool) error {
	if got.Samples != want.Samples || got.Rows != want.Rows || got.Columns != want.Columns || got.BitsAllocated != want.BitsAllocated || got.Signed != want.Signed || got.Photometric != want.Photometric {
		return fmt.Errorf("%+v instead of %+v", got.Format, want.Format)
	}
	if !lossy {
		if !bytes.Equal(got.Data, want.Data) {
			return fmt.Errorf("pixels differ")
		}
		return nil
	}
	sum := 0
	for i := range got.Data {
		sum += max(int(got.Data[i]), int(want.Data[i])) - min(int(got.Data[i]), int(want.Data[i]))
	}
	if mean := float64(sum) / float64(len(got.Data)); mean > 12 && len(got.Data) > 1000 { // noise of a few pixels is all edges
		return fmt.Errorf("pixels differ by %.1f on average", mean)
	}
	return nil
}

// TestTranscodeFiles gives every image of the test set in every transfer
// syntax: the answer is read again and has the same pixels, describes them
// rightly, and is the same but for that.
func TestTranscodeFiles(t *testing.T) {
	for _, f := range testdata.Files(t, "ok", "ok-derived") {
		if f.Size > 1<<20 || testing.Short() && f.Size > 20<<10 {
			continue
		}
		t.Run(f.Name, func(t *testing.T) {
			t.Parallel()
			a := retrievetest.New()
			r := newCodecs(t, a)
			in := one(t, r, a.Store(t, tenant, f.Bytes(t))[0])
			h, err := r.Header(t.Context(), in)
			if err != nil {
				t.Fatal(err)
			}
			if h.PixelData == 0 {
				return
			}
			if _, err := r.Image(t.Context(), in, 1); err != nil {
				if !fault.Is(err, fault.NotAcceptable) && !fault.Is(err, fault.NotFound) {
					t.Fatal(err)
				}
				t.Skipf("is not decoded: %v", err)
			}
			all := append(compressed(), containers...)
			if n, _ := h.Format.FrameBytes(); n*int64(h.Frames) > 600<<10 {
				all = []string{dicom.ExplicitVRLittleEndian, dicom.RLELossless} // the rest is a matter of time alone
			}
			for _, to := range all {
				if to == in.Syntax {
					continue
				}
				checkTranscoded(t, r, in, h, to)
			}
		})
	}
}

// checkTranscoded gives an instance in a transfer syntax and looks at the answer.
func checkTranscoded(t *testing.T, r *retrieve.Reader, in *retrieve.Instance, h *retrieve.Header, to string) {
	t.Helper()
	possible := r.Convertible(t.Context(), in, to)
	b, err := r.File(in, to)
	var out bytes.Buffer
	if err == nil {
		err = b.Write(t.Context(), &out)
	}
	if fault.Is(err, fault.NotAcceptable) && in.Instance == unevenFrames && out.Len() > 0 {
		return
	} else if err != nil {
		if !fault.Is(err, fault.NotAcceptable) || out.Len() > 0 || !mayRefuse(h.Format, to) {
			t.Errorf("to %s: %v after %d bytes", to, err, out.Len())
		}
		if possible == nil {
			t.Errorf("to %s is convertible and is not: %v", to, err)
		}
		return
	}
	if possible != nil {
		t.Errorf("to %s is not convertible and is: %v", to, possible)
	}
	f, err := dicom.Read(t.Context(), bytes.NewReader(out.Bytes()), dicom.Limits{})
	if err != nil {
		t.Errorf("to %s is not read: %v", to, err)
		return
	}
	if f.Syntax != to || len(f.Warnings) > 0 {
		t.Errorf("to %s: %s, %q", to, f.Syntax, f.Warnings)
	}
	a := retrievetest.New()
	r2 := newCodecs(t, a)
	other := one(t, r2, a.Store(t, tenant, out.Bytes())[0])
	h2, err := r2.Header(t.Context(), other)
	if err != nil {
		t.Fatal(err)
	}
	if h2.Native == dicom.Syntax(to).Encapsulated || h2.PixelData != h.PixelData {
		t.Errorf("to %s: native %v, %s", to, h2.Native, h2.PixelData)
	}
	if other.UIDs != in.UIDs || h2.FormatErr != nil || h2.Frames != h.Frames {
		t.Errorf("to %s: %v, %d frames, %v", to, other.UIDs, h2.Frames, h2.FormatErr)
		return
	}
	// A sequence sent as UN is one again in Implicit VR.
	unknown := func(d *dicom.Dataset) *dicom.Dataset {
		return &dicom.Dataset{Order: d.Order, Elements: slices.DeleteFunc(slices.Clone(d.Elements), func(e dicom.Element) bool {
			was := h.Data.Lookup(e.Tag)
			return was != nil && was.VR == dicom.UN
		})}
	}
	was, is := lines(unknown(h.Data), false), lines(unknown(h2.Data), false)
	for i := range max(len(was), len(is)) {
		if i >= len(was) || i >= len(is) || was[i] != is[i] {
			t.Errorf("to %s: the data set differs from element %d on\n%.200q\n%.200q", to, i, was[min(i, len(was)):min(i+1, len(was))], is[min(i, len(is)):min(i+1, len(is))])
			break
		}
	}
	checkLossy(t, in.Syntax, h, h2, to)
	for _, n := range slices.Compact([]int{1, (h.Frames + 1) / 2, h.Frames}) {
		want := shown(t, r, in, n)
		if to == dicom.JPEGBaseline8Bit && want.Photometric.IsYBR() {
			want, err = pixel.ToRGB(want)
		}
		if err != nil {
			t.Error(err)
		} else if err := samePixels(shown(t, r2, other, n), want, to == dicom.JPEGBaseline8Bit); err != nil {
			t.Errorf("%s to %s, frame %d: %v", in.Syntax, to, n, err)
		}
	}
}

// unevenFrames is an instance whose last frames are coded smaller than its first.
const unevenFrames = "1.2.826.0.1.3680043.10.296.637753540600535678"

// checkLossy looks at what the answer says of compression with loss.
func checkLossy(t *testing.T, from string, h, h2 *retrieve.Header, to string) {
	t.Helper()
	flag, _ := h2.Data.Text(0x00282110)
	before, _ := h.Data.Text(0x00282110)
	ratios, _ := h2.Data.Text(0x00282112)
	methods, _ := h2.Data.Text(0x00282114)
	old, _ := h.Data.Text(0x00282114)
	switch {
	case dicom.Uncompressed(from) && dicom.Uncompressed(to):
	case to == dicom.JPEGBaseline8Bit && (flag != "01" || !strings.HasSuffix(methods, "ISO_10918_1") || strings.Count(ratios, `\`) != strings.Count(methods, `\`) || len(methods) <= len(old)),
		to != dicom.JPEGBaseline8Bit && before == "01" && flag != "01",
		(from == dicom.JPEGBaseline8Bit || from == dicom.JPEGExtended12Bit) && flag != "01",
		from == dicom.JPEGLSNearLossless && before == "" && (flag != "01" || methods == ""),
		before == "" && flag != "" && to != dicom.JPEGBaseline8Bit && dicom.Uncompressed(from):
		t.Errorf("%s to %s: Lossy Image Compression is %q after %q, %s, %s", from, to, flag, before, ratios, methods)
	}
}

// mayRefuse says which formats a syntax has no code for.
func mayRefuse(f pixel.Format, to string) bool {
	switch {
	case f.Float, f.BitsAllocated > 16, f.BitsAllocated == 1, f.Samples == 4, f.HighBit != f.BitsStored-1:
		return true
	case to == dicom.JPEGBaseline8Bit:
		return f.BitsAllocated > 8 || f.BitsStored != 8 || f.Signed || f.Photometric == pixel.PaletteColor || f.Photometric.IsYBR()
	}
	return f.Photometric.IsYBR() || f.Samples == 3 && f.BitsAllocated > 8
}

// TestTranscodeContainers: from each container to each syntax and back, for
// pixels of every kind, alone and in numbers.
func TestTranscodeContainers(t *testing.T) {
	grey8 := pixel.Format{Rows: 9, Columns: 7, Samples: 1, BitsAllocated: 8, BitsStored: 8, HighBit: 7, Photometric: pixel.Monochrome1}
	rgb := pixel.Format{Rows: 9, Columns: 7, Samples: 3, BitsAllocated: 8, BitsStored: 8, HighBit: 7, Photometric: pixel.RGB}
	bit := pixel.Format{Rows: 9, Columns: 7, Samples: 1, BitsAllocated: 1, BitsStored: 1, Photometric: pixel.Monochrome2}
	signed := grey16
	signed.Signed, signed.BitsStored, signed.HighBit = true, 16, 15
	for _, c := range []struct {
		name string
		f    pixel.Format
		n    int
	}{{"16 bits", grey16, 1}, {"16 bits, frames", grey16, 5}, {"8 bits", grey8, 1}, {"8 bits, frames", grey8, 4}, {"RGB", rgb, 1}, {"RGB, frames", rgb, 3}, {"1 bit", bit, 1}, {"1 bit, frames", bit, 5}, {"signed", signed, 2}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			frames := picture(c.f, c.n)
			for _, from := range containers {
				a := retrievetest.New()
				r := newCodecs(t, a)
				in := one(t, r, a.Store(t, tenant, converted(t, native(t, c.f, frames), from))[0])
				h, err := r.Header(t.Context(), in)
				if err != nil {
					t.Fatal(err)
				}
				for i := range frames {
					if img := shown(t, r, in, i+1); !bytes.Equal(img.Data, frames[i]) {
						t.Fatalf("%s, frame %d: % x instead of % x", from, i+1, img.Data, frames[i])
					}
				}
				for _, to := range compressed() {
					checkTranscoded(t, r, in, h, to)
					b, err := r.File(in, to)
					var out bytes.Buffer
					if err != nil || b.Write(t.Context(), &out) != nil || to == dicom.JPEGBaseline8Bit {
						continue
					}
					a2 := retrievetest.New()
					r2 := newCodecs(t, a2)
					in2 := one(t, r2, a2.Store(t, tenant, out.Bytes())[0])
					for _, back := range containers {
						b, err := r2.File(in2, back)
						got := read(t, b, err)
						if want := converted(t, native(t, c.f, frames), back); back != dicom.DeflatedExplicitVRLittleEndian && !bytes.Equal(elements(t, got), elements(t, want)) {
							t.Errorf("%s to %s to %s is not what it was", from, to, back)
						}
					}
				}
			}
		})
	}
}

// elements are the bytes of a file behind its File Meta Information.
func elements(tb testing.TB, b []byte) []byte {
	tb.Helper()
	const group = 132 + 12
	return b[group+int(b[group-4])+int(b[group-3])<<8:]
}

// TestTranscodeReads: a small instance is read once, whatever is made of it.
func TestTranscodeReads(t *testing.T) {
	f := pixel.Format{Rows: 9, Columns: 7, Samples: 1, BitsAllocated: 16, BitsStored: 12, HighBit: 11, Photometric: pixel.Monochrome2}
	a := retrievetest.New()
	r := newCodecs(t, a)
	in := one(t, r, a.Store(t, tenant, native(t, f, picture(f, 3)))[0])
	b, err := r.File(in, dicom.RLELossless)
	if err != nil {
		t.Fatal(err)
	}
	before := a.Opens.Load()
	read(t, b, nil)
	if n := a.Opens.Load() - before; n > 3 { // header and body of the blob
		t.Errorf("%d reads", n)
	}
}

// TestTranscodeWithout: instances found without layouts are transcoded as well,
// unless they are gone by then.
func TestTranscodeWithout(t *testing.T) {
	f := pixel.Format{Rows: 9, Columns: 7, Samples: 1, BitsAllocated: 16, BitsStored: 12, HighBit: 11, Photometric: pixel.Monochrome2}
	a := retrievetest.New()
	r := newCodecs(t, a)
	a.Store(t, tenant, native(t, f, picture(f, 3)))
	list, err := r.Find(t.Context(), tenant, ct, retrieve.Files)
	if err != nil || len(list) != 1 {
		t.Fatal(err)
	}
	with, err := r.File(one(t, r, ct), dicom.RLELossless)
	without, err2 := r.File(&list[0], dicom.RLELossless)
	if !bytes.Equal(read(t, with, err), read(t, without, err2)) {
		t.Error("they differ")
	}
	a.Delete(ct)
	if err := without.Write(t.Context(), io.Discard); !fault.Is(err, fault.NotFound) {
		t.Errorf("deleted: %v", err)
	}
}

func TestTranscodeRefuses(t *testing.T) {
	grey := pixel.Format{Rows: 9, Columns: 7, Samples: 1, BitsAllocated: 16, BitsStored: 12, HighBit: 11, Photometric: pixel.Monochrome2}
	deep := pixel.Format{Rows: 9, Columns: 7, Samples: 1, BitsAllocated: 32, BitsStored: 32, HighBit: 31, Photometric: pixel.Monochrome2}
	video := retrievetest.Part10(retrievetest.Image{UIDs: ct, Syntax: "1.2.840.10008.1.2.4.102", Rows: 9, Columns: 7, Fragments: [][]byte{[]byte("film")}})
	pixels := picture(grey, 1)
	fewer := native(t, grey, pixels, textElement(0x00280008, dicom.IS, "2"))
	float := part10(t, dicom.ExplicitVRLittleEndian, 1, number(0x00280002, 1), textElement(0x00280004, dicom.CS, "MONOCHROME2"), number(0x00280010, 1), number(0x00280011, 1), number(0x00280100, 32), dicom.Element{Tag: 0x7FE00008, VR: dicom.OF, Value: []byte("1234")})
	report := part10(t, dicom.ExplicitVRLittleEndian, 1)
	undescribed := part10(t, dicom.ExplicitVRLittleEndian, 1, dicom.Element{Tag: 0x7FE00010, VR: dicom.OW, Value: pixels[0]})
	for _, c := range []struct {
		name string
		raw  []byte
		to   string
	}{
		{"video", video, dicom.ExplicitVRLittleEndian},
		{"to video", native(t, grey, pixels), "1.2.840.10008.1.2.4.102"},
		{"to unknown", native(t, grey, pixels), "1.2.3"},
		{"to JPIP", native(t, grey, pixels), "1.2.840.10008.1.2.4.94"},
		{"to lossy JPEG 2000", native(t, grey, pixels), dicom.JPEG2000},
		{"12 bits to 8", native(t, grey, pixels), dicom.JPEGBaseline8Bit},
		{"32 bits to JPEG", native(t, deep, picture(deep, 1)), dicom.JPEGLosslessSV1},
		{"fewer frames than there are", fewer, dicom.RLELossless},
		{"float to RLE", float, dicom.RLELossless},
		{"no pixels to compress", report, dicom.RLELossless},
		{"pixels nobody describes", undescribed, dicom.RLELossless},
	} {
		a := retrievetest.New()
		r := newReader(t, a)
		in := one(t, r, a.Store(t, tenant, c.raw)[0])
		if err := r.Convertible(t.Context(), in, c.to); !fault.Is(err, fault.NotAcceptable) {
			t.Errorf("%s is convertible: %v", c.name, err)
		}
		b, err := r.File(in, c.to)
		var w bytes.Buffer
		if err == nil {
			err = b.Write(t.Context(), &w)
		}
		if !fault.Is(err, fault.NotAcceptable) || w.Len() > 0 {
			t.Errorf("%s: %v after %d bytes", c.name, err, w.Len())
		}
	}
}

// TestTranscodeNoPixels: what has no pixels only changes its container.
func TestTranscodeNoPixels(t *testing.T) {
	a := retrievetest.New()
	r := newReader(t, a)
	raw := part10(t, dicom.RLELossless, 1)
	in := one(t, r, a.Store(t, tenant, raw)[0])
	b, err := r.File(in, dicom.ExplicitVRLittleEndian)
	if got := read(t, b, err); !bytes.Equal(elements(t, got), elements(t, raw)) {
		t.Error("another data set")
	}
	if err := r.Convertible(context.Background(), in, dicom.ExplicitVRLittleEndian); err != nil {
		t.Error(err)
	}
}
