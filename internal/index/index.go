// Package index is the searchable view of the log: studies, series and
// instances in SQL, sealed row by row, looked up by tokens. It is a pure
// function of the set of facts applied to it, whatever their order (row
// identities and the change feed apart, which tell in what order it was), and
// may be dropped and rebuilt from the log at any time.
//
// # What is where
//
// Plain columns hold keyed hashes of UIDs, the study day, a set of modalities,
// states, counts of variants and facets, tenants, sessions and object names. All else is one sealed
// value a row: XChaCha20-Poly1305 under a key of the tenant, bound to table and
// row. Search goes by tokens, keyed hashes of words, in posting lists ordered by
// study day; wildcards run over the vocabulary (Words), whose matches name the tokens.
//
// # Use
//
// Apply is called after the fact is durable in the log, and may be called again
// with the same entry. What is not applied yet is the difference between the log and
// Progress.
//
// # Engines
//
// SQLite is for one process: who opens it holds the data folder's lock. PostgreSQL is shared by
// any number of processes. The SQL is the same but for what link and postings keep apart.
//
// Whoever writes for a tenant on PostgreSQL first locks the tenant's row and counts its writes there. The lock
// comes first, not last, since it makes more true than the order of the change feed: what a node remembers of
// the tenant (studies being received, progress, the feed's last number) holds exactly when the count is the one it
// left, and is forgotten otherwise, so a transaction reads only what is new to it. The price is that
// transactions of one tenant follow one another, commit included; calls that wait meanwhile share the next one.
//
// Row-level security is a second fence there: a connection names the tenant it works for, and sees no row
// of another. It needs a role that is no superuser and has no BYPASSRLS. Connections keep settings and
// prepared statements: a pooler between must not hand them out by transaction.
package index

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"time"

	pgdriver "gorm.io/driver/postgres"
	"gorm.io/gorm"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/fault"
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
	// Path is the file of a SQLite database, index.db in the data folder. The folder must be there.
	Path string
	// DSN is the address of a PostgreSQL database, used instead of Path: a URL or key=value pairs, with
	// several hosts where there are standbys. search_path names the schema, strata when it is absent.
	DSN string
	// Patience is how long a call tries to reach PostgreSQL before it fails with fault.Unavailable; 10 s when 0.
	Patience time.Duration
	// Poll is how often the change feed is looked at for what other nodes wrote, while somebody waits; 250 ms when 0.
	Poll time.Duration
	// Keys returns a tenant's keys. It is called once per tenant while the index is open, and again after Forget.
	Keys func(ctx context.Context, t archive.Tenant) (Keys, error)
	// Now is the clock of the change feed; time.Now when nil.
	Now func() time.Time
	// Rand is the source of nonces; crypto/rand when nil.
	Rand io.Reader
	// Nearline says how fast a tier answers: Nearline where objects are to be restored, Unavailable where it is
	// not configured any more. Nil: all are Online.
	Nearline func(archive.TierName) archive.Availability
	// Readers is the number of connections that read at once; 4 when 0, 8 on PostgreSQL.
	Readers int
}

// Index is an open index. It is safe for concurrent use.
type Index struct {
	keys     func(context.Context, archive.Tenant) (Keys, error)
	now      func() time.Time
	nonces   *nonces
	nearline func(archive.TierName) archive.Availability
	lookups  map[dicom.Tag]archive.Lookup // of study attributes
	shared   bool                         // PostgreSQL: other processes write too
	postings postings
	idBits   int // of a study's row in its key
	patience time.Duration

	tenants tenants
	readers pool
	writers []*writer
	ballast ballast
	gorm    *gorm.DB // for tables that are written seldom
	gormSQL *sql.DB
	pages   pageCache
	poll    poller

	prefixMu sync.RWMutex
	prefixes map[int64]string // beginnings of object names

	closing sync.RWMutex
	closed  bool
}

// Pages held in memory: writer 20 MiB, each of four readers 6 MiB. The operating system caches the rest.
const (
	writerCache = 20 << 10 // KiB
	readerCache = 24 << 10 // KiB, all readers together
)

const (
	pgReaders = 8
	pgWriters = 4 // tenants are spread over them: one that waits for another node holds up a part of the others only
)

