package conformance

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"mime"
	"net/netip"
	"strings"
	"testing"

	"github.com/strata-pacs/strata/dicomweb"
)

func interop01(t *testing.T, w *world) {
	for _, typ := range []string{`"application/octet-stream"`, "application/octet-stream"} {
		a := w.get(t, onePath+"/frames/1", "multipart/related; type="+typ+"; transfer-syntax=*").is(200)
		if n := len(a.parts()); n != 1 || !strings.Contains(a.Header.Get("Content-Type"), `type="application/octet-stream"`) {
			t.Errorf("%d parts in %s", n, a.Header.Get("Content-Type"))
		}
	}
	a := w.get(t, onePath, "multipart/related;type=application/dicom;transfer-syntax=*").is(200)
	if a.parts(); !strings.Contains(a.Header.Get("Content-Type"), `type="application/dicom"`) {
		t.Error(a.Header.Get("Content-Type"))
	}
	body, _ := related(typeDICOM, one)
	for _, ct := range []string{"multipart/related; type=application/dicom; boundary=a-boundary-of-the-tests",
		`multipart/related; type="application/dicom"; boundary="a-boundary-of-the-tests"`,
		`Multipart/Related; Boundary=a-boundary-of-the-tests; Type=Application/DICOM`} {
		w.do(t, "POST", "/studies", body, "Content-Type", ct).is(200)
	}
}

func interop02(t *testing.T, w *world) {
	for i, begin := range []string{"\r\n", "", "\n", "preamble for old readers\r\n"} {
		uid := fmt.Sprintf("1.40.%d", i)
		body, _ := related(typeDICOM, image(uid, uid+".1", uid+".1.1"))
		w.do(t, "POST", "/studies", append([]byte(begin), body...), "Content-Type", `multipart/related; type="application/dicom"; boundary="a-boundary-of-the-tests"`).is(200)
		if n := len(w.get(t, "/studies?StudyInstanceUID="+uid, "").datasets()); n != 1 {
			t.Errorf("after %q: success, and %d studies", begin, n)
		}
	}
}

// interop03 reads answers as cornerstone and dcmjs do: by looking for literal strings.
func interop03(t *testing.T, w *world) {
	for _, path := range []string{onePath, jpegPath + "/frames/1,2", onePath + "/bulkdata", "/studies/1.10"} {
		a := w.get(t, path, "multipart/related; type=\"*/*\"; transfer-syntax=*")
		if a.Status != 200 {
			a = w.get(t, path, framesStored).is(200)
		}
		_, params, err := mime.ParseMediaType(a.Header.Get("Content-Type"))
		if err != nil || params["boundary"] == "" {
			t.Fatal(a.Header.Get("Content-Type"))
		}
		head, _, ok := bytes.Cut(a.Body[:min(1000, len(a.Body))], []byte("\r\n\r\n"))
		lines := strings.Split(string(head), "\r\n")
		if !ok || lines[0] != "--"+params["boundary"] {
			t.Errorf("%s begins with %q", path, head)
		}
		pieces := bytes.Split(a.Body, []byte("--"+params["boundary"]))
		for _, p := range pieces[1 : len(pieces)-1] {
			headers, _, ok := bytes.Cut(p[:min(1000, len(p))], []byte("\r\n\r\n"))
			last := headers[bytes.LastIndex(headers, []byte("\r\n"))+2:]
			if !ok || !bytes.HasPrefix(last, []byte("Content-Type: ")) || !bytes.HasSuffix(p, []byte("\r\n")) {
				t.Errorf("%s: a part begins with %.80q", path, p)
			}
		}
		if !bytes.HasPrefix(pieces[len(pieces)-1], []byte("--")) {
			t.Errorf("%s ends without a closing boundary", path)
		}
	}
}

func interop04(t *testing.T, w *world) {
	for path, want := range map[string]string{onePath: explicitLE, jpegPath: jpegBaseline, onePath + "/frames/1": explicitLE,
		jpegPath + "/frames/3,1": jpegBaseline, jp2Path + "/frames/1": jpeg2000} {
		accept := framesStored
		if !strings.Contains(path, "frames") {
			accept = partsStored
		}
		for _, p := range w.get(t, path, accept).is(200).parts() {
			if p.syntax() != want {
				t.Errorf("%s: %s", path, p.Header.Get("Content-Type"))
			}
		}
	}
}

