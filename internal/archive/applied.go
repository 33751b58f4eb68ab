package archive

import (
	"time"

	"github.com/strata-pacs/strata/internal/dicom"
)

// Outcome says what became of an instance when its fact was applied to the index.
type Outcome uint8

const (
	Visible       Outcome = iota // it is the version that is shown
	HiddenVersion                // another version of the same UIDs is shown
	SameDigest                   // another copy of the same bytes is shown
	Deleted                      // a deletion names it already
	Shredded                     // its key was destroyed: it counts as never stored
)

// Placed is what became of one instance of a stored fact.
type Placed struct {
	ID      int64 // row identity
	Outcome Outcome
	// Conflicts are the patient, study and series attributes whose values differ
	// from those that the index shows for the study and the series.
	Conflicts []dicom.Tag
	// Elsewhere: the SOP Instance UID is also in another study or series.
	Elsewhere bool
}

// Applied is the result of applying one entry.
type Applied struct {
	Known     bool     // the entry had been applied before; Instances is empty, unless some are Shredded
	Instances []Placed // as in the fact
	Err       error    // why this entry was not applied
}

// Deletion is a deleted blob and the deletions that hold it.
type Deletion struct {
	Blob BlobID
	By   []FactID
}

// State is what an instance row counts as. Numbers are part of the database.
type State uint8

const (
	StateVisible State = iota
	StateHidden        // live, but another version is shown
	StateDeleted
)

// Range is a run of numbers, both ends included.
type Range struct{ From, To uint64 }

// Progress is how much of a session's log is in the index.
type Progress struct {
	Applied []Range // ascending, disjoint
	Last    uint64  // highest number that a checkpoint names; 0 when none does
	Ended   bool    // a checkpoint says that no more will come
}

// Has reports whether the number is applied.
func (p Progress) Has(n uint64) bool {
	for _, r := range p.Applied {
		if n >= r.From && n <= r.To {
			return true
		}
	}
	return false
}

// ChangeQuery selects from the change feed.
type ChangeQuery struct {
	After    int64     // sequence numbers above this
	Limit    int       // at most so many; 100 when 0, 10,000 at most
	From, To time.Time // of the entries, From included, To not; zero is open
	Actions  []string  // any when empty
	Newest   bool      // descending from the newest
}
