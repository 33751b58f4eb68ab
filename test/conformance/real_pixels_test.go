package conformance

import (
	"bytes"
	"compress/flate"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	jpegimage "image/jpeg"
	"io"
	"strings"
	"testing"

	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/pixel"
	"github.com/strata-pacs/strata/internal/pixel/sandbox"
	"github.com/strata-pacs/strata/internal/testdata"
)

// undecodable are the files of the test set whose pixels are damaged: what the
// answer says of them.
var undecodable = map[string]string{
	"dicom/pydicom/JPEG2000-embedded-sequence-delimiter.dcm": "a frame of this image",
	"dicom/fo-dicom/GH1146.dcm":                              "no whole frame",
}

// someUndecodable are those of which some frames are.
var someUndecodable = map[string]bool{"derived/fo-dicom__multiframe.dcm": true}

// misnamed holds a lossy code stream under the name of a lossless one: decoders
// differ by rounding.
const misnamed = "dicom/dcmjs/sample-op.dcm"

// detail is what a problem document says.
func (a *answer) detail() string {
	a.t.Helper()
	var p struct{ Detail string }
	if err := json.Unmarshal(a.problem(a.Status).Body, &p); err != nil {
		a.t.Fatal(err)
	}
	return p.Detail
}

// decoded checks what a compressed file becomes in Explicit VR Little Endian:
// frame 1 is what pydicom reads, the file and its frames agree, and its
// attributes describe its pixels.
func (r *realFile) decoded() {
	t := r.t
	const native = `multipart/related; type="application/octet-stream"`
	if !r.w.node.Codecs.Decodes(r.file.Syntax) {
		r.w.get(t, r.path, typeDICOM).problem(406)
		r.w.get(t, r.path+"/frames/1", native).problem(406)
		return
	}
	if r.unbuilt(r.w.get(t, r.path+"/frames/1", native)) {
		return
	}
	if why, ok := undecodable[r.f.Name]; ok {
		for _, a := range []*answer{r.w.get(t, r.path, typeDICOM).is(406), r.w.get(t, r.path+"/frames/1", native).is(406)} {
			if d := a.detail(); !strings.Contains(d, why) {
				t.Error(d)
			}
		}
		return
	}
	frame := r.w.get(t, r.path+"/frames/1", native).is(200).parts()[0]
	if frame.syntax() != explicitLE {
		t.Errorf("the frame says %q", frame.syntax())
	}
	if want := r.f.Field("frame1_sha256"); want != "" && strings.HasPrefix(r.f.Field("frame1_exact"), "yes") && r.f.Name != misnamed {
		if sum := sha256.Sum256(frame.Body); hex.EncodeToString(sum[:]) != want && !r.sameAs(frame.Body, want) {
			t.Errorf("frame 1 of %d bytes is not what pydicom reads", len(frame.Body))
		}
	}
	if someUndecodable[r.f.Name] {
		return
	}
	a := r.w.get(t, r.path, typeDICOM).is(200)
	file, err := dicom.Read(t.Context(), bytes.NewReader(a.Body), dicom.Limits{})
	if err != nil || file.Syntax != dicom.ExplicitVRLittleEndian {
		t.Fatalf("%v", err)
	}
	px := file.Data.Lookup(0x7FE00010)
	f, err := pixel.FormatOf(file.Data, 0x7FE00010)
	if err != nil || px == nil || px.Fragments != nil {
		t.Fatalf("the decoded file: %v", err)
	}
	n, err := f.FrameBytes()
	if err != nil || n > px.Length || !bytes.Equal(a.Body[px.Offset:px.Offset+n], frame.Body) {
		t.Errorf("the file does not begin with its frame of %d bytes (%v)", n, err)
	}
	if lossy, _ := file.Data.Text(0x00282110); (r.file.Syntax == jpegBaseline || r.file.Syntax == dicom.JPEGExtended12Bit) && lossy != "01" {
		t.Errorf("Lossy Image Compression is %q", lossy)
	}
}

// unbuilt reports that the answer is 406 for want of a codec that this server
// was built without.
func (r *realFile) unbuilt(a *answer) bool {
	return !sandbox.Available() && a.Status == 406 && strings.Contains(a.detail(), "without the codec")
}

// sameAs compares with the hash of an array that is interleaved and sign-extended.
func (r *realFile) sameAs(frame []byte, want string) bool {
	allocated, _ := r.f.Int("bits_allocated")
	stored, _ := r.f.Int("bits_stored")
	var forms [][]byte
	switch {
	case allocated == 1:
		rows, _ := r.f.Int("rows")
		cols, _ := r.f.Int("cols")
		forms = append(forms, unpack(frame, rows*cols))
	case r.f.Field("samples") == "3":
		forms = append(forms, interleave(frame, allocated/8))
	case allocated == 16:
		forms = append(forms, extend(frame, 16-stored))
	}
	for _, b := range forms {
		if sum := sha256.Sum256(b); hex.EncodeToString(sum[:]) == want {
			return true
		}
	}
	return false
}

