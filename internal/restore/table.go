package restore

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
)

// The kinds of rows. A study's row is open, then ending while those who wait are told, then over,
// and is removed when it is due. A request for several studies has a row of its own.
const (
	kindOpen      = "restore"
	kindEnding    = "restore-ending"
	kindOver      = "restore-over"
	kindBatch     = "restores"
	kindBatchOver = "restores-over" // also one that is being written down: it goes when that was not finished
	kindHook      = "webhook"
	kindPace      = "restore-pace"
)

// Row is a row of the table that nodes share. It carries no patient data and no UIDs, and what tells more than sizes,
// times and states is sealed in it.
type Row struct {
	ID      int64 // 0: new
	Tenant  archive.Tenant
	Kind    string
	Key     string // one row of a tenant and kind has it
	Payload []byte
	Due     time.Time // when it is next to be looked at
	Created time.Time
}

// Table is a durable table of rows. A function that changes a row may be called again; its
// error is returned, and nothing is changed then.
type Table interface {
	// Merge adds a row, or changes the one that there is. Where most is not 0 and the tenant has as many rows of the
	// kind, a new one is fault.TooMany.
	Merge(ctx context.Context, t archive.Tenant, kind, key string, created time.Time, most int, f func(*Row) error) (Row, error)
	// Change changes a row; fault.NotFound when it is gone.
	Change(ctx context.Context, id int64, f func(*Row) error) (Row, error)
	// Count returns how many rows of the kind the tenant has; where keys are given, of these alone.
	Count(ctx context.Context, t archive.Tenant, kind string, keys ...string) (int, error)
	// Get returns the tenant's rows that there are, by identity.
	Get(ctx context.Context, t archive.Tenant, ids ...int64) ([]Row, error)
	// OfKinds returns the tenant's rows of the kinds with identities above after, by identity.
	OfKinds(ctx context.Context, t archive.Tenant, kinds []string, after int64, limit int) ([]Row, error)
	// Due returns rows of the kind that are due by the time, by Due and then by ID, behind those of the row given.
	Due(ctx context.Context, kind string, by time.Time, after Row, limit int) ([]Row, error)
	Remove(ctx context.Context, ids ...int64) error
}

// idOf is what a row is called outside: a ULID of its time and identity, so that
// it is found again by identity.
func idOf(r Row) string {
	var u ulid.ULID
	_ = u.SetTime(uint64(r.Created.UnixMilli())) // of this age
	binary.BigEndian.PutUint64(u[8:], uint64(r.ID))
	return u.String()
}

var errNoRestore = fault.New(fault.NotFound, "there is no such restore; those that are over are kept for 30 days")

// rowID is the identity in an ID.
func rowID(id string) (int64, error) {
	u, err := ulid.ParseStrict(id)
	if err != nil {
		return 0, errNoRestore
	}
	n := int64(binary.BigEndian.Uint64(u[8:]))
	if n <= 0 {
		return 0, errNoRestore
	}
	return n, nil
}

// isRestore reports whether the kind is a restore's, of one study or of several.
func isRestore(kind string) bool {
	return kind == kindOpen || kind == kindEnding || kind == kindOver || kind == kindBatch || kind == kindBatchOver
}

func isBatch(kind string) bool { return kind == kindBatch || kind == kindBatchOver }

func decode[T any](r Row) (v T, err error) {
	if err := json.Unmarshal(r.Payload, &v); err != nil {
		return v, fault.Wrap(fault.Internal, err, "reading a restore")
	}
	return v, nil
}

func encode(r *Row, v any) (err error) {
	if r.Payload, err = json.Marshal(v); err != nil {
		return fault.Wrap(fault.Internal, err, "writing a restore down")
	}
	return nil
}
