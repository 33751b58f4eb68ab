package search

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
)

// metadata gives what the sample's index does not keep.
func metadata(_ context.Context, _ archive.Tenant, u archive.UIDs, base string) ([]byte, error) {
	comment := "of " + u.Study
	return fmt.Appendf(nil, `[{"00080018":{"vr":"UI","Value":["%s"]},"00104000":{"vr":"LT","Value":["%s"]},"7FE00010":{"vr":"OW","BulkDataURI":"%s/x"}}]`,
		u.Instance, comment, base), nil
}

// found returns the matched UIDs of the query's level.
func found(t testing.TB, s *Searcher, level archive.Level, scope archive.UIDs, raw string) (uids []string, out Outcome) {
	t.Helper()
	return foundOf(t, s, archive.DefaultTenant, level, scope, raw)
}

func foundOf(t testing.TB, s *Searcher, tenant archive.Tenant, level archive.Level, scope archive.UIDs, raw string) (uids []string, out Outcome) {
	t.Helper()
	q, err := Parse(level, scope, raw)
	if err != nil {
		t.Fatalf("%q: %v", raw, err)
	}
	out, err = s.Search(context.Background(), tenant, q, func(m *Match) bool {
		uids = append(uids, [...]string{m.UIDs.Study, m.UIDs.Series, m.UIDs.Instance}[level])
		return true
	})
	if err != nil {
		t.Fatalf("%q: %v", raw, err)
	}
	return uids, out
}

