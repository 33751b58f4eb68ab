package conformance

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/strata-pacs/strata/dicomweb"
)

func interop28(t *testing.T, w *world) {
	good := image("1.28", "1.28.1", "1.28.1.1")
	noUID := image("1.28", "1.28.1", "", el{0x00080016, "UI", ctImage})
	a := w.post(t, good).is(200)
	d := a.dataset()
	if _, failed := d["00081198"]; failed || d.text("00081190") != w.url+"/studies/1.28" || len(d.items(t, "00081199")) != 1 {
		t.Errorf("all stored: %s", a.Body)
	}
	ref := d.items(t, "00081199")[0]
	if ref.text("00081150") != secondaryCapture || ref.text("00081155") != "1.28.1.1" || ref.text("00081190") != w.url+"/studies/1.28/series/1.28.1/instances/1.28.1.1" {
		t.Errorf("reference: %+v", ref)
	}
	d = w.post(t, good, noUID).is(202).dataset()
	failed := d.items(t, "00081198")
	if len(failed) != 1 || len(d.items(t, "00081199")) != 1 || failed[0].text("00081197") == "" || failed[0].text("00081150") != ctImage {
		t.Errorf("some stored: %+v", d)
	}
	d = w.post(t, noUID).is(409).dataset()
	if f := d.items(t, "00081198"); len(f) != 1 || f[0].text("0020000D") != "1.28" {
		t.Errorf("what could be parsed: %+v", d)
	}
	// Another study than the URL names (A900).
	body, ct := related(typeDICOM, good)
	d = w.do(t, "POST", "/studies/1.99", body, "Content-Type", ct).is(409).dataset()
	if f := d.items(t, "00081198"); len(f) != 1 || f[0].text("00081197") != "43264" {
		t.Errorf("another study: %+v", d)
	}
	w.do(t, "POST", "/studies/1.28", body, "Content-Type", ct).is(200)
	w.post(t, []byte("this is no DICOM")).problem(400)
	w.post(t).problem(400)
	w.do(t, "POST", "/studies", []byte("{"), "Content-Type", typeJSON).problem(400)
	w.do(t, "POST", "/studies", good, "Content-Type", "image/png").problem(415)
	w.do(t, "POST", "/studies", body, "Content-Type", `multipart/form-data; boundary=a-boundary-of-the-tests`).problem(415)
	w.do(t, "POST", "/studies", good).problem(415)
	small := open(t, func(o *dicomweb.Options) { o.Limits.RequestBytes = 500 })
	small.post(t, good).problem(413)
	if a := w.do(t, "POST", "/studies", body, "Content-Type", ct, "Accept", typeXML).is(200); mediaType(a.Header) != typeXML || !bytes.Contains(a.Body, []byte("NativeDicomModel")) {
		t.Errorf("%s %.200s", a.Header.Get("Content-Type"), a.Body)
	}
}

func interop29(t *testing.T, w *world) {
	file := image("1.29", "1.29.1", "1.29.1.1")
	body, ct := related(typeDICOM+"; transfer-syntax="+explicitLE, file)
	ct = strings.Replace(ct, typeDICOM+"; transfer-syntax="+explicitLE, typeDICOM, 1)
	for _, ct := range []string{ct, ct + "; transfer-syntax=" + explicitLE, ct + `; transfer-syntax="*"`, ct + "; transfer-syntax=" + jpegBaseline} {
		w.do(t, "POST", "/studies", body, "Content-Type", ct).is(200)
	}
	w.do(t, "POST", "/studies", file, "Content-Type", "application/dicom; transfer-syntax="+explicitLE).is(200)
	if got := w.get(t, "/studies/1.29", partsStored).is(200).parts()[0]; !bytes.Equal(got.Body, file) {
		t.Error("the file changed")
	}
}

