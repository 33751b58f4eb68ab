package retention

import (
	"strings"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
)

var today = time.Date(2026, 11, 29, 10, 0, 0, 0, time.UTC)

func day(s string) time.Time {
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		panic(err)
	}
	return t
}

// study is one whose instances all state the same.
func study(date, birth string, stored time.Time, modalities ...string) *archive.KeptStudy {
	return &archive.KeptStudy{Persons: []archive.KeptPerson{{PatientID: "P1", StudyDate: date, BirthDate: birth}}, Modalities: modalities, Received: stored}
}

func TestSetsOfLaw(t *testing.T) {
	at := day("2020-06-01")
	for _, tt := range []struct {
		what   string
		set    string
		s      *archive.KeptStudy
		others []archive.Exam
		until  string // "" for nothing
		rule   string
		why    string // part of the sentence
	}{
		{"an adult", "de", study("20150304", "19600101", at, "CT"), nil, "2025-03-04", "examination", "10 years after the last"},
		{"a later examination", "de", study("20150304", "19600101", at, "CT"), []archive.Exam{{StudyDate: "20190607", Modalities: []string{"US"}, Received: at}}, "2029-06-07", "examination", "10 years after the last"},
		{"an earlier one", "de", study("20150304", "19600101", at, "CT"), []archive.Exam{{StudyDate: "20100607", Modalities: []string{"US"}, Received: at}}, "2025-03-04", "examination", ""},
		{"a later one whose date is nonsense", "de", study("20150304", "19600101", at, "CT"), []archive.Exam{{StudyDate: "99991231", Modalities: []string{"US"}, Received: at}}, "2030-06-01", "examination", ""},
		{"a child", "de", study("20150304", "20100520", at, "CR"), nil, "2038-05-20", "examination", "until the age of 28"},
		{"born on a leap day, and a leap year at 28", "de", study("20150304", "20040229", at, "CR"), nil, "2032-02-29", "examination", ""},
		{"born on a leap day, and no leap year at 28", "de", study("20800304", "20720229", day("2080-03-04"), "CR"), nil, "2100-03-01", "examination", ""},
		{"examined on a leap day", "de", study("20160229", "19600101", at, "CT"), nil, "2026-03-01", "examination", ""},
		{"the day before the 18th birthday", "de", study("20150303", "19970304", at, "CT"), nil, "2025-03-04", "examination", "until the age of 28"},
		{"the 18th birthday", "de", study("20150304", "19970304", at, "CT"), nil, "2025-03-04", "examination", "10 years"},
		{"a child who came again grown up", "de", study("20120304", "19970304", at, "CT"), []archive.Exam{{StudyDate: "20191111", Modalities: []string{"CT"}, Received: at}}, "2029-11-11", "examination", "10 years"},
		{"birth date unknown", "de", study("20150304", "", at, "CT"), nil, "2043-03-04", "examination", "the birth date is not known"},
		{"birth date malformed", "de", study("20150304", "19XX0101", at, "CT"), nil, "2043-03-04", "examination", "the birth date is not known"},
		{"born impossibly long ago", "de", study("20150304", "16000101", at, "CT"), nil, "2043-03-04", "examination", "the birth date is not known"},
		{"born after the study: neither is believed", "de", study("20150304", "20180101", at, "CT"), nil, "2048-06-01", "examination", "the study's date is not known"},
		{"study date unknown", "de", study("", "19600101", at, "CT"), nil, "2030-06-01", "examination", "day of its receipt"},
		{"study date impossible", "de", study("20150230", "19600101", at, "CT"), nil, "2030-06-01", "examination", "day of its receipt"},
		{"study date in the future", "de", study("99991231", "19600101", at, "CT"), nil, "2030-06-01", "examination", "day of its receipt"},
		{"study date after the receipt, by a clock that was behind", "de", study("20240101", "19600101", at, "CT"), nil, "2034-01-01", "examination", "10 years"},
		{"study date before X-rays", "de", study("18000101", "", at, "CT"), nil, "2048-06-01", "examination", "day of its receipt"},
		{"the older form of a date", "de", study("2015.03.04", "1960.01.01", at, "CT"), nil, "2025-03-04", "examination", ""},
		{"a clock of the archive in the future", "de", study("", "19600101", day("2400-01-01"), "CT"), nil, "2036-11-30", "examination", ""},
		{"a treatment", "de", study("20150304", "19600101", at, "RTPLAN", "RTSTRUCT"), nil, "2045-03-04", "treatment", "30 years"},
		{"a treatment beside a CT", "de", study("20150304", "19600101", at, "CT", "RTDOSE"), nil, "2045-03-04", "treatment", "§ 85"},
		{"a treatment is not prolonged by an examination", "de", study("20150304", "19600101", at, "RTIMAGE"), []archive.Exam{{StudyDate: "20190607", Modalities: []string{"US"}, Received: at}}, "2045-03-04", "treatment", ""},
		{"a treatment is prolonged by another", "de", study("20150304", "19600101", at, "RTIMAGE"), []archive.Exam{{StudyDate: "20190607", Modalities: []string{"RTRECORD"}, Received: at}}, "2049-06-07", "treatment", ""},
		{"modality unknown", "de", study("20150304", "19600101", at), nil, "2045-03-04", "treatment", "modality is not known"},
		{"nothing known", "de", &archive.KeptStudy{}, nil, "2056-11-30", "treatment", "30 years"},
		{"an adult in the US", "us", study("20150304", "19600101", at, "CT"), nil, "2022-03-04", "examination", ""},
		{"a child in the US", "us", study("20150304", "20100520", at, "CT"), nil, "2031-05-20", "examination", ""},
		{"a mammogram", "us-federal", study("20150304", "19600101", at, "MG"), nil, "2025-03-04", "mammography", "10 years"},
		{"a mammogram with a later one", "us-federal", study("20150304", "19600101", at, "MG"), []archive.Exam{{StudyDate: "20180101", Modalities: []string{"MG"}, Received: at}}, "2023-01-01", "hospital", ""},
		{"a mammogram with a later CT", "us-federal", study("20150304", "19600101", at, "MG"), []archive.Exam{{StudyDate: "20180101", Modalities: []string{"CT"}, Received: at}}, "2025-03-04", "mammography", ""},
		{"a CT, federal rules", "us-federal", study("20150304", "20100520", at, "CT"), nil, "2020-03-04", "hospital", ""},
		{"no set", None, study("", "", at), nil, "", "", ""},
	} {
		p, err := policy(Document{Set: tt.set}, "", day("2026-11-29"))
		if err != nil {
			t.Fatal(err)
		}
		now := today
		if tt.s.Received.After(today) && tt.s.Received.Year() < 2400 {
			now = tt.s.Received
		}
		v := p.Evaluate(tt.s, tt.others, now)
		got := ""
		if !v.Until.IsZero() {
			got = v.Until.Format(time.DateOnly)
		}
		if got != tt.until || v.Rule != tt.rule || !strings.Contains(v.Why, tt.why) {
			t.Errorf("%s: until %s by %s: %s", tt.what, got, v.Rule, v.Why)
		}
	}
}

