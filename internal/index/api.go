package index

import (
	"context"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/fault"
)

var errSoon = fault.New(fault.Internal, "index: under construction")

type Index struct{}

func Open(ctx context.Context, o Options) (*Index, error) { return nil, errSoon }
func (x *Index) Ready(ctx context.Context) error          { return errSoon }
func (x *Index) Close() error                             { return nil }

// Outcome says what became of an instance when its fact was applied.
type Outcome uint8

const (
	Visible       Outcome = iota // it is the version that is shown
	HiddenVersion                // another version of the same UIDs is shown
	SameDigest                   // another copy of the same bytes is shown
	Deleted                      // a deletion names it already
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
	Known     bool     // the entry had been applied before; nothing was done and Instances is empty
	Instances []Placed // as in the fact
	Err       error    // why this entry was not applied
}

// Apply makes the entries part of the index and returns when they are durable.
// Concurrent calls share transactions. An entry that fails does not keep others
// from being applied; the error is that of the first that failed.
func (x *Index) Apply(ctx context.Context, t archive.Tenant, entries ...archive.Entry) ([]Applied, error) {
	return nil, errSoon
}

// Bulk is Apply for a rebuild: large transactions, secondary indexes built when
// f returns. Entries given to add need not be ordered. Searches during
// Bulk give partial answers, other Apply calls wait.
func (x *Index) Bulk(ctx context.Context, t archive.Tenant, f func(add func(archive.Entry) error) error) error {
	return errSoon
}

// StudyKey returns the key under which more of the study is to be sealed.
func (x *Index) StudyKey(ctx context.Context, t archive.Tenant, study archive.Ref) (archive.KeyID, bool, error) {
	return archive.KeyID{}, false, errSoon
}

// Versions returns the live instances of the same three UIDs, the visible one
// first, and whether the SOP Instance UID is also in another study or series.
func (x *Index) Versions(ctx context.Context, t archive.Tenant, u archive.UIDs) (rows []archive.InstanceRow, elsewhere bool, err error) {
	return nil, false, errSoon
}

// Instances yields the visible instances that sel names, ordered by series
// number, series, instance number and source.
func (x *Index) Instances(ctx context.Context, t archive.Tenant, sel archive.UIDs, yield func(*archive.InstanceRow) bool) error {
	return errSoon
}

// State is what an instance row counts as.
type State uint8

const (
	StateVisible State = iota
	StateHidden        // live, but another version is shown
	StateDeleted
)

// Each yields every instance row, hidden versions and deleted ones included, after the given row identity and in its order.
func (x *Index) Each(ctx context.Context, t archive.Tenant, after int64, yield func(*archive.InstanceRow, State) bool) error {
	return errSoon
}

// Blobs returns every live blob below sel: what a deletion of sel has to name.
func (x *Index) Blobs(ctx context.Context, t archive.Tenant, sel archive.UIDs) ([]archive.BlobID, error) {
	return nil, errSoon
}

// Deletion is a deleted blob and the deletions that hold it.
type Deletion struct {
	Blob archive.BlobID
	By   []archive.FactID
}

// Deletions returns every deleted blob below sel: what an undeletion of sel has to name.
func (x *Index) Deletions(ctx context.Context, t archive.Tenant, sel archive.UIDs) ([]Deletion, error) {
	return nil, errSoon
}

// Chunks yields the metadata chunks of the given identities (InstanceRow.ChunkID), in their order.
func (x *Index) Chunks(ctx context.Context, t archive.Tenant, ids []int64, yield func(id int64, c archive.Chunk) bool) error {
	return errSoon
}

// Studies yields the candidates of the filter, newest first by study date and then by row.
// From, To, Modalities and UIDs hold exactly; every candidate is still to be matched against All.
// Yield may call the index.
func (x *Index) Studies(ctx context.Context, t archive.Tenant, f archive.StudyFilter, yield func(*archive.StudyRow) bool) error {
	return errSoon
}

// StudyByID returns the study row, or fault.NotFound.
func (x *Index) StudyByID(ctx context.Context, t archive.Tenant, id int64) (*archive.StudyRow, error) {
	return nil, errSoon
}

// SeriesByID returns the series row, or fault.NotFound.
func (x *Index) SeriesByID(ctx context.Context, t archive.Tenant, id int64) (*archive.SeriesRow, error) {
	return nil, errSoon
}

// SeriesOf returns the visible series of a study by series number and reference.
func (x *Index) SeriesOf(ctx context.Context, t archive.Tenant, study int64) ([]archive.SeriesRow, error) {
	return nil, errSoon
}

// SeriesByUID returns the visible series of these UIDs, in whichever study.
func (x *Index) SeriesByUID(ctx context.Context, t archive.Tenant, uids []string) ([]archive.SeriesRow, error) {
	return nil, errSoon
}

// InstancesOf yields the visible instances of a series by instance number and source.
func (x *Index) InstancesOf(ctx context.Context, t archive.Tenant, series int64, yield func(*archive.InstanceRow) bool) error {
	return errSoon
}

// InstancesByUID returns the visible instances of these SOP Instance UIDs, in whichever study.
func (x *Index) InstancesByUID(ctx context.Context, t archive.Tenant, uids []string) ([]archive.InstanceRow, error) {
	return nil, errSoon
}

// Words returns up to max distinct words of the attribute's vocabulary that match, and whether there are more:
// folded full values for an attribute of Lookup FullValue, folded words for Words.
func (x *Index) Words(ctx context.Context, t archive.Tenant, tag dicom.Tag, match func(word string) bool, max int) (words []string, more bool, err error) {
	return nil, false, errSoon
}

// ChangeQuery selects from the change feed.
type ChangeQuery struct {
	After    int64 // sequence numbers above this
	Limit    int   // at most so many; 100 when 0, 10,000 at most
	From, To time.Time
	Actions  []string // any when empty
	Newest   bool     // descending from the newest
}

// Changes reads the change feed.
func (x *Index) Changes(ctx context.Context, t archive.Tenant, q ChangeQuery) ([]archive.Change, error) {
	return nil, errSoon
}

// Last returns the highest sequence number of the tenant's feed, 0 when it is empty.
func (x *Index) Last(ctx context.Context, t archive.Tenant) (int64, error) { return 0, errSoon }

// Watch returns a channel that is closed when the tenant's feed next grows. Take it before reading the feed.
func (x *Index) Watch(t archive.Tenant) <-chan struct{} { return nil }

// Range is a run of numbers, both ends included.
type Range struct{ From, To uint64 }

// Progress is how much of a session's log is in the index.
type Progress struct {
	Applied []Range // ascending, disjoint
	Last    uint64  // highest number that a checkpoint names; 0 when none does
	Ended   bool    // a checkpoint says that no more will come
}

// Progress returns the progress of every session of the tenant that the index has heard of.
func (x *Index) Progress(ctx context.Context, t archive.Tenant) (map[string]Progress, error) {
	return nil, errSoon
}

// Referenced reports whether an instance row of the tenant lies in the pack object.
func (x *Index) Referenced(ctx context.Context, t archive.Tenant, object string) (bool, error) {
	return false, errSoon
}
