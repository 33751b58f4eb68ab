package conformance

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/strata-pacs/strata/dicomweb"
)

// finds checks which UIDs a search gives, in order.
func (w *world) finds(t *testing.T, path, query, want string) {
	t.Helper()
	if got := uids(w.get(t, path+"?"+query, typeJSON).is(200).datasets(), path); got != want {
		t.Errorf("%s?%s: %q, want %q", path, query, got, want)
	}
}

func interop15(t *testing.T, w *world) {
	for _, path := range []string{"/studies?PatientID=nobody", "/series?SeriesInstanceUID=1.99", "/instances?SOPInstanceUID=1.99", "/studies/1.99/series",
		"/studies/1.99/instances", "/studies/1.10/series/1.99/instances", "/studies?limit=3&offset=1000"} {
		if a := w.get(t, path, typeJSON).is(200); string(a.Body) != "[]" || mediaType(a.Header) != typeJSON {
			t.Errorf("%s: %q", path, a.Body)
		}
	}
}

func interop16(t *testing.T, w *world) {
	for _, d := range w.get(t, "/studies", "").is(200).datasets() {
		if d.text("00080061") == "" || d["00080061"].VR != "CS" {
			t.Errorf("%s has modalities %+v", d.text("0020000D"), d["00080061"])
		}
	}
	const scope = "&StudyInstanceUID=1.10,1.11,1.12,1.13"
	w.finds(t, "/studies", "ModalitiesInStudy=CT,MR"+scope, "1.11 1.10")
	w.finds(t, "/studies", "ModalitiesInStudy=CT%2CUS"+scope, "1.11 1.10 1.12")
	w.finds(t, "/studies", "00080061=MR%5CUS"+scope, "1.10 1.12")
	w.finds(t, "/studies", "ModalitiesInStudy=OT"+scope, "1.13")
}

func interop17(t *testing.T, w *world) {
	check := func(path string, tags ...string) {
		t.Helper()
		for _, d := range w.get(t, path, "").is(200).datasets() {
			for _, tag := range tags {
				if d.text(tag) == "" {
					t.Errorf("%s: %s has no value", path, tag)
				}
			}
			if got := d.text("00081190"); !strings.HasPrefix(got, w.url+"/studies/") {
				t.Errorf("%s: RetrieveURL %q", path, got)
			}
			if d.text("00080056") != "ONLINE" {
				t.Errorf("%s: InstanceAvailability %q", path, d.text("00080056"))
			}
		}
	}
	check("/studies", "00201206", "00201208", "00081190")
	check("/series", "00201209", "00081190")
	check("/studies/1.10/series", "00201209", "00081190")
	check("/instances", "00081190")
	check("/studies/1.10/series/1.10.1/instances", "00081190")
}

func interop18(t *testing.T, w *world) {
	for _, path := range []string{"/studies", "/series", "/instances"} {
		whole := uids(w.get(t, path, "").is(200).datasets(), path)
		var paged []string
		for offset := 0; offset < 100; offset += 2 {
			a := w.get(t, fmt.Sprintf("%s?limit=2&offset=%d", path, offset), "").is(200)
			got := uids(a.datasets(), path)
			if got == "" {
				break
			}
			paged = append(paged, got)
			more := offset+2 < len(strings.Fields(whole))
			if warned := strings.HasPrefix(a.Header.Get("Warning"), "299 "); warned != more {
				t.Errorf("%s at %d: Warning %q", path, offset, a.Header.Get("Warning"))
			}
		}
		if strings.Join(paged, " ") != whole {
			t.Errorf("%s: pages %q, whole %q", path, paged, whole)
		}
	}
	few := open(t, func(o *dicomweb.Options) { o.Limits.Results = 2 })
	sample(t, few)
	if a := few.get(t, "/studies", "").is(200); len(a.datasets()) != 2 || !strings.HasPrefix(a.Header.Get("Warning"), "299 ") {
		t.Errorf("the server's own limit: %d studies, Warning %q", len(a.datasets()), a.Header.Get("Warning"))
	}
}