// TestConflictsTakeTheLongest: instances of a study that state different persons or days.
func TestConflictsTakeTheLongest(t *testing.T) {
	s := study("20150304", "19600101", day("2020-06-01"), "CT")
	s.Persons = append(s.Persons, archive.KeptPerson{StudyDate: "20150304", BirthDate: "20140101"}, archive.KeptPerson{StudyDate: "20160304", BirthDate: "19600101"})
	p, _ := policy(Document{Set: "de"}, "", today)
	if v := p.Evaluate(s, nil, today); !v.Until.Equal(day("2042-01-01")) {
		t.Error(v)
	}
}

// TestOwnRulesOnlyLengthen: a tenant's rules on top of a set.
func TestOwnRulesOnlyLengthen(t *testing.T) {
	s := study("20150304", "19600101", day("2020-06-01"), "CT")
	for _, tt := range []struct{ document, until, rule string }{
		{`{"set":"de","rules":[{"name":"short","years":1}]}`, "2025-03-04", "examination"},
		{`{"set":"de","rules":[{"name":"long","years":12}]}`, "2027-03-04", "long"},
		{`{"set":"de","rules":[{"name":"MR","years":12,"modalities":["MR"]}]}`, "2025-03-04", "examination"},
		{`{"set":"none","rules":[{"name":"mine","years":3}]}`, "2018-03-04", "mine"},
		{`{"set":"de","edition":"2018-12-31"}`, "2025-03-04", "examination"},
		{`{"rules":[{"name":"mine","years":3}]}`, "2025-03-04", "examination"}, // the configuration's set
	} {
		d, err := Parse([]byte(tt.document))
		if err != nil {
			t.Fatal(err)
		}
		p, err := policy(d, "de", today)
		if err != nil {
			t.Fatal(err)
		}
		if v := p.Evaluate(s, nil, today); v.Until.Format(time.DateOnly) != tt.until || v.Rule != tt.rule {
			t.Errorf("%s: %+v", tt.document, v)
		}
	}
}

