package dicomweb

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/search"
)

// matches is a searcher that finds the same whatever it is asked for.
type matches struct {
	list []search.Match
	out  search.Outcome
	err  error
	last *search.Query
}

func (m *matches) Search(_ context.Context, _ archive.Tenant, q *search.Query, yield func(*search.Match) bool) (search.Outcome, error) {
	m.last = q
	for i := range m.list {
		if !yield(&m.list[i]) {
			break
		}
	}
	out := m.out
	out.Warnings = append(out.Warnings, q.Warnings...)
	return out, m.err
}

func rowAttrs(kv ...string) (as archive.Attrs) {
	for _, s := range kv {
		keyword, value, _ := strings.Cut(s, "=")
		t, _ := dicom.TagOf(keyword)
		as = append(as, archive.Attr{Tag: t, VR: dicom.VROf(t), Value: value})
	}
	slices.SortFunc(as, func(a, b archive.Attr) int { return int(a.Tag) - int(b.Tag) })
	return as
}

func oneStudy() search.Match {
	st := &archive.StudyRow{UID: "1.2.3", Modalities: []string{"CT", "SR"}, Series: 2, Instances: 13, Tier: archive.Online,
		Attrs: rowAttrs("SpecificCharacterSet=ISO_IR 100", "PatientName=Müller^Jürgen=山田", "PatientID=a\"b", "StudyDate=20240105", "InstitutionName=x")}
	return search.Match{UIDs: archive.UIDs{Study: st.UID}, Study: st}
}

func ask(t *testing.T, s Searcher, url string, header ...string) *http.Response {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, url, nil)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	New(Options{Search: s}).ServeHTTP(w, r)
	return w.Result()
}