// interop30 sends what the server itself gives out: metadata, and bulk data at its URIs.
func interop30(t *testing.T, w *world) {
	for i, mediatype := range []string{typeJSON, typeXML} {
		uid := fmt.Sprintf("1.300.%d", i)
		rename := func(b []byte) string { return strings.ReplaceAll(string(b), "1.30", uid) }
		var meta []byte
		if mediatype == typeJSON {
			meta = w.get(t, onePath+"/metadata", typeJSON).is(200).Body
		} else {
			meta = w.get(t, onePath+"/metadata", `multipart/related; type="application/dicom+xml"`).is(200).parts()[0].Body
		}
		var b bytes.Buffer
		fmt.Fprintf(&b, "--b\r\nContent-Type: %s\r\n\r\n%s\r\n", mediatype, rename(meta))
		w.get(t, onePath+"/metadata", typeJSON).datasets()[0].bulk(t, "", func(_, uri string) {
			value := w.get(t, uri, "application/octet-stream").is(200).Body
			fmt.Fprintf(&b, "--b\r\nContent-Location: %s\r\nContent-Type: application/octet-stream\r\n\r\n%s\r\n", rename([]byte(uri)), value)
		})
		b.WriteString("--b--\r\n")
		w.do(t, "POST", "/studies", b.Bytes(), "Content-Type", `multipart/related; type="`+mediatype+`"; boundary=b`).is(200, 202)
		path := strings.ReplaceAll(onePath, "1.30", uid)
		for _, below := range []string{"/frames/1", "/bulkdata/00091001"} {
			if got := w.get(t, path+below, "application/octet-stream").is(200).Body; !bytes.Equal(got, w.get(t, onePath+below, "application/octet-stream").Body) {
				t.Errorf("%s%s is not what was sent", mediatype, below)
			}
		}
		d := w.get(t, path+"/metadata", typeJSON).is(200).datasets()[0]
		if d.text("00100010") != "Fern^Ada" || d["00280010"].Value[0] != 4.0 {
			t.Errorf("%s: %+v", mediatype, d["00100010"])
		}
		w.get(t, path, `application/dicom`).is(200)
	}
}

func interop31(t *testing.T, w *world) {
	file := image("1.31.9", "1.31.9.1", "1.31.9.1.1")
	for range 3 {
		d := w.post(t, file).is(200).dataset()
		if len(d.items(t, "00081199")) != 1 {
			t.Errorf("sent again: %+v", d)
		}
	}
	if n := w.get(t, "/studies?StudyInstanceUID=1.31.9", "").datasets()[0].text("00201208"); n != "1" {
		t.Errorf("%s instances", n)
	}
	five := []el{{0x00080016, "UI", secondaryCapture}, {0x00080018, "UI", "1.31.8.1.1"}, {0x0020000D, "UI", "1.31.8"}, {0x0020000E, "UI", "1.31.8.1"}}
	w.post(t, part10(explicitLE, nil, five...)).is(200, 202)
	w.get(t, "/studies/1.31.8/metadata", typeJSON).is(200)
	for i := range five {
		without := append(append([]el(nil), five[:i]...), five[i+1:]...)
		w.post(t, part10(explicitLE, nil, without...)).is(409)
	}
	// Values that break every rule but those five.
	odd := append(five[1:1:1], el{0x00080016, "UI", secondaryCapture}, el{0x00080018, "UI", "1.31.7.1.1"}, el{0x00080020, "DA", "last spring"}, el{0x00080030, "TM", "noon"},
		el{0x00080060, "CS", "not a code at all, far too long"}, el{0x00100020, "LO", strings.Repeat("long ", 60)}, el{0x00100040, "CS", "?"},
		el{0x0020000D, "UI", "1.31.7"}, el{0x0020000E, "UI", "1.31.7.1"}, el{0x00200011, "IS", "one"})
	w.post(t, part10(explicitLE, nil, odd...)).is(200, 202)
	w.finds(t, "/series", "StudyInstanceUID=1.31.7", "1.31.7.1")
}

func interop32(t *testing.T, w *world) {
	for i, preamble := range []string{"MZ\x90\x00", "\x7fELF\x02\x01\x01", "<html><script>alert(1)</script>", "II*\x00\x08\x00\x00\x00", "#!/bin/sh\n"} {
		uid := fmt.Sprintf("1.32.%d", 100+i)
		plain := image(uid, uid+".1", uid+".1.1")
		file := append([]byte(preamble), plain[len(preamble):]...)
		w.post(t, file).is(200, 202)
		a := w.get(t, fmt.Sprintf("/studies/%s/series/%s.1/instances/%s.1.1", uid, uid, uid), "application/dicom; transfer-syntax=*").is(200)
		if !bytes.Equal(a.Body, file) {
			t.Errorf("%q: the file changed", preamble)
		}
		if a.Header.Get("X-Content-Type-Options") != "nosniff" || !strings.HasPrefix(a.Header.Get("Content-Disposition"), "attachment") ||
			!strings.Contains(a.Header.Get("Content-Security-Policy"), "sandbox") {
			t.Errorf("%q: %v", preamble, a.Header)
		}
		// What is made anew has a preamble of zeros.
		made := w.get(t, fmt.Sprintf("/studies/%s/series/%s.1/instances/%s.1.1", uid, uid, uid), "application/dicom; transfer-syntax="+implicitLE).is(200)
		if !bytes.Equal(made.Body[:128], make([]byte, 128)) {
			t.Errorf("%q went along into another transfer syntax", preamble)
		}
	}
}

