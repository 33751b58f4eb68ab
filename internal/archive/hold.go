package archive

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

// The names of rule sets.
const (
	RulesLifecycle = "lifecycle"
	RulesRetention = "retention"
	// MaxRules bounds a document of rules, in bytes.
	MaxRules = 256 << 10
)
