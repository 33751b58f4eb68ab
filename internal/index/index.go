// Package index is the searchable view of the log: studies, series and
// instances in SQL, sealed row by row, looked up by tokens. It is a pure
// function of the set of facts applied to it, whatever their order, and may be
// dropped and rebuilt from the log at any time.
package index

import (
	"context"
	"io"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
)

// Keys is what the index needs of a tenant's keys; *keys.Ring satisfies it.
type Keys interface {
	// Derive returns the tenant's secret for the purpose.
	Derive(purpose string) (archive.Secret, error)
	// Ref returns the keyed hash of a UID.
	Ref(uid string) archive.Ref
}

// Options opens an index.
type Options struct {
	// Path is the database file, index.db in the data folder. The folder must be there.
	Path string
	// Keys returns a tenant's keys. It is called once per tenant while the index is open.
	Keys func(ctx context.Context, t archive.Tenant) (Keys, error)
	// Now is the clock of change feed and rows; time.Now when nil.
	Now func() time.Time
	// Rand is the source of nonces; crypto/rand when nil.
	Rand io.Reader
	// Readers is the number of connections that read at once; 4 when 0.
	Readers int
}
