package dicomweb

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/retrieve/retrievetest"
)

// TestWADOPartHeads: clients look for the boundary in the Content-Type, and for
// exactly "Content-Type:" at the end of every part's header (INTEROP 3), within
// the first 1000 bytes.
func TestWADOPartHeads(t *testing.T) {
	s := newWADO(t, nativeFile)
	for _, p := range []string{study, path(nativeUIDs) + "/frames/1", path(nativeUIDs) + "/bulkdata", study + "/metadata"} {
		accept := ""
		if strings.HasSuffix(p, "/metadata") {
			accept = `multipart/related; type="application/dicom+xml"`
		}
		a := s.get(p, accept)
		ct := a.Header.Get("Content-Type")
		_, boundary, found := strings.Cut(ct, "boundary=")
		if a.StatusCode != 200 || !found || !strings.HasPrefix(ct, `multipart/related; type="`) {
			t.Fatalf("%d %q", a.StatusCode, ct)
		}
		head, _, found := bytes.Cut(a.body, []byte("\r\n\r\n"))
		lines := strings.Split(string(head), "\r\n")
		if !found || len(head) > 1000 || lines[0] != "--"+boundary || !strings.HasPrefix(lines[len(lines)-1], "Content-Type: ") {
			t.Errorf("%s begins with %q", p, head)
		}
		if !bytes.HasSuffix(a.body, []byte("\r\n--"+boundary+"--\r\n")) {
			t.Errorf("%s ends otherwise", p)
		}
	}
}

func TestWADORange(t *testing.T) {
	s := newWADO(t, nativeFile)
	n := len(nativePix)
	value := path(nativeUIDs) + "/bulkdata/7FE00010"
	etag := s.get(value, "").Header.Get("ETag")
	for _, c := range []struct {
		value, ifRange string
		status         int
		from, to       int // of the body
	}{
		{"bytes=0-0", "", 206, 0, 1},
		{"bytes=10-", "", 206, 10, n},
		{"bytes=-5", "", 206, n - 5, n},
		{"bytes=-100000", "", 206, 0, n},
		{"bytes=100-100000", "", 206, 100, n},
		{"bytes=0-9", etag, 206, 0, 10},
		{"bytes=0-9", `"other"`, 200, 0, n},
		{"bytes=0-9", "Mon, 02 Jan 2006 15:04:05 GMT", 200, 0, n},
		{"bytes=5-4", "", 200, 0, n},
		{"bytes=0-1,3-4", "", 200, 0, n},
		{"bytes=x-y", "", 200, 0, n},
		{"bytes=+1-2", "", 200, 0, n},
		{"pixels=0-1", "", 200, 0, n},
		{"bytes=", "", 200, 0, n},
		{fmt.Sprintf("bytes=%d-", n), "", 416, 0, 0},
		{"bytes=-0", "", 416, 0, 0},
	} {
		h := []string{"Range", c.value}
		if c.ifRange != "" {
			h = append(h, "If-Range", c.ifRange)
		}
		a := s.get(value, "", h...)
		if a.StatusCode != c.status {
			t.Errorf("%s %s: %d instead of %d", c.value, c.ifRange, a.StatusCode, c.status)
			continue
		}
		cr := a.Header.Get("Content-Range")
		switch c.status {
		case 416:
			if cr != fmt.Sprintf("bytes */%d", n) {
				t.Errorf("%s: Content-Range %q", c.value, cr)
			}
			continue
		case 206:
			if cr != fmt.Sprintf("bytes %d-%d/%d", c.from, c.to-1, n) {
				t.Errorf("%s: Content-Range %q", c.value, cr)
			}
		}
		if !bytes.Equal(a.body, nativePix[c.from:c.to]) || a.Header.Get("Accept-Ranges") != "bytes" || a.ContentLength != int64(c.to-c.from) {
			t.Errorf("%s: another body, or %v", c.value, a.Header)
		}
	}
	if a := s.get(path(nativeUIDs), "application/dicom; transfer-syntax=*", "Range", "bytes=128-131"); string(a.body) != "DICM" {
		t.Errorf("range of an instance: %d %q", a.StatusCode, a.body)
	}
}

func TestWADOMetadata(t *testing.T) {
	s := newWADO(t, nativeFile, jpegFile)
	for _, accept := range []string{"", "*/*", "multipart/*", "application/json", typeJSON, "application/*",
		typeJSON + ", multipart/related; type=application/octet-stream", "multipart/related; type=application/octet-stream, " + typeJSON,
		`multipart/related; type="application/dicom+xml"; q=0.1, application/dicom+json`} {
		a := s.get(study+"/metadata", accept)
		want := typeJSON
		if accept == "application/json" {
			want = accept
		}
		var list []map[string]any
		if err := json.Unmarshal(a.body, &list); err != nil || len(list) != 2 || a.Header.Get("Content-Type") != want {
			t.Errorf("%q: %d %s, %v", accept, a.StatusCode, a.Header.Get("Content-Type"), err)
		}
	}
	for _, c := range []struct {
		path, accept string
		parts        int // 0: a single XML document
	}{
		{study, `multipart/related; type="application/dicom+xml"`, 2},
		{study, `multipart/related; type=application/dicom+xml`, 2},
		{study, typeXML, 2},
		{path(nativeUIDs), typeXML, 0},
		{path(nativeUIDs), `multipart/related; type="application/dicom+xml", application/dicom+json; q=0.5`, 1},
	} {
		a := s.get(c.path+"/metadata", c.accept)
		docs := []wadoPart{{contentType: a.Header.Get("Content-Type"), body: a.body}}
		if c.parts > 0 {
			docs = a.parts(t)
		}
		if a.StatusCode != 200 || len(docs) != max(c.parts, 1) {
			t.Errorf("%s: %d, %d parts", c.accept, a.StatusCode, len(docs))
		}
		for _, d := range docs {
			if d.contentType != typeXML || !bytes.Contains(d.body, []byte("NativeDicomModel")) || !bytes.Contains(d.body, []byte(s.URL+Root+"/studies/1.2/series/")) {
				t.Errorf("%s: %s %.200s", c.accept, d.contentType, d.body)
			}
		}
	}
}

