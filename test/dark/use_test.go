//go:build linux

package dark

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
)

const (
	anyDICOM = `application/dicom; transfer-syntax=*`
	textJSON = "application/dicom+json"
	htmlPage = "text/html"
	jpeg2000 = "application/dicom; transfer-syntax=1.2.840.10008.1.2.4.90" // compressed by processes of their own
)

func pathOf(u archive.UIDs) string {
	return "/studies/" + u.Study + "/series/" + u.Series + "/instances/" + u.Instance
}

// reads are requests that the seeded archive answers with 200: every kind of route there is.
func reads() (all []route) {
	get := func(accept string, paths ...string) {
		for _, p := range paths {
			all = append(all, route{path: p, accept: accept})
		}
	}
	one, study := pathOf(utf8Image), "/studies/"+utf8Image.Study
	get(textJSON, "/studies?PatientName=Quetzlkranich*", "/studies?PatientID=PATNR-8841-ZQX&includefield=all", "/series?Modality=OT", "/instances",
		"/studies?PatientName="+url.QueryEscape("*幽玄*"), "/studies?PatientName="+url.QueryEscape("j\u00e4ckel")+"*&fuzzymatching=true", study+"/series", study+"/instances", study+"/series/"+utf8Image.Series+"/instances",
		study+"/metadata", study+"/series/"+utf8Image.Series+"/metadata", one+"/metadata", pathOf(kanjiImage)+"/metadata", pathOf(latinImage)+"/metadata")
	get(`multipart/related; type="application/dicom+xml"`, study+"/metadata")
	get(anyDICOM, one)
	get(`multipart/related; type="application/dicom"; transfer-syntax=*`, study, study+"/series/"+utf8Image.Series)
	get(`multipart/related; type="application/octet-stream"; transfer-syntax=*`, one+"/frames/1", one+"/bulkdata/7FE00010", study+"/bulkdata", one+"/pixeldata")
	get(jpeg2000, one)
	get("application/dicom; transfer-syntax=1.2.840.10008.1.2.5", one)
	get("image/jpeg", one+"/rendered", one+"/frames/1/rendered", one+"/thumbnail", study+"/thumbnail", study+"/series/"+utf8Image.Series+"/thumbnail")
	get(htmlPage, pathOf(reportOf)+"/rendered")
	get("application/json", "/changes")
	wado := "?requestType=WADO&studyUID=" + utf8Image.Study + "&seriesUID=" + utf8Image.Series + "&objectUID=" + utf8Image.Instance
	get("", wado+"&contentType=application/dicom", wado+"&contentType=image/jpeg")
	return all
}

// writes are requests that change the archive, and are refused while it is dark.
func writes() []route {
	body, contentType := jsonStore()
	return []route{
		{method: http.MethodPost, path: "/studies", contentType: "application/dicom", accept: textJSON, body: image(neverStored, "ISO_IR 192", "Quetzlkranich^Nie", "Wölfflinshügel", 16, "1")},
		{method: http.MethodPost, path: "/studies", contentType: contentType, accept: textJSON, body: body},
		{method: http.MethodDelete, path: pathOf(utf8Image)},
	}
}

// seed stores what the tests look for.
func seed(t *testing.T, s *server) {
	t.Helper()
	for _, f := range seeded() {
		s.must(t, http.StatusOK, route{method: http.MethodPost, path: "/studies", contentType: "application/dicom", accept: textJSON, body: f})
	}
	body, contentType := jsonStore()
	s.must(t, http.StatusOK, route{method: http.MethodPost, path: "/studies", contentType: contentType, accept: textJSON, body: body})
	s.must(t, http.StatusOK, route{path: pathOf(utf8Image), accept: jpeg2000}) // the first one waits until the codecs are there
}

// use asks for everything, and for much that is refused: what is wrong is told and logged, too.
func use(t *testing.T, s *server) {
	t.Helper()
	for _, r := range reads() {
		b := s.must(t, http.StatusOK, r)
		if r.accept == textJSON && len(b) < 10 {
			t.Errorf("%v: nothing is found: %s", r, b)
		}
	}
	one := pathOf(utf8Image)
	for _, r := range []route{
		{path: one + "/frames/9", accept: "*/*"}, {path: one, accept: "image/gif"}, {path: "/studies?StudyDate=Quetzlkranich"}, {path: "/studies/Quetzlkranich/metadata"},
		{path: one + "/PATNR-8841-ZQX"}, {path: pathOf(neverStored) + "/metadata", accept: textJSON}, {path: pathOf(neverStored) + "/rendered"},
		{path: "/studies?PatientName=" + strings.Repeat("Quetzlkranich*", 200)}, {path: "/studies?limit=PATNR-8841-ZQX"}, {path: "/t/nobody/dicom-web/studies"},
		{method: "QUETZLKRANICH", path: one}, {method: http.MethodPost, path: "/studies", contentType: "application/dicom", body: seeded()[0][:700]},
		{method: http.MethodPost, path: "/studies", contentType: textJSON, body: []byte(`[{"00100010":{"vr":"PN","Value":[{"Alphabetic":"Quetzlkranich"}]},"0020000D":"` + root + `.9"`)},
		{method: http.MethodPost, path: "/studies", contentType: "application/dicom", body: image(utf8Image, "ISO_IR 192", "Quetzlkranich^Anders", "Wölfflinshügel", 16, "1")},
		{method: http.MethodDelete, path: pathOf(neverStored)},
	} {
		if status, _, err := s.do(t.Context(), r); err != nil || status >= 500 {
			t.Errorf("%v: status %d, %v", r, status, err)
		}
	}
}

// refused holds that every route says what the problem is, and no more.
func refused(t *testing.T, s *server, status int, kind string) {
	t.Helper()
	m := seedMatcher()
	for _, r := range append(reads(), writes()...) {
		got, b, err := s.do(t.Context(), r)
		if err != nil || got != status || problem(b) != kind {
			t.Errorf("%s: %v: status %d, %v: %.200s", s.name, r, got, err, b)
		}
		clean(t, m, "a refusal", b)
	}
}

// back waits until every route answers again, 10 s at most from when the key was granted.
func back(t *testing.T, s *server, granted time.Time) time.Duration {
	t.Helper()
	for _, r := range reads() {
		for {
			status, b, err := s.do(t.Context(), r)
			if err == nil && status == http.StatusOK {
				break
			}
			if time.Since(granted) > 10*time.Second {
				t.Fatalf("%s: %v: status %d, %v, %v after the grant: %.300s", s.name, r, status, err, time.Since(granted), b)
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	return time.Since(granted)
}
