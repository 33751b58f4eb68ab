// Package rule is the language of lifecycle rules: what an administrator writes
// to say where studies are kept, and for how long.
//
// A document is a list of rules. Each has a condition and an action; of all rules
// whose condition a study fulfils, the first one holds. In YAML:
//
//	rules:
//	  - name: teaching files stay
//	    when: { tag: [teaching] }
//	    action: keep
//	  - name: what was opened lately
//	    when:
//	      tier: [cold]
//	      accessed: { under: 30d }
//	    action: move
//	    to: hot
//	  - name: old studies
//	    when:
//	      age: { over: 90d }
//	      accessed: { over: 30d } # else it would go to and fro
//	      not: { modality: [MG] }
//	    action: move
//	    to: cold
//	  - name: past retention
//	    when: { age: { over: 30y } }
//	    action: delete
//
// The same structure is the JSON of the API, which [Parse] reads too.
//
// # Conditions
//
// A condition is a mapping; all of its members must hold, so an empty one always does.
//
//   - modality, bodyPart, tag, tier: a list, of which the study has at least one.
//   - age, received, accessed: {over: SPAN, under: SPAN}. age counts from the study
//     date at midnight UTC, or from the day on which the study was received where it has none
//     or one that cannot be right (see [archive.Examined]);
//     accessed from when it was last opened or received, whichever is later.
//     A span is a whole number with h, d, w, mo or y; months and years are the
//     calendar's. Exactly the span is over it.
//   - size: {over: SIZE, under: SIZE}, of the study; "500MB", powers of 1000.
//   - studies: {over: N, under: N}, of the tenant.
//   - free: {over: ROOM, under: ROOM}, on the disk of the hot tier; a size or "10%".
//     False both ways where the store has no disk.
//   - all, any: lists of conditions; not: one condition.
//
// # Actions
//
// keep leaves a study as it is, settle merges its objects, move brings it into the
// tier that to names (and settles it), delete deletes it when its retention has ended
// and nothing holds it: until then a rule that deletes is passed over. A study that fulfils no
// condition is settled. Nothing is done to a study before it has been quiet for a while.
//
// # When to look again
//
// [Set.Evaluate] says beside the action when the outcome may next be another one, so
// that nobody has to look at every study every day. Time alone changes only age, received and
// accessed; what changes otherwise in a study makes it due by itself, and
// what changes outside of it is looked at again after [Environment.Revisit].
package rule

import (
	"time"

	"github.com/strata-pacs/strata/internal/archive"
)

// Bounds of a document.
const (
	MaxRules = 200 // in a document
	MaxDepth = 8   // of conditions in conditions
	MaxList  = 100 // entries of a list
	MaxText  = 64  // bytes of a name, a modality, a body part, a tag
)

// Verb says what is done to a study.
type Verb string

// The verbs.
const (
	Nothing Verb = "" // the study is as the rules want it
	Keep    Verb = "keep"
	Settle  Verb = "settle"
	Move    Verb = "move"
	Delete  Verb = "delete"
)

// Set is a document of rules.
type Set struct {
	Rules []Rule `json:"rules"`
}

// Rule is one rule.
type Rule struct {
	Name   string           `json:"name"`
	When   Condition        `json:"when,omitzero"`
	Action Verb             `json:"action"`
	To     archive.TierName `json:"to,omitempty"` // Move
}

// Condition holds when all of its members hold.
type Condition struct {
	Modality []string           `json:"modality,omitempty"`
	BodyPart []string           `json:"bodyPart,omitempty"`
	Tag      []string           `json:"tag,omitempty"`
	Tier     []archive.TierName `json:"tier,omitempty"`
	Age      Period             `json:"age,omitzero"`
	Received Period             `json:"received,omitzero"`
	Accessed Period             `json:"accessed,omitzero"`
	Size     Sizes              `json:"size,omitzero"`
	Studies  Counts             `json:"studies,omitzero"`
	Free     Rooms              `json:"free,omitzero"`
	All      []Condition        `json:"all,omitempty"`
	Any      []Condition        `json:"any,omitempty"`
	Not      *Condition         `json:"not,omitempty"`
}

// Period is a range of time since something; a zero bound is none.
type Period struct {
	Over  Span `json:"over,omitzero"`
	Under Span `json:"under,omitzero"`
}

// Sizes is a range of bytes.
type Sizes struct {
	Over  *Size `json:"over,omitempty"`
	Under *Size `json:"under,omitempty"`
}

// Counts is a range of numbers.
type Counts struct {
	Over  *int64 `json:"over,omitempty"`
	Under *int64 `json:"under,omitempty"`
}

// Rooms is a range of room on a disk.
type Rooms struct {
	Over  *Room `json:"over,omitempty"`
	Under *Room `json:"under,omitempty"`
}

// Study is what rules look at of a study.
type Study struct {
	StudyDate string    // as it is stated
	Received  time.Time // when it was first stored
	Changed   time.Time // when something of it was last stored or deleted
	Accessed  time.Time // when it was last opened; zero: not known
	// Modalities and BodyParts are those of its series, in capitals.
	Modalities, BodyParts, Tags []string
	Bytes                       int64
	Tier                        archive.TierName // the farthest that one of its packs is in
	Settled                     bool             // nothing of it is left to be merged
	Deleted                     bool             // all of it
	Kept                        time.Time        // until when it must not be deleted, as far as that was asked
}

// Date is the day of the examination at a moment, as retention reckons it.
func (s *Study) Date(now time.Time) time.Time {
	day, _ := archive.Examined(s.StudyDate, s.receiptDay(), now)
	return day
}

// receiptDay is the day by which the study must have been made; where that is not known either, none that is over.
func (s *Study) receiptDay() time.Time {
	if s.Received.IsZero() {
		return time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)
	}
	return archive.ReceiptDay(s.Received)
}

// Environment is what rules look at beside the study.
type Environment struct {
	Studies int64 // of the tenant
	// Free and Capacity are bytes of the hot tier's disk; Capacity 0: it has none.
	Free, Capacity int64
	// Quiet is how long nothing of a study must have changed before anything is done to it.
	Quiet time.Duration
	// Revisit is after how long to look again at what may change without a word:
	// accesses, the number of studies, free room, legal holds. Above 0.
	Revisit time.Duration
}

// Decision is what the rules say of a study.
type Decision struct {
	// Rule is the index of the rule that holds; -1 where none does.
	Rule int
	// Action is what is to be done now; Nothing where the study is as it should be.
	Action Verb
	To     archive.TierName // Move
	// Circular: the rules would move the study in a circle, so it stays where it is.
	Circular bool
	Back     int // which rule moves it on where the first one would move it, if Circular
	// Next is when to look again if nothing else happens: after now, or zero for never.
	Next time.Time
}
