package dicomweb

import (
	"bytes"
	"encoding/json"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/fault/problem"
	"github.com/strata-pacs/strata/internal/retrieve"
	"github.com/strata-pacs/strata/internal/retrieve/retrievetest"
)

// The study of the tests: a native instance of three frames, and one of JPEG
// with two, of a process that nothing here decodes; the second in a series of its own.
const processes35 = "1.2.840.10008.1.2.4.52"

var (
	nativeUIDs = archive.UIDs{Study: "1.2", Series: "1.2.1", Instance: "1.2.1.1"}
	jpegUIDs   = archive.UIDs{Study: "1.2", Series: "1.2.2", Instance: "1.2.2.1"}
	jpegFrames = [][]byte{[]byte("\xFF\xD8one!"), []byte("\xFF\xD8two, longer")}
	nativePix  = retrievetest.Pattern(3 * 8 * 8 * 2)
	nativeFile = retrievetest.Part10(retrievetest.Image{UIDs: nativeUIDs, Rows: 8, Columns: 8, Frames: 3, Pixels: nativePix, Name: "Fern^Ada"})
	jpegFile   = retrievetest.Part10(retrievetest.Image{UIDs: jpegUIDs, Rows: 8, Columns: 8, Bits: 8, Frames: 2, Syntax: processes35, Fragments: jpegFrames})
)

type wadoServer struct {
	*httptest.Server
	archive *retrievetest.Archive
	t       testing.TB
}

func newWADO(t testing.TB, files ...[]byte) *wadoServer {
	a := retrievetest.New()
	for _, f := range files {
		a.Store(t, archive.DefaultTenant, f)
	}
	r := retrieve.New(retrieve.Options{Index: a, Objects: a, Secrets: a})
	srv := httptest.NewServer(New(Options{Retrieve: r}))
	t.Cleanup(func() { srv.Close(); r.Close() })
	return &wadoServer{srv, a, t}
}

type wadoAnswer struct {
	*http.Response
	body []byte
	err  error // of reading the body
}

