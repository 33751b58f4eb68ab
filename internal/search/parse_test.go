package search

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/fault"
)

func parse(t *testing.T, level archive.Level, raw string) *Query {
	t.Helper()
	q, err := Parse(level, archive.UIDs{}, raw)
	if err != nil {
		t.Fatalf("%q: %v", raw, err)
	}
	return q
}

func tagsOf(cs []Condition) (out []string) {
	for _, c := range cs {
		out = append(out, c.Tag.String())
	}
	return out
}

// The requests of a real OHIF 3.13.
func TestParseViewerRequests(t *testing.T) {
	q := parse(t, archive.LevelStudy, "limit=101&offset=0&fuzzymatching=true&includefield=00081030%2C00080060%2C00080090%2C00100030")
	if q.Limit != 101 || q.Offset != 0 || !q.Fuzzy || len(q.Warnings) > 0 || len(q.asked) != 4 {
		t.Errorf("%+v", q)
	}
	q = parse(t, archive.LevelStudy, "PatientName=*M%C3%BCl*&00100020=*PHAN*&ModalitiesInStudy=CT%2CMR&StudyDate=20200101-20261231")
	if got := tagsOf(q.at[archive.LevelStudy]); !slices.Equal(got, []string{"00100010", "00100020", "00080061", "00080020"}) {
		t.Errorf("conditions on %v", got)
	}
	if alts := q.at[archive.LevelStudy][2].alts; len(alts) != 2 || alts[1].text != "MR" {
		t.Errorf("modalities %+v", alts)
	}
}

func TestParseLevels(t *testing.T) {
	q := parse(t, archive.LevelInstance, "PatientID=x&SeriesNumber=3&00200013=1&StationName=a&PatientComments=b&"+
		"00400275.00400009=s&RequestAttributesSequence.RequestedProcedureID=r&00091001=p")
	for i, want := range [...]string{"00100020", "00200011 00081010 00400275", "00200013"} {
		if got := strings.Join(tagsOf(q.at[i]), " "); got != want {
			t.Errorf("level %d has conditions on %s, want %s", i, got, want)
		}
	}
	if got := strings.Join(tagsOf(q.unindexed), " "); got != "00104000 00091001" {
		t.Errorf("not indexed: %s", got)
	}
	if items := q.at[archive.LevelSeries][2].items; len(items) != 2 {
		t.Errorf("%d conditions on one item", len(items))
	}
}