func interop05(t *testing.T, w *world) {
	// The same instance as it would have been stored by others.
	for i, syntax := range []string{implicitLE, explicitBE, "1.2.840.10008.1.2.1.99"} {
		other := w.get(t, onePath, "application/dicom; transfer-syntax="+syntax).is(200).Body
		uid := fmt.Sprintf("1.30.1.%d", i+2)
		if syntax != "1.2.840.10008.1.2.1.99" {
			other = bytes.ReplaceAll(other, []byte("1.30.1.1"), []byte(uid))
		} else {
			w.do(t, "DELETE", onePath, nil).is(204)
			uid = "1.30.1.1"
		}
		w.post(t, other).is(200)
		path := "/studies/1.30/series/1.30.1/instances/" + uid
		stored := w.get(t, path, partsStored).is(200).parts()[0]
		if stored.syntax() != syntax || !bytes.Equal(stored.Body, other) {
			t.Errorf("%s: any syntax gave %q", syntax, stored.syntax())
		}
		for _, accept := range []string{`multipart/related; type="application/dicom"`, "multipart/related; type=application/dicom; transfer-syntax=" + explicitLE} {
			p := w.get(t, path, accept).is(200).parts()[0]
			if p.syntax() != explicitLE || len(p.Body) == 0 {
				t.Errorf("%s: %s gave %q", syntax, accept, p.syntax())
			}
		}
		frame := w.get(t, path+"/frames/1", "application/octet-stream").is(200)
		if want := w.get(t, "/studies/1.10/series/1.10.1/instances/1.10.1.1/frames/1", "application/octet-stream").Body; !bytes.Equal(frame.Body, want) {
			t.Errorf("%s: the frame is % x", syntax, frame.Body)
		}
	}
	w.do(t, "DELETE", onePath, nil).is(204)
	w.post(t, one).is(200)
	w.get(t, jpegPath, typeDICOM).problem(406)
	w.get(t, jpegPath, partsStored).is(200)
}

func interop06(t *testing.T, w *world) {
	for _, accept := range []string{"application/dicom+json, multipart/related; type=application/octet-stream", "*/*", "multipart/*", "application/json",
		"", "application/*", typeJSON + "; charset=utf-8", `multipart/related; type="application/dicom+xml"; q=0.5, application/dicom+json`} {
		if a := w.get(t, onePath+"/metadata", accept).is(200); len(a.datasets()) != 1 {
			t.Errorf("%q: %.100s", accept, a.Body)
		}
	}
	for _, q := range []string{"?accept=application/dicom%2Bjson", "?accept=application/dicom+json"} {
		w.get(t, onePath+"/metadata"+q, "text/html").is(200).datasets()
	}
	for _, accept := range []string{`multipart/related; type="application/dicom+xml"`, `application/dicom+json; q=0.1, multipart/related; type="application/dicom+xml"`} {
		if a := w.get(t, onePath+"/metadata", accept).is(200); mediaType(a.parts()[0].Header) != typeXML {
			t.Errorf("%q: %s", accept, a.Header.Get("Content-Type"))
		}
	}
	w.get(t, onePath+"/metadata", "image/png").problem(406)
}

func interop07(t *testing.T, w *world) {
	const path = "/studies/1.32/series/1.32.1/instances/1.32.1."
	for i, c := range [][2]string{{jpegBaseline, "image/jpeg"}, {"1.2.840.10008.1.2.4.70", "image/jpeg"}, {"1.2.840.10008.1.2.4.80", "image/jls"}, {jpeg2000, "image/jp2"},
		{"1.2.840.10008.1.2.4.91", "image/jp2"}, {htj2k, "image/jphc"}, {rle, "image/dicom-rle"}} {
		uid := fmt.Sprintf("1.32.1.%d", i)
		w.post(t, compressed(c[0], "1.32", "1.32.1", uid, 1, encapsulated("", frameA))).is(200)
		for _, accept := range []string{"application/octet-stream; transfer-syntax=*", framesStored, "*/*; transfer-syntax=*", c[1], c[1] + "; transfer-syntax=" + c[0],
			`multipart/related; type="` + c[1] + `"; transfer-syntax=*`} {
			a := w.get(t, path+fmt.Sprint(i)+"/frames/1", accept)
			if a.Status != 200 {
				t.Errorf("%s as %s: %d", c[0], accept, a.Status)
				continue
			}
			p := part{a.Header, a.Body}
			if strings.HasPrefix(mediaType(a.Header), "multipart/") {
				p = a.parts()[0]
			}
			if mediaType(p.Header) != c[1] || p.syntax() != c[0] || string(p.Body) != frameA {
				t.Errorf("%s as %s: %s, %q", c[0], accept, p.Header.Get("Content-Type"), p.Body)
			}
		}
	}
}