var searches = []struct {
	level archive.Level
	scope archive.UIDs
	query string
	want  string
}{
	{0, archive.UIDs{}, "", "1.2.2 1.2.5 1.2.1 1.2.4 1.2.3"},
	{0, archive.UIDs{}, "PatientID=PAT-1", "1.2.1"},
	{0, archive.UIDs{}, "00100020=pat-1", ""},
	{0, archive.UIDs{}, "PatientID=*PAT-1*", "1.2.1 1.2.4"},
	{0, archive.UIDs{}, `PatientID=PAT-1\PAT-5`, "1.2.5 1.2.1"},
	{0, archive.UIDs{}, "PatientID=nobody-has-this", ""},
	{0, archive.UIDs{}, "PatientName=m%C3%BCller*", "1.2.1 1.2.4"},
	{0, archive.UIDs{}, "PatientName=MULLER%5EJURGEN", "1.2.1"},
	{0, archive.UIDs{}, "PatientName=*ller*h*", "1.2.4"},
	{0, archive.UIDs{}, "PatientName=M?ller^*", "1.2.1 1.2.4"},
	{0, archive.UIDs{}, "PatientName=Yamada^Tarou", "1.2.2"},
	{0, archive.UIDs{}, "PatientName=%E5%B1%B1%E7%94%B0*", "1.2.2"},
	{0, archive.UIDs{}, "PatientName=Yamada^Tarou=%E5%B1%B1%E7%94%B0^%E5%A4%AA%E9%83%8E=%E3%82%84%E3%81%BE%E3%81%A0^%E3%81%9F%E3%82%8D%E3%81%86", "1.2.2"},
	{0, archive.UIDs{}, "PatientName=O'Brien*", "1.2.3"},
	{0, archive.UIDs{}, "PatientName=*o'br*", "1.2.3"},
	{0, archive.UIDs{}, "PatientName=Smith", ""},
	{0, archive.UIDs{}, "PatientName=Smith&fuzzymatching=true", "1.2.5"},
	{0, archive.UIDs{}, "fuzzymatching=true&PatientName=john%20smi", "1.2.5"},
	{0, archive.UIDs{}, "fuzzymatching=true&PatientName=*M%C3%BCl*", "1.2.1 1.2.4"},
	{0, archive.UIDs{}, "fuzzymatching=true&StudyDescription=*thorax*", "1.2.5 1.2.1"},
	{0, archive.UIDs{}, "StudyDescription=*thorax*", ""},
	{0, archive.UIDs{}, "StudyDescription=CT+Thorax", "1.2.5"},
	{0, archive.UIDs{}, "StudyDate=20240105", "1.2.5 1.2.1"},
	{0, archive.UIDs{}, "StudyDate=20231231-20240105", "1.2.5 1.2.1 1.2.4"},
	{0, archive.UIDs{}, "StudyDate=20240106-", "1.2.2"},
	{0, archive.UIDs{}, "StudyDate=-20231231", "1.2.4"},
	{0, archive.UIDs{}, "StudyDate=20240105-20240106&StudyTime=110000-230000", "1.2.5"},
	{0, archive.UIDs{}, "StudyTime=-1100", "1.2.1 1.2.4"},
	{0, archive.UIDs{}, "PatientBirthDate=19600229", "1.2.1"},
	{0, archive.UIDs{}, "PatientBirthDate=19600101-19801231", "1.2.2 1.2.1"},
	{0, archive.UIDs{}, "ModalitiesInStudy=CT%2CMR", "1.2.2 1.2.5 1.2.1 1.2.4"},
	{0, archive.UIDs{}, "ModalitiesInStudy=MR%5CSR", "1.2.2 1.2.1"},
	{0, archive.UIDs{}, "ModalitiesInStudy=CT&ModalitiesInStudy=US", "1.2.5 1.2.1 1.2.4 1.2.3"},
	{0, archive.UIDs{}, "Modality=PT", "1.2.5"},
	{0, archive.UIDs{}, "ModalitiesInStudy=S*", "1.2.1"},
	{0, archive.UIDs{}, "SOPClassesInStudy=1.2.840.10008.5.1.4.1.1.4", "1.2.2"},
	{0, archive.UIDs{}, "StudyDate=20240105&ModalitiesInStudy=SR&AccessionNumber=ACC1", "1.2.1"},
	{0, archive.UIDs{}, "StudyInstanceUID=1.2.4%2C1.2.2", "1.2.2 1.2.4"},
	{0, archive.UIDs{}, `StudyInstanceUID=1.2.4\1.2.2\9.9`, "1.2.2 1.2.4"},
	{0, archive.UIDs{}, "NumberOfStudyRelatedInstances=13", "1.2.1"},
	{0, archive.UIDs{}, "emptyvaluematching=true&AccessionNumber=%22%22", "1.2.5"},
	{0, archive.UIDs{}, "AccessionNumber=", "1.2.2 1.2.5 1.2.1 1.2.4 1.2.3"},
	{0, archive.UIDs{}, "SeriesDescription=axial", "1.2.1"},
	{0, archive.UIDs{}, "SeriesInstanceUID=1.2.5.2", "1.2.5"},
	{0, archive.UIDs{}, "SOPInstanceUID=1.2.5.2.1", "1.2.5"},
	{0, archive.UIDs{}, "PatientComments=of+1.2.4", "1.2.4"},
	{0, archive.UIDs{}, "limit=2", "1.2.2 1.2.5"},
	{0, archive.UIDs{}, "limit=2&offset=1", "1.2.5 1.2.1"},
	{0, archive.UIDs{}, "limit=0", ""},
	{0, archive.UIDs{}, "offset=5", ""},
	{0, archive.UIDs{}, "PatientName=*m*&limit=1&offset=2", "1.2.1"},
	{0, archive.UIDs{}, "ModalitiesInStudy=CT&limit=1&offset=1", "1.2.1"},

	{1, archive.UIDs{}, "", "1.2.2.1 1.2.5.1 1.2.5.2 1.2.1.3 1.2.1.20 1.2.4.1 1.2.3.1"},
	{1, archive.UIDs{}, "offset=3&limit=2", "1.2.1.3 1.2.1.20"},
	{1, archive.UIDs{}, "Modality=CT", "1.2.5.1 1.2.1.3 1.2.4.1"},
	{1, archive.UIDs{}, "ModalitiesInStudy=PT", "1.2.5.1 1.2.5.2"},
	{1, archive.UIDs{}, "PatientID=PAT-5&Modality=PT", "1.2.5.2"},
	{1, archive.UIDs{}, "SeriesInstanceUID=1.2.4.1,1.2.1.20", "1.2.1.20 1.2.4.1"},
	{1, archive.UIDs{}, "RequestAttributesSequence.ScheduledProcedureStepID=SPS1", "1.2.1.3"},
	{1, archive.UIDs{}, "00400275.00400009=SPS2", ""},
	{1, archive.UIDs{}, "InstanceNumber=12", "1.2.1.3"},
	{1, archive.UIDs{Study: "1.2.1"}, "", "1.2.1.3 1.2.1.20"},
	{1, archive.UIDs{Study: "1.2.1"}, "offset=1", "1.2.1.20"},
	{1, archive.UIDs{Study: "1.2.1"}, "Modality=SR", "1.2.1.20"},
	{1, archive.UIDs{Study: "1.2.1"}, "PatientID=other", ""},
	{1, archive.UIDs{Study: "1.2.1"}, "StudyInstanceUID=1.2.2", ""},
	{1, archive.UIDs{Study: "9"}, "", ""},

	{2, archive.UIDs{}, "StudyInstanceUID=1.2.5&InstanceNumber=1", "1.2.5.1.1 1.2.5.2.1"},
	{2, archive.UIDs{}, "SOPInstanceUID=1.2.1.3.11,1.2.1.3.2,1.2.2.1.1", "1.2.2.1.1 1.2.1.3.2 1.2.1.3.11"},
	{2, archive.UIDs{}, "limit=3", "1.2.2.1.1 1.2.2.1.2 1.2.5.1.1"},
	{2, archive.UIDs{}, "limit=2&offset=17", "1.2.1.3.12 1.2.1.20.1"},
	{2, archive.UIDs{}, "offset=18&limit=3", "1.2.1.20.1 1.2.4.1.1 1.2.4.1.2"},
	{2, archive.UIDs{}, "Modality=CT&InstanceNumber=2&PatientName=*hans", "1.2.4.1.2"},
	{2, archive.UIDs{}, "SOPClassUID=1.2.840.10008.5.1.4.1.1.88.33", "1.2.1.20.1"},
	{2, archive.UIDs{Study: "1.2.5"}, "", "1.2.5.1.1 1.2.5.1.2 1.2.5.2.1 1.2.5.2.2"},
	{2, archive.UIDs{Study: "1.2.5"}, "offset=3", "1.2.5.2.2"},
	{2, archive.UIDs{Study: "1.2.5", Series: "1.2.5.2"}, "", "1.2.5.2.1 1.2.5.2.2"},
	{2, archive.UIDs{Study: "1.2.5", Series: "1.2.5.2"}, "InstanceNumber=2", "1.2.5.2.2"},
	{2, archive.UIDs{Study: "1.2.5", Series: "1.2.5.2"}, "PatientID=PAT-5&offset=1", "1.2.5.2.2"},
	{2, archive.UIDs{Study: "1.2.5", Series: "1.2.4.1"}, "", ""},
	{2, archive.UIDs{Study: "1.2.5", Series: "1.2.5.2"}, "SOPInstanceUID=1.2.5.1.1", ""},
	{2, archive.UIDs{Study: "1.2.1", Series: "1.2.1.3"}, "limit=2&offset=9", "1.2.1.3.10 1.2.1.3.11"},
}

