package conformance

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
)

// uids lists the UIDs of the matches at the level of the resource.
func uids(list []dataset, path string) string {
	tag := "0020000D"
	if strings.HasSuffix(path, "/series") {
		tag = "0020000E"
	} else if strings.HasSuffix(path, "/instances") {
		tag = "00080018"
	}
	var out []string
	for _, d := range list {
		out = append(out, d.text(tag))
	}
	return strings.Join(out, " ")
}

// TestMatching asks for every key that PS3.18 Table 10.6.1-5 requires, and for
// every type of matching of PS3.4 §C.2.2.2.
func TestMatching(t *testing.T) {
	t.Parallel()
	w := open(t)
	sample(t, w)
	for _, c := range []struct{ path, query, want string }{
		// The order is newest first; without a date last.
		{"/studies", "", "1.11 1.10 1.12 1.13"},
		{"/series", "", "1.11.1 1.10.1 1.10.2 1.12.1 1.13.1"},
		{"/instances", "", "1.11.1.1 1.10.1.1 1.10.1.2 1.10.2.1 1.12.1.1 1.13.1.1"},
		{"/studies/1.10/series", "", "1.10.1 1.10.2"},
		{"/studies/1.10/instances", "", "1.10.1.1 1.10.1.2 1.10.2.1"},
		{"/studies/1.10/series/1.10.1/instances", "", "1.10.1.1 1.10.1.2"},
		{"/studies/1.99/series", "", ""},

		// Study level.
		{"/studies", "StudyDate=20240102", "1.10"},
		{"/studies", "00080020=20240102-20240205", "1.11 1.10"},
		{"/studies", "StudyDate=20240101-", "1.11 1.10"},
		{"/studies", "StudyDate=-20231231", "1.12"},
		{"/studies", "StudyTime=1015", "1.10"},
		{"/studies", "StudyTime=08-1100", "1.10 1.12"},
		{"/studies", "StudyTime=2300-", "1.11"},
		{"/studies", "StudyTime=-0900", "1.12"},
		{"/studies", "StudyDate=20230630-20240102&StudyTime=0900-1100", "1.10"},
		{"/studies", "AccessionNumber=A-100/7", "1.10"},
		{"/studies", "AccessionNumber=A-10*", "1.11 1.10"},
		{"/studies", "AccessionNumber=A-10?", "1.11"},
		{"/studies", "AccessionNumber=*3", "1.12"},
		{"/studies", "AccessionNumber=B%203", "1.12"},
		{"/studies", "AccessionNumber=B+3", "1.12"},
		{"/studies", "ModalitiesInStudy=MR", "1.10"},
		{"/studies", "ModalitiesInStudy=CT,US", "1.11 1.10 1.12"},
		{"/studies", `ModalitiesInStudy=MR\US`, "1.10 1.12"},
		{"/studies", "ReferringPhysicianName=House*", "1.11 1.12"},
		{"/studies", "ReferringPhysicianName=WEISS^KARL", "1.10"},
		{"/studies", "PatientName=fern^ada", "1.12"},
		{"/studies", "PatientName=*M%C3%BCl*", "1.10"},
		{"/studies", "PatientName=muller*", "1.10"},
		{"/studies", "PatientName=" + url.QueryEscape("山田*"), "1.11"},
		{"/studies", "PatientName=" + url.QueryEscape("*たろう"), "1.11"},
		{"/studies", "PatientName=Yamada^Tarou", "1.11"},
		{"/studies", "PatientName=Tarou&fuzzymatching=true", "1.11"},
		{"/studies", "PatientName=Tarou", ""},
		{"/studies", "PatientName=*&StudyDate=20240102", "1.10"},
		{"/studies", "PatientID=PHAN-01", "1.10"},
		{"/studies", "PatientID=*PHAN*", "1.11 1.10"},
		{"/studies", "PatientID=PHAN-0?", "1.11 1.10"},
		{"/studies", "PatientID=?7", "1.12"},
		{"/studies", "PatientID=phan-01", ""},
		{"/studies", "StudyInstanceUID=1.12", "1.12"},
		{"/studies", "StudyInstanceUID=1.12,1.10,1.99", "1.10 1.12"},
		{"/studies", `StudyInstanceUID=1.12\1.10`, "1.10 1.12"},
		{"/studies", "StudyID=S11", "1.11"},
		{"/studies", "StudyDescription=*Sch%C3%A4del*", "1.10"},
		{"/studies", "PatientBirthDate=19500401", "1.10"},
		{"/studies", "PatientName=&StudyDate=", "1.11 1.10 1.12 1.13"},
		{"/studies", `PatientName=""&emptyvaluematching=true`, "1.13"},
		{"/studies", "PatientName=Nobody", ""},
		{"/studies", "unknown=1&StudyID=S11", "1.11"},

		// Series level, and studies by their series.
		{"/series", "Modality=CT", "1.11.1 1.10.1"},
		{"/series", "Modality=MR&PatientID=PHAN-01", "1.10.2"},
		{"/studies/1.10/series", "Modality=MR", "1.10.2"},
		{"/series", "SeriesInstanceUID=1.12.1,1.10.2", "1.10.2 1.12.1"},
		{"/series", "SeriesNumber=2", "1.10.2"},
		{"/studies/1.10/series", "SeriesNumber=01", "1.10.1"},
		{"/series", "PerformedProcedureStepStartDate=20230601-20230701", "1.12.1"},
		{"/series", "PerformedProcedureStepStartTime=0800-0830", "1.12.1"},
		{"/series", "PerformedProcedureStepStartTime=09-", ""},
		{"/series", "RequestAttributesSequence.ScheduledProcedureStepID=SPS-2", "1.12.1"},
		{"/series", "00400275.00400009=SPS-2&00400275.00401001=RP-2", "1.12.1"},
		{"/series", "00400275.00400009=SPS-2&00400275.00401001=RP-1", ""},
		{"/series", "RequestAttributesSequence.RequestedProcedureID=RP-*", "1.12.1"},
		{"/studies", "RequestAttributesSequence.RequestedProcedureID=RP-1", "1.12"},
		{"/studies", "Modality=MR", "1.10"},
		{"/studies", "SeriesDescription=Series*", "1.10"},
		{"/studies", "SeriesInstanceUID=1.10.2", "1.10"},

		// Instance level, and what is above by its instances.
		{"/instances", "SOPClassUID=" + mrImage, "1.10.2.1"},
		{"/instances", "SOPClassUID=" + mrImage + "," + ctImage, "1.11.1.1 1.10.1.1 1.10.1.2 1.10.2.1"},
		{"/instances", "SOPInstanceUID=1.12.1.1,1.10.1.2", "1.10.1.2 1.12.1.1"},
		{"/instances", "InstanceNumber=2", "1.10.1.2"},
		{"/instances", "InstanceNumber=1&Modality=CT&PatientName=Mueller*", ""},
		{"/instances", "InstanceNumber=1&Modality=CT&PatientName=Müller*", "1.10.1.1"},
		{"/studies/1.10/instances", "InstanceNumber=1", "1.10.1.1 1.10.2.1"},
		{"/studies/1.10/instances", "Modality=MR", "1.10.2.1"},
		{"/studies/1.10/series/1.10.1/instances", "InstanceNumber=2", "1.10.1.2"},
		{"/studies/1.10/series/1.10.2/instances", "SOPInstanceUID=1.10.1.1", ""},
		{"/series", "SOPInstanceUID=1.10.1.2", "1.10.1"},
		{"/studies", "SOPInstanceUID=1.10.1.2", "1.10"},
		{"/studies", "SOPClassUID=" + secondaryCapture, "1.12 1.13"},

		// Not indexed.
		{"/instances", "OperatorsName=Operator^MR", "1.10.2.1"},
		{"/studies", "OperatorsName=Operator*", "1.11 1.10"},
		{"/series", "OperatorsName=operator^ct", "1.10.1"},
		{"/instances", "XRayTubeCurrent=120", "1.10.1.1 1.10.1.2 1.10.2.1"},
		{"/instances", "00091001=private+MR", "1.10.2.1"},

		// Paging.
		{"/studies", "limit=2", "1.11 1.10"},
		{"/studies", "limit=2&offset=2", "1.12 1.13"},
		{"/studies", "limit=2&offset=9", ""},
		{"/series", "limit=2&offset=1", "1.10.1 1.10.2"},
		{"/instances", "limit=1&offset=3", "1.10.2.1"},
		{"/studies/1.10/instances", "offset=1&limit=1", "1.10.1.2"},
		{"/studies", "limit=0", ""},
	} {
		t.Run(c.path+"?"+c.query, func(t *testing.T) {
			a := w.get(t, c.path+"?"+strings.ReplaceAll(c.query, `\`, "%5C"), typeJSON).is(200)
			if got := uids(a.datasets(), c.path); got != c.want {
				t.Errorf("matched %q, want %q", got, c.want)
			}
		})
	}
}

// TestMatchingRefused: a value that cannot be read is the client's error.
func TestMatchingRefused(t *testing.T) {
	t.Parallel()
	w := open(t)
	sample(t, w)
	for _, q := range []string{"StudyDate=nonsense", "StudyDate=20241399", "StudyTime=99", "limit=-1", "limit=x", "offset=x",
		"fuzzymatching=perhaps", "SeriesNumber=one", "StudyInstanceUID=1.*", "PatientName=%FF", "PatientName=%0A", "StudyDate=%zz", "StudyDate=20240101-20230101x"} {
		if a := w.get(t, "/studies?"+q, typeJSON); a.Status != 400 {
			t.Errorf("%s: %d %.200s", q, a.Status, a.Body)
		} else {
			a.problem(400)
		}
	}
	w.get(t, "/studies?PatientName="+strings.Repeat("x", 100<<10), typeJSON).problem(414)
	w.get(t, "/studies", "image/png").problem(406)
}

// TestReturned: the attributes of PS3.18 Tables 10.6.3-3 to 10.6.3-5, those of the
// levels above in relational queries, and those asked for.
func TestReturned(t *testing.T) {
	t.Parallel()
	w := open(t)
	sample(t, w)
	study := []string{"00080005", "00080020", "00080030", "00080050", "00080056", "00080061", "00080090", "00081190", "00100010", "00100020",
		"00100030", "00100040", "0020000D", "00200010", "00201206", "00201208"}
	series := []string{"00080005", "00080056", "00080060", "0008103E", "00081190", "0020000E", "00200011", "00201209"}
	instance := []string{"00080005", "00080016", "00080018", "00080056", "00081190", "00200013", "00280010", "00280011", "00280100"}
	for _, c := range []struct {
		path string
		want [][]string
	}{
		{"/studies?StudyID=S10", [][]string{study}},
		{"/series?StudyID=S10", [][]string{study[:5], series, {"0020000D", "00100010", "00100020"}}},
		{"/studies/1.10/series", [][]string{series, {"0020000D"}}},
		{"/instances?StudyID=S10", [][]string{instance, {"00080060", "00100010", "0020000D", "0020000E"}}},
		{"/studies/1.10/instances", [][]string{instance, {"00080060", "0020000D", "0020000E"}}},
		{"/studies/1.10/series/1.10.1/instances", [][]string{instance, {"0020000D", "0020000E"}}},
		{"/studies?StudyID=S10&includefield=OperatorsName,00181151&includefield=StudyDescription", [][]string{study, {"00081070", "00181151", "00081030"}}},
		{"/instances?StudyID=S10&includefield=00091001", [][]string{instance, {"00091001", "00090010"}}},
		{"/instances?StudyID=S12&includefield=RequestAttributesSequence.ScheduledProcedureStepID", [][]string{instance, {"00400275"}}},
		{"/studies/1.10/series?includefield=all", [][]string{series}},
		{"/studies?StudyID=S10&SeriesDescription=*", [][]string{study, {"0008103E"}}},
	} {
		list := w.get(t, c.path, typeJSON).is(200).datasets()
		if len(list) == 0 {
			t.Errorf("%s: nothing", c.path)
		}
		for _, d := range list {
			for _, tags := range c.want {
				for _, tag := range tags {
					if _, ok := d[tag]; !ok {
						t.Errorf("%s: %s is missing", c.path, tag)
					}
				}
			}
		}
	}
	d := w.get(t, "/studies?StudyID=S10&includefield=OperatorsName", typeJSON).datasets()[0]
	for tag, want := range map[string]string{"00080005": "ISO_IR 192", "00080056": "ONLINE", "00080061": `CT\MR`, "00081190": w.url + "/studies/1.10",
		"00100010": "Müller^Jörg", "00201206": "2", "00201208": "3", "00081070": "Operator^CT"} {
		if got := d.text(tag); got != want {
			t.Errorf("%s is %q, want %q", tag, got, want)
		}
	}
	d = w.get(t, "/instances?StudyID=S10", typeJSON).datasets()[2]
	if got, want := d.text("00081190"), w.url+"/studies/1.10/series/1.10.2/instances/1.10.2.1"; got != want {
		t.Errorf("RetrieveURL %q, want %q", got, want)
	}
	w.get(t, d.text("00081190"), partsStored).is(200)
}

// TestPages goes through many studies a page at a time while others arrive: each
// of the first is seen once.
func TestPages(t *testing.T) {
	t.Parallel()
	w := open(t)
	var files [][]byte
	for n := range 23 {
		s := fmt.Sprintf("1.5.%d", n)
		files = append(files, image(s, s+".1", s+".1.1", el{0x00080020, "DA", "20240102"}))
	}
	w.post(t, files...).is(200)
	seen := map[string]int{}
	for offset := 0; ; {
		a := w.get(t, fmt.Sprintf("/studies?limit=5&offset=%d&StudyDate=20240102", offset), typeJSON).is(200)
		list := a.datasets()
		for _, d := range list {
			seen[d.text("0020000D")]++
		}
		if more := strings.Contains(strings.Join(a.Header.Values("Warning"), "\n"), "additional results"); more != (offset+len(list) < 23) {
			t.Errorf("at %d: Warning %q", offset, a.Header.Values("Warning"))
		}
		if offset += len(list); len(list) == 0 || offset > 100 {
			break
		}
		// An older study comes behind, and moves nothing.
		s := fmt.Sprintf("1.6.%d", offset)
		w.post(t, image(s, s+".1", s+".1.1", el{0x00080020, "DA", "20200101"})).is(200)
	}
	if len(seen) != 23 {
		t.Errorf("%d studies of 23", len(seen))
	}
	for uid, n := range seen {
		if n != 1 {
			t.Errorf("%s came %d times", uid, n)
		}
	}
}

// TestSearchXML: the same matches as Native DICOM Model, a part each.
func TestSearchXML(t *testing.T) {
	t.Parallel()
	w := open(t)
	sample(t, w)
	list := w.get(t, "/studies", `multipart/related; type="application/dicom+xml"`).is(200).parts()
	if len(list) != 4 || !strings.Contains(string(list[1].Body), "<NativeDicomModel") || !strings.Contains(string(list[1].Body), "Müller") ||
		mediaType(list[0].Header) != typeXML {
		t.Errorf("%d parts: %.300s", len(list), list[1].Body)
	}
}