func interop19(t *testing.T, w *world) {
	for query, tags := range map[string]string{
		"includefield=OperatorsName,PatientSex":                                          "00081070 00100040",
		"includefield=00081070&includefield=00100040&includefield=StudyDescription":      "00081070 00100040 00081030",
		"includefield=00081070%2C00100040":                                               "00081070 00100040",
		"includefield=all":                                                               "00080080 00081030",
		"includefield=RequestAttributesSequence.ScheduledProcedureStepID,00081070":       "00081070",
		"includefield=NoSuchThing,00081070":                                              "00081070",
		"includefield=InstitutionName&includefield=NumberOfStudyRelatedInstances,00101":  "00201208",
		"includefield=" + url.QueryEscape("PerformedProtocolCodeSequence,OperatorsName"): "00081070",
	} {
		d := w.get(t, "/studies?StudyInstanceUID=1.10&"+query, "").is(200).datasets()[0]
		for tag := range strings.FieldsSeq(tags) {
			if _, ok := d[tag]; !ok && tag != "00080080" {
				t.Errorf("%s: %s is missing", query, tag)
			}
		}
	}
	list := w.get(t, "/series?StudyInstanceUID=1.12&includefield=00400275.00400009", "").is(200).datasets()
	if items := list[0].items(t, "00400275"); len(items) != 2 || items[1].text("00400009") != "SPS-2" {
		t.Errorf("the sequence came as %+v", items)
	}
}

func interop20(t *testing.T, w *world) {
	for query, want := range map[string]string{
		"StudyInstanceUID=1.12,1.10": "1.10 1.12", "StudyInstanceUID=1.12%5C1.10": "1.10 1.12", "0020000D=1.12&0020000D=1.10": "1.10 1.12",
		"PatientID=PHAN*": "1.11 1.10", "PatientID=PHAN-0?": "1.11 1.10", "PatientID=?HAN-*1": "1.10",
		"StudyDate=20230101-20240102&PatientID=*7*": "1.12", "StudyDate=20240103-": "1.11",
		"StudyDate=-20231231": "1.12", "StudyTime=2330-": "1.11", "StudyTime=-0800": "1.12", "StudyTime=075959-080001": "1.12",
		// One range of moments: not every day of it at these times.
		"StudyDate=20230630-20240102&StudyTime=0900-1100": "1.10",
		"StudyDate=20240102-20240205&StudyTime=1100-2300": "",
	} {
		query := query + "&PatientID=*"
		if !strings.Contains(query, "StudyInstanceUID") && !strings.Contains(query, "0020000D") {
			query += "&StudyInstanceUID=1.10,1.11,1.12,1.13"
		}
		w.finds(t, "/studies", query, want)
	}
}

func interop21(t *testing.T, w *world) {
	for query, want := range map[string]string{
		"PatientName=" + url.QueryEscape("*Mül*"): "1.10", "PatientName=MULLER*": "1.10", "PatientName=m%C3%BCller%5Ej%C3%B6rg": "1.10",
		"PatientName=" + url.QueryEscape("山田^太郎"): "1.11", "PatientName=" + url.QueryEscape("やまだ*"): "1.11", "PatientName=yamada*": "1.11",
		"PatientName=" + url.QueryEscape("Yamada^Tarou=山田^太郎=やまだ^たろう"): "1.11", "PatientName=" + url.QueryEscape("=山田*"): "1.11",
		"PatientName=jorg&fuzzymatching=true": "1.10", "PatientName=tar+yam&fuzzymatching=true": "1.11", "PatientName=" + url.QueryEscape("太郎") + "&fuzzymatching=true": "1.11",
		"ReferringPhysicianName=weiss*": "1.10",
	} {
		w.finds(t, "/studies", query, want)
	}
}

func interop22(t *testing.T, w *world) {
	w.finds(t, "/series", "StudyInstanceUID=1.10", "1.10.1 1.10.2")
	w.finds(t, "/instances", "StudyInstanceUID=1.10&Modality=MR", "1.10.2.1")
	w.finds(t, "/studies/1.10/instances", "Modality=CT", "1.10.1.1 1.10.1.2")
	for path, tags := range map[string]string{
		"/series?StudyInstanceUID=1.10":    "0020000D 00080020 00100010 00100020 00201208 0020000E 00080060",
		"/instances?StudyInstanceUID=1.10": "0020000D 00080020 00100010 00100020 0020000E 00080060 00080018 00080016",
		"/studies/1.10/instances":          "0020000D 0020000E 00080060 00080018 00080016",
		"/studies/1.10/series":             "0020000D 0020000E 00080060",
	} {
		d := w.get(t, path, "").is(200).datasets()[0]
		for tag := range strings.FieldsSeq(tags) {
			if d.text(tag) == "" {
				t.Errorf("%s: %s has no value", path, tag)
			}
		}
	}
}

func interop23(t *testing.T, w *world) {
	a := w.get(t, "/studies?PatientID=PHAN-01&nosuchparameter=1&_=1700000000", "").is(200)
	if uids(a.datasets(), "") != "1.10" || !strings.HasPrefix(a.Header.Get("Warning"), "299 ") {
		t.Errorf("Warning %q", a.Header.Get("Warning"))
	}
	for _, q := range []string{"StudyDate=nonsense", "StudyTime=noon", "limit=many", "StudyInstanceUID=a.b", "SeriesNumber=x"} {
		w.get(t, "/studies?"+q, "").problem(400)
	}
}