func TestSearchByScan(t *testing.T) {
	testSearches(t, New(Options{Catalog: newScan(sample(t)), Metadata: metadata}))
}

func testSearches(t *testing.T, s *Searcher) {
	for _, c := range searches {
		got, _ := found(t, s, c.level, c.scope, c.query)
		if strings.Join(got, " ") != c.want {
			t.Errorf("level %d %v ?%s\n got %s\nwant %s", c.level, c.scope, c.query, strings.Join(got, " "), c.want)
		}
	}
}

func TestMore(t *testing.T) {
	s := New(Options{Catalog: newScan(sample(t)), Metadata: metadata, Results: 4})
	for query, want := range map[string]bool{
		"": true, "limit=5": true, "limit=100": true, "offset=1": false, "limit=3&offset=1": true, "limit=4&offset=1": false, "limit=0": true,
		"limit=0&PatientID=none": false, "ModalitiesInStudy=MR": false,
	} {
		if got, out := found(t, s, archive.LevelStudy, archive.UIDs{}, query); out.More != want {
			t.Errorf("%q: %d matches, more: %v", query, len(got), out.More)
		}
	}
}

func TestResultsOfOneQuery(t *testing.T) {
	s := New(Options{Catalog: newScan(sample(t))})
	for scope, want := range map[archive.UIDs]int{{}: 2, {Study: "1.2.1"}: 13} {
		q, err := Parse(archive.LevelInstance, scope, "limit=100")
		if err != nil {
			t.Fatal(err)
		}
		q.Results = 2
		n := 0
		out, err := s.Search(context.Background(), "default", q, func(*Match) bool { n++; return true })
		if err != nil || n != want || out.More != (scope.Study == "") {
			t.Errorf("%v: %d matches, more %v, %v", scope, n, out.More, err)
		}
	}
}

