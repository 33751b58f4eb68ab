package dicomweb

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/fault/problem"
	"github.com/strata-pacs/strata/internal/pixel/render"
	"github.com/strata-pacs/strata/internal/retrieve"
	"github.com/strata-pacs/strata/internal/retrieve/retrievetest"
	"github.com/strata-pacs/strata/internal/thumbnail"
)

// fakePixels is a reader whose codecs are pretended: what it converts is a text
// that says what was asked for.
type fakePixels struct {
	*retrieve.Reader
	from, to  []string                             // transfer syntaxes
	renders   map[string][]string                  // media types by SOP Instance UID; absent are images
	fails     map[string]error                     // of rendering, by SOP Instance UID
	rendered  func(frames []int, o render.Options) // told of every call
	calls     atomic.Int64                         // of rendering
	otherType string                               // of what is rendered, when not what was asked for
}

var errCannot = fault.New(fault.NotAcceptable, "it is too wide for that")

func (f *fakePixels) Convertible(_ context.Context, in *retrieve.Instance, to string) error {
	if in.Syntax == to || dicom.Uncompressed(in.Syntax) && dicom.Uncompressed(to) || slices.Contains(f.from, in.Syntax) && slices.Contains(f.to, to) {
		return nil
	}
	return errCannot
}

func (f *fakePixels) File(in *retrieve.Instance, syntax string) (*retrieve.Body, error) {
	if syntax == "" || syntax == in.Syntax || dicom.Uncompressed(in.Syntax) && dicom.Uncompressed(syntax) {
		return f.Reader.File(in, syntax)
	}
	return pretended(typeDICOM, syntax), nil
}

func (f *fakePixels) Frame(in *retrieve.Instance, n int, syntax string) (*retrieve.Body, error) {
	if b, err := f.Reader.Frame(in, n, ""); err != nil || syntax == "" || syntax == b.Syntax {
		return b, err
	}
	return pretended(dicom.Syntax(syntax).MediaType, syntax), nil
}

func pretended(mediaType, syntax string) *retrieve.Body {
	b := retrieve.NewBody(mediaType, "v", []byte("in "+syntax))
	b.Syntax = syntax
	return b
}

func (f *fakePixels) Renderings(in *retrieve.Instance) []string {
	if t, ok := f.renders[in.Instance]; ok {
		return t
	}
	return []string{render.JPEG, render.PNG, render.GIF}
}

func (f *fakePixels) Rendered(_ context.Context, in *retrieve.Instance, frames []int, mediaType string, o render.Options) (*retrieve.Body, error) {
	f.calls.Add(1)
	if err := f.fails[in.Instance]; err != nil {
		return nil, err
	}
	if f.rendered != nil {
		f.rendered(frames, o)
	}
	text := mediaType + " of " + in.Instance
	for _, n := range frames {
		text += " " + strconv.Itoa(n)
	}
	if f.otherType != "" {
		mediaType = f.otherType
	}
	return retrieve.NewBody(mediaType, "v", []byte(text)), nil
}

func (f *fakePixels) Report(_ context.Context, in *retrieve.Instance, studies string) (*retrieve.Body, error) {
	return retrieve.NewBody(typeHTML, "v", []byte("<p>"+studies)), nil
}

// Thumbnail implements Thumbnails.
func (f *fakePixels) Thumbnail(_ context.Context, _ archive.Tenant, sel archive.UIDs, frame int, v thumbnail.Viewport) (*retrieve.Body, error) {
	if sel.Study != "1.2" {
		return nil, errNothing
	}
	text := strings.Join([]string{sel.Study, sel.Series, sel.Instance, strconv.Itoa(frame), strconv.Itoa(v.Width), strconv.Itoa(v.Height)}, " ")
	return retrieve.NewBody(thumbnail.MediaType, text, []byte(text)), nil
}

