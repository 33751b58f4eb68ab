// Package ingest takes instances in: it parses, hashes and seals each one while
// it arrives, and commits them study by study.
//
// # The commit protocol
//
// An instance is acknowledged only when all of this is durable, in this order:
//
//  1. the study's key object, written alongside when the study is new;
//  2. the sealed bytes: inside the log object of the fact when the study's share
//     of the request is small, in a pack before the fact when it is large;
//  3. the fact, in the tenant's log;
//  4. the index transaction that makes it visible and appends to the change feed.
//
// A crash after 3 is mended by the reconciler, which indexes the fact. A crash
// before leaves objects that no fact names; the reaper removes them after a
// grace period. A writer that took longer than half that grace between pack
// and fact gives up before it writes the fact, so that no fact ever names a
// pack that is being reaped.
//
// A study may be shredded while more of it is being stored. What went under the
// destroyed key counts as never stored, whichever fact is first in the log or the
// index: the commit fails, and who sends it again imports the study anew.
//
// Memory does not grow with what is stored: an instance is held whole only up
// to [headBytes], sealed bytes up to a budget that all requests share, and facts are
// cut when they grow large.
package ingest

import (
	"context"
	"hash"
	"io"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/keys"
	"github.com/strata-pacs/strata/internal/ledger"
	"github.com/strata-pacs/strata/internal/pack"
)

// Index is what a store needs of the index.
type Index interface {
	// StudyKey returns the key that seals the study's instances so far.
	StudyKey(ctx context.Context, t archive.Tenant, ref archive.Ref) (archive.KeyID, bool, error)
	// Versions returns the live instances of the same UIDs, the visible one
	// first, and whether the SOP Instance UID is also in another study or series.
	Versions(ctx context.Context, t archive.Tenant, u archive.UIDs) ([]archive.InstanceRow, bool, error)
	// Apply indexes facts and returns after the commit, one Applied an entry.
	Apply(ctx context.Context, t archive.Tenant, entries ...archive.Entry) ([]archive.Applied, error)
}

// Keys is what a store needs of the tenant's keys.
type Keys interface {
	Ref(uid string) archive.Ref
	Digest() hash.Hash
	Secret(ctx context.Context, id archive.KeyID) (archive.Secret, error)
	NewStudyKey(ctx context.Context, study archive.Ref) (archive.KeyID, archive.Secret, keys.KeyObject, error)
	Commit(ctx context.Context, obj keys.KeyObject) error
}

// Log is what a store needs of the tenant's log.
type Log interface {
	NewFactID() archive.FactID
	Append(ctx context.Context, f *archive.Fact, body *pack.Body) (archive.Entry, error)
}

// Options say where a tenant's instances go. All fields without a default are required.
type Options struct {
	Tenant archive.Tenant
	Index  Index
	Keys   Keys
	Log    Log
	Packs  pack.Creator
	// Room, if set, fails with fault.Full while the index cannot take more
	// instances: a fact that is not indexed would fill the store at every retry.
	Room   func() error
	Budget *pack.Budget // sealed bytes in memory, shared by all requests

	Policy Policy
	Limits dicom.Limits
	// InlineLimit is how many sealed bytes of a study go into the log object
	// itself; more make a pack. Default 16 MiB.
	InlineLimit int64
	// Grace is how old an unreferenced object must be before the reaper takes it. Default 24 h.
	Grace time.Duration
	Now   func() time.Time
	Rand  io.Reader
}

// Store takes in the instances of one tenant. It is safe for concurrent use.
type Store struct {
	o    Options
	keys *studyKeys
	zstd *zstd.Encoder
	head sync.Pool // *[]byte of headBytes
}

// New returns a store.
func New(o Options) (*Store, error) {
	if o.InlineLimit == 0 {
		o.InlineLimit = 16 << 20
	}
	if o.Grace == 0 {
		o.Grace = 24 * time.Hour
	}
	enc, err := ledger.NewChunkEncoder()
	if err != nil {
		return nil, err
	}
	s := &Store{o: o, zstd: enc, keys: newStudyKeys(o)}
	s.head.New = func() any { b := make([]byte, headBytes); return &b }
	return s, nil
}

// Close waits for key objects that are still being written.
func (s *Store) Close() { s.keys.wait() }
