package conformance

import (
	"bytes"
	"fmt"
	imagecolor "image"
	"image/gif"
	"image/png"
	"strings"
	"testing"

	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/pixel"
	"github.com/strata-pacs/strata/internal/pixel/sandbox"
)

// colourImage is an image of 8 bits and three samples.
func colourImage(uid, photometric string, planar uint16, pixels []byte, more ...el) []byte {
	return image(uid, uid+".1", uid+".1.1", append([]el{{0x00280002, "US", us(3)}, {0x00280004, "CS", photometric}, {0x00280006, "US", us(planar)},
		{0x00280010, "US", us(8)}, {0x00280011, "US", us(8)}, {0x00280100, "US", us(8)}, {0x00280101, "US", us(8)}, {0x00280102, "US", us(7)},
		{0x7FE00010, "OB", string(pixels)}}, more...)...)
}

func instancePath(uid string) string {
	return fmt.Sprintf("/studies/%s/series/%s.1/instances/%s.1.1", uid, uid, uid)
}

// interop34: whatever the pixels are transcoded to, Photometric Interpretation
// says what they are, and so do the data set and the code stream together.
func interop34(t *testing.T, w *world) {
	ramp := make([]byte, 8*8*3)
	for i := range ramp {
		ramp[i] = byte(i * 5)
	}
	ybr := make([]byte, 8*8*2) // Y Y Cb Cr
	for i := range ybr {
		ybr[i] = byte(60 + i)
	}
	index := make([]byte, 64)
	for i := range index {
		index[i] = byte(i % 4)
	}
	lut := func(v ...uint16) string { return us(v...) }
	palette := []el{{0x00280002, "US", us(1)}, {0x00280004, "CS", "PALETTE COLOR"}, {0x00280010, "US", us(8)}, {0x00280011, "US", us(8)},
		{0x00280100, "US", us(8)}, {0x00280101, "US", us(8)}, {0x00280102, "US", us(7)}, {0x7FE00010, "OB", string(index)},
		{0x00281101, "US", us(4, 0, 16)}, {0x00281102, "US", us(4, 0, 16)}, {0x00281103, "US", us(4, 0, 16)},
		{0x00281201, "OW", lut(0, 0xffff, 0, 0)}, {0x00281202, "OW", lut(0, 0, 0xffff, 0)}, {0x00281203, "OW", lut(0, 0, 0, 0xffff)}}
	for i, c := range []struct {
		name string
		file func(uid string) []byte
	}{
		{"RGB", func(uid string) []byte { return colourImage(uid, "RGB", 0, ramp) }},
		{"RGB by plane", func(uid string) []byte { return colourImage(uid, "RGB", 1, ramp) }},
		{"YBR_FULL", func(uid string) []byte { return colourImage(uid, "YBR_FULL", 0, ramp) }},
		{"YBR_FULL_422", func(uid string) []byte { return colourImage(uid, "YBR_FULL_422", 0, ybr) }},
		{"PALETTE COLOR", func(uid string) []byte { return image(uid, uid+".1", uid+".1.1", palette...) }},
	} {
		uid := fmt.Sprintf("1.134.%d", i+1)
		file := c.file(uid)
		w.post(t, file).is(200, 202)
		path := instancePath(uid)
		want := decode(t, w, file)
		picture := w.get(t, path+"/rendered", "image/png").is(200).Body
		made := 0
		for _, to := range targets {
			a := w.get(t, path, "application/dicom; transfer-syntax="+to.syntax)
			if a.Status == 406 {
				if w.node.Codecs.Encodes(to.syntax, want.Format) == nil {
					t.Errorf("%s as %s: %s", c.name, to.syntax, a.Body)
				}
				continue
			}
			made++
			b := a.is(200).Body
			if got := decode(t, w, b); !bytes.Equal(got.Data, want.Data) {
				t.Errorf("%s as %s: other pixels", c.name, to.syntax)
			}
			photometric := agrees(t, b)
			if c.name == "PALETTE COLOR" && photometric != c.name {
				t.Errorf("a palette as %s became %s", to.syntax, photometric)
			}
			// Whoever stores what was given sees the same.
			other := fmt.Sprintf("1.135.%d.%d", i+1, made)
			if to.syntax == dicom.DeflatedExplicitVRLittleEndian {
				continue // its UIDs cannot be replaced
			}
			w.post(t, bytes.ReplaceAll(b, []byte(uid), []byte(other[:len(uid)]))).is(200, 202, 409)
		}
		if made < 5 {
			t.Errorf("%s: only %d transfer syntaxes", c.name, made)
		}
		if again := w.get(t, path+"/rendered", "image/png").is(200).Body; !bytes.Equal(again, picture) {
			t.Errorf("%s: another picture", c.name)
		}
		// JPEG baseline, for who names it: lossy, and said to be.
		if c.name == "RGB" {
			a := w.get(t, path, "application/dicom; transfer-syntax="+jpegBaseline).is(200)
			if p := agrees(t, a.Body); p != "YBR_FULL_422" && p != "RGB" && p != "YBR_FULL" {
				t.Errorf("JPEG baseline as %s", p)
			}
		}
	}
}