// TestEditions: the one in force counts, unless another is pinned.
func TestEditions(t *testing.T) {
	sets := []Set{{Name: "x", Since: "2000-01-01"}, {Name: "x", Since: "2020-01-01"}, {Name: "y", Since: "2010-01-01"}}
	for _, tt := range []struct{ name, edition, on, want string }{
		{"x", "", "2026-01-01", "2020-01-01"}, {"x", "", "2019-12-31", "2000-01-01"}, {"x", "", "2020-01-01", "2020-01-01"},
		{"x", "2000-01-01", "2026-01-01", "2000-01-01"}, {"x", "2001-01-01", "2026-01-01", ""}, {"x", "", "1999-12-31", ""}, {"z", "", "2026-01-01", ""},
	} {
		if s, ok := find(sets, tt.name, tt.edition, day(tt.on)); ok != (tt.want != "") || s.Since != tt.want {
			t.Errorf("%+v: %+v", tt, s)
		}
	}
	for i, s := range editions {
		if _, err := time.Parse(time.DateOnly, s.Since); err != nil || s.Title == "" || s.Notes == "" || len(s.Rules) == 0 {
			t.Errorf("%s: %v", s.Name, err)
		}
		if i > 0 && (s.Name < editions[i-1].Name || s.Name == editions[i-1].Name && s.Since <= editions[i-1].Since) {
			t.Errorf("%s is out of order", s.Name)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, text := range []string{``, `x`, `[]`, `{"set":"atlantis"}`, `{"sets":"de"}`, `{} {}`, `{"set":"de","edition":"2001-01-01"}`, `{"edition":"2018-12-31"}`,
		`{"rules":[{"years":1}]}`, `{"rules":[{"name":"a"}]}`, `{"rules":[{"name":"a","years":-1}]}`, `{"rules":[{"name":"a","years":151}]}`,
		`{"rules":[{"name":"a","age":28}]}`, `{"rules":[{"name":"a","years":1,"yearsIfLater":2}]}`, `{"rules":[{"name":"a","years":1,"modalities":[""]}]}`,
		`{"rules":[` + strings.Repeat(`{"name":"a","years":1},`, 100) + `{"name":"a","years":1}]}`} {
		if _, err := Parse([]byte(text)); err == nil {
			t.Errorf("%.60s is a document", text)
		}
	}
}

// FuzzEvaluate: whatever dates say, a study is never kept less
// than the rule's years after a day that is believed, and never much longer than from its receipt.
func FuzzEvaluate(f *testing.F) {
	f.Add("20150304", "19600101", int64(1_600_000_000), "CT", "20190101")
	f.Add("99991231", "0000", int64(-5), "", "x")
	p, err := policy(Document{Set: "de"}, "", today)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, date, birth string, stored int64, modality, other string) {
		s := study(date, birth, time.Unix(stored, 0))
		if modality != "" {
			s.Modalities = []string{modality}
		}
		v := p.Evaluate(s, []archive.Exam{{StudyDate: other, Modalities: []string{"CT"}, Received: time.Unix(stored, 0)}}, today)
		if v.Until.Before(day("1895-11-08").AddDate(10, 0, 0)) || v.Until.After(today.AddDate(31, 0, 2)) || v.Why == "" {
			t.Fatalf("until %v: %s", v.Until, v.Why)
		}
		if d, ok := archive.Examined(date, received(s.Received, today), today); ok && v.Until.Before(d.AddDate(10, 0, 0)) {
			t.Fatalf("until %v although examined on %v", v.Until, d)
		}
		for _, secret := range []string{date, birth} {
			if len(secret) > 5 && strings.Contains(v.Why, secret) {
				t.Fatal("the sentence tells a date of the patient")
			}
		}
	})
}

// FuzzParse: a document that is accepted can be evaluated, whatever it says.
func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"set":"de","rules":[{"name":"a","years":3,"yearsIfLater":2,"age":30,"under":18,"modalities":["MG"]}]}`))
	s := study("20150304", "19600101", day("2020-06-01"), "CT")
	f.Fuzz(func(t *testing.T, text []byte) {
		d, err := Parse(text)
		if err != nil {
			return
		}
		p, err := policy(d, "de", today)
		if err != nil {
			t.Fatal(err)
		}
		if v := p.Evaluate(s, nil, today); v.Until.After(day("2400-01-01")) {
			t.Fatal(v)
		}
	})
}
