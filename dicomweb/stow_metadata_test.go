package dicomweb

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/dicom/dicomxml"
)

// metadataJSON is an instance whose Pixel Data, and whose private value, are elsewhere.
func metadataJSON(instance, pixels, more string) string {
	return `{"00080016":{"vr":"UI","Value":["1.2.840.10008.5.1.4.1.1.7"]},"00080018":{"vr":"UI","Value":["` + instance + `"]},` +
		`"00100010":{"vr":"PN","Value":[{"Alphabetic":"Müller^Hans"}]},` +
		`"0020000D":{"vr":"UI","Value":["1.2"]},"0020000E":{"vr":"UI","Value":["1.2.1"]},` + more +
		`"00280100":{"vr":"US","Value":[16]},"7FE00010":{"vr":"OW","BulkDataURI":"` + pixels + `"}}`
}

// stored parses a file that the fake store holds, and returns the bytes of its Pixel Data too.
func stored(t *testing.T, s *fakeStore, instance string) (*dicom.File, []byte) {
	t.Helper()
	b := s.files[instance]
	f, err := dicom.Read(context.Background(), bytes.NewReader(b), dicom.Limits{})
	if err != nil {
		t.Fatalf("what was stored: %v", err)
	}
	e := f.Data.Lookup(tagPixelData)
	if e == nil {
		t.Fatal("no Pixel Data")
	}
	if e.Fragments == nil {
		return f, b[e.Offset : e.Offset+e.Length]
	}
	var pixels []byte
	for _, s := range e.Fragments {
		pixels = append(pixels, b[s.Offset:s.Offset+s.Length]...)
	}
	return f, pixels
}