func TestUnindexedAttributes(t *testing.T) {
	s := New(Options{Catalog: newScan(sample(t)), Metadata: metadata, Reads: 3})
	q, err := Parse(archive.LevelStudy, archive.UIDs{}, "includefield=PatientComments,StationName,7FE00010")
	if err != nil {
		t.Fatal(err)
	}
	q.Base = "http://host"
	n := 0
	out, err := s.Search(context.Background(), "default", q, func(m *Match) bool {
		if n++; n > 3 {
			if len(m.Extra) != 0 {
				t.Error("more metadata was read than allowed")
			}
			return true
		}
		if len(m.Extra) != 2 || string(m.Extra[0].JSON) != `{"vr":"LT","Value":["of `+m.UIDs.Study+`"]}` || !strings.Contains(string(m.Extra[1].JSON), `"http://host/x"`) {
			t.Errorf("extra %s", m.Extra)
		}
		station, _ := m.Below.Get(0x00081010)
		if (m.UIDs.Study == "1.2.1") != (station == "SCANNER01") {
			t.Errorf("station %q of %s", station, m.UIDs.Study)
		}
		return true
	})
	if err != nil || n != 5 || len(out.Warnings) != 1 {
		t.Errorf("%d matches, %q, %v", n, out.Warnings, err)
	}
	got, out := found(t, s, archive.LevelStudy, archive.UIDs{}, "PatientComments=of+1.2.2")
	if len(got) != 1 || !out.More || len(out.Warnings) != 2 {
		t.Errorf("matched by metadata: %v, %+v", got, out)
	}
	got, out = found(t, New(Options{Catalog: newScan(sample(t))}), archive.LevelStudy, archive.UIDs{}, "PatientComments=x")
	if len(got) != 5 || len(out.Warnings) == 0 {
		t.Errorf("without metadata: %v, %+v", got, out)
	}
}

func TestCandidatesAreBounded(t *testing.T) {
	got, out := found(t, New(Options{Catalog: newScan(sample(t)), Candidates: 2}), archive.LevelStudy, archive.UIDs{}, "PatientName=*")
	if len(got) != 2 || len(out.Warnings) != 1 {
		t.Errorf("%v, %+v", got, out)
	}
}

func TestSearchIsCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	q, _ := Parse(archive.LevelStudy, archive.UIDs{}, "")
	_, err := New(Options{Catalog: newScan(sample(t))}).Search(ctx, "default", q, func(*Match) bool { return true })
	if !fault.Is(err, fault.Canceled) {
		t.Error(err)
	}
}

func TestValues(t *testing.T) {
	s := New(Options{Catalog: newScan(sample(t))})
	q, _ := Parse(archive.LevelInstance, archive.UIDs{}, "limit=1&StudyInstanceUID=1.2.1")
	_, err := s.Search(context.Background(), "default", q, func(m *Match) bool {
		for tag, want := range map[string]string{"0020000D": "1.2.1", "0020000E": "1.2.1.3", "00080018": "1.2.1.3.1", "00080056": "ONLINE",
			"00080016": "1.2.840.10008.5.1.4.1.1.2", "00080061": `CT\SR`, "00201206": "2", "00201208": "13", "00201209": "12"} {
			path, _ := parsePath(tag)
			if got := m.Value(path[0]); got != want {
				t.Errorf("%s is %q, want %q", tag, got, want)
			}
		}
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.IsSortedFunc(q.Fields(), func(a, b Field) int { return int(a.Tag) - int(b.Tag) }) {
		t.Error("fields do not ascend")
	}
}