// rendered checks that what has an image is a JPEG of its size, and small as a
// thumbnail, and that the reason is told of anything else.
func (r *realFile) rendered() {
	t := r.t
	a := r.w.get(t, r.path+"/rendered", "")
	thumb := r.w.get(t, r.path+"/thumbnail", "image/jpeg")
	image := false
	for _, tag := range []dicom.Tag{0x7FE00008, 0x7FE00009, 0x7FE00010} {
		image = image || r.file.Data.Lookup(tag) != nil
	}
	class, _ := r.file.Data.Text(0x00080016)
	switch {
	case strings.HasPrefix(class, "1.2.840.10008.5.1.4.1.1.88."):
		if a.is(200); mediaType(a.Header) != "text/html" || !bytes.Contains(a.Body, []byte("<html")) {
			t.Errorf("a report as %s", a.Header.Get("Content-Type"))
		}
		thumb.problem(406)
		return
	case image && (!r.w.node.Codecs.Decodes(r.file.Syntax) || r.unbuilt(a)):
		a.problem(406)
		thumb.problem(406)
		return
	case !image || undecodable[r.f.Name] != "":
		if d := a.is(406).detail(); !strings.Contains(d, "nothing here that could be shown") && !strings.Contains(d, undecodable[r.f.Name]) {
			t.Error(d)
		}
		thumb.problem(406)
		return
	}
	img, err := jpegimage.Decode(bytes.NewReader(a.is(200).Body))
	if err != nil || mediaType(a.Header) != "image/jpeg" {
		t.Fatalf("rendered as %s: %v", a.Header.Get("Content-Type"), err)
	}
	rows, _ := r.f.Int("rows")
	cols, _ := r.f.Int("cols")
	// Pixels that are not square are made so, in one direction.
	if size := img.Bounds().Size(); size.X != cols && size.Y != rows || size.X < cols || size.Y < rows {
		t.Errorf("%v, of %d × %d", size, cols, rows)
	}
	small, err := jpegimage.Decode(bytes.NewReader(thumb.is(200).Body))
	if err != nil || small.Bounds().Dx() > 128 || small.Bounds().Dy() > 128 || max(small.Bounds().Dx(), small.Bounds().Dy()) < min(128, max(rows, cols)) {
		t.Errorf("the thumbnail: %v", err)
	}
}

// targets are the transfer syntaxes that instances are given in, with the media
// type of their frames; "" where there are no frames in it.
var targets = []struct{ syntax, mediaType string }{
	{explicitLE, "application/octet-stream"}, {implicitLE, ""}, {explicitBE, ""}, {dicom.DeflatedExplicitVRLittleEndian, ""},
	{rle, "image/dicom-rle"}, {dicom.JPEGLosslessSV1, "image/jpeg"}, {dicom.JPEGLSLossless, "image/jls"},
	{jpeg2000, "image/jp2"}, {htj2k, "image/jphc"}, {dicom.HTJ2KLosslessRPCL, "image/jphc"},
}

// sources are files of every transfer syntax and sort of pixels.
var sources = []string{
	"dicom/pydicom/CT_small.dcm", "dicom/pydicom/MR_small_bigendian.dcm", "dicom/pydicom/SC_rgb_small_odd.dcm",
	"dicom/cornerstone3D/CTImage.dcm_JPEG2000LosslessOnlyTransferSyntax_1.2.840.10008.1.2.4.90.dcm",
	"dicom/cornerstone3D/CTImage.dcm_JPEGLSLosslessTransferSyntax_1.2.840.10008.1.2.4.80.dcm",
	"dicom/cornerstone3D/CTImage.dcm_JPEGProcess14TransferSyntax_1.2.840.10008.1.2.4.57.dcm",
	"dicom/cornerstone3D/CTImage.dcm_RLELosslessTransferSyntax_1.2.840.10008.1.2.5.dcm",
	"dicom/cornerstone3D/TestPattern_JPEG-Lossless_RGB.dcm", "dicom/cornerstone3D/TestPattern_JPEG-LS-NearLossless.dcm",
	"dicom/pydicom/JPEG2000.dcm", "dicom/pydicom/SC_rgb_jpeg_dcmtk.dcm", "dicom/pydicom/emri_small_jpeg_ls_lossless.dcm",
	"dicom/pydicom-data/emri_small_jpeg_ls_lossless.dcm", "dicom/pydicom-data/SC_rgb_dcmtk_ebcyn2_dcmd.dcm",
	"derived/pydicom-data__HTJ2KLossless_08_RGB.dcm", "dicom/pydicom/liver_1frame.dcm",
}