func TestParseWarnsAndGoesOn(t *testing.T) {
	for raw, warnings := range map[string]int{
		"": 0, "&&": 0, "accept=application/dicom%2Bjson&charset=utf-8": 0, "multiplevaluematching=true": 0,
		"foo=bar": 1, "foo=bar&baz=1": 1, "includefield=nonsense,PatientID": 1, "includefield=all": 0, "includefield=": 0,
		"PatientIDD=1": 1, "a.b.c=1": 1, "=x": 1, "SpecificCharacterSet=x": 1, "TimezoneOffsetFromUTC=%2B0100": 1, "00020010=1": 1,
		"StudyInstanceUID=": 0, "patientid=1": 1,
	} {
		q := parse(t, archive.LevelStudy, raw)
		if len(q.Warnings) != warnings {
			t.Errorf("%q: warnings %q", raw, q.Warnings)
		}
		if len(q.at[0])+len(q.unindexed) > 0 {
			t.Errorf("%q: conditions %+v", raw, q.at)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	many := strings.Repeat("PatientID=1&", maxParameters+1)
	var fields strings.Builder
	for i := range maxIncluded + 1 {
		fmt.Fprintf(&fields, "%08X,", 0x00111000+i)
	}
	for raw, kind := range map[string]fault.Kind{
		"limit=-1": fault.Invalid, "limit=": fault.Invalid, "limit=1.5": fault.Invalid, "limit=ten": fault.Invalid, "limit=1&limit=2": fault.Invalid,
		"offset=+1": fault.Invalid, "offset=0x1": fault.Invalid, "fuzzymatching=yes": fault.Invalid, "StudyDate=nonsense": fault.Invalid,
		"PatientID=%zz": fault.Invalid, "PatientID=%ff": fault.Invalid, "PatientID=%00": fault.Invalid, "StudyInstanceUID=1.*": fault.Invalid,
		"00080020=2020-01-01": fault.Invalid, "RequestAttributesSequence=x": fault.Invalid, "00091001.00100010.00080020=x": fault.Invalid,
		many: fault.TooLarge, strings.Repeat("a", maxQueryBytes+1): fault.TooLarge, "includefield=" + fields.String(): fault.TooLarge,
	} {
		if _, err := Parse(archive.LevelStudy, archive.UIDs{}, raw); !fault.Is(err, kind) {
			t.Errorf("%.60q: %v", raw, err)
		} else if strings.Contains(err.Error(), "nonsense") || strings.Contains(err.Error(), "2020") {
			t.Errorf("the error repeats the value: %v", err)
		}
	}
}

func TestCombinedDateTime(t *testing.T) {
	q := parse(t, archive.LevelStudy, "StudyDate=20200101-20200103&StudyTime=1000-1200")
	for value, want := range map[string]bool{
		"20200101 095959": false, "20200101 1000": true, "20200102 0300": true, "20200103 120000": true, "20200103 120100": false,
		"20200102 ": true, "20200104 ": false, " 1100": false,
	} {
		date, clock, _ := strings.Cut(value, " ")
		got := all(q.at[0], func(tag dicom.Tag) string {
			if tag == tagStudyDate {
				return date
			}
			return clock
		})
		if got != want {
			t.Errorf("%q: %v", value, got)
		}
	}
	// A range of times on one date, and one time on a range of dates, are no such range.
	for _, raw := range []string{"StudyDate=20200101&StudyTime=1000-1200", "StudyDate=20200101-20200103&StudyTime=10"} {
		for _, c := range parse(t, archive.LevelStudy, raw).at[0] {
			if c.kind == matchMoment {
				t.Errorf("%q was combined", raw)
			}
		}
	}
	open := parse(t, archive.LevelStudy, "StudyDate=20200101-&StudyTime=1000-")
	if !all(open.at[0], func(tag dicom.Tag) string {
		if tag == tagStudyDate {
			return "20991231"
		}
		return "0000"
	}) {
		t.Error("an open range ends")
	}
}

func TestSequenceMatching(t *testing.T) {
	const value = `[{"00400007":{"vr":"LO","Value":["CT"]},"00400009":{"vr":"SH","Value":["S1"]}},{"00400007":{"vr":"LO","Value":["MR"]},"00400009":{"vr":"SH","Value":["S2"]}}]`
	for raw, want := range map[string]bool{
		"00400275.00400009=S2": true, "00400275.00400009=S*": true, "00400275.00400009=S3": false,
		"00400275.00400009=S2&00400275.00400007=MR": true,
		"00400275.00400009=S2&00400275.00400007=CT": false, // not in one item
	} {
		q := parse(t, archive.LevelSeries, raw)
		if got := all(q.at[archive.LevelSeries], func(dicom.Tag) string { return value }); got != want {
			t.Errorf("%q: %v", raw, got)
		}
	}
	q := parse(t, archive.LevelSeries, "00400275.00400009=S2")
	for _, broken := range []string{"", "[]", "[", "x", "[1]", `[{"00400009":{}}]`} {
		if all(q.at[archive.LevelSeries], func(dicom.Tag) string { return broken }) {
			t.Errorf("%q matched", broken)
		}
	}
}

func TestFields(t *testing.T) {
	fields := func(level archive.Level, scope archive.UIDs, raw string) string {
		q, err := Parse(level, scope, raw)
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		fs := q.Fields()
		if !slices.IsSortedFunc(fs, func(a, b Field) int { return int(a.Tag) - int(b.Tag) }) {
			t.Errorf("%q: not ascending", raw)
		}
		for _, f := range fs {
			out = append(out, f.Tag.String())
		}
		return strings.Join(out, " ")
	}
	study := archive.UIDs{Study: "1.2"}
	series := archive.UIDs{Study: "1.2", Series: "1.2.3"}
	has := func(list, want string) {
		t.Helper()
		for _, tag := range strings.Fields(want) {
			if !strings.Contains(list, tag) {
				t.Errorf("%s is missing in %s", tag, list)
			}
		}
	}
	hasNot := func(list, unwanted string) {
		t.Helper()
		for _, tag := range strings.Fields(unwanted) {
			if strings.Contains(list, tag) {
				t.Errorf("%s is in %s", tag, list)
			}
		}
	}
	const studyTags = "00080005 00080020 00080030 00080050 00080056 00080061 00080090 00081190 00100010 00100020 00100030 00100040 0020000D 00200010 00201206 00201208"
	const seriesTags = "00080005 00080056 00080060 0008103E 00081190 0020000E 00200011 00201209 00400244 00400245 00400275"
	const instanceTags = "00080005 00080016 00080018 00080056 00081190 00200013 00280008 00280010 00280011 00280100"
	has(fields(archive.LevelStudy, archive.UIDs{}, ""), studyTags)
	has(fields(archive.LevelSeries, archive.UIDs{}, ""), studyTags+" "+seriesTags)
	has(fields(archive.LevelInstance, archive.UIDs{}, ""), studyTags+" "+seriesTags+" "+instanceTags)
	l := fields(archive.LevelSeries, study, "")
	has(l, seriesTags+" 0020000D")
	hasNot(l, "00100010 00201206 00080018")
	l = fields(archive.LevelInstance, study, "")
	has(l, seriesTags+" "+instanceTags)
	hasNot(l, "00100010")
	l = fields(archive.LevelInstance, series, "")
	has(l, instanceTags+" 0020000D 0020000E")
	hasNot(l, "00100010 00080060")
	has(fields(archive.LevelInstance, series, "includefield=PatientName,Modality"), "00100010 00080060")
	has(fields(archive.LevelStudy, archive.UIDs{}, "includefield=00081010,PatientComments,00091001"), "00081010 00104000 00091001 00090010")
	has(fields(archive.LevelStudy, archive.UIDs{}, "includefield=all"), "00080080 00101010")
	has(fields(archive.LevelStudy, archive.UIDs{}, "InstitutionName="), "00080080")
	hasNot(fields(archive.LevelStudy, archive.UIDs{}, "includefield=SeriesInstanceUID,NumberOfSeriesRelatedInstances"), "0020000E 00201209")
}

func FuzzQuery(f *testing.F) {
	for _, s := range []string{
		"limit=101&offset=0&fuzzymatching=true&includefield=00081030%2C00080060%2Call", "PatientName=*M%C3%BCl*=&StudyDate=2020-&StudyTime=-10",
		"00400275.00400009=x&RequestAttributesSequence.0040A168.00080100=*", "StudyInstanceUID=1.2,1.3%5C1.4&SeriesNumber=%2B1",
		"emptyvaluematching=true&PatientName=%22%22&a.b=c&00091001=x", "AcquisitionDateTime=20200101100000-0500-",
	} {
		f.Add(s)
		f.Add(url.QueryEscape(s))
	}
	f.Fuzz(func(t *testing.T, raw string) {
		for level := archive.LevelStudy; level <= archive.LevelInstance; level++ {
			q, err := Parse(level, archive.UIDs{}, raw)
			if err != nil {
				if k := fault.KindOf(err); k != fault.Invalid && k != fault.TooLarge {
					t.Errorf("%q: %v", raw, err)
				}
				continue
			}
			q.Fields()
			for _, cs := range [][]Condition{q.at[0], q.at[1], q.at[2], q.unindexed} {
				for _, v := range []string{"", "20200101", "Smith^John=山田", `[{"00400009":{"vr":"SH","Value":["x"]}}]`, "\xff"} {
					all(cs, func(dicom.Tag) string { return v })
				}
				for _, c := range cs {
					for i := range c.alts {
						for _, p := range compilePattern(c.alts[i].raw, archive.Fold).words() {
							p.match("smith")
						}
					}
				}
			}
		}
	})
}