func newPixels(t testing.TB, f *fakePixels, files ...[]byte) *wadoServer {
	a := retrievetest.New()
	for _, file := range files {
		a.Store(t, archive.DefaultTenant, file)
	}
	f.Reader = retrieve.New(retrieve.Options{Index: a, Objects: a, Secrets: a})
	srv := httptest.NewServer(New(Options{Retrieve: f, Thumbnails: f}))
	t.Cleanup(func() { srv.Close(); f.Reader.Close() })
	return &wadoServer{srv, a, t}
}

// frameFile is an image of one frame of 8 × 8 in a transfer syntax.
func frameFile(t testing.TB, u archive.UIDs, syntax string) []byte {
	if dicom.Uncompressed(syntax) && syntax != el {
		var w bytes.Buffer
		if err := dicom.Convert(t.Context(), &w, bytes.NewReader(frameFile(t, u, el)), syntax); err != nil {
			t.Fatal(err)
		}
		return w.Bytes()
	}
	i := retrievetest.Image{UIDs: u, Rows: 8, Columns: 8, Bits: 8, Frames: 1, Syntax: syntax, Name: "Fern^Ada"}
	if dicom.Syntax(syntax).Encapsulated {
		i.Fragments = [][]byte{[]byte("coded" + syntax[len(syntax)-1:])}
	} else {
		i.Pixels = retrievetest.Pattern(64)
	}
	return retrievetest.Part10(i)
}

var one = archive.UIDs{Study: "1.2", Series: "1.2.1", Instance: "1.2.1.1"}

const (
	el, il, be, deflated = dicom.ExplicitVRLittleEndian, dicom.ImplicitVRLittleEndian, dicom.ExplicitVRBigEndian, dicom.DeflatedExplicitVRLittleEndian
	jpeg50, jpeg70       = dicom.JPEGBaseline8Bit, dicom.JPEGLosslessSV1
	ls80, ls81           = dicom.JPEGLSLossless, dicom.JPEGLSNearLossless
	j2k90, j2k91         = dicom.JPEG2000Lossless, dicom.JPEG2000
	ht201, ht202, ht203  = dicom.HTJ2KLossless, dicom.HTJ2KLosslessRPCL, dicom.HTJ2K
	rle5                 = dicom.RLELossless
	jxl                  = "1.2.840.10008.1.2.4.110" // which nothing here decodes
)

var (
	decoders = []string{el, il, be, deflated, jpeg50, jpeg70, ls80, ls81, j2k90, j2k91, ht201, ht202, ht203, rle5}
	encoders = []string{el, il, be, deflated, jpeg50, jpeg70, ls80, j2k90, ht201, ht202, rle5}
)

