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
// Progress. One process opens an index; who opens it holds the data folder's lock.
package index

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"gorm.io/gorm"
	"modernc.org/sqlite"

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
	// Path is the database file, index.db in the data folder. The folder must be there.
	Path string
	// Keys returns a tenant's keys. It is called once per tenant while the index is open.
	Keys func(ctx context.Context, t archive.Tenant) (Keys, error)
	// Now is the clock of the change feed; time.Now when nil.
	Now func() time.Time
	// Rand is the source of nonces; crypto/rand when nil.
	Rand io.Reader
	// Readers is the number of connections that read at once; 4 when 0.
	Readers int
}

// Index is an open index. It is safe for concurrent use.
type Index struct {
	keys    func(context.Context, archive.Tenant) (Keys, error)
	now     func() time.Time
	nonces  *nonces
	lookups map[dicom.Tag]archive.Lookup // of study attributes

	tenants tenants
	readers pool
	writer  writer
	gorm    *gorm.DB // on the writer's connection; for the writer alone
	gormSQL *sql.DB
	pages   pageCache

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

// Open opens or makes the index, brings its schema up to date and finishes a
// rebuild that was interrupted. Errors are fault.Full, fault.Unavailable,
// fault.Corrupt (rebuild it), or those of Options.Keys.
func Open(ctx context.Context, o Options) (*Index, error) {
	x := &Index{keys: o.Keys, now: o.Now, nonces: newNonces(o.Rand), prefixes: map[int64]string{}, lookups: map[dicom.Tag]archive.Lookup{}}
	if x.now == nil {
		x.now = time.Now
	}
	if o.Readers <= 0 {
		o.Readers = 4
	}
	for _, a := range archive.IndexedAttributes() {
		if a.Level == archive.LevelStudy {
			x.lookups[a.Tag] = a.Lookup
		}
	}
	x.tenants = tenants{x: x, byName: map[archive.Tenant]*tenant{}, wake: make(chan struct{})}
	path, err := filepath.Abs(o.Path)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "finding the index")
	}
	if err := private(path); err != nil {
		return nil, err
	}
	if err := migrate(ctx, dsn(path, writerCache, false)); err != nil {
		return nil, fmt.Errorf("preparing the index: %w", err)
	}
	if err := x.open(ctx, path, o.Readers); err != nil {
		x.shut()
		return nil, fmt.Errorf("opening the index: %w", err)
	}
	x.writer.done = make(chan struct{})
	go x.writer.run()
	return x, nil
}

func (x *Index) open(ctx context.Context, path string, readers int) error {
	dc, err := connect(ctx, dsn(path, writerCache, false))
	if err != nil {
		return err
	}
	x.writer.x, x.writer.c, x.writer.jobs = x, newConn(dc), make(chan *job, maxJobs)
	if x.gorm, x.gormSQL, err = openGORM(dc); err != nil {
		return err
	}
	x.readers.free = make(chan *conn, readers)
	for range readers {
		dc, err := connect(ctx, dsn(path, readerCache/readers, true))
		if err != nil {
			return err
		}
		x.readers.free <- newConn(dc)
	}
	if err := x.writer.load(); err != nil {
		return err
	}
	x.writer.ballast = ballast{path: path + ".ballast", size: ballastSize}
	x.writer.ballast.restore(x.now())
	return x.writer.finishBulk(ctx)
}

// private makes the database file for its owner alone; SQLite gives its other files the same mode.
func private(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fault.Wrap(fault.Unavailable, err, "the index database cannot be opened; check the data folder")
	}
	return classify(f.Close())
}

// dsn names the database with the settings of a connection. synchronous=FULL makes a commit durable.
func dsn(path string, cacheKiB int, reader bool) string {
	v := url.Values{}
	for _, p := range []string{
		"busy_timeout(10000)", "journal_mode(WAL)", "synchronous(FULL)", fmt.Sprintf("cache_size(-%d)", cacheKiB),
		"wal_autocheckpoint(4000)", "journal_size_limit(67108864)", "temp_store(MEMORY)", "foreign_keys(0)", "mmap_size(0)",
	} {
		v.Add("_pragma", p)
	}
	if reader {
		v.Add("_pragma", "query_only(1)")
	}
	return (&url.URL{Scheme: "file", OmitHost: true, Path: path, RawQuery: v.Encode()}).String()
}

func connect(ctx context.Context, dsn string) (driver.Conn, error) {
	cn, err := sqlite.NewConnector(dsn)
	if err != nil {
		return nil, classify(err)
	}
	dc, err := cn.Connect(ctx)
	return dc, classify(err)
}

// read runs f with a reader connection and the tenant; not at all when the index has nothing of the tenant.
func (x *Index) read(ctx context.Context, name archive.Tenant, f func(*conn, *tenant) error) error {
	t, err := x.tenants.get(ctx, name)
	if err != nil || t == nil {
		return err
	}
	return x.readers.with(ctx, func(c *conn) error { return f(c, t) })
}

// Ready reports whether the index answers.
func (x *Index) Ready(ctx context.Context) error {
	return x.readers.with(ctx, func(c *conn) error {
		_, err := c.integer(`SELECT count(*) FROM tenants`)
		return err
	})
}

// Close waits for what is under way and closes the database. It is idempotent.
func (x *Index) Close() error {
	x.closing.Lock()
	if x.closed {
		x.closing.Unlock()
		return nil
	}
	x.closed = true
	close(x.writer.jobs)
	x.closing.Unlock()
	<-x.writer.done
	return x.shut()
}

// shut closes the connections. Readers that are in use are waited for.
func (x *Index) shut() error {
	var errs []error
	if x.readers.free != nil {
		for range cap(x.readers.free) {
			select {
			case c := <-x.readers.free:
				errs = append(errs, classify(c.close()))
			case <-time.After(10 * time.Second):
			}
		}
	}
	if x.gormSQL != nil {
		errs = append(errs, classify(x.gormSQL.Close()))
	}
	if x.writer.c != nil {
		errs = append(errs, classify(x.writer.c.close()))
	}
	x.pages.clear()
	return errors.Join(errs...)
}
