package dicomweb

import (
	"bytes"
	"net/url"
	"reflect"
	"strings"
	"testing"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/pixel/render"
	"github.com/strata-pacs/strata/internal/retrieve/retrievetest"
)

func uriQuery(u archive.UIDs, more ...string) string {
	v := url.Values{"requestType": {"WADO"}, "studyUID": {u.Study}, "seriesUID": {u.Series}, "objectUID": {u.Instance}}
	for i := 0; i < len(more); i += 2 {
		v.Add(more[i], more[i+1])
	}
	return "/wado?" + v.Encode()
}

// TestWADOURI: PS3.18 §9. The instances are those of TestWADOAccept; nothing is pretended.
func TestWADOURI(t *testing.T) {
	s := newWADO(t, nativeFile, jpegFile)
	for _, c := range []struct {
		path   string
		accept string
		status int
		body   []byte
	}{
		{uriQuery(nativeUIDs, "contentType", "application/dicom"), "", 200, nativeFile},
		{uriQuery(nativeUIDs, "contentType", "image/webp, application/dicom;q=0.5"), "", 200, nativeFile},
		{uriQuery(nativeUIDs), "*/*", 200, nativeFile},
		{uriQuery(nativeUIDs), "", 200, nativeFile}, // of several frames
		{uriQuery(nativeUIDs, "contentType", "application/dicom", "transferSyntax", dicom.ImplicitVRLittleEndian), "", 200, converted(t, dicom.ImplicitVRLittleEndian)},
		{uriQuery(nativeUIDs, "contentType", "application/dicom", "imageQuality", "80"), "", 200, nativeFile}, // weasis
		{uriQuery(jpegUIDs, "contentType", "application/dicom", "transferSyntax", processes35), "", 200, jpegFile},
		{uriQuery(jpegUIDs, "contentType", "application/dicom", "transferSyntax", "*"), "", 200, jpegFile},
		{uriQuery(jpegUIDs, "contentType", "application/dicom"), "", 406, nil},
		{uriQuery(jpegUIDs, "contentType", "image/jpeg"), "", 406, nil}, // which cannot be decoded
		{uriQuery(nativeUIDs, "contentType", "image/webp"), "", 406, nil},
		{uriQuery(nativeUIDs), "image/webp", 406, nil},
		{uriQuery(nativeUIDs, "contentType", "nonsense"), "image/jpeg", 400, nil},
		{uriQuery(nativeUIDs, "contentType", "application/dicom", "anonymize", "yes"), "", 406, nil},
		{uriQuery(nativeUIDs, "contentType", "application/dicom", "frameNumber", "1"), "", 400, nil},
		{uriQuery(nativeUIDs, "contentType", "image/jpeg", "frameNumber", "4"), "", 404, nil},
		{uriQuery(archive.UIDs{Study: "1.2", Series: "1.2.1", Instance: "9"}), "", 404, nil},
		{uriQuery(archive.UIDs{Study: "1.2", Series: "1.2.1"}), "", 400, nil},
		{uriQuery(archive.UIDs{Study: "x", Series: "1.2.1", Instance: "1"}), "", 400, nil},
		{strings.Replace(uriQuery(nativeUIDs), "WADO", "wado", 1), "", 400, nil},
		{"/wado", "", 400, nil},
		{"/wado?requestType=%zz", "", 400, nil},
	} {
		a := s.get(c.path, c.accept)
		if a.StatusCode != c.status || c.body != nil && !bytes.Equal(a.body, c.body) {
			t.Errorf("%s: %d instead of %d: %.200s", c.path, a.StatusCode, c.status, a.body)
		}
		if c.body != nil && (!strings.HasPrefix(a.Header.Get("Content-Type"), "application/dicom") || !strings.HasPrefix(a.Header.Get("Content-Disposition"), "attachment")) {
			t.Errorf("%s: %v", c.path, a.Header)
		}
		if c.body == nil {
			problemText(t, a)
		}
	}
}