func body(t *testing.T, r *http.Response) []byte {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// INTEROP: an empty result is 200 and an empty list.
func TestSearchEmpty(t *testing.T) {
	for _, path := range []string{"/studies", "/series", "/instances", "/studies/1.2/series", "/studies/1.2/instances", "/studies/1.2/series/1.3/instances"} {
		r := ask(t, &matches{}, Root+path+"?PatientID=nobody")
		if b := body(t, r); r.StatusCode != 200 || string(b) != "[]" || r.Header.Get("Content-Type") != "application/dicom+json" {
			t.Errorf("%s: %d %s %s", path, r.StatusCode, r.Header, b)
		}
	}
}

func TestSearchStudiesJSON(t *testing.T) {
	r := ask(t, &matches{list: []search.Match{oneStudy(), oneStudy()}}, "http://pacs.example"+Root+"/studies?limit=2")
	b := body(t, r)
	var items []map[string]struct {
		VR    string `json:"vr"`
		Value []any
	}
	if err := json.Unmarshal(b, &items); err != nil || len(items) != 2 {
		t.Fatalf("%v in %s", err, b)
	}
	for tag, want := range map[string]string{
		"00080005": "CS [ISO_IR 192]", "00080020": "DA [20240105]", "00080030": "TM []", "00080050": "SH []", "00080056": "CS [ONLINE]",
		"00080061": "CS [CT SR]", "00080090": "PN []", "00081190": "UR [http://pacs.example/dicom-web/studies/1.2.3]",
		"00100010": "PN [map[Alphabetic:Müller^Jürgen Ideographic:山田]]", "00100020": `LO [a"b]`, "00100030": "DA []", "00100040": "CS []",
		"0020000D": "UI [1.2.3]", "00200010": "SH []", "00201206": "IS [2]", "00201208": "IS [13]",
	} {
		v, ok := items[1][tag]
		if got := fmt.Sprint(v.VR, " ", v.Value); !ok || got != want {
			t.Errorf("%s is %s, want %s", tag, got, want)
		}
	}
	if _, ok := items[0]["00080080"]; ok {
		t.Error("an attribute that nobody asked for")
	}
	keys := json.NewDecoder(bytes.NewReader(b))
	last := ""
	for depth := 0; ; {
		tok, err := keys.Token()
		if err != nil {
			break
		}
		switch v := tok.(type) {
		case json.Delim:
			if v == '{' || v == '[' {
				depth++
			} else {
				depth--
			}
			if depth == 1 {
				last = ""
			}
		case string:
			if depth == 2 {
				if v <= last {
					t.Errorf("%s after %s: attributes do not ascend", v, last)
				}
				last = v
			}
		}
	}
}

func TestSearchLevels(t *testing.T) {
	m := oneStudy()
	m.Series = &archive.SeriesRow{UID: "1.2.3.4", Instances: 12, Tier: archive.Nearline, Attrs: rowAttrs("Modality=CT", "SeriesNumber=3")}
	m.UIDs.Series = "1.2.3.4"
	b := string(body(t, ask(t, &matches{list: []search.Match{m}}, Root+"/series?includefield=PatientComments,StudyComments")))
	for _, want := range []string{`"00080060":{"vr":"CS","Value":["CT"]}`, `"00201209":{"vr":"IS","Value":[12]}`, `"00080056":{"vr":"CS","Value":["NEARLINE"]}`,
		`/studies/1.2.3/series/1.2.3.4"]}`, `"00201208":{"vr":"IS","Value":[13]}`, `"00104000":{"vr":"LT"}`} {
		if !strings.Contains(b, want) {
			t.Errorf("no %s in %s", want, b)
		}
	}
	m.Instance = &archive.InstanceRow{Tier: archive.Online}
	m.Instance.SOPClass = "1.2.840.10008.5.1.4.1.1.2"
	m.UIDs.Instance = `odd"uid`
	m.Extra = []search.Extra{{Tag: 0x00104000, JSON: []byte(`{"vr":"LT","Value":["c"]}`)}}
	m.Below = rowAttrs("StationName=S")
	b = string(body(t, ask(t, &matches{list: []search.Match{m}}, Root+"/studies/1.2.3/series/1.2.3.4/instances?includefield=PatientComments")))
	for _, want := range []string{`"00080018":{"vr":"UI","Value":["odd\"uid"]}`, `/instances/odd%22uid"]}`, `"00104000":{"vr":"LT","Value":["c"]}`, `"00080016":{"vr":"UI","Value":["1.2.840.10008.5.1.4.1.1.2"]}`} {
		if !strings.Contains(b, want) {
			t.Errorf("no %s in %s", want, b)
		}
	}
	if !json.Valid([]byte(b)) || strings.Contains(b, "00100010") || strings.Contains(b, "00280010") {
		t.Errorf("%s", b)
	}
}

// INTEROP: percent-encoding is decoded before splitting.
func TestSearchDecodesFirst(t *testing.T) {
	s := &matches{}
	ask(t, s, Root+"/studies?limit=101&offset=7&fuzzymatching=true&includefield=00081030%2C00080060%2C00080090%2C00100030&PatientName=*M%C3%BCl*")
	if s.last == nil || s.last.Limit != 101 || s.last.Offset != 7 || !s.last.Fuzzy {
		t.Fatalf("%+v", s.last)
	}
	if !slices.ContainsFunc(s.last.Fields(), func(f search.Field) bool { return f.Tag == 0x00080060 }) {
		t.Error("includefield was not split")
	}
}

func TestSearchWarnings(t *testing.T) {
	s := &matches{list: []search.Match{oneStudy(), oneStudy()}, out: search.Outcome{More: true}}
	r := ask(t, s, "http://h"+Root+"/studies?limit=2&offset=3&foo=bar")
	got := r.Header.Values("Warning")
	if len(got) != 2 || got[0] != `299 http://h/dicom-web "There are additional results that can be requested, with offset=5"` || !strings.HasPrefix(got[1], "299 ") {
		t.Errorf("%q", got)
	}
}

func TestSearchRefuses(t *testing.T) {
	for url, status := range map[string]int{
		"/studies?StudyDate=nonsense": 400, "/studies?limit=-1": 400, "/studies/x/series": 400, "/series?SeriesDate=2024-01-01": 400, "/instances?InstanceNumber=x": 400,
		"/studies?PatientID=%zz": 400,
	} {
		r := ask(t, &matches{}, Root+url)
		if r.StatusCode != status || r.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %d %s", url, r.StatusCode, body(t, r))
		}
	}
	if r := ask(t, &matches{}, Root+"/studies", "Accept", "text/x-nonsense"); r.StatusCode != 406 {
		t.Errorf("Accept nonsense: %d", r.StatusCode)
	}
}

