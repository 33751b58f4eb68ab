package index

import (
	"context"
	"fmt"

	"github.com/strata-pacs/strata/internal/archive"
)

// secondary are the indexes that a rebuild makes last. studies_day stays meanwhile, since
// searches name it; it is there to be made where an older rebuild was interrupted.
var secondary = [...]struct{ name, make string }{
	{"instances_sop", `CREATE INDEX IF NOT EXISTS instances_sop ON instances (sop)`},
	{"studies_day", `CREATE INDEX IF NOT EXISTS studies_day ON studies (tenant, skey, mods)`},
	{"series_ref", `CREATE INDEX IF NOT EXISTS series_ref ON series (ref)`},
	{"changes_rare", `CREATE INDEX IF NOT EXISTS changes_rare ON changes (action, id) WHERE action <> 1`},
}

// Bulk applies entries for a rebuild, in large transactions. f calls add
// with the entries in any order, from one goroutine; it is durable when Bulk returns without error.
//
// On SQLite the secondary indexes, the postings and the versions of equal UIDs are left to the end.
// Meanwhile Apply waits, and searches answer in part and slowly. After an error, or a crash, Open or
// another Bulk finishes what was applied. On PostgreSQL, where other nodes and tenants are at work, each
// transaction leaves the index whole, and Apply goes on between them.
func (x *Index) Bulk(ctx context.Context, name archive.Tenant, f func(add func(archive.Entry) error) error) (err error) {
	w := x.writerOf(name)
	x.closing.RLock()
	defer x.closing.RUnlock()
	if x.closed {
		return errClosed
	}
	if x.shared {
		return w.bulkApply(ctx, name, f)
	}
	defer w.tidy()
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, err := w.tenant(ctx, name); err != nil {
		return err
	}
	if err := w.startBulk(); err != nil {
		return fmt.Errorf("preparing the rebuild: %w", err)
	}
	u := &bulk{w: w, name: name}
	err = f(func(e archive.Entry) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		return u.add(ctx, &e)
	})
	if e := u.commit(); err == nil {
		err = e
	}
	if e := w.finishBulk(ctx); err == nil {
		err = e
	}
	return err
}

// bulk is the transaction under way of a rebuild.
type bulk struct {
	w      *writer
	name   archive.Tenant
	t      *tenant // for the transaction in hand
	b      *batch
	n      int
	failed error
}

const bulkInstances = 8192

func (u *bulk) add(ctx context.Context, e *archive.Entry) error {
	if u.failed != nil {
		return u.failed
	}
	if err := check(e); err != nil {
		return err
	}
	if u.b == nil {
		if u.t, u.failed = u.w.tenant(ctx, u.name); u.failed != nil { // it may have been forgotten
			return u.failed
		}
		u.b = u.w.begin()
		u.b.bulk, u.b.late = true, true
		if u.failed = u.w.c.begin(); u.failed == nil {
			u.failed = u.b.enter(u.t)
		}
	}
	if u.failed == nil && deletesRows(e.Fact) {
		u.failed = u.w.run1(secureDelete)
	}
	if u.failed == nil {
		_, u.failed = u.b.apply(u.t, e)
	}
	u.n += 1 + len(e.Fact.Instances) + len(e.Fact.Blobs)
	if u.failed != nil || u.n >= bulkInstances {
		return u.commit()
	}
	return nil
}

// commit ends the transaction; after an error nothing more is added.
func (u *bulk) commit() error {
	if u.b == nil {
		return u.failed
	}
	u.failed = u.w.end(u.b, u.failed)
	u.b, u.n = nil, 0
	return u.failed
}

func (w *writer) startBulk() error {
	// The setting outlives a crash: Open then finishes. A crash loses at most the last transactions, not the database's order.
	statements := []string{`INSERT OR REPLACE INTO settings (name, value) VALUES ('bulk', '1')`, `PRAGMA synchronous = NORMAL`}
	for _, s := range secondary {
		if s.name != "studies_day" {
			statements = append(statements, `DROP INDEX IF EXISTS `+s.name)
		}
	}
	for _, q := range statements {
		if err := w.run1(q); err != nil {
			return err
		}
	}
	return nil
}

// run1 runs a statement of SQLite that is not kept.
func (w *writer) run1(q string) error { return w.c.link.(*lite).once(q) }

// finishBulk makes the indexes, sorts out versions and makes the postings, where a rebuild left that to do.
func (w *writer) finishBulk(ctx context.Context) error {
	n, err := w.c.integer(`SELECT 1 FROM settings WHERE name = 'bulk'`)
	if err != nil || n == 0 {
		return err
	}
	for _, s := range secondary {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := w.run1(s.make); err != nil {
			return fmt.Errorf("building the indexes: %w", err)
		}
	}
	if err := w.allVersions(ctx); err != nil {
		return fmt.Errorf("sorting out versions: %w", err)
	}
	if err := w.allPostings(ctx); err != nil {
		return fmt.Errorf("building the search index: %w", err)
	}
	if err := w.allLost(ctx); err != nil {
		return fmt.Errorf("taking words of shredded studies out: %w", err)
	}
	for _, q := range []string{plainDelete, `PRAGMA wal_checkpoint(TRUNCATE)`, `PRAGMA synchronous = FULL`, `DELETE FROM settings WHERE name = 'bulk'`} {
		if err := w.run1(q); err != nil {
			return err
		}
	}
	return nil
}

// Fill is Bulk for an index that is in use: each transaction leaves it whole, and
// searches and Apply go on between them.
func (x *Index) Fill(ctx context.Context, name archive.Tenant, f func(add func(archive.Entry) error) error) error {
	w := x.writerOf(name)
	x.closing.RLock()
	defer x.closing.RUnlock()
	if x.closed {
		return errClosed
	}
	return w.bulkApply(ctx, name, f)
}

// bulkApply applies entries in large transactions.
func (w *writer) bulkApply(ctx context.Context, name archive.Tenant, f func(add func(archive.Entry) error) error) error {
	var entries []archive.Entry
	n := 0
	flush := func() error {
		if len(entries) == 0 {
			return nil
		}
		defer w.tidy()
		w.mu.Lock()
		defer w.mu.Unlock()
		t, err := w.tenant(ctx, name)
		if err != nil {
			return err
		}
		out := make([]Applied, len(entries))
		items := make([]item, len(entries))
		for i := range entries {
			items[i] = item{t: t, e: &entries[i], out: &out[i], late: true}
		}
		entries, n = entries[:0], 0
		return w.transact(items)
	}
	err := f(func(e archive.Entry) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := check(&e); err != nil {
			return err
		}
		entries = append(entries, e)
		if n += 1 + len(e.Fact.Instances) + len(e.Fact.Blobs); n >= maxInstances {
			return flush()
		}
		return nil
	})
	if e := flush(); err == nil {
		err = e
	}
	return err
}
