package index

import "github.com/strata-pacs/strata/internal/archive"

// The words of package archive that the index answers in.
type (
	Applied     = archive.Applied
	Placed      = archive.Placed
	Outcome     = archive.Outcome
	State       = archive.State
	Deletion    = archive.Deletion
	Range       = archive.Range
	Progress    = archive.Progress
	ChangeQuery = archive.ChangeQuery
)

// Outcomes and states, as in package archive; the states' numbers are part of the database.
const (
	Visible       = archive.Visible
	HiddenVersion = archive.HiddenVersion
	SameDigest    = archive.SameDigest
	Deleted       = archive.Deleted
	Shredded      = archive.Shredded
	StateVisible  = archive.StateVisible
	StateHidden   = archive.StateHidden
	StateDeleted  = archive.StateDeleted
)