// agrees checks what a file says of its pixels against its code stream, and
// returns its Photometric Interpretation.
func agrees(t *testing.T, raw []byte) string {
	t.Helper()
	file, err := dicom.Read(t.Context(), bytes.NewReader(raw), dicom.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	f, err := pixel.FormatOf(file.Data, 0x7FE00010)
	if err != nil {
		t.Fatal(err)
	}
	p, _ := file.Data.Text(0x00280004)
	lossy, _ := file.Data.Text(0x00282110)
	if (lossy == "01") != (file.Syntax == jpegBaseline) {
		t.Errorf("%s: Lossy Image Compression is %q", file.Syntax, lossy)
	}
	if f.Samples == 1 && strings.HasPrefix(p, "YBR") || f.Samples == 3 && !strings.HasPrefix(p, "YBR") && p != "RGB" {
		t.Errorf("%s: %s of %d samples", file.Syntax, p, f.Samples)
	}
	px := file.Data.Lookup(0x7FE00010)
	switch file.Syntax {
	case jpeg2000, htj2k, dicom.HTJ2KLosslessRPCL:
		stream := raw[px.Fragments[1].Offset:][:px.Fragments[1].Length]
		i := bytes.Index(stream, []byte{0xFF, 0x52}) // COD: length, style, progression, layers (2), transform
		if i < 0 || i+8 >= len(stream) {
			t.Fatalf("%s: no COD", file.Syntax)
		}
		if transformed := stream[i+8] == 1; transformed != (p == "YBR_RCT") {
			t.Errorf("%s: %s, and the code stream is transformed: %v", file.Syntax, p, transformed)
		}
	case explicitLE, implicitLE, explicitBE, rle, dicom.JPEGLSLossless:
		if p == "YBR_RCT" || p == "YBR_ICT" {
			t.Errorf("%s: %s", file.Syntax, p)
		}
	}
	return p
}

// interop35 renders the same ramp in every way that it can be stored.
func interop35(t *testing.T, w *world) {
	n := 0
	store := func(more ...el) string {
		t.Helper()
		n++
		uid := fmt.Sprintf("1.136.%d", n)
		w.post(t, image(uid, uid+".1", uid+".1.1", more...)).is(200, 202)
		return instancePath(uid)
	}
	see := func(path string) *imagecolor.Gray {
		t.Helper()
		img, err := png.Decode(bytes.NewReader(w.get(t, path, "image/png").is(200).Body))
		if err != nil {
			t.Fatal(err)
		}
		g := imagecolor.NewGray(img.Bounds())
		for i := range g.Pix {
			r, _, _, _ := img.At(i%g.Stride, i/g.Stride).RGBA()
			g.Pix[i] = byte(r >> 8)
		}
		return g
	}
	var plain [16]uint16 // 0, 16, …, 240
	for i := range plain {
		plain[i] = uint16(i * 16)
	}
	shift := func(f func(v uint16) uint16) string {
		var b []uint16
		for _, v := range plain {
			b = append(b, f(v))
		}
		return us(b...)
	}
	same := func(v uint16) uint16 { return v }
	window := []el{{0x00281050, "DS", "128"}, {0x00281051, "DS", "256"}}
	up := see(store(append(window, el{0x7FE00010, "OW", shift(same)})...) + "/rendered").Pix
	if up[0] != 0 || up[15] < 238 || up[15] > 242 {
		t.Fatalf("a ramp is rendered as %v", up)
	}
	down := make([]byte, 16)
	for i := range down {
		down[i] = 255 - up[i]
	}
	item1 := func(list ...el) string { return item(list...) }
	eight := make([]byte, 16)
	for i := range eight {
		eight[i] = byte(i * 16)
	}
	for _, c := range []struct {
		name string
		list []el
		want []byte
	}{
		{"MONOCHROME1", append(window, el{0x00280004, "CS", "MONOCHROME1"}, el{0x7FE00010, "OW", shift(same)}), down},
		{"rescaled", []el{{0x00281052, "IS", ""}, {0x00281053, "DS", "2"}, {0x00281052, "DS", "-100"}, {0x00281050, "DS", "156"}, {0x00281051, "DS", "511"}, {0x7FE00010, "OW", shift(same)}}, nil},
		{"signed", []el{{0x00280103, "US", us(1)}, {0x00281050, "DS", "28"}, {0x00281051, "DS", "256"}, {0x7FE00010, "OW", shift(func(v uint16) uint16 { return v - 100 })}}, up},
		{"12 bits with rubbish above", append(window, el{0x00280101, "US", us(12)}, el{0x00280102, "US", us(11)}, el{0x7FE00010, "OW", shift(func(v uint16) uint16 { return v | 0xA000 })}), up},
		{"12 bits signed", []el{{0x00280103, "US", us(1)}, {0x00280101, "US", us(12)}, {0x00280102, "US", us(11)}, {0x00281050, "DS", "28"}, {0x00281051, "DS", "256"},
			{0x7FE00010, "OW", shift(func(v uint16) uint16 { return (v - 100) & 0x0FFF })}}, up},
		{"8 bits", append(window, el{0x00280100, "US", us(8)}, el{0x00280101, "US", us(8)}, el{0x00280102, "US", us(7)}, el{0x7FE00010, "OB", string(eight)}), up},
		{"a VOI LUT", []el{{0x00283010, "SQ", item1(el{0x00283002, "US", us(256, 0, 8)}, el{0x00283006, "OW", us(descending()...)})}, {0x7FE00010, "OW", shift(same)}}, down},
		{"a window of its frame", []el{{0x00280008, "IS", "1"}, {0x00281050, "DS", "9999"}, {0x00281051, "DS", "2"},
			{0x52009230, "SQ", item1(el{0x00289132, "SQ", item1(window...)})}, {0x7FE00010, "OW", shift(same)}}, up},
	} {
		got := see(store(c.list...) + "/rendered").Pix
		for i := range c.want {
			if d := int(got[i]) - int(c.want[i]); d > 1 || d < -1 {
				t.Errorf("%s: %v, want %v", c.name, got, c.want)
				break
			}
		}
		if c.want == nil && (got[0] != 0 || got[15] < 237 || got[15] > 243) {
			t.Errorf("%s: %v", c.name, got)
		}
	}
	// The same window as a parameter.
	bare := store(el{0x7FE00010, "OW", shift(same)})
	if got := see(bare + "/rendered?window=128,256,linear").Pix; !bytes.Equal(got, up) {
		t.Errorf("window as a parameter: %v", got)
	}
	if g := see(bare + "/rendered?window=128,256,linear&viewport=8,8"); g.Rect.Dx() != 8 || g.Rect.Dy() != 8 {
		t.Errorf("viewport: %v", g.Rect)
	}
	if g := see(bare + "/rendered?window=128,256,linear&viewport=4,4,0,0,-4,4").Pix; g[0] != up[3] || g[3] != up[0] {
		t.Errorf("flipped: %v", g)
	}
	// Bits, planes.
	bit := see(store(el{0x00280100, "US", us(1)}, el{0x00280101, "US", us(1)}, el{0x00280102, "US", us(0)}, el{0x7FE00010, "OB", "\x05\x80"}) + "/rendered").Pix
	for i, v := range bit {
		if (v == 255) != (i == 0 || i == 2 || i == 15) {
			t.Errorf("1 bit: %v", bit)
			break
		}
	}
	pixels := make([]byte, 8*8*3)
	planes := make([]byte, 8*8*3)
	for i := range pixels {
		pixels[i] = byte(i)
		planes[i%3*64+i/3] = byte(i)
	}
	w.post(t, colourImage("1.137.1", "RGB", 0, pixels), colourImage("1.137.2", "RGB", 1, planes)).is(200)
	if a, b := w.get(t, instancePath("1.137.1")+"/rendered", "image/png").Body, w.get(t, instancePath("1.137.2")+"/rendered", "image/png").Body; !bytes.Equal(a, b) {
		t.Error("planes are rendered otherwise than pixels")
	}
	// Several frames: one as a picture, all as an animation.
	many := store(append(window, el{0x00280008, "IS", "3"}, el{0x7FE00010, "OW", strings.Repeat(shift(same), 3)})...)
	if list := w.get(t, many+"/frames/1,3/rendered", "image/jpeg").is(200).parts(); len(list) != 2 {
		t.Errorf("%d pictures of two frames", len(list))
	}
	if g, err := gif.DecodeAll(bytes.NewReader(w.get(t, many+"/rendered", "image/gif").is(200).Body)); err != nil || len(g.Image) != 3 {
		t.Errorf("an animation: %v", err)
	}
	w.get(t, many+"/frames/4/rendered", "").problem(404)
	interop35Documents(t, w)
	// Nothing to be seen: 406 that says why, never 500.
	for _, c := range []struct {
		list []el
		why  string
	}{
		{[]el{{0x00280010, "US", us(0)}}, ""},
		{[]el{{0x00280010, "US", us(65535)}, {0x00280011, "US", us(65535)}}, ""},
		{[]el{{0x00280100, "US", us(13)}}, ""},
		{[]el{{0x00280004, "CS", "CMYK"}, {0x00280002, "US", us(4)}}, ""},
		{[]el{{0x7FE00010, "OW", ""}}, ""},
	} {
		if d := w.get(t, store(c.list...)+"/rendered", "").is(406).detail(); d == "" {
			t.Errorf("%v: no reason", c.list)
		}
	}
	if d := w.get(t, jp2Path+"/rendered", "").is(406).detail(); sandbox.Available() && !strings.Contains(d, "damaged") && !strings.Contains(d, "cannot be read") {
		t.Errorf("a code stream in name only: %s", d)
	}
}

func descending() []uint16 {
	list := make([]uint16, 256)
	for i := range list {
		list[i] = uint16(255 - i)
	}
	return list
}

// interop35Documents: video, PDF and reports are what they are.
func interop35Documents(t *testing.T, w *world) {
	mp4 := "\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isommp42\x00\x00\x00\x08free\x00\x00\x00\x08mdat"
	w.post(t, compressed("1.2.840.10008.1.2.4.102", "1.138", "1.138.1", "1.138.1.1", 40, encapsulated("", mp4)), pdf()).is(200, 202)
	video := instancePath("1.138") + "/rendered"
	a := w.get(t, video, "video/mp4").is(200)
	if string(a.Body) != mp4 || mediaType(a.Header) != "video/mp4" || a.Header.Get("Accept-Ranges") != "bytes" {
		t.Errorf("a video as %s, %d bytes", mediaType(a.Header), len(a.Body))
	}
	if a = w.do(t, "GET", video, nil, "Range", "bytes=4-11").is(206); string(a.Body) != "ftypisom" {
		t.Errorf("a range of it: %q", a.Body)
	}
	w.get(t, video, "image/jpeg").problem(406)
	document := "/studies/1.34/series/1.34.1/instances/1.34.1.1/rendered"
	if a = w.get(t, document, "").is(200); mediaType(a.Header) != "application/pdf" || !bytes.HasPrefix(a.Body, []byte("%PDF")) || a.Header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("a PDF as %v", a.Header)
	}
	w.do(t, "GET", document, nil, "Range", "bytes=0-3").is(206)
	report := part10(explicitLE, nil, el{0x00080016, "UI", "1.2.840.10008.5.1.4.1.1.88.11"}, el{0x00080018, "UI", "1.139.1.1"}, el{0x00080060, "CS", "SR"},
		el{0x00100010, "PN", "Fern^Ada"}, el{0x00100020, "LO", "P1"}, el{0x0020000D, "UI", "1.139"}, el{0x0020000E, "UI", "1.139.1"}, el{0x0040A040, "CS", "CONTAINER"},
		el{0x0040A043, "SQ", item(el{0x00080100, "SH", "18748-4"}, el{0x00080102, "SH", "LN"}, el{0x00080104, "LO", "Diagnostic Report"})},
		el{0x0040A050, "CS", "SEPARATE"},
		el{0x0040A730, "SQ", item(el{0x0040A010, "CS", "CONTAINS"}, el{0x0040A040, "CS", "TEXT"},
			el{0x0040A043, "SQ", item(el{0x00080100, "SH", "121071"}, el{0x00080102, "SH", "DCM"}, el{0x00080104, "LO", "Finding"})},
			el{0x0040A160, "UT", "a <b>shadow</b> & more"})})
	w.post(t, report).is(200, 202)
	a = w.get(t, instancePath("1.139")+"/rendered", "text/html").is(200)
	if !bytes.Contains(a.Body, []byte("a &lt;b&gt;shadow")) || !strings.Contains(a.Header.Get("Content-Security-Policy"), "sandbox") || a.Header.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Errorf("a report: %v %.300s", a.Header, a.Body)
	}
}
