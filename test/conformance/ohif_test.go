package conformance

import (
	"bytes"
	jpegimage "image/jpeg"
	"strings"
	"sync"
	"testing"
)

// TestOHIF sends the requests that OHIF 3.13 makes, to the letter.
func TestOHIF(t *testing.T) {
	t.Parallel()
	w := open(t)
	sample(t, w)
	w.post(t, jpeg, pdf()).is(200)
	const list = "/studies?limit=101&offset=0&fuzzymatching=true&includefield=00081030%2C00080060%2C00080090%2C00100030"
	d := w.get(t, list, typeJSON).is(200).datasets()
	if len(d) == 6 {
		d = d[2:3]
	}
	if len(d) != 1 || d[0].text("00081030") != "CT Schädel nativ" || d[0].text("00100030") != "19500401" || d[0].text("00080061") == "" {
		t.Errorf("the study list: %+v", d)
	}
	for filter, want := range map[string]string{"PatientName=*M%C3%BCl*": "1.10", "00100020=*PHAN*": "1.11 1.10", "ModalitiesInStudy=CT%2CMR": "1.11 1.10",
		"StudyDate=20200101-20261231": "1.11 1.10 1.12"} {
		got := uids(w.get(t, list+"&"+filter+"&PatientID=*&StudyInstanceUID=1.10,1.11,1.12", typeJSON).is(200).datasets(), "")
		if got != want {
			t.Errorf("%s: %q, want %q", filter, got, want)
		}
	}
	series := w.get(t, "/studies/1.10/series?includefield=0008103E%2C00080021", typeJSON).is(200).datasets()
	if len(series) != 2 || series[0].text("0008103E") != "Series CT" {
		t.Errorf("series: %+v", series)
	}
	if n := len(w.get(t, "/studies/1.10/series/1.10.1/metadata", "application/dicom+json").is(200).datasets()); n != 2 {
		t.Errorf("metadata of %d instances", n)
	}
	t.Run("frames", func(t *testing.T) { ohifFrames(t, w) })
	t.Run("bulk data", func(t *testing.T) {
		a := w.get(t, "/studies/1.34/series/1.34.1/instances/1.34.1.1/bulkdata/00420011",
			`multipart/related; type="application/pdf", multipart/related; type="application/octet-stream"`).is(200)
		if list := a.parts(); len(list) != 1 || !bytes.HasPrefix(list[0].Body, []byte("%PDF")) {
			t.Errorf("%d parts", len(list))
		}
	})
	t.Run("rendered", func(t *testing.T) {
		const instance = "/studies/1.10/series/1.10.1/instances/1.10.1.1"
		for _, path := range []string{instance + "/rendered", instance + "/frames/1/rendered", "/studies/1.10/series/1.10.1/rendered", instance + "/thumbnail?accept=image/jpeg",
			instance + "/rendered?viewport=256,256", "/studies/1.10/thumbnail", "/studies/1.10/series/1.10.1/thumbnail?accept=image/jpeg&viewport=128,128"} {
			a := w.get(t, path, "image/jpeg").is(200, 206)
			body := a.Body
			if mediaType(a.Header) == "multipart/related" {
				body = a.parts()[0].Body
			}
			if img, err := jpegimage.Decode(bytes.NewReader(body)); err != nil || img.Bounds().Dx() != img.Bounds().Dy() {
				t.Errorf("%s: %v", path, err)
			}
		}
	})
	t.Run("store", func(t *testing.T) {
		body, _ := related(typeDICOM, image("1.35", "1.35.1", "1.35.1.1"))
		w.do(t, "POST", "/studies", append([]byte("\r\n"), body...), "Content-Type", `multipart/related; type="application/dicom"; boundary="a-boundary-of-the-tests"`,
			"Accept", "*/*", "Origin", "http://localhost:3000").is(200)
	})
}

// ohifFrames asks for 25 frames at a time, the one in the middle first.
func ohifFrames(t *testing.T, w *world) {
	var wg sync.WaitGroup
	for range 25 {
		for _, c := range [][2]string{{"/studies/1.10/series/1.10.1/instances/1.10.1.2/frames/1", "application/octet-stream"}, {jpegPath + "/frames/2", "image/jpeg"}} {
			wg.Go(func() {
				a := w.get(t, c[0], "multipart/related; type=application/octet-stream; transfer-syntax=*")
				if a.Status != 200 || !strings.Contains(string(a.Body[:min(1000, len(a.Body))]), "\r\nContent-Type: "+c[1]) {
					t.Errorf("%s: %d %.200q", c[0], a.Status, a.Body)
				}
			})
		}
	}
	wg.Wait()
}

// pdf is an Encapsulated PDF instance.
func pdf() []byte {
	document := "%PDF-1.4 " + strings.Repeat("not much of a document ", 80)
	return part10(explicitLE, nil, el{0x00080016, "UI", "1.2.840.10008.5.1.4.1.1.104.1"}, el{0x00080018, "UI", "1.34.1.1"}, el{0x00080060, "CS", "DOC"},
		el{0x00100020, "LO", "P34"}, el{0x0020000D, "UI", "1.34"}, el{0x0020000E, "UI", "1.34.1"}, el{0x00420011, "OB", document},
		el{0x00420012, "LO", "application/pdf"}, el{0x00420015, "UL", "\x00\x00\x00\x00"})
}
