package archive

import "strings"

// Hold forbids that a study, or any study of a patient, is deleted, whatever a
// rule or a retention period says. The identity of its fact is its name. It is lifted
// when two different persons have released it.
type Hold struct {
	// Study is set, or Patient is: the keyed hash of a [PatientRef].
	Study, Patient Ref
	Reason         string // for people
	By             string // who ordered it
}

// Release is one person's word that a hold may go.
type Release struct {
	Hold   FactID
	Reason string
	By     string
}

// RuleSet is a document of rules of a tenant.
type RuleSet struct {
	Name     string // what the rules are about: RulesLifecycle or RulesRetention
	Document []byte // JSON, at most MaxRules bytes
	By       string // who stated it
}

// The names of rule sets, and the bounds of what people write with holds and rules, in bytes.
const (
	RulesLifecycle = "lifecycle"
	RulesRetention = "retention"
	MaxRules       = 256 << 10 // of a document of rules
	MaxReason      = 4 << 10   // of the reason of a hold or release
	MaxPerson      = 256       // of the name of a person
)

// Valid reports whether a fact may state the hold: of one study or one patient, and by somebody.
func (h *Hold) Valid() bool {
	return h != nil && (h.Study == Ref{}) != (h.Patient == Ref{}) && validWord(h.Reason, h.By)
}

// Valid reports whether a fact may state the release.
func (r *Release) Valid() bool {
	return r != nil && r.Hold != FactID{} && validWord(r.Reason, r.By)
}

func validWord(reason, by string) bool {
	return len(reason) <= MaxReason && by != "" && len(by) <= MaxPerson
}

// Valid reports whether a fact may state the rules: the name is made of up to 32 lower-case letters.
func (r *RuleSet) Valid() bool {
	if r == nil || len(r.Document) > MaxRules || len(r.By) > MaxPerson || r.Name == "" || len(r.Name) > 32 {
		return false
	}
	for _, c := range []byte(r.Name) {
		if c < 'a' || c > 'z' {
			return false
		}
	}
	return true
}

// Held is a hold as the index knows it.
type Held struct {
	ID FactID // of the fact that states it
	Hold
	Releases []Released // by their facts, ascending
	Lifted   bool       // two different persons released it
	// Studies says how many studies it is about now, deleted ones included. Nil: they were not counted.
	Studies *int
}

// Released is a release as the index knows it.
type Released struct {
	Fact FactID
	Release
}

// Lifted reports whether the releases are of two different persons at least. Who
// ordered the hold may be one of them. Names that differ in case alone are one person's.
func Lifted(releases []Released) bool {
	for i := range releases {
		if !strings.EqualFold(releases[i].By, releases[0].By) {
			return true
		}
	}
	return false
}