func TestStoreMetadata(t *testing.T) {
	const jsonType, xmlType = `multipart/related; type="application/dicom+json"; boundary=b`, `multipart/related; type="application/dicom+xml"; boundary=b`
	pixels := strings.Repeat("\x01\x02", 5000)
	one := metadataJSON("1.2.3", "http://x/bulk/1", "")
	toXML := func(json string) string {
		b, err := dicomxml.FromJSON(nil, []byte(json), "")
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	tests := []struct {
		name, contentType, body string
		status                  int
		syntax, pixels          string
	}{
		{"JSON", jsonType, message(typeJSON, "["+one+"]", "application/octet-stream http://x/bulk/1", pixels), 200, dicom.ExplicitVRLittleEndian, pixels},
		{"a single object", jsonType, message(typeJSON, one, "application/octet-stream http://x/bulk/1", pixels), 200, dicom.ExplicitVRLittleEndian, pixels},
		{"JSON called application/json", jsonType, message("application/json; charset=utf-8", one, "application/octet-stream http://x/bulk/1", pixels), 200, dicom.ExplicitVRLittleEndian, pixels},
		{"metadata without a type", jsonType, "--b\r\n\r\n" + one + "\r\n--b\r\nContent-Location: http://x/bulk/1\r\n\r\n" + pixels + "\r\n--b--", 200, dicom.ExplicitVRLittleEndian, pixels},
		{"the first part tells", `multipart/related; boundary=b`, message(typeJSON, one, "application/octet-stream http://x/bulk/1", pixels), 200, dicom.ExplicitVRLittleEndian, pixels},
		{"relative location", jsonType, message(typeJSON, metadataJSON("1.2.3", "./bulk/1", ""), "application/octet-stream bulk/1", pixels), 200, dicom.ExplicitVRLittleEndian, pixels},
		{"content id", jsonType, "--b\r\nContent-Type: application/dicom+json\r\n\r\n" + metadataJSON("1.2.3", "cid:p@x", "") +
			"\r\n--b\r\nContent-ID: <p@x>\r\n\r\n" + pixels + "\r\n--b--", 200, dicom.ExplicitVRLittleEndian, pixels},
		{"bulk data first", jsonType, message("application/octet-stream http://x/bulk/1", pixels, typeJSON, one), 200, dicom.ExplicitVRLittleEndian, pixels},
		{"odd length", jsonType, message(typeJSON, one, "application/octet-stream http://x/bulk/1", "abc"), 200, dicom.ExplicitVRLittleEndian, "abc\x00"},
		{"its transfer syntax", jsonType, message(typeJSON, `{"00020010":{"vr":"UI","Value":["1.2.840.10008.1.2"]},`+one[1:], "application/octet-stream http://x/bulk/1", pixels),
			200, dicom.ImplicitVRLittleEndian, pixels},
		{"JPEG", jsonType, message(typeJSON, one, "image/jpeg http://x/bulk/1", "frame"), 200, dicom.JPEGBaseline8Bit, "frame\x00"},
		{"JPEG of two frames", jsonType, message(typeJSON, one, "image/jpeg;transfer-syntax=1.2.840.10008.1.2.4.70 http://x/bulk/1", "frame1", "image/jpeg http://x/bulk/1", "frame2"),
			200, dicom.JPEGLosslessSV1, "frame1frame2"},
		{"compressed octets", jsonType, message(typeJSON, one, "application/octet-stream;transfer-syntax=1.2.840.10008.1.2.4.90 http://x/bulk/1", "frame1"), 200, dicom.JPEG2000Lossless, "frame1"},
		{"XML", xmlType, message(typeXML, toXML(one), "application/octet-stream http://x/bulk/1", pixels), 200, dicom.ExplicitVRLittleEndian, pixels},
		{"bulk data missing", jsonType, message(typeJSON, one), 409, "", ""},
		{"bulk data missing for one", jsonType, message(typeJSON, "["+one+","+metadataJSON("1.2.4", "nowhere", "")+"]", "application/octet-stream http://x/bulk/1", pixels), 202, dicom.ExplicitVRLittleEndian, pixels},
		{"two instances", jsonType, message(typeJSON, "["+one+","+metadataJSON("1.2.4", "2", "")+"]", "application/octet-stream http://x/bulk/1", pixels, "application/octet-stream 2", "xy"),
			200, dicom.ExplicitVRLittleEndian, pixels},
		{"not JSON", jsonType, message(typeJSON, "{", "application/octet-stream http://x/bulk/1", pixels), 400, "", ""},
		{"not XML", xmlType, message(typeXML, "<a", "application/octet-stream http://x/bulk/1", pixels), 400, "", ""},
		{"too much metadata", jsonType, message(typeJSON, metadataJSON("1.2.3", "x", strings.Repeat(" ", 20_000))), 413, "", ""},
		{"no instance", jsonType, message(typeJSON, "[]"), 400, "", ""},
		{"cut off in bulk data", jsonType, strings.TrimSuffix(message(typeJSON, one, "application/octet-stream http://x/bulk/1", pixels), "\r\n--b--\r\n"), 400, "", ""},
		{"single part", typeJSON, strings.Replace(one, `"BulkDataURI":"http://x/bulk/1"`, `"InlineBinary":"AQID"`, 1), 200, dicom.ExplicitVRLittleEndian, "\x01\x02\x03\x00"},
		{"single part of XML", typeXML, toXML(strings.Replace(one, `"BulkDataURI":"http://x/bulk/1"`, `"InlineBinary":"AQIDBA=="`, 1)), 200, dicom.ExplicitVRLittleEndian, "\x01\x02\x03\x04"},
	}
	for _, memory := range []int64{1, 1 << 20} {
		for _, tt := range tests {
			t.Run(fmt.Sprintf("%s/%d", tt.name, memory), func(t *testing.T) {
				dir := t.TempDir()
				fake := &fakeStore{}
				url := serve(t, New(Options{Store: fake.begin, TempDir: dir, Limits: Limits{BulkMemory: memory, MetadataBytes: 10_000}}))
				for _, accept := range []string{typeJSON, typeXML} {
					r := do(t, "POST", url+Root+"/studies", strings.NewReader(tt.body), "Content-Type", tt.contentType, "Accept", accept)
					if r.StatusCode != tt.status {
						t.Fatalf("status %d, want %d: %s", r.StatusCode, tt.status, r.body)
					}
					if tt.status == 400 || tt.status == 413 {
						r.problem(t)
						return
					}
					if ct := r.Header.Get("Content-Type"); ct != accept || !strings.Contains(r.body, "1.2.3") {
						t.Errorf("%s: %s", ct, r.body)
					}
				}
				if left, _ := os.ReadDir(dir); len(left) > 0 {
					t.Errorf("left behind: %v", left)
				}
				if tt.pixels == "" {
					return
				}
				f, got := stored(t, fake, "1.2.3")
				if f.Syntax != tt.syntax || string(got) != tt.pixels {
					t.Errorf("syntax %s, %d bytes of pixels", f.Syntax, len(got))
				}
				if name, _ := f.Data.Text(0x00100010); name != "Müller^Hans" {
					t.Errorf("name %q", name)
				}
			})
		}
	}
}

func TestStoreMetadataNestedBulk(t *testing.T) {
	body := message(typeJSON, metadataJSON("1.2.3", "px", `"00091001":{"vr":"SQ","Value":[{"00091002":{"vr":"OB","BulkDataURI":"a"}},{"00091002":{"vr":"OB","BulkDataURI":"b"}}]},`),
		"application/octet-stream px", "pixels", "application/octet-stream b", "second", "application/octet-stream a", "first!")
	fake := &fakeStore{}
	url := serve(t, New(Options{Store: fake.begin, Limits: Limits{BulkMemory: 7}, TempDir: t.TempDir()}))
	r := do(t, "POST", url+Root+"/studies", strings.NewReader(body), "Content-Type", `multipart/related; type="application/dicom+json"; boundary=b`)
	if r.StatusCode != 200 {
		t.Fatalf("%d %s", r.StatusCode, r.body)
	}
	f, pixels := stored(t, fake, "1.2.3")
	items := f.Data.Lookup(0x00091001).Items
	if len(items) != 2 || string(items[0].Lookup(0x00091002).Value) != "first!" || string(items[1].Lookup(0x00091002).Value) != "second" || string(pixels) != "pixels" {
		t.Errorf("%v %q", items, pixels)
	}
}

func TestSpool(t *testing.T) {
	s := spool{dir: t.TempDir(), tenant: "t", left: 10}
	defer s.close()
	small, big, other := "Müller", strings.Repeat("Müller^Hans ", 50_000), strings.Repeat("x", 11)
	var values []*spooled
	for _, v := range []string{small, big, "", other} {
		p, err := s.put(strings.NewReader(v))
		if err != nil {
			t.Fatal(err)
		}
		if p.size != int64(len(v)) {
			t.Errorf("size %d, want %d", p.size, len(v))
		}
		values = append(values, p)
	}
	for round := range 2 {
		for i, want := range []string{small, big, "", other} {
			r, err := values[i].reader(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(r)
			if err != nil || string(b) != want {
				t.Errorf("round %d, value %d: %d bytes, %v", round, i, len(b), err)
			}
			_ = r.Close()
		}
	}
	onDisk := make([]byte, s.end)
	if _, err := s.file.ReadAt(onDisk, 0); err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(onDisk, []byte("ller^Hans")) || bytes.Contains(onDisk, []byte("xxxxxxxx")) {
		t.Error("the temporary file can be read")
	}
	if list, _ := os.ReadDir(s.dir); len(list) > 0 {
		t.Errorf("the temporary file has a name: %v", list)
	}
	onDisk[len(onDisk)/2] ^= 1
	if _, err := s.file.WriteAt(onDisk, 0); err != nil {
		t.Fatal(err)
	}
	r, err := values[1].reader(context.Background())
	if err == nil {
		_, err = io.Copy(io.Discard, r)
		_ = r.Close()
	}
	if err == nil {
		t.Error("changed bytes are read")
	}
}

func TestSpoolWithoutFolder(t *testing.T) {
	fake := &fakeStore{}
	url := serve(t, New(Options{Store: fake.begin, TempDir: t.TempDir() + "/gone", Limits: Limits{BulkMemory: 1}}))
	r := do(t, "POST", url+Root+"/studies", strings.NewReader(message(typeJSON, metadataJSON("1.2.3", "x", ""), "application/octet-stream x", "pixels")),
		"Content-Type", `multipart/related; type="application/dicom+json"; boundary=b`)
	if r.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
}