func interop08(t *testing.T, w *world) {
	for _, c := range [][3]string{{onePath, "application/dicom", typeDICOM}, {jpegPath + "/frames/2", "image/jpeg", "image/jpeg"},
		{onePath + "/frames/1", "application/octet-stream", "application/octet-stream"}, {onePath + "/bulkdata/7FE00010", "application/octet-stream", "application/octet-stream"},
		{onePath + "/bulkdata/7FE00010", "*/*", "application/octet-stream"}} {
		if a := w.get(t, c[0], c[1]).is(200); mediaType(a.Header) != c[2] || len(a.Body) == 0 {
			t.Errorf("%v: %s", c, a.Header.Get("Content-Type"))
		}
	}
	for _, c := range [][2]string{{onePath, `multipart/related; type="application/dicom"`}, {jpegPath + "/frames/2", `multipart/related; type="image/jpeg"`},
		{onePath + "/bulkdata/7FE00010", `multipart/related; type="application/octet-stream"`}, {onePath + "/bulkdata/00091001", `multipart/related; type="application/octet-stream"`}} {
		if n := len(w.get(t, c[0], c[1]).is(200).parts()); n != 1 {
			t.Errorf("%v: %d parts", c, n)
		}
	}
}

func interop09(t *testing.T, w *world) {
	uri := func(w *world, header ...string) string {
		t.Helper()
		a := w.do(t, "GET", onePath+"/metadata", nil, header...).is(200)
		return strings.TrimSuffix(a.datasets()[0]["7FE00010"].BulkDataURI, "/dicom-web"+onePath+"/bulkdata/7FE00010")
	}
	for _, c := range []struct {
		header []string
		want   string
	}{
		{nil, w.root},
		{[]string{"Host", "pacs.example"}, "http://pacs.example"},
		{[]string{"Forwarded", `for=10.0.0.1; proto=https; host="pacs.example:8443"`}, "https://pacs.example:8443"},
		{[]string{"X-Forwarded-Host", "pacs.example", "X-Forwarded-Proto", "https"}, "https://pacs.example"},
		{[]string{"X-Forwarded-Host", "pacs.example, inner", "X-Forwarded-Proto", "https", "X-Forwarded-Prefix", "/archive/"}, "https://pacs.example/archive"},
	} {
		if got := uri(w, c.header...); got != c.want {
			t.Errorf("%v: %s, want %s", c.header, got, c.want)
		}
	}
	spoof := []string{"X-Forwarded-Host", "evil.example", "Forwarded", "host=evil.example;proto=https"}
	far := open(t, func(o *dicomweb.Options) { o.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")} })
	far.post(t, one).is(200)
	if got := uri(far, spoof...); got != far.root {
		t.Errorf("an untrusted proxy made it %s", got)
	}
	fixed := open(t, func(o *dicomweb.Options) { o.PublicURL = "https://public.example/x/" })
	fixed.post(t, one).is(200)
	if got := uri(fixed, spoof...); got != "https://public.example/x" {
		t.Errorf("the configured URL became %s", got)
	}
}

func interop10(t *testing.T, w *world) {
	for _, path := range []string{onePath, jpegPath, jp2Path} {
		d := w.get(t, path+"/metadata", typeJSON).is(200).datasets()[0]
		if px := d["7FE00010"]; px.BulkDataURI != w.url+path+"/bulkdata/7FE00010" || px.InlineBinary != "" || px.VR == "" {
			t.Errorf("%s: %+v", path, px)
		}
		d.bulk(t, "", func(_, uri string) { w.get(t, uri, "*/*; transfer-syntax=*").is(200) })
	}
	a := w.get(t, onePath+"/metadata", typeJSON)
	if v := a.datasets()[0]["00091001"]; v.BulkDataURI == "" || len(a.Body) > 4000 {
		t.Errorf("a private value of 5000 bytes: %+v; metadata of %d bytes", v, len(a.Body))
	}
}

func interop11(t *testing.T, w *world) {
	for _, method := range []string{"GET", "POST", "DELETE"} {
		a := w.do(t, "OPTIONS", "/studies", nil, "Origin", "http://localhost:3000", "Access-Control-Request-Method", method,
			"Access-Control-Request-Headers", "accept, authorization, content-type").is(200, 204)
		allowed := strings.ToLower(a.Header.Get("Access-Control-Allow-Headers"))
		if a.Header.Get("Access-Control-Allow-Origin") == "" || !strings.Contains(a.Header.Get("Access-Control-Allow-Methods"), method) ||
			!strings.Contains(allowed, "accept") || !strings.Contains(allowed, "authorization") || !strings.Contains(allowed, "content-type") || a.Header.Get("Access-Control-Max-Age") == "" {
			t.Errorf("%s: %v", method, a.Header)
		}
	}
	for _, path := range []string{"/studies", "/studies/1.99", onePath + "/frames/1"} {
		if a := w.do(t, "GET", path, nil, "Origin", "http://localhost:3000"); a.Header.Get("Access-Control-Allow-Origin") == "" {
			t.Errorf("%s: the answer (%d) may not be read", path, a.Status)
		}
	}
}

func interop12(t *testing.T, w *world) {
	d := w.get(t, "/studies?PatientID=PHAN-01&includefield=00081030%2C00080060%2C00080090%2C00081070", typeJSON).is(200).datasets()[0]
	for _, tag := range []string{"00081030", "00080060", "00080090", "00081070"} {
		if d.text(tag) == "" {
			t.Errorf("%s is not there", tag)
		}
	}
	for _, q := range []string{"PatientName=M%C3%BCller%5EJ%C3%B6rg", "PatientName=*M%C3%BCl*", "StudyInstanceUID=1.10%2C1.99", "StudyInstanceUID=1.10%5C1.99", "%30%30100020=PHAN%2D01"} {
		if got := uids(w.get(t, "/studies?"+q, "").is(200).datasets(), ""); got != "1.10" {
			t.Errorf("%s: %q", q, got)
		}
	}
	w.get(t, "/studies/1%2E10/series", "").is(200)
}

func interop13(t *testing.T, w *world) {
	for _, path := range []string{"/studies/1.10/metadata", "/studies?StudyInstanceUID=1.10,1.11,1.12&includefield=all"} {
		plain := w.get(t, path, typeJSON).is(200)
		zipped := w.do(t, "GET", path, nil, "Accept", typeJSON, "Accept-Encoding", "gzip").is(200)
		r, err := gzip.NewReader(bytes.NewReader(zipped.Body))
		if err != nil || zipped.Header.Get("Content-Encoding") != "gzip" || !strings.Contains(zipped.Header.Get("Vary"), "Accept-Encoding") {
			t.Fatalf("%s: %v %v", path, err, zipped.Header)
		}
		if b, err := io.ReadAll(r); err != nil || !bytes.Equal(b, plain.Body) {
			t.Errorf("%s: gzip differs: %v", path, err)
		}
	}
	for path, accept := range map[string]string{onePath: partsStored, onePath + "/metadata": typeJSON, onePath + "/frames/1": framesStored,
		onePath + "/bulkdata/7FE00010": "*/*", "/studies/1.10/metadata": typeJSON, jpegPath + "/frames/1": "image/jpeg"} {
		a := w.get(t, path, accept).is(200)
		cache := a.Header.Get("Cache-Control")
		if a.Header.Get("ETag") == "" || !strings.Contains(cache, "private") || strings.Contains(cache, "public") {
			t.Errorf("%s: ETag %q, Cache-Control %q", path, a.Header.Get("ETag"), cache)
			continue
		}
		again := w.do(t, "GET", path, nil, "Accept", accept, "If-None-Match", a.Header.Get("ETag"))
		if again.Status != 304 || len(again.Body) > 0 {
			t.Errorf("%s again: %d", path, again.Status)
		}
		w.do(t, "GET", path, nil, "Accept", accept, "If-None-Match", `"another"`).is(200)
	}
}

func interop14(t *testing.T, w *world) {
	for path, accept := range map[string]string{onePath: "application/dicom", onePath + "/metadata": typeJSON, onePath + "/frames/1": framesStored,
		onePath + "/bulkdata/7FE00010": "*/*", "/studies": typeJSON, "/studies/1.10": partsStored, "/studies/1.99": partsStored, "/changes": "*/*"} {
		get := w.get(t, path, accept)
		head := w.do(t, "HEAD", path, nil, "Accept", accept)
		if head.Status != get.Status || len(head.Body) > 0 || mediaType(head.Header) != mediaType(get.Header) {
			t.Errorf("HEAD %s: %d %s, GET %d %s", path, head.Status, mediaType(head.Header), get.Status, mediaType(get.Header))
		}
	}
	for _, path := range []string{onePath, onePath + "/bulkdata/7FE00010", onePath + "/bulkdata/00091001"} {
		accept := "application/octet-stream"
		if path == onePath {
			accept = "application/dicom; transfer-syntax=*"
		}
		whole := w.get(t, path, accept).is(200)
		n := len(whole.Body)
		for _, c := range []struct {
			header   string
			from, to int
		}{{"bytes=4-11", 4, 12}, {"bytes=8-", 8, n}, {"bytes=-5", n - 5, n}} {
			a := w.do(t, "GET", path, nil, "Accept", accept, "Range", c.header).is(206)
			if !bytes.Equal(a.Body, whole.Body[c.from:c.to]) || a.Header.Get("Content-Range") != fmt.Sprintf("bytes %d-%d/%d", c.from, c.to-1, n) {
				t.Errorf("%s %s: %d bytes, %s", path, c.header, len(a.Body), a.Header.Get("Content-Range"))
			}
		}
		w.do(t, "GET", path, nil, "Accept", accept, "Range", "bytes=9999999-").problem(416)
	}
}