// TestTranscodeFiles: which transfer syntax an instance is given in, by Accept.
func TestTranscodeFiles(t *testing.T) {
	d := func(syntax, more string) string { return "application/dicom; transfer-syntax=" + syntax + more }
	for _, c := range []struct {
		stored, accept, want string // "": 406
	}{
		{j2k90, "application/dicom", el}, // PS3.18 §8.7.3.5.2
		{j2k90, `multipart/related; type="application/dicom"`, el},
		{j2k90, d("*", ""), j2k90},
		{j2k90, "*/*", j2k90},
		{j2k90, "", j2k90},
		{j2k90, d(il, ""), il},
		{j2k90, d(be, ""), be},
		{j2k90, d(deflated, ""), deflated},
		{j2k90, d(rle5, ""), rle5},
		{j2k90, d(jpeg70, ""), jpeg70},
		{j2k90, d(ls80, ""), ls80},
		{j2k90, d(ht201, ""), ht201},
		{j2k90, d(ht202, ""), ht202},
		{j2k90, d(jpeg50, ""), jpeg50},
		{el, d(j2k90, ""), j2k90},
		{be, d(rle5, ""), rle5},
		{el, d(j2k91, ""), ""},                                 // lossy, which is not made
		{j2k90, d(ht203, ""), ""},                              //
		{j2k90, d("1.2.3", ""), ""},                            //
		{jxl, "application/dicom", ""},                         // cannot be decoded
		{jxl, d(el, ", ") + d("*", "; q=0.1"), jxl},            // the next best
		{j2k90, d(el, ", ") + d("*", ""), j2k90},               // as much liked: as stored
		{j2k90, d(el, ", ") + d("*", "; q=0.9"), el},           //
		{j2k90, d(el, "; q=0.2, ") + d(rle5, "; q=0.3"), rle5}, //
		{j2k90, d(j2k91, ", ") + d(rle5, "; q=0.3"), rle5},     // the best cannot be made
		{j2k90, d("*", ", ") + d(j2k90, "; q=0"), ""},          // taken back
		{j2k90, `multipart/related; type="application/dicom"; q=0, */*`, ""},
		{j2k90, "*/*; q=0, " + d(j2k90, ""), j2k90}, // but for what is named
		{j2k90, `multipart/related; type="application/dicom"; transfer-syntax=` + ht201 + `; q=0.5, application/dicom; q=0.6`, el},
	} {
		s := newPixels(t, &fakePixels{from: decoders, to: encoders}, frameFile(t, one, c.stored))
		a := s.get(path(one), c.accept)
		if c.want == "" {
			if a.StatusCode != 406 || !bytes.Contains(a.body, []byte(c.stored)) && !strings.Contains(c.accept, "q=0") {
				t.Errorf("%s as %s: %d %s", c.stored, c.accept, a.StatusCode, a.body)
			}
			continue
		}
		contentType, body := a.Header.Get("Content-Type"), a.body
		if strings.HasPrefix(contentType, "multipart/related") {
			p := a.parts(t)
			contentType, body = p[0].contentType, p[0].body
		}
		if a.StatusCode != 200 || contentType != withSyntax(typeDICOM, c.want) || a.Header.Get("Vary") != "Accept" {
			t.Errorf("%s as %s: %d %s", c.stored, c.accept, a.StatusCode, contentType)
		}
		if made := string(body) == "in "+c.want; made == (c.want == c.stored || dicom.Uncompressed(c.want) && dicom.Uncompressed(c.stored)) {
			t.Errorf("%s as %s: %.40q", c.stored, c.accept, body)
		}
	}
}

