package archive

import (
	"time"
	"unicode"
	"unicode/utf8"
)

// StudyLife is what lifecycle rules look at of a study. The index keeps one for
// every study of which it has any blob, deleted ones included.
type StudyLife struct {
	ID    int64 // row identity, ascending; that of StudyRow
	Study Ref
	UID   string // Study Instance UID
	// Patient is the keyed hash of the [PatientRef] of the Patient ID, zero where there is none, and StudyDate (0008,0020)
	// as YYYYMMDD, empty where it is absent or malformed. Of a study of which nothing is visible they are what it showed last.
	Patient   Ref
	StudyDate string

	Received time.Time // when its first instance was stored
	Changed  time.Time // when instances of it were last stored
	// Accessed is the last day, at 0:00 UTC, on which pixels of it were asked for, or on which
	// this index learnt of the study. No fact says it: after a rebuild it is the day of the rebuild, so that
	// rules wait longer and never move a study too early.
	Accessed time.Time

	Modalities []string // of its visible series, sorted; not to be changed
	BodyParts  []string // likewise, of Body Part Examined (0018,0015)
	Tags       []string // of the newest tagged fact, ascending
	Instances  int      // visible instances; 0: the whole study is deleted
	// Deleted counts blobs that are deleted and whose bytes are still kept.
	Deleted int
	// Bytes are those of all its sealed blobs, hidden versions and deleted ones included: what moving it moves.
	Bytes int64

	// Tiers are those that packs of it are in, sorted; none where all of it still lies in entries of the log, which are hot.
	Tiers []TierName
	// Loose counts live stored entries of the log: what is not settled yet. Settled: there are none, and a settled
	// fact stands for them. A study that an older version of Strata indexed is not settled before it is settled anew.
	Loose   int
	Settled bool

	// Due is when the study is to be looked at next: set by facts about it, and by SetDue.
	Due time.Time
	// Outdated: the rules changed since Due was set, so the study is due whatever Due says.
	Outdated bool

	Mark LifeMark
}

// LifeMark says which state of the study a StudyLife tells, and by which rules it is judged. It is
// opaque: the index reads it back from a [NextDue].
type LifeMark struct {
	Judged     int64   // the generation of rules that Due was set under; 0: facts set it
	Generation int64   // the tenant's, when the life was read
	Seen       [8]byte // another after every fact about the study
}

// NextDue says when a study that was looked at is to be looked at again.
type NextDue struct {
	ID    int64 // of its row
	Study Ref
	At    time.Time
	Mark  LifeMark // of what was looked at: if the study changed since, At does not hold
}

// Stays reports whether the study, of which this is the state that was looked at, is to be looked at next when
// it was due anyway. Of an outdated one that need not be noted.
func (l *StudyLife) Stays(at time.Time) bool { return l.Due.UnixMilli() == at.UnixMilli() }

// DuePlace is a place among the studies that are due, in their order; zero is before the first. It is opaque.
type DuePlace struct {
	Stage      DueStage
	Generation int64 // of the rules, when the page was read
	Due, ID    int64 // of the last before the place
	// Swept is up to where studies are judged by these rules once all before the place are; 0: nothing new.
	Swept int64
}

// DueStage is why studies are due, in the order in which they are looked at.
type DueStage uint8

// Stages.
const (
	DueByFact  DueStage = iota // a fact about the study came, and it has been quiet since
	DueByRules                 // the rules changed
	DueByTime                  // the last look at it said so
)

// Next returns the NextDue of the study, of which this is the state that was looked at.
func (l *StudyLife) Next(at time.Time) NextDue {
	return NextDue{ID: l.ID, Study: l.Study, At: at, Mark: l.Mark}
}

const (
	// MaxTags bounds the tags of a study.
	MaxTags = 64
	// MaxTag bounds the length of a tag, in bytes.
	MaxTag = 64
)

// ValidTags reports whether tags may stand in a fact: at most MaxTags, ascending and distinct,
// each of 1 to MaxTag bytes of UTF-8 without control characters that neither begins nor ends with a space.
func ValidTags(tags []string) bool {
	if len(tags) > MaxTags {
		return false
	}
	for i, s := range tags {
		if len(s) == 0 || len(s) > MaxTag || !utf8.ValidString(s) || s[0] == ' ' || s[len(s)-1] == ' ' || i > 0 && tags[i-1] >= s {
			return false
		}
		for _, r := range s {
			if unicode.IsControl(r) {
				return false
			}
		}
	}
	return true
}
