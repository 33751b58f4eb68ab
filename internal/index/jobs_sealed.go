package index

import (
	"context"
	"fmt"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/fault"
)

// Box seals what payloads of a tenant's jobs must not show, under the key that seals the tenant's rows: it opens after
// a restart, and on every node. It touches no database, and is not to be kept: its owner may be
// about to take the key away. It is safe for concurrent use.
type Box struct{ t *tenant }

// Box returns the tenant's. It needs the tenant's key.
func (q Jobs) Box(ctx context.Context, name archive.Tenant) (Box, error) {
	t, err := q.x.tenants.get(ctx, name)
	if err == nil && t == nil {
		err = fault.New(fault.NotFound, "the index has nothing of the tenant yet")
	}
	return Box{t}, err
}

// Seal seals what is said about something; it opens as nothing else.
func (b Box) Seal(about string, plain []byte) ([]byte, error) {
	return b.t.seal.seal(nil, plain, inJobs, b.t.jobRow(about))
}

// Open opens what was sealed.
func (b Box) Open(about string, sealed []byte) ([]byte, error) {
	return b.t.seal.open(sealed, inJobs, b.t.jobRow(about))
}

// Mark is the same for the same text, and tells it to nobody who has not the key: for keys of rows.
func (b Box) Mark(text string) string { return fmt.Sprintf("%016x", uint64(b.t.jobRow(text))) }

// jobRow stands for a row in what its seal is bound to: the identity of one that is added is not known yet.
func (t *tenant) jobRow(about string) int64 { return t.hash64(tokenJob, dicom.Tag(0), about) }