func TestSearchAccepts(t *testing.T) {
	for accept, want := range map[string]string{
		"": typeJSON, "*/*": typeJSON, "application/json": typeJSON, "application/dicom+json": typeJSON, "application/*": typeJSON,
		"application/dicom+json, multipart/related; type=application/dicom+xml": typeJSON,
		`multipart/related; type="application/dicom+xml"`:                       "multipart/related",
		"multipart/related;type=application/dicom+xml":                          "multipart/related",
	} {
		r := ask(t, &matches{list: []search.Match{oneStudy()}}, Root+"/studies", "Accept", accept)
		if got, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); r.StatusCode != 200 || got != want {
			t.Errorf("%q: %d %s", accept, r.StatusCode, r.Header.Get("Content-Type"))
		}
	}
}

func TestSearchXML(t *testing.T) {
	r := ask(t, &matches{list: []search.Match{oneStudy(), oneStudy()}}, Root+"/studies", "Accept", `multipart/related; type="application/dicom+xml"`)
	_, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || params["type"] != "application/dicom+xml" {
		t.Fatal(err, r.Header)
	}
	parts := multipart.NewReader(r.Body, params["boundary"])
	n := 0
	for ; ; n++ {
		p, err := parts.NextPart()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(p)
		var doc struct {
			XMLName xml.Name `xml:"NativeDicomModel"`
			Attrs   []struct {
				Tag string `xml:"tag,attr"`
			} `xml:"DicomAttribute"`
		}
		if err := xml.Unmarshal(text, &doc); err != nil || len(doc.Attrs) < 10 {
			t.Errorf("%v in %s", err, text)
		}
	}
	if n != 2 {
		t.Errorf("%d parts", n)
	}
	if r := ask(t, &matches{}, Root+"/studies", "Accept", `multipart/related; type="application/dicom+xml"`); r.StatusCode != 200 {
		t.Errorf("no match: %d", r.StatusCode)
	}
}

func TestSearchFailure(t *testing.T) {
	r := ask(t, &matches{list: []search.Match{oneStudy()}, err: io.ErrUnexpectedEOF}, Root+"/studies")
	if b := body(t, r); r.StatusCode != 500 || bytes.Contains(b, []byte("1.2.3")) {
		t.Errorf("%d %s", r.StatusCode, b)
	}
}

func TestSearchAnswerIsBounded(t *testing.T) {
	m := oneStudy()
	m.Study.Attrs = rowAttrs("StudyDescription="+strings.Repeat("x", 1<<20), "PatientID=1")
	s := &matches{out: search.Outcome{More: true}}
	for range 64 {
		s.list = append(s.list, m)
	}
	r := ask(t, s, Root+"/studies")
	if n := len(body(t, r)); n > searchBytes+2<<20 || !strings.Contains(r.Header.Get("Warning"), "offset=32") {
		t.Errorf("%d bytes, %q", n, r.Header.Get("Warning"))
	}
}

func BenchmarkSearchRows(b *testing.B) {
	q, err := search.Parse(archive.LevelStudy, archive.UIDs{}, "limit=50")
	if err != nil {
		b.Fatal(err)
	}
	m := oneStudy()
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		w := newRowWriter(q, "http://localhost:8080/dicom-web")
		buf = buf[:0]
		for range 50 {
			buf = w.append(buf, &m)
		}
	}
}

// TestSearchWhilePartial: an answer that may miss something says so.
func TestSearchWhilePartial(t *testing.T) {
	for _, partial := range []bool{true, false} {
		w := httptest.NewRecorder()
		s := New(Options{Search: &matches{}, Partial: func() bool { return partial }})
		s.ServeHTTP(w, httptest.NewRequest(http.MethodGet, Root+"/studies", nil))
		if got := strings.Contains(w.Header().Get("Warning"), "being filled"); w.Code != 200 || got != partial {
			t.Errorf("partial %v: %d, Warning %q", partial, w.Code, w.Header().Get("Warning"))
		}
	}
}