func interop33(t *testing.T, w *world) {
	offsets := func(at ...uint32) string {
		var b []byte
		for _, v := range at {
			b = binary.LittleEndian.AppendUint32(b, v)
		}
		return string(b)
	}
	step := func(f ...string) (n uint32) {
		for _, s := range f {
			n += uint32(8 + len(s))
		}
		return n
	}
	for i, c := range []struct {
		name   string
		pixels el
		frames []string
		more   []el
	}{
		{"an empty table, a fragment a frame", encapsulated("", frameA, frameB, frameC), []string{frameA, frameB, frameC}, nil},
		{"a table", encapsulated(offsets(0, step(frameA), step(frameA, frameB)), frameA, frameB, frameC), []string{frameA, frameB, frameC}, nil},
		{"a table, two fragments a frame", encapsulated(offsets(0, step(frameA[:6], frameA[6:])), frameA[:6], frameA[6:], frameB, frameC), []string{frameA, frameB + frameC}, nil},
		{"an empty table, more fragments than frames", encapsulated("", frameA[:6], frameA[6:], frameC[:4], frameC[4:]), []string{frameA, frameC}, nil},
		{"one frame of three fragments", encapsulated("", frameA[:4], frameA[4:8], frameA[8:]), []string{frameA}, nil},
		{"an extended table", encapsulated("", frameA, frameC), []string{frameA, frameC},
			[]el{{0x7FE00001, "OV", words(0, uint64(step(frameA)))}, {0x7FE00002, "OV", words(uint64(len(frameA)), uint64(len(frameC)))}}},
		{"an extended table of odd lengths", encapsulated("", frameB, frameC), []string{frameB[:len(frameB)-1], frameC},
			[]el{{0x7FE00001, "OV", words(0, uint64(step(frameB)))}, {0x7FE00002, "OV", words(uint64(len(frameB)-1), uint64(len(frameC)))}}},
	} {
		uid := fmt.Sprintf("1.33.%d", i)
		w.post(t, compressed(jpegBaseline, uid, uid+".1", uid+".1.1", len(c.frames), append(c.more, c.pixels)...)).is(200, 202)
		path := fmt.Sprintf("/studies/%s/series/%s.1/instances/%s.1.1/frames/", uid, uid, uid)
		for n, want := range c.frames {
			a := w.get(t, path+fmt.Sprint(n+1), "image/jpeg").is(200)
			// The byte that makes a fragment's length even may stay.
			if got := string(a.Body); strings.TrimSuffix(got, "\x00") != strings.TrimSuffix(want, "\x00") {
				t.Errorf("%s: frame %d is %q, want %q", c.name, n+1, got, want)
			}
		}
		w.get(t, path+fmt.Sprint(len(c.frames)+1), framesStored).problem(404)
		w.get(t, path+"0", framesStored).problem(400)
		w.get(t, path+"1,x", framesStored).problem(400)
	}
	// Native: three frames, big endian converted.
	var pixels []byte
	for i := range 3 * 4 * 4 * 2 {
		pixels = append(pixels, byte(i))
	}
	w.post(t, image("1.33.50", "1.33.50.1", "1.33.50.1.1", el{0x00280008, "IS", "3"}, el{0x7FE00010, "OW", string(pixels)})).is(200)
	const path = "/studies/1.33.50/series/1.33.50.1/instances/1.33.50.1.1"
	big := w.get(t, path, "application/dicom; transfer-syntax="+explicitBE).is(200).Body
	w.do(t, "DELETE", "/studies/1.33.50", nil).is(204)
	w.post(t, big).is(200)
	for n := range 3 {
		want := pixels[n*32 : (n+1)*32]
		if a := w.get(t, path+fmt.Sprintf("/frames/%d", n+1), "application/octet-stream").is(200); !bytes.Equal(a.Body, want) {
			t.Errorf("frame %d of a big endian file: % x, want % x", n+1, a.Body, want)
		}
	}
	if list := w.get(t, path+"/frames/3,1", `multipart/related; type="application/octet-stream"`).is(200).parts(); len(list) != 2 || !bytes.Equal(list[0].Body, pixels[64:]) {
		t.Error("a list of frames comes in another order")
	}
}