// TestTranscodeFrames: media types and transfer syntaxes of frames (PS3.18 §8.7.3.3).
func TestTranscodeFrames(t *testing.T) {
	m := func(mediaType, syntax string) string { return mediaType + "; transfer-syntax=" + syntax }
	for _, c := range []struct {
		stored, accept, want string // "": 406
	}{
		{j2k90, octets, m(octets, el)},
		{j2k90, m(octets, el), m(octets, el)},
		{j2k90, m(octets, il), m(octets, il)},
		{j2k90, m(octets, "*"), m("image/jp2", j2k90)}, // INTEROP 7
		{j2k90, m(octets, j2k90), m("image/jp2", j2k90)},
		{j2k90, m(octets, rle5), m("image/dicom-rle", rle5)},
		{j2k90, m(octets, be), ""},
		{j2k90, m(octets, deflated), ""},
		{j2k90, "*/*", m("image/jp2", j2k90)},
		{j2k90, "", m("image/jp2", j2k90)},
		{j2k90, "image/jp2", m("image/jp2", j2k90)},
		{j2k91, "image/jp2", m("image/jp2", j2k91)}, // stored as what was named
		{j2k91, m("image/jp2", j2k90), m("image/jp2", j2k90)},
		{j2k90, m("image/jp2", j2k91), ""},
		{j2k90, m("image/jp2", ht201), ""}, // type and syntax do not agree
		{j2k90, m("image/jphc", j2k90), ""},
		{j2k90, m("image/jpeg", j2k90), ""},
		{j2k90, m("image/jp2", "*"), m("image/jp2", j2k90)},
		{j2k90, m("image/jphc", "*"), ""},
		{j2k90, "image/jphc", m("image/jphc", ht201)},
		{j2k90, "image/jph", m("image/jphc", ht201)},
		{j2k90, m("image/jphc", ht202), m("image/jphc", ht202)},
		{ht203, "image/jphc", m("image/jphc", ht203)},
		{ht202, "image/jphc", m("image/jphc", ht202)},
		{j2k90, "image/jls", m("image/jls", ls80)},
		{j2k90, "image/x-jls", m("image/jls", ls80)},
		{ls81, "image/jls", m("image/jls", ls81)},
		{j2k90, "image/dicom-rle", m("image/dicom-rle", rle5)},
		{j2k90, m("image/dicom-rle", rle5), m("image/dicom-rle", rle5)},
		{j2k90, "image/jpeg", m("image/jpeg", jpeg70)}, // never JPEG baseline, unless it is named
		{j2k90, m("image/jpeg", jpeg50), m("image/jpeg", jpeg50)},
		{jpeg50, "image/jpeg", m("image/jpeg", jpeg50)},
		{jpeg50, m("image/jpeg", jpeg70), m("image/jpeg", jpeg70)},
		{el, "image/jpeg", m("image/jpeg", jpeg70)},
		{el, m("image/jp2", j2k90), m("image/jp2", j2k90)},
		{el, "image/*", m("image/jpeg", jpeg70)},
		{el, octets, m(octets, el)},
		{el, m(octets, "*"), m(octets, el)},
		{be, octets, m(octets, el)},
		{el, "image/jp2; q=0.5, image/jls; q=0.6", m("image/jls", ls80)},
		{ls80, "image/jp2, image/jls; q=0.6", m("image/jp2", j2k90)},
		{ls80, "image/jp2; q=0.6, image/jls; q=0.6", m("image/jls", ls80)},
		{el, "image/png", ""},
		{jxl, octets, ""},
		{jxl, "image/jxl", m("image/jxl", jxl)},
		{jxl, octets + ", image/jxl; q=0.5", m("image/jxl", jxl)},
		{el, "video/mp4", ""},
	} {
		s := newPixels(t, &fakePixels{from: decoders, to: encoders}, frameFile(t, one, c.stored))
		parts := []string{"", "image/", "application/", "video/"}
		for i, accept := range []string{c.accept, related1(c.accept)} {
			a := s.get(path(one)+"/frames/1", accept)
			contentType := a.Header.Get("Content-Type")
			if strings.HasPrefix(contentType, "multipart/related") {
				if i == 0 && slices.ContainsFunc(parts[1:], func(p string) bool { return strings.HasPrefix(accept, p) }) {
					t.Errorf("%s: parts, though none were asked for", accept)
				}
				contentType = a.parts(t)[0].contentType
			}
			switch {
			case c.want == "":
				if a.StatusCode != 406 {
					t.Errorf("%s as %s: %d", c.stored, accept, a.StatusCode)
				}
			case a.StatusCode != 200 || contentType != c.want:
				t.Errorf("%s as %s: %d %s", c.stored, accept, a.StatusCode, contentType)
			}
		}
	}
}

// related1 asks for the same as parts.
func related1(accept string) string {
	if accept == "" || accept == "*/*" {
		return accept
	}
	var out []string
	for _, item := range strings.Split(accept, ", ") {
		m, rest, _ := strings.Cut(item, ";")
		out = append(out, `multipart/related; type="`+m+`";`+rest)
	}
	return strings.Join(out, ", ")
}

