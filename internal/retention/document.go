package retention

import (
	"bytes"
	"encoding/json"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
)

// Document is what a tenant's rules of retention are: a set, and rules on top of it, which can
// only lengthen what the set demands.
type Document struct {
	// Set is the name of a set; empty: that of the server's configuration.
	Set string `json:"set,omitempty"`
	// Edition pins the edition that begins on this day (YYYY-MM-DD); empty: the one in force.
	Edition string `json:"edition,omitempty"`
	Rules   []Rule `json:"rules,omitempty"`
}

const (
	maxRules = 100
	maxYears = 150
	maxText  = 1000
)

// Parse reads a document. Errors are fault.Invalid and say what is wrong with it.
func Parse(text []byte) (d Document, err error) {
	bad := func(format string, args ...any) (Document, error) {
		return Document{}, fault.New(fault.Invalid, "the rules of retention: "+format, args...)
	}
	if len(text) > archive.MaxRules {
		return bad("longer than %d bytes", archive.MaxRules)
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&d); err != nil || dec.More() {
		return bad("not JSON with the members set, edition and rules (%v)", err)
	}
	if d.Set != "" && !Known(d.Set) {
		return bad("there is no such set; there are %s", Names())
	}
	if d.Edition != "" {
		if _, ok := find(editions, d.Set, d.Edition, time.Time{}); !ok {
			return bad("the set has no edition of that day")
		}
	}
	if len(d.Rules) > maxRules {
		return bad("more than %d rules", maxRules)
	}
	for i := range d.Rules {
		r := &d.Rules[i]
		switch {
		case r.Name == "" || len(r.Name) > 64:
			return bad("rule %d needs a name of at most 64 bytes", i+1)
		case len(r.Text) > maxText || len(r.Source) > maxText:
			return bad("rule %d: text and source have at most %d bytes", i+1, maxText)
		case min(r.Years, r.YearsIfLater, r.Age, r.Under) < 0 || max(r.Years, r.YearsIfLater, r.Age, r.Under) > maxYears:
			return bad("rule %d: years and ages are numbers from 0 to %d", i+1, maxYears)
		case r.Years == 0 && r.Age == 0:
			return bad("rule %d needs years or age", i+1)
		case r.YearsIfLater > r.Years:
			return bad("rule %d: yearsIfLater cannot be more than years", i+1)
		case (r.Age > 0) != (r.Under > 0):
			return bad("rule %d: age and under go together", i+1)
		case len(r.Modalities) > 64:
			return bad("rule %d names more than 64 modalities", i+1)
		}
		for _, m := range r.Modalities {
			if m == "" || len(m) > 16 {
				return bad("rule %d: a modality is 1 to 16 characters", i+1)
			}
		}
	}
	return d, nil
}

// Policy is what holds for a tenant on a day.
type Policy struct {
	Set   Set // without rules where none is demanded
	Rules []Rule
	// Default says that the set is the configuration's.
	Default bool
	By      string         // who stated the tenant's rules
	Stated  archive.FactID // zero: nobody did
}

// policy joins a document and the set of the configuration.
func policy(d Document, fallback string, now time.Time) (p Policy, err error) {
	name := d.Set
	if name == "" {
		name, p.Default = fallback, true
	}
	p.Rules = d.Rules
	if name == "" || name == None {
		p.Set = Set{Name: None, Title: "nothing is demanded"}
		return p, nil
	}
	var ok bool
	if p.Set, ok = find(editions, name, d.Edition, now); !ok {
		return p, fault.New(fault.Conflict, "retention: this version of Strata has no set %s that is in force; use a newer one", name)
	}
	return p, nil
}

// Evaluate says until when a study must be kept: of set and rules, whatever demands it longest. others
// are the examinations of the same patient that are known.
func (p *Policy) Evaluate(s *archive.KeptStudy, others []archive.Exam, now time.Time) Verdict {
	v := evaluate(p.Set.Rules, s, others, now)
	v.Set = p.Set.Name + "@" + p.Set.Since
	if own := evaluate(p.Rules, s, others, now); own.Until.After(v.Until) {
		v = own
	}
	if v.Until.IsZero() {
		return Verdict{}
	}
	return v
}
