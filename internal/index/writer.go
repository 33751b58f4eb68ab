package index

import (
	"context"
	"fmt"
	"sync"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
)

// writer owns the one connection that writes. Calls to Apply that come while a
// transaction commits wait together and share the next: group commit. A lone
// one waits for nobody.
type writer struct {
	x    *Index
	c    *conn
	jobs chan *job
	done chan struct{}

	mu sync.Mutex // held for a transaction, and by Bulk throughout

	// What is in memory is what the database says, or is dropped when a transaction fails.
	studies  studyCache
	sessions map[sessionKey]*session
	prefixes map[string]int64
	packs    map[packKey]bool
	recent   recentWords
	warm     map[int64]bool

	nextStudy, nextSeries, nextWords int64
	ballast                          ballast
}

// job is one call of Apply.
type job struct {
	ctx     context.Context
	tenant  archive.Tenant
	entries []archive.Entry
	out     []Applied
	done    chan struct{}
}

const (
	maxJobs      = 512  // jobs that share a transaction
	maxInstances = 4096 // instances in a transaction, when one entry does not have more
)

// Apply makes the entries part of the index and returns when they are durable.
// Concurrent calls share transactions. It is idempotent: an entry is known by
// its session and number. One that fails does not keep others from being
// applied; the error is that of the first that failed, each has its own in
// Applied. When ctx ends first, entries may be applied nevertheless.
func (x *Index) Apply(ctx context.Context, t archive.Tenant, entries ...archive.Entry) ([]Applied, error) {
	j := &job{ctx: ctx, tenant: t, entries: entries, out: make([]Applied, len(entries)), done: make(chan struct{})}
	if err := x.submit(ctx, j); err != nil {
		return nil, err
	}
	select {
	case <-j.done:
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting for the index: %w", ctx.Err())
	}
	for i := range j.out {
		if err := j.out[i].Err; err != nil {
			return j.out, fmt.Errorf("indexing a log entry: %w", err)
		}
	}
	return j.out, nil
}

func (x *Index) submit(ctx context.Context, j *job) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	x.closing.RLock()
	defer x.closing.RUnlock()
	if x.closed {
		return errClosed
	}
	select {
	case x.writer.jobs <- j:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting for the index: %w", ctx.Err())
	}
}

// run serves jobs until the channel is closed.
func (w *writer) run() {
	defer close(w.done)
	var carry *job
	for {
		j := carry
		carry = nil
		if j == nil {
			var ok bool
			if j, ok = <-w.jobs; !ok {
				return
			}
		}
		jobs := []*job{j}
		n := j.size()
	gather:
		for len(jobs) < maxJobs {
			select {
			case next, ok := <-w.jobs:
				if !ok {
					break gather
				}
				if n += next.size(); n > maxInstances {
					carry = next
					break gather
				}
				jobs = append(jobs, next)
			default:
				break gather
			}
		}
		w.serve(jobs)
		for _, j := range jobs {
			close(j.done)
		}
	}
}

func (j *job) size() (n int) {
	for i := range j.entries {
		n++
		if f := j.entries[i].Fact; f != nil {
			n += len(f.Instances) + len(f.Blobs)
		}
	}
	return n
}

// item is one entry of a transaction.
type item struct {
	t   *tenant
	e   *archive.Entry
	out *Applied
}

// serve applies the jobs' entries, together when that works and one by one when it does not.
func (w *writer) serve(jobs []*job) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var items []item
	for _, j := range jobs {
		t, err := w.tenant(j.ctx, j.tenant)
		for i := range j.entries {
			e, out := &j.entries[i], &j.out[i]
			if out.Err = err; err == nil {
				out.Err = check(e)
			}
			if out.Err == nil && e.Fact.Kind == archive.FactStored {
				out.Err = w.ballast.admit(w.x.now())
			}
			if out.Err == nil {
				items = append(items, item{t, e, out})
			}
		}
	}
	if len(items) == 0 {
		return
	}
	if err := w.transact(items); err == nil || len(items) == 1 {
		w.settleFor(items[0], err)
		return
	}
	for _, it := range items {
		w.settleFor(it, w.transact([]item{it}))
	}
}

// settleFor ends an entry that was alone in its transaction. On a full disk the
// ballast makes room for what frees or hides, but not for more instances.
func (w *writer) settleFor(it item, err error) {
	if fault.Is(err, fault.Full) && it.e.Fact.Kind != archive.FactStored && w.ballast.release() {
		err = w.transact([]item{it})
	}
	if fault.Is(err, fault.Full) {
		w.ballast.full()
	}
	it.out.Err = err
}

func (w *writer) tenant(ctx context.Context, name archive.Tenant) (*tenant, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	t, err := w.x.tenants.create(context.WithoutCancel(ctx), name)
	if err != nil {
		return nil, err
	}
	return t, w.warmWords(t)
}

// transact applies the entries in one transaction, all or none.
func (w *writer) transact(items []item) error {
	b := w.begin()
	err := w.c.exec(`BEGIN IMMEDIATE`)
	for i := 0; i < len(items) && err == nil; i++ {
		*items[i].out, err = b.apply(items[i].t, items[i].e)
	}
	return w.end(b, err)
}

func (w *writer) begin() *batch {
	return &batch{
		w: w, c: w.c, now: w.x.now().UnixMilli(), grew: map[*tenant]mark{}, words: map[*tenant][]word{},
		plain: make([]byte, 0, 2048), sealed: make([]byte, 0, 2048),
	}
}

// end commits, or rolls back when there was an error.
func (w *writer) end(b *batch, err error) error {
	if err == nil {
		err = b.flush()
	}
	if err == nil {
		err = w.c.exec(`COMMIT`)
	}
	if err != nil {
		_ = w.c.exec(`ROLLBACK`) // fails when SQLite has rolled back already
		w.forget()
		for t, m := range b.grew {
			t.sequence, t.feedTime = m.sequence, m.time
		}
		return err
	}
	for _, s := range b.touched {
		s.touched = false
		if len(s.all) > maxCachedSeries {
			s.all = map[archive.Ref]*series{}
		}
	}
	w.studies.trim()
	for t := range b.grew {
		t.woke()
	}
	w.ballast.restore(w.x.now())
	return nil
}

// flush writes what the transaction kept in memory.
func (b *batch) flush() error {
	for _, e := range b.changed {
		if err := b.storeSeries(e); err != nil {
			return err
		}
	}
	for _, s := range b.touched {
		if err := b.storeStudy(s); err != nil {
			return err
		}
	}
	if err := b.storePostings(); err != nil {
		return err
	}
	if err := b.storeWords(); err != nil {
		return err
	}
	return b.storeSessions()
}

// forget drops what memory holds of the database.
func (w *writer) forget() {
	w.studies, w.sessions = studyCache{}, map[sessionKey]*session{}
	w.prefixes, w.packs = map[string]int64{}, map[packKey]bool{}
	w.recent.forget()
	w.warm = map[int64]bool{}
}

func (w *writer) dropSessions() {
	for k, s := range w.sessions {
		if !s.dirty {
			delete(w.sessions, k)
		}
	}
}

// load reads where row identities go on.
func (w *writer) load() (err error) {
	w.forget()
	for table, next := range map[string]*int64{"studies": &w.nextStudy, "series": &w.nextSeries, "words": &w.nextWords} {
		if *next, err = w.c.integer(`SELECT max(id) FROM ` + table); err != nil {
			return err
		}
		*next++
	}
	return nil
}
