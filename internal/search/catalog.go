// Package search answers queries (QIDO-RS, PS3.18 §10.6): it reads the query
// parameters, asks the [Catalog] for candidates, newest first, and matches each
// exactly by the rules of PS3.4 §C.2.2.2. The index narrows, search decides, so
// an answer never depends on how the index finds things. It knows nothing of HTTP.
//
// Use: [Parse] a query once, [Searcher.Search] it, and write each [Match] by
// the [Query.Fields].
package search

import (
	"context"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/dicom"
)

// Catalog is what search asks of the index.
//
// A yield function may call the catalog again: no connection, cursor or lock
// may be held while it runs that such a call waits for. Rows are valid until
// yield returns; returned slices belong to the caller, to read.
type Catalog interface {
	// Studies yields the candidates of the filter, newest first: by study date
	// and then by row, both descending; studies without a date come last.
	Studies(ctx context.Context, t archive.Tenant, f archive.StudyFilter, yield func(*archive.StudyRow) bool) error
	// SeriesOf returns the visible series of a study by series number.
	SeriesOf(ctx context.Context, t archive.Tenant, studyID int64) ([]archive.SeriesRow, error)
	// SeriesByUID and InstancesByUID return the visible ones that have one of the UIDs, in any study.
	SeriesByUID(ctx context.Context, t archive.Tenant, uids []string) ([]archive.SeriesRow, error)
	InstancesByUID(ctx context.Context, t archive.Tenant, uids []string) ([]archive.InstanceRow, error)
	// Instances yields the visible instances of the selection by series number,
	// series, instance number; with the UIDs of all three levels.
	Instances(ctx context.Context, t archive.Tenant, sel archive.UIDs, yield func(*archive.InstanceRow) bool) error
	// Words returns the words (of an attribute looked up by archive.FullValue:
	// the folded full values) for which match is true, or the first max of them
	// and more.
	Words(ctx context.Context, t archive.Tenant, tag dicom.Tag, match func(word string) bool, max int) (words []string, more bool, err error)
}

// MetadataFunc returns the stored DICOM JSON of one instance, an object or an
// array of one, with the BulkDataURIs below base, which has no slash at its end.
type MetadataFunc func(ctx context.Context, t archive.Tenant, u archive.UIDs, base string) ([]byte, error)
