package retention

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
)

// Verdict says until when a study must be kept.
type Verdict struct {
	// Until is the last day on which it must be kept, at midnight UTC; zero: nothing demands it.
	Until time.Time
	Set   string // name and edition; empty for a rule of the tenant
	Rule  string // its name
	Why   string // a sentence that says nothing about a person
}

// Free is from when the study may be deleted: when the day Until is over everywhere on earth.
func (v Verdict) Free() time.Time {
	if v.Until.IsZero() {
		return time.Time{}
	}
	return v.Until.AddDate(0, 0, 1).Add(12 * time.Hour)
}

// oldest is how old nobody gets.
const oldest = 130

// received is the day by which a study was made, wherever it was: when it reached the archive.
func received(at, now time.Time) time.Time {
	if at.IsZero() || at.After(now) {
		at = now
	}
	return archive.ReceiptDay(at)
}

// exam is one of a patient's examinations, for what comes last.
type exam struct {
	day        time.Time
	modalities []string
}

// evaluate applies rules to a study. Where instances of the study state different dates, each pair of them is looked at and the longest counts.
func evaluate(rules []Rule, s *archive.KeptStudy, others []archive.Exam, now time.Time) (v Verdict) {
	by := received(s.Received, now)
	var later []exam
	for _, o := range others {
		day, _ := archive.Examined(o.StudyDate, received(o.Received, now), now)
		later = append(later, exam{day, o.Modalities})
	}
	persons := s.Persons
	if len(persons) == 0 {
		persons = []archive.KeptPerson{{}}
	}
	for i := range persons {
		for r := range rules {
			if c := rules[r].apply(&persons[i], s.Modalities, later, by, now); c.Until.After(v.Until) {
				v = c
			}
		}
	}
	return v
}

// about reports whether the rule is about studies with these modalities; unknown ones may be of any.
func (r *Rule) about(modalities []string) bool {
	return len(r.Modalities) == 0 || len(modalities) == 0 || slices.ContainsFunc(modalities, func(m string) bool { return slices.Contains(r.Modalities, m) })
}

// apply returns what the rule demands of a study; a zero verdict when it is about others.
func (r *Rule) apply(p *archive.KeptPerson, modalities []string, others []exam, by, now time.Time) Verdict {
	if !r.about(modalities) {
		return Verdict{}
	}
	day, known := archive.Examined(p.StudyDate, by, now)
	birth, born := archive.Date(p.BirthDate)
	if born && birth.After(day) { // one of the two is wrong: neither is believed
		day, known, born = by, false, false
	}
	if born && birth.AddDate(oldest, 0, 0).Before(day) {
		born = false
	}
	var notes []string
	if !known {
		notes = append(notes, "the study's date is not known or cannot be right, so the day of its receipt counts")
	}
	if len(modalities) == 0 && len(r.Modalities) > 0 {
		notes = append(notes, "its modality is not known")
	}
	last := day
	for _, o := range others {
		if len(o.modalities) > 0 && r.about(o.modalities) && o.day.After(last) {
			last = o.day
		}
	}
	v := Verdict{Rule: r.Name}
	switch {
	case r.YearsIfLater > 0 && last.After(day):
		v.Until, v.Why = day.AddDate(r.YearsIfLater, 0, 0), fmt.Sprintf("%d years after the examination, as there is a later one", r.YearsIfLater)
	case r.Years > 0:
		v.Until, v.Why = last.AddDate(r.Years, 0, 0), fmt.Sprintf("%d years after the last examination", r.Years)
	}
	if r.Age > 0 {
		from := birth
		if !born { // perhaps a newborn
			from = day
		}
		if until := from.AddDate(r.Age, 0, 0); from.AddDate(r.Under, 0, 0).After(day) && until.After(v.Until) {
			v.Until, v.Why = until, fmt.Sprintf("until the age of %d, as the person was younger than %d", r.Age, r.Under)
			if !born {
				notes = append(notes, "the birth date is not known or cannot be right, so the longest period counts")
			}
		}
	}
	if r.Source != "" {
		v.Why = r.Source + ": " + v.Why
	}
	if len(notes) > 0 {
		v.Why += "; " + strings.Join(notes, "; ")
	}
	return v
}