// get asks for a path below Root with an Accept header ("" for none) and
// further headers in pairs.
func (s *wadoServer) do(method, path, accept string, headers ...string) *wadoAnswer {
	s.t.Helper()
	if !strings.HasPrefix(path, "/wado") {
		path = Root + path
	}
	req, err := http.NewRequest(method, s.URL+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	if accept != "" {
		req.Header.Set("Accept", accept)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	tr := &http.Transport{DisableCompression: true}
	defer tr.CloseIdleConnections()
	resp, err := tr.RoundTrip(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return &wadoAnswer{resp, body, err}
}

func (s *wadoServer) get(path, accept string, headers ...string) *wadoAnswer {
	s.t.Helper()
	return s.do("GET", path, accept, headers...)
}

type wadoPart struct {
	contentType, location string
	body                  []byte
}

func (a *wadoAnswer) parts(t testing.TB) (parts []wadoPart) {
	t.Helper()
	m, p, err := mime.ParseMediaType(a.Header.Get("Content-Type"))
	if err != nil || m != "multipart/related" || a.err != nil {
		t.Fatalf("%s: %v %v", a.Header.Get("Content-Type"), err, a.err)
	}
	r := multipart.NewReader(bytes.NewReader(a.body), p["boundary"])
	for {
		x, err := r.NextRawPart()
		if err == io.EOF {
			return parts
		} else if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(x)
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, wadoPart{x.Header.Get("Content-Type"), x.Header.Get("Content-Location"), b})
	}
}

func path(u archive.UIDs) string {
	p := "/studies/" + u.Study
	if u.Series != "" {
		p += "/series/" + u.Series
	}
	if u.Instance != "" {
		p += "/instances/" + u.Instance
	}
	return p
}

const (
	study = "/studies/1.2"
	asIs  = `multipart/related; type="application/dicom"; transfer-syntax=*`
)

// convertedSize is how many bytes the native file has in Implicit VR.
func converted(t testing.TB, syntax string) []byte {
	var w bytes.Buffer
	if err := dicom.Convert(t.Context(), &w, bytes.NewReader(nativeFile), syntax); err != nil {
		t.Fatal(err)
	}
	return w.Bytes()
}

// TestWADOAccept asks for everything in every way (INTEROP: quoted and bare
// parameters, transfer-syntax=*, single part and multipart, the accept parameter).
func TestWADOAccept(t *testing.T) {
	s := newWADO(t, nativeFile, jpegFile)
	native, jpeg := path(nativeUIDs), path(jpegUIDs)
	elePart, jpegPart := withSyntax(typeDICOM, dicom.ExplicitVRLittleEndian), withSyntax(typeDICOM, processes35)
	implicit := converted(t, dicom.ImplicitVRLittleEndian)
	rel := func(params string) string { return "multipart/related; type=" + params }
	frame := func(n int) []byte { return nativePix[(n-1)*128 : n*128] }
	octetPart := withSyntax(octets, dicom.ExplicitVRLittleEndian)
	jframe := withSyntax("image/jpeg", processes35)
	for _, c := range []struct {
		path, accept string
		status       int
		contentType  string // of the parts, or of the body when single
		single       bool
		bodies       [][]byte
	}{
		{study, asIs, 200, "", false, [][]byte{nativeFile, jpegFile}},
		{study, rel(`application/dicom;transfer-syntax=*`), 200, "", false, [][]byte{nativeFile, jpegFile}},
		{study, "", 200, "", false, [][]byte{nativeFile, jpegFile}},
		{study, "*/*", 200, "", false, [][]byte{nativeFile, jpegFile}},
		{study, rel(`"application/dicom"`), 206, elePart, false, [][]byte{nativeFile}},
		{study, "application/dicom; transfer-syntax=*", 406, "", true, nil},
		{study, "application/dicom; transfer-syntax=*, " + asIs, 200, "", false, [][]byte{nativeFile, jpegFile}},
		{study + "?accept=" + url.QueryEscape(asIs), "text/html", 200, "", false, [][]byte{nativeFile, jpegFile}},
		{study, "text/html", 406, "", true, nil},
		{study, rel(`"application/dicom"; transfer-syntax=1.2.3`), 406, "", true, nil},
		{"/studies/1.2/series/1.2.2", rel(`"application/dicom"`), 406, "", true, nil},
		{"/studies/1.2/series/1.2.2", asIs, 200, jpegPart, false, [][]byte{jpegFile}},
		{native, rel(`"application/dicom"`), 200, elePart, false, [][]byte{nativeFile}},
		{native, "application/dicom", 200, elePart, true, [][]byte{nativeFile}},
		{native, "application/dicom;transfer-syntax=" + dicom.ImplicitVRLittleEndian, 200, withSyntax(typeDICOM, dicom.ImplicitVRLittleEndian), true, [][]byte{implicit}},
		{native, rel(`"application/dicom"; transfer-syntax="` + dicom.ImplicitVRLittleEndian + `"`), 200, withSyntax(typeDICOM, dicom.ImplicitVRLittleEndian), false, [][]byte{implicit}},
		{native, "application/dicom;transfer-syntax=" + dicom.ImplicitVRLittleEndian + ", application/dicom", 200, elePart, true, [][]byte{nativeFile}},
		{native, "application/dicom;transfer-syntax=" + dicom.ImplicitVRLittleEndian + ", application/dicom;q=0.5", 200, withSyntax(typeDICOM, dicom.ImplicitVRLittleEndian), true, [][]byte{implicit}},
		{native, "application/dicom;transfer-syntax=" + dicom.JPEGBaseline8Bit, 406, "", true, nil},
		{jpeg, "application/dicom", 406, "", true, nil},
		{jpeg, "application/dicom; transfer-syntax=*", 200, jpegPart, true, [][]byte{jpegFile}},
		{jpeg, "application/dicom; transfer-syntax=" + processes35, 200, jpegPart, true, [][]byte{jpegFile}},
		{jpeg, "application/dicom; q=0", 406, "", true, nil},

		{native + "/frames/2", "", 200, octetPart, false, [][]byte{frame(2)}},
		{native + "/frames/2", rel("application/octet-stream"), 200, octetPart, false, [][]byte{frame(2)}},
		{native + "/frames/2", rel(`"application/octet-stream"; transfer-syntax=*`), 200, octetPart, false, [][]byte{frame(2)}},
		{native + "/frames/2", "application/octet-stream", 200, octetPart, true, [][]byte{frame(2)}},
		{native + "/frames/3,1", rel(`"application/octet-stream"; transfer-syntax=1.2.840.10008.1.2.1`), 200, octetPart, false, [][]byte{frame(3), frame(1)}},
		{native + "/frames/1%2C2%2C3", "*/*", 200, octetPart, false, [][]byte{frame(1), frame(2), frame(3)}},
		{native + "/frames/1,2", "application/octet-stream", 406, "", true, nil},
		{native + "/frames/1", "image/png", 406, "", true, nil},
		{native + "/frames/1", rel(`"application/octet-stream"; transfer-syntax=1.2.840.10008.1.2.4.50`), 406, "", true, nil},
		{native + "/frames/4", "", 404, "", true, nil},
		{native + "/frames/1,4", "", 404, "", true, nil},
		{native + "/frames/0", "", 400, "", true, nil},
		{native + "/frames/-1", "", 400, "", true, nil},
		{native + "/frames/one", "", 400, "", true, nil},
		{native + "/frames/1,,2", "", 400, "", true, nil},
		{native + "/frames/99999999999999999999", "", 400, "", true, nil},
		{jpeg + "/frames/2", rel(`"application/octet-stream"; transfer-syntax=*`), 200, jframe, false, jpegFrames[1:]},
		{jpeg + "/frames/1,2", rel(`"image/jpeg"`), 200, jframe, false, jpegFrames},
		{jpeg + "/frames/1", "image/jpeg", 200, jframe, true, jpegFrames[:1]},
		{jpeg + "/frames/1", "image/*", 200, jframe, true, jpegFrames[:1]},
		{jpeg + "/frames/1", rel(`"image/jpeg"; transfer-syntax=1.2.840.10008.1.2.4.52`), 200, jframe, false, jpegFrames[:1]},
		{jpeg + "/frames/1", rel(`"image/jpeg"; transfer-syntax=1.2.840.10008.1.2.4.70`), 406, "", true, nil},
		{jpeg + "/frames/1", rel(`"application/octet-stream"`), 406, "", true, nil},
		{jpeg + "/frames/1", rel(`"image/jp2"; transfer-syntax=*`), 406, "", true, nil},
		{jpeg + "/frames/1", rel(`"application/octet-stream"; q=0.1, multipart/related; type="image/jpeg"`), 200, jframe, false, jpegFrames[:1]},

		{native + "/bulkdata/7FE00010", "", 200, octetPart, true, [][]byte{nativePix}},
		{native + "/bulkdata/7FE00010", "application/octet-stream", 200, octetPart, true, [][]byte{nativePix}},
		{native + "/bulkdata/7FE00010", rel(`"application/octet-stream"`), 200, octetPart, false, [][]byte{nativePix}},
		{native + "/bulkdata/7FE00010", rel(`"application/pdf", multipart/related; type="application/octet-stream"`), 200, octetPart, false, [][]byte{nativePix}},
		{native + "/bulkdata/00420011", "", 404, "", true, nil},
		{native + "/bulkdata/..%2F7FE00010", "", 404, "", true, nil},
		{jpeg + "/bulkdata/7FE00010", rel(`"application/octet-stream"; transfer-syntax=*`), 200, jframe, false, jpegFrames},
		{jpeg + "/bulkdata/7FE00010", "", 200, jframe, false, jpegFrames},
		{study + "/pixeldata", "", 200, "", false, [][]byte{nativePix, jpegFrames[0], jpegFrames[1]}},
		{study + "/pixeldata", rel(`"application/octet-stream"`), 206, octetPart, false, [][]byte{nativePix}},
		{native + "/pixeldata", "application/octet-stream", 200, octetPart, true, [][]byte{nativePix}},
		{jpeg + "/pixeldata", rel(`"image/jpeg"`), 200, jframe, false, jpegFrames},
		{"/studies/1.2/series/1.2.2/bulkdata", "", 200, jframe, false, jpegFrames},
		{native + "/bulkdata", rel(`"application/octet-stream"`), 200, octetPart, false, [][]byte{nativePix}},

		{"/studies/9.9", "", 404, "", true, nil},
		{"/studies/1.2/series/9", "", 404, "", true, nil},
		{"/studies/1.2/series/1.2.1/instances/1.2.2.1", "", 404, "", true, nil},
		{"/studies/1.2/series/1.2.1/instances/1.2.2.1/frames/1", "", 404, "", true, nil},
		{"/studies/1.2/metadata", "image/png", 406, "", true, nil},
		{"/studies/9/metadata", "", 404, "", true, nil},
		{"/studies/x'/metadata", "", 400, "", true, nil},
	} {
		t.Run(c.path+" "+c.accept, func(t *testing.T) {
			a := s.get(c.path, c.accept)
			if a.StatusCode != c.status || a.err != nil {
				t.Fatalf("%d %v: %s", a.StatusCode, a.err, a.body)
			}
			if c.bodies == nil {
				var p problem.Document
				if err := json.Unmarshal(a.body, &p); err != nil || p.Status != c.status || p.Detail == "" || a.Header.Get("Content-Type") != "application/problem+json" {
					t.Fatalf("not a problem document: %s", a.body)
				}
				return
			}
			if a.Header.Get("ETag") == "" || !strings.HasPrefix(a.Header.Get("Cache-Control"), "private") {
				t.Errorf("header %v", a.Header)
			}
			var got []wadoPart
			if c.single {
				got = []wadoPart{{contentType: a.Header.Get("Content-Type"), body: a.body}}
			} else {
				got = a.parts(t)
			}
			if len(got) != len(c.bodies) {
				t.Fatalf("%d parts instead of %d", len(got), len(c.bodies))
			}
			for i := range got {
				want := c.bodies[i]
				if n := len(got[i].body); n == len(want)+1 && n%2 == 0 { // an encoded frame keeps its padding
					want = append(bytes.Clone(want), 0)
				}
				if !bytes.Equal(got[i].body, want) {
					t.Errorf("part %d differs", i+1)
				}
				if c.contentType != "" && got[i].contentType != c.contentType {
					t.Errorf("part %d is %s, not %s", i+1, got[i].contentType, c.contentType)
				}
			}
			// HEAD says the same, without a body.
			h := s.do("HEAD", c.path, c.accept)
			if h.StatusCode != a.StatusCode || len(h.body) > 0 || h.Header.Get("ETag") != a.Header.Get("ETag") || h.ContentLength >= 0 && h.ContentLength != a.ContentLength {
				t.Errorf("HEAD: %d, %d bytes, length %d instead of %d", h.StatusCode, len(h.body), h.ContentLength, a.ContentLength)
			}
			if n := s.get(c.path, c.accept, "If-None-Match", `"other", `+a.Header.Get("ETag")); n.StatusCode != 304 || len(n.body) > 0 {
				t.Errorf("If-None-Match: %d", n.StatusCode)
			}
		})
	}
}

// TestWADONotAcceptableNamesTheSyntax: who asks for what cannot be made is told what there is.
func TestWADONotAcceptableNamesTheSyntax(t *testing.T) {
	s := newWADO(t, jpegFile)
	for _, p := range []string{path(jpegUIDs), path(jpegUIDs) + "/frames/1"} {
		a := s.get(p, `multipart/related; type="application/dicom", multipart/related; type="application/octet-stream"`)
		if a.StatusCode != 406 || !bytes.Contains(a.body, []byte(processes35)) {
			t.Errorf("%d: %s", a.StatusCode, a.body)
		}
	}
}