// TestTranscoding: instances and frames of every sort in every transfer syntax,
// decoded again and compared exactly.
func TestTranscoding(t *testing.T) {
	t.Parallel()
	w := open(t)
	seen := map[string]bool{}
	for _, f := range testdata.Files(t, "ok", "ok-derived") {
		for _, name := range sources {
			if f.Name == name && !seen[f.Field("sop_uid")] {
				seen[f.Field("sop_uid")] = true
				t.Run(name, func(t *testing.T) { transcode(t, w, &f) })
			}
		}
	}
	if len(seen) < 8 {
		t.Errorf("%d files", len(seen))
	}
}

func transcode(t *testing.T, w *world, f *testdata.File) {
	raw := f.Bytes(t)
	w.post(t, raw).is(200, 202)
	path := "/studies/" + f.Field("study_uid") + "/series/" + f.Field("series_uid") + "/instances/" + f.Field("sop_uid")
	if !w.node.Codecs.Decodes(f.Syntax) {
		w.get(t, path, typeDICOM).problem(406) // and nothing worse
		t.Skip("the codecs are not built in: run make codecs")
	}
	want := decode(t, w, raw)
	done := 0
	for _, to := range targets {
		if to.syntax == f.Syntax {
			continue
		}
		a := w.get(t, path, "application/dicom; transfer-syntax="+to.syntax)
		if a.Status == 406 { // more bits than there are in it, or not built in
			if a.detail() == "" || w.node.Codecs.Encodes(to.syntax, want.Format) == nil {
				t.Errorf("%s: %s", to.syntax, a.Body)
			}
			continue
		}
		done++
		got := decode(t, w, a.is(200).Body)
		if !bytes.Equal(got.Data, want.Data) {
			t.Errorf("%s: other pixels, %s of %s", to.syntax, got.Photometric, want.Photometric)
		}
		if to.mediaType == "" {
			continue
		}
		for _, accept := range []string{to.mediaType + "; transfer-syntax=" + to.syntax, `multipart/related; type="` + to.mediaType + `"; transfer-syntax=` + to.syntax} {
			a := w.get(t, path+"/frames/1", accept).is(200)
			body, ct := a.Body, a.Header.Get("Content-Type")
			if strings.HasPrefix(ct, "multipart/") {
				p := a.parts()[0]
				body, ct = p.Body, p.Header.Get("Content-Type")
			}
			if ct != to.mediaType+"; transfer-syntax="+to.syntax {
				t.Errorf("%s as %s", accept, ct)
			}
			img, err := w.node.Codecs.Decode(t.Context(), to.syntax, got.Format, body)
			if err != nil {
				t.Errorf("%s: %v", accept, err)
			} else if c := colours(t, img); !bytes.Equal(c.Data, want.Data) {
				t.Errorf("%s: other pixels", accept)
			}
		}
	}
	if done < 4 {
		t.Errorf("only %d transfer syntaxes", done)
	}
	w.do(t, "DELETE", path, nil).is(204)
}

// decode returns frame 1 of a file in the colours that it shows.
func decode(t *testing.T, w *world, raw []byte) pixel.Image {
	t.Helper()
	file, err := dicom.Read(t.Context(), bytes.NewReader(raw), dicom.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	f, err := pixel.FormatOf(file.Data, 0x7FE00010)
	if err != nil {
		t.Fatal(err)
	}
	layout, err := dicom.NewLayout(file)
	if err != nil {
		t.Fatal(err)
	}
	spans, err := layout.Frames.Spans(0)
	if err != nil {
		t.Fatal(err)
	}
	if layout.Deflated { // its offsets count as if it were not
		meta := 144 + int(binary.LittleEndian.Uint32(raw[140:]))
		data, err := io.ReadAll(flate.NewReader(bytes.NewReader(raw[meta:])))
		if err != nil {
			t.Fatal(err)
		}
		raw = append(bytes.Clone(raw[:meta]), data...)
	}
	var b bytes.Buffer
	out := layout.Frames.LittleEndian(0, &b)
	if layout.Frames.Whole(0) {
		out = nopCloser{&b}
	}
	for _, s := range spans {
		if _, err := out.Write(raw[s.Offset : s.Offset+s.Length]); err != nil {
			t.Fatal(err)
		}
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	bits := b.Bytes()
	img, err := w.node.Codecs.Decode(t.Context(), file.Syntax, f, bits)
	if err != nil {
		t.Fatal(err)
	}
	img = colours(t, img)
	img.Format = f
	return img
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

// colours makes RGB of what is coded as YBR, and interleaves it.
func colours(t *testing.T, img pixel.Image) pixel.Image {
	t.Helper()
	if strings.HasPrefix(string(img.Photometric), "YBR") {
		var err error
		if img, err = pixel.ToRGB(img); err != nil {
			t.Fatal(err)
		}
	}
	return img.Interleaved()
}
