// Package ledger writes and reads the log: the facts of a tenant, which are the
// truth that every index is a view of.
//
// A fact is one object, {tenant}/log/{session}/{n}: the blobs of a small store
// if it has any, then the sealed fact, then a clear header and a trailer. It is
// read from its end, so the blobs are never touched. A session is one run of one
// process; its numbers are dense from 1, each written only where there is
// nothing yet, so a lost object shows as a hole. See storage/FORMAT.md.
package ledger

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/storage/driver"
)

// Limits of a fact. Writers refuse to pass them with fault.TooLarge, readers with fault.Corrupt.
const (
	MaxIndex   = 64 << 20  // bytes of an index record
	MaxJSON    = 1 << 30   // bytes of the compressed DICOM JSON of a fact
	MaxLayout  = 256 << 20 // bytes of the layouts of a fact
	MaxHeader  = 1 << 20   // bytes of the clear header
	MaxSession = 64        // bytes of a session's name
)

// What can be wrong with a log object. Each is reported as a fault.Corrupt that
// wraps one of them, or one of package seal's.
var (
	// ErrVersion: this is not a log object, or one of a newer format.
	ErrVersion = errors.New("not a log object of a known version")
	// ErrLength: the object is shorter or longer than its trailer and header say.
	ErrLength = errors.New("wrong length")
	// ErrHeader: the clear header is malformed, or not the one that was sealed.
	ErrHeader = errors.New("wrong fact header")
	// ErrPlace: the fact belongs at another place in the log.
	ErrPlace = errors.New("fact of another place")
	// ErrSection: a section belongs to another fact, or has not the length that the fact states.
	ErrSection = errors.New("section of another fact")
	// ErrRecord: the index record cannot be understood.
	ErrRecord = errors.New("malformed index record")
	// ErrDigest: the bytes are not those that were written (keyless check).
	ErrDigest = errors.New("digest differs")
	// ErrKind: the fact is of a kind that this version does not know. It is
	// reported as fault.Conflict: nothing is damaged.
	ErrKind = errors.New("unknown kind of fact")
)

func corrupt(reason error) error {
	return fault.Wrap(fault.Corrupt, reason, "an object of the log is damaged or not in its place; check the store with strata verify")
}

// Bucket is what the log needs of storage.
type Bucket interface {
	Create(ctx context.Context, key string, o driver.CreateOptions) (driver.Writer, error)
	Open(ctx context.Context, key string, off, n int64) (io.ReadCloser, error)
	Stat(ctx context.Context, key string) (driver.Attrs, error)
	List(ctx context.Context, prefix, after string, limit int) (driver.Page, error)
}

// Secrets returns the secret of a key; the zero KeyID names the tenant root's fact key.
type Secrets func(ctx context.Context, id archive.KeyID) (archive.Secret, error)

// Options of a Log.
type Options struct {
	Bucket  Bucket
	Tenant  archive.Tenant
	Secrets Secrets
	// Session names what this process writes: see [SessionName]. Never used before.
	Session string
	Now     func() time.Time // nil is time.Now
	Rand    io.Reader        // nil is crypto/rand; need not be safe for concurrent use
	// Settle bounds how long Append looks, after the context has ended or the
	// store failed, whether its object was written after all. 0 is 5 s.
	Settle time.Duration
	// Fence, if set, is asked before each object is written. Its error says that
	// others may by now have taken the session for over: nothing is written.
	Fence func() error
}

// Log writes one session of one tenant's log. It is safe for concurrent use.
type Log struct {
	o    Options
	rand *lockedReader

	mu     sync.Mutex
	lastID archive.FactID
	next   uint64   // smallest number never taken
	free   []uint64 // taken but not written, ascending
	high   uint64   // largest number written
	closed bool
	end    *archive.Entry // that ended the session
	active sync.WaitGroup
}

// Open returns a log that writes the session. It does no I/O.
func Open(o Options) (*Log, error) {
	if !o.Tenant.Valid() || !validSession(o.Session) {
		return nil, fault.New(fault.Invalid, "the tenant or session of a log has characters that object names cannot have")
	}
	if o.Bucket == nil || o.Secrets == nil {
		return nil, fault.New(fault.Internal, "a log needs a bucket and keys")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	o.Settle = cmp.Or(o.Settle, 5*time.Second)
	return &Log{o: o, rand: &lockedReader{r: o.Rand}, next: 1}, nil
}

// Session returns the name of the session that the log writes.
func (l *Log) Session() string { return l.o.Session }

// Content says what kinds of facts a session holds, as far as its name tells.
type Content byte

// The contents of sessions.
const (
	// Instances: facts about instances alone, and where their bytes are: stored,
	// settled, moved, tagged.
	Instances Content = 'i'
	// Controls: none of these, and so few that they are read before all others.
	Controls Content = 'c'
	// Mixed: any; the name does not tell.
	Mixed Content = 0
)

// SessionName is the name of the k-th session, from 1, that a process writes with a
// content. process is its ULID.
func SessionName(process string, c Content, k int64) string {
	return process + "-" + string(rune(c)) + strconv.FormatInt(k, 10)
}

// ContentOf reads the content of a session from its name.
func ContentOf(session string) Content {
	_, rest, ok := strings.Cut(session, "-")
	if ok && len(rest) > 1 {
		switch c := Content(rest[0]); c {
		case Instances, Controls:
			return c
		}
	}
	return Mixed
}

// validSession reports whether s may be an element of an object name.
func validSession(s string) bool {
	if len(s) == 0 || len(s) > MaxSession {
		return false
	}
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

// ObjectName returns the key of a log object.
func ObjectName(t archive.Tenant, session string, n uint64) string {
	return fmt.Sprintf("%s/log/%s/%016d", t, session, n)
}