// TestWADOBulkDataURI: every URI of the metadata is absolute, as the client sees
// the server, and answers (INTEROP 9, 10).
func TestWADOBulkDataURI(t *testing.T) {
	s := newWADO(t, nativeFile, jpegFile)
	a := s.get(study+"/metadata", typeJSON)
	uris := bytes.Split(a.body, []byte(`"BulkDataURI":"`))[1:]
	if len(uris) != 2 {
		t.Fatalf("%d URIs", len(uris))
	}
	for _, u := range uris {
		uri, _, _ := strings.Cut(string(u), `"`)
		p, found := strings.CutPrefix(uri, s.URL+Root)
		if !found {
			t.Fatalf("%s is elsewhere", uri)
		}
		if b := s.get(p, ""); b.StatusCode != 200 || len(b.body) == 0 {
			t.Errorf("%s: %d", uri, b.StatusCode)
		}
	}
	a = s.get(study+"/metadata", typeJSON, "X-Forwarded-Proto", "https", "X-Forwarded-Host", "pacs.example", "X-Forwarded-Prefix", "/imaging")
	if !bytes.Contains(a.body, []byte(`"https://pacs.example/imaging/dicom-web/studies/1.2/`)) {
		t.Error("the proxy's address is not in the metadata")
	}
}

// TestWADOGzip: JSON is compressed for whom asks, pixels never.
func TestWADOGzip(t *testing.T) {
	var files [][]byte
	for i := range 400 {
		files = append(files, retrievetest.Part10(retrievetest.Image{UIDs: archive.UIDs{Study: "1.2", Series: "1.2.1", Instance: fmt.Sprintf("1.2.1.%d", i+1)}, Rows: 1, Columns: 2}))
	}
	s := newWADO(t, files...)
	for p, status := range map[string]int{study + "/metadata": 400, "/studies/1.2/series/1.2.1/instances/1.2.1.7/metadata": 1} {
		plain := s.get(p, typeJSON)
		zipped := s.get(p, typeJSON, "Accept-Encoding", "gzip, br")
		body := zipped.body
		if zipped.Header.Get("Content-Encoding") == "gzip" {
			z, err := gzip.NewReader(bytes.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			if body, err = io.ReadAll(z); err != nil {
				t.Fatal(err)
			}
		} else if status > 1 {
			t.Error("not compressed")
		}
		if !bytes.Equal(body, plain.body) || bytes.Count(body, []byte(`"00080018"`)) != status {
			t.Errorf("%s: the texts differ", p)
		}
		if n := s.get(p, typeJSON, "Accept-Encoding", "gzip", "If-None-Match", plain.Header.Get("ETag")); n.StatusCode != 304 {
			t.Errorf("If-None-Match: %d", n.StatusCode)
		}
	}
	if a := s.get("/studies/1.2/series/1.2.1/instances/1.2.1.7/frames/1", "", "Accept-Encoding", "gzip"); a.Header.Get("Content-Encoding") != "" {
		t.Error("pixels are compressed")
	}
}

// TestWADODamage: what fails before the first byte is a problem document; what
// fails later is cut off, and never taken for the whole.
func TestWADODamage(t *testing.T) {
	big := func(n int) ([]byte, archive.UIDs) {
		u := archive.UIDs{Study: "1.2", Series: "1.2.1", Instance: fmt.Sprintf("1.2.1.%d", n)}
		return retrievetest.Part10(retrievetest.Image{UIDs: u, Rows: 1024, Columns: 1024, Pixels: retrievetest.Pattern(2 << 20)}), u
	}
	var files [][]byte
	for n := range 4 {
		f, _ := big(n + 1)
		files = append(files, f)
	}
	s := newWADO(t, files...)
	whole := s.get(study, asIs)
	if ps := whole.parts(t); len(ps) != 4 || !bytes.Equal(ps[3].body, files[3]) || whole.ContentLength < 8<<20 {
		t.Fatal("the study does not come back")
	}
	_, third := big(3)
	for _, at := range []int64{1, 1 << 20} { // the header's segment; one in the middle
		// Damage is done before the first request: a connection that was cut may
		// still be read for when the next request comes.
		s := newWADO(t, files...)
		row := s.archive.Row(third)
		s.archive.Objects[row.At.Object][row.At.Offset+100+at] ^= 1
		for _, accept := range []string{asIs, `multipart/related; type="application/dicom"; transfer-syntax=` + dicom.ImplicitVRLittleEndian} {
			a := s.get(study, accept)
			if a.StatusCode != http.StatusOK || a.err == nil {
				t.Errorf("a damaged study: %d, %d bytes, error %v", a.StatusCode, len(a.body), a.err)
			}
		}
		a := s.get(path(third), "application/dicom")
		if early := at == 1; early && a.StatusCode != 500 || !early && a.err == nil {
			t.Errorf("a damaged instance: %d, error %v", a.StatusCode, a.err)
		}
	}
	s = newWADO(t, files...)
	s.archive.Secrets = func(archive.KeyID) (archive.Secret, error) {
		return archive.Secret{}, fault.New(fault.KeyDenied, "the key is revoked")
	}
	if a := s.get(study, asIs); a.StatusCode != 403 || !bytes.Contains(a.body, []byte("key-revoked")) {
		t.Errorf("a revoked key: %d %s", a.StatusCode, a.body)
	}
}