// Open opens or makes the index, brings its schema up to date and finishes a
// rebuild that was interrupted. Errors are fault.Full, fault.Unavailable, fault.Invalid (settings),
// fault.Corrupt (rebuild it), or those of Options.Keys.
func Open(ctx context.Context, o Options) (*Index, error) {
	x := &Index{keys: o.Keys, now: o.Now, nearline: o.Nearline, nonces: newNonces(o.Rand), prefixes: map[int64]string{}, lookups: map[dicom.Tag]archive.Lookup{}}
	if x.now == nil {
		x.now = time.Now
	}
	for _, a := range archive.IndexedAttributes() {
		if a.Level == archive.LevelStudy {
			x.lookups[a.Tag] = a.Lookup
		}
	}
	x.tenants = tenants{x: x, byName: map[archive.Tenant]*tenant{}, wake: make(chan struct{})}
	open := x.openSQLite
	if o.DSN != "" {
		open = x.openPostgres
	}
	if err := open(ctx, o); err != nil {
		x.shut()
		return nil, fmt.Errorf("opening the index: %w", err)
	}
	for _, w := range x.writers {
		go w.run()
	}
	x.poll.start(x, cmp.Or(o.Poll, 250*time.Millisecond))
	return x, nil
}

func (x *Index) openSQLite(ctx context.Context, o Options) error {
	x.postings, x.idBits = fts{}, 28
	path, err := filepath.Abs(o.Path)
	if err != nil {
		return fault.Wrap(fault.Invalid, err, "finding the index")
	}
	if err := private(path); err != nil {
		return err
	}
	if err := migrateSQLite(ctx, dsn(path, writerCache, false)); err != nil {
		return fmt.Errorf("bringing its schema up to date: %w", err)
	}
	c, err := openLite(ctx, dsn(path, writerCache, false))
	if err != nil {
		return err
	}
	w := newWriter(x, c)
	x.writers = []*writer{w}
	db, err := poolLite(dsn(path, 1024, false) + "&_txlock=immediate")
	if err != nil {
		return err
	}
	if err := x.openGORM(db, dialect{db}); err != nil {
		return err
	}
	readers := cmp.Or(max(o.Readers, 0), 4)
	x.readers.make(readers)
	for range readers {
		c, err := openLite(ctx, dsn(path, readerCache/readers, true))
		if err != nil {
			return err
		}
		x.readers.free <- c
	}
	x.ballast.path, x.ballast.size = path+".ballast", ballastSize
	x.ballast.restore(x.now())
	return w.finishBulk(ctx)
}

func (x *Index) openPostgres(ctx context.Context, o Options) error {
	x.postings, x.idBits, x.shared = tok{}, 36, true
	x.patience = cmp.Or(o.Patience, 10*time.Second)
	s, err := newServer(o.DSN, x.patience)
	if err != nil {
		return err
	}
	if err := s.prepare(ctx); err != nil {
		return err
	}
	if err := migratePostgres(ctx, s); err != nil {
		return fmt.Errorf("bringing its schema up to date: %w", err)
	}
	for range pgWriters {
		x.writers = append(x.writers, newWriter(x, s.open(true)))
	}
	readers := cmp.Or(max(o.Readers, 0), pgReaders)
	x.readers.make(readers)
	for range readers {
		x.readers.free <- s.open(false)
	}
	db := s.pool(4)
	return x.openGORM(db, pgdriver.New(pgdriver.Config{Conn: db}))
}

// read runs f with a reader connection and the tenant; not at all when the index has nothing of the tenant.
func (x *Index) read(ctx context.Context, name archive.Tenant, f func(*conn, *tenant) error) error {
	t, err := x.tenants.get(ctx, name)
	if err != nil || t == nil {
		return err
	}
	return x.readers.with(ctx, t, func(c *conn) error { return f(c, t) })
}

// Ready reports whether the index answers, within 2 s.
func (x *Index) Ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	err := x.readers.with(ctx, nil, func(c *conn) error { return c.ping(ctx) })
	if errors.Is(err, context.DeadlineExceeded) {
		return fault.Wrap(fault.Unavailable, err, msgNoAnswer)
	}
	return err
}

// Close waits for what is under way and closes the database. It is idempotent.
func (x *Index) Close() error {
	x.closing.Lock()
	if x.closed {
		x.closing.Unlock()
		return nil
	}
	x.closed = true
	for _, w := range x.writers {
		close(w.jobs)
	}
	x.closing.Unlock()
	for _, w := range x.writers {
		<-w.done
	}
	x.poll.stop()
	return x.shut()
}

// shut closes the connections. Readers that are in use are waited for.
func (x *Index) shut() error {
	var errs []error
	if x.readers.free != nil {
		close(x.readers.closed)
		for range cap(x.readers.free) {
			select {
			case c := <-x.readers.free:
				errs = append(errs, c.close())
			case <-time.After(10 * time.Second):
			}
		}
	}
	if x.gormSQL != nil {
		errs = append(errs, classify(x.gormSQL.Close()))
	}
	for _, w := range x.writers {
		errs = append(errs, w.c.close())
	}
	x.pages.drop(0)
	return errors.Join(errs...)
}