// TestTranscodeStudy: of a study what can be given is; the rest is told of.
func TestTranscodeStudy(t *testing.T) {
	var files [][]byte
	for i, syntax := range []string{j2k90, jxl, el} {
		files = append(files, frameFile(t, archive.UIDs{Study: "1.2", Series: "1.2.1", Instance: "1.2.1." + strconv.Itoa(i+1)}, syntax))
	}
	f := &fakePixels{from: decoders, to: encoders}
	s := newPixels(t, f, files...)
	a := s.get(study, `multipart/related; type="application/dicom"`)
	if ps := a.parts(t); a.StatusCode != 206 || len(ps) != 2 || string(ps[0].body) != "in "+el || !bytes.Equal(ps[1].body, files[2]) || !strings.Contains(a.Header.Get("Warning"), "transfer-syntax=*") {
		t.Errorf("%d %v", a.StatusCode, a.Header)
	}
	a = s.get(study, `multipart/related; type="application/dicom", multipart/related; type="application/dicom"; transfer-syntax=*; q=0.1`)
	if ps := a.parts(t); a.StatusCode != 200 || len(ps) != 3 || string(ps[0].body) != "in "+el || ps[1].contentType != withSyntax(typeDICOM, jxl) {
		t.Errorf("%d, %d parts", a.StatusCode, len(ps))
	}
	a = s.get(study, `multipart/related; type="application/dicom"; transfer-syntax=`+ht203)
	if a.StatusCode != 406 || !bytes.Contains(a.body, []byte("too wide")) || !bytes.Contains(a.body, []byte(jxl)) {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	// Values: of compressed pixel data the frames.
	a = s.get(study+"/pixeldata", `multipart/related; type="application/octet-stream"`)
	if ps := a.parts(t); a.StatusCode != 206 || len(ps) != 2 || string(ps[0].body) != "in "+el || ps[0].contentType != withSyntax(octets, el) {
		t.Errorf("%d", a.StatusCode)
	}
	a = s.get(path(one)+"/bulkdata/7FE00010", octets)
	if a.StatusCode != 200 || string(a.body) != "in "+el {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	f.from = nil // a server without codecs
	if a = s.get(path(one), typeDICOM); a.StatusCode != 406 {
		t.Errorf("without codecs: %d", a.StatusCode)
	}
}

// TestTranscodeValidators: an entity tag is strong where every server of every
// version makes the same bytes.
func TestTranscodeValidators(t *testing.T) {
	for _, c := range []struct {
		from, to string
		strong   bool
	}{
		{j2k90, j2k90, true}, {el, il, true}, {be, el, true}, {rle5, el, true}, {j2k90, el, true}, {jpeg70, il, true}, {ht202, el, true},
		{el, deflated, false}, {jpeg50, el, false}, {j2k91, el, false}, {ls81, el, false}, {ht203, el, false}, {el, rle5, false}, {j2k90, ht201, false},
	} {
		s := newPixels(t, &fakePixels{from: decoders, to: encoders}, frameFile(t, one, c.from))
		for _, get := range []string{path(one), path(one) + "/frames/1"} {
			accept := "application/dicom; transfer-syntax=" + c.to
			if strings.HasSuffix(get, "1/frames/1") {
				if accept = octets + "; transfer-syntax=" + c.to; dicom.Uncompressed(c.to) && c.to != el {
					continue
				}
			}
			a := s.get(get, accept)
			tag := a.Header.Get("ETag")
			if a.StatusCode != 200 || tag == "" || strings.HasPrefix(tag, "W/") == c.strong {
				t.Errorf("%s to %s: %d %s", c.from, c.to, a.StatusCode, tag)
			}
			if n := s.get(get, accept, "If-None-Match", tag); n.StatusCode != 304 {
				t.Errorf("%s to %s: %d", c.from, c.to, n.StatusCode)
			}
			if h := s.do("HEAD", get, accept); h.StatusCode != 200 || h.Header.Get("ETag") != tag {
				t.Errorf("HEAD %s to %s: %d", c.from, c.to, h.StatusCode)
			}
		}
	}
}

func problemText(t *testing.T, a *wadoAnswer) string {
	t.Helper()
	var p problem.Document
	if err := json.Unmarshal(a.body, &p); err != nil || p.Status != a.StatusCode || p.Detail == "" {
		t.Fatalf("no problem document: %s", a.body)
	}
	return p.Detail
}
