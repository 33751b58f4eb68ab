package archive

import (
	"time"

	"github.com/strata-pacs/strata/internal/dicom"
)

// StudyRow is what the index knows of a study.
type StudyRow struct {
	ID         int64 // row identity, stable while the index lives
	Ref        Ref
	UID        string
	Attrs      Attrs    // patient and study level, of the smallest Source
	Modalities []string // of its visible series, sorted (0008,0061)
	SOPClasses []string // of its visible instances, sorted (0008,0062)
	Series     int      // visible series (0020,1206)
	Instances  int      // visible instances (0020,1208)
	Bytes      int64
	Received   time.Time // when its first instance was stored
	Updated    time.Time // when it last changed
	Conflicts  int       // sets of patient and study attributes that differ from Attrs
	Tier       Availability
}

// SeriesRow is what the index knows of a series.
type SeriesRow struct {
	ID, StudyID int64
	Ref         Ref
	UID         string
	Attrs       Attrs
	Instances   int // visible instances (0020,1209)
	Tier        Availability
}

// InstanceRow is what the index knows of a visible instance, or of a hidden version of it.
type InstanceRow struct {
	ID, SeriesID, StudyID int64
	Instance              // without Patient and Series; JSON.Chunk is unset
	Source                Source
	Received              time.Time
	Tier                  Availability
	Place                 TierName // where its object lies
	ChunkID               int64    // of the metadata chunk that holds its JSON; 0 when the log alone does
}

// StudyFilter selects studies by what the index can look up. Terms narrow the
// candidates; every candidate is still to be matched exactly by the caller.
type StudyFilter struct {
	// UIDs, when not nil, are the only studies looked at.
	UIDs []string
	// IDs, when not nil, are the only studies looked at, by row identity.
	IDs []int64
	// From and To bound the Study Date, inclusive, as YYYYMMDD; empty is open.
	// A study without a date passes only when both are empty.
	From, To string
	// Modalities, when not empty: the study has a series of at least one of them.
	Modalities []string
	// All are conditions of which each must hold; a condition holds when any of
	// its words does.
	All [][]Term
	// Skip passes over so many studies first. Only without UIDs, IDs and All, where every
	// candidate is a match.
	Skip int
	// Want is how many candidates the caller expects to look at, 0 when it does
	// not know: a hint for how much to read at first.
	Want int
}

// Term is one folded word, or one folded full value, of an attribute.
type Term struct {
	Tag  dicom.Tag
	Word string
	Full bool // the whole value, not a word of it
}

// Change is one entry of the change feed.
type Change struct {
	Sequence int64 // strictly ascending per tenant, no reader ever skips one
	Time     time.Time
	Action   string // "create", "replace", "delete", "undelete"
	UIDs
	Blob BlobID
}

// Touched is a study that a stretch of the change feed is about.
type Touched struct {
	Study       string
	First, Last int64     // sequence numbers of its entries in the stretch
	Time        time.Time // of the last one
	// Lost: something that was visible is not any more, by a deletion or a replacement.
	Lost bool
}