// TestWADOURIRendered: what the parameters of the URI service ask of rendering.
func TestWADOURIRendered(t *testing.T) {
	var got render.Options
	var frames []int
	f := newSeen()
	f.rendered = func(n []int, o render.Options) { frames, got = n, o }
	single := retrievetest.Part10(retrievetest.Image{UIDs: at(3), Rows: 8, Columns: 16})
	s := newPixels(t, f, append(seenFiles(1, 2, 4, 5, 6, 7), single)...)
	for _, c := range []struct {
		n           int
		query       []string
		contentType string
		frames      []int
		want        render.Options
	}{
		// What is meant without contentType (PS3.18 §9.1.2.2.1).
		{3, nil, "image/jpeg", nil, render.Options{}},
		{1, nil, typeDICOM, nil, render.Options{}},
		{4, nil, "text/html; charset=utf-8", nil, render.Options{}},
		{5, nil, typeDICOM, nil, render.Options{}},
		{6, nil, typeDICOM, nil, render.Options{}},
		{7, nil, typeDICOM, nil, render.Options{}},
		{1, []string{"frameNumber", "2"}, "image/jpeg", []int{2}, render.Options{}},
		{1, []string{"frameNumber", "2", "contentType", "image/png"}, "image/png", []int{2}, render.Options{}},
		{1, []string{"contentType", "image/jpeg"}, "image/jpeg", nil, render.Options{}},
		{1, []string{"contentType", "image/jpeg;q=0.1,image/png"}, "image/png", nil, render.Options{}},
		{3, []string{"contentType", "application/dicom,image/jpeg;q=0.1"}, typeDICOM, nil, render.Options{}},
		{4, []string{"contentType", "text/html", "charset", "ISO-8859-1;q=0.5, UTF-8"}, "text/html; charset=utf-8", nil, render.Options{}},
		{5, []string{"contentType", "application/pdf"}, "application/pdf", nil, render.Options{}},
		// weasis asks for small pictures so.
		{3, []string{"contentType", "image/jpeg", "imageQuality", "70", "rows", "256", "columns", "128"}, "image/jpeg", nil,
			render.Options{Quality: 70, Viewport: &render.Viewport{Width: 128, Height: 256}}},
		{3, []string{"rows", "256"}, "image/jpeg", nil, render.Options{Viewport: &render.Viewport{Width: render.MaxViewport, Height: 256}}},
		{3, []string{"columns", "9"}, "image/jpeg", nil, render.Options{Viewport: &render.Viewport{Width: 9, Height: render.MaxViewport}}},
		{3, []string{"region", "0.25,0.5,0.75,1"}, "image/jpeg", nil, render.Options{Viewport: &render.Viewport{Width: 8, Height: 4, X: 4, Y: 4, W: 8, H: 4}}},
		{3, []string{"region", "0,0,1,0.5", "rows", "100", "columns", "200"}, "image/jpeg", nil, render.Options{Viewport: &render.Viewport{Width: 200, Height: 100, W: 16, H: 4}}},
		{3, []string{"windowCenter", "40.5", "windowWidth", "400"}, "image/jpeg", nil, render.Options{Window: &render.Window{Center: 40.5, Width: 400, Function: render.Linear}}},
		{3, []string{"annotation", "patient,technique", "anonymize", "no"}, "image/jpeg", nil, render.Options{Patient: true, Technique: true}},
		{3, []string{"contentType", "image/jpeg", "transferSyntax", dicom.ImplicitVRLittleEndian, "unknown", "x"}, "image/jpeg", nil, render.Options{}},
	} {
		got, frames = render.Options{}, nil
		a := s.get(uriQuery(at(c.n), c.query...), "")
		ct, _, _ := strings.Cut(a.Header.Get("Content-Type"), "; transfer-syntax=")
		if a.StatusCode != 200 || ct != c.contentType || !reflect.DeepEqual(frames, c.frames) || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%d %v: %d %s, frames %v, %+v %.200s", c.n, c.query, a.StatusCode, ct, frames, got, a.body)
		}
		if strings.HasPrefix(ct, "image/") && (a.Header.Get("ETag") == "" || !strings.Contains(a.Header.Get("Content-Security-Policy"), "sandbox")) {
			t.Errorf("%v", a.Header)
		}
	}
	for _, c := range []struct {
		n      int
		query  []string
		status int
	}{
		{2, nil, 200}, // of several frames, so it is not rendered
		{2, []string{"contentType", "image/jpeg"}, 406},
		{7, []string{"contentType", "image/jpeg"}, 406},
		{7, []string{"frameNumber", "1"}, 406},
		{4, []string{"contentType", "text/html", "charset", "ISO-8859-1"}, 406},
		{4, []string{"contentType", "text/html", "charset", "utf-8;q=0"}, 406},
		{3, []string{"presentationUID", "1.2.3", "presentationSeriesUID", "1.2"}, 406},
		{3, []string{"presentationUID", "1.2.3"}, 400},
		{3, []string{"presentationSeriesUID", "1.2.3"}, 400},
		{3, []string{"presentationUID", "x", "presentationSeriesUID", "1.2"}, 400},
		{3, []string{"frameNumber", "0"}, 400},
		{3, []string{"frameNumber", "one"}, 400},
		{3, []string{"rows", "0"}, 400},
		{3, []string{"rows", "99999"}, 400},
		{3, []string{"columns", "1.5"}, 400},
		{3, []string{"region", "0,0,1"}, 400},
		{3, []string{"region", "0,0,1,2"}, 400},
		{3, []string{"region", "0.5,0,0.5,1"}, 400},
		{3, []string{"region", "a,b,c,d"}, 400},
		{3, []string{"windowCenter", "40"}, 400},
		{3, []string{"windowWidth", "40"}, 400},
		{3, []string{"windowCenter", "x", "windowWidth", "40"}, 400},
		{3, []string{"windowCenter", "1", "windowWidth", "0"}, 400},
		{3, []string{"imageQuality", "0"}, 400},
		{3, []string{"imageQuality", "101"}, 400},
		{3, []string{"annotation", "all"}, 400},
		{3, []string{"transferSyntax", "implicit"}, 400},
		{3, []string{"anonymize", "yes"}, 406},
		{3, []string{"objectUID", "1.2.3"}, 400}, // twice
		{3, []string{"rows", "5", "rows", "6"}, 400},
	} {
		if a := s.get(uriQuery(at(c.n), c.query...), ""); a.StatusCode != c.status {
			t.Errorf("%d %v: %d %.200s", c.n, c.query, a.StatusCode, a.body)
		}
	}
}
