package index

import (
	"context"
	"fmt"
	"hash/fnv"
	"sync"
	"sync/atomic"

	"github.com/strata-pacs/strata/internal/archive"
)

// writer owns a connection that writes: the only one on SQLite, one of a few on
// PostgreSQL, each for a part of the tenants. Calls to Apply that come while a
// transaction commits wait together and share the next: group commit. A lone
// one waits for nobody.
type writer struct {
	x    *Index
	c    *conn
	jobs chan *job
	done chan struct{}

	mu    sync.Mutex  // held for a transaction, and on SQLite by Bulk throughout
	purge atomic.Bool // a tenant is to be forgotten

	// What is in memory is what the database says, or is dropped when a transaction fails,
	// or when another node wrote for the tenant.
	studies  studyCache
	sessions map[sessionKey]*session
	prefixes map[prefixKey]int64
	recent   recentWords
	warm     map[int64]bool
	known    map[int64]*known // by tenant
	closings map[int64]losses // by tenant: those that what is remembered of words takes into account
	ids      map[string]*ids  // by table
}

func newWriter(x *Index, c *conn) *writer {
	w := &writer{x: x, c: c, jobs: make(chan *job, maxJobs), done: make(chan struct{}), ids: map[string]*ids{}}
	w.forget()
	return w
}

// writerOf returns the writer of the tenant.
func (x *Index) writerOf(name archive.Tenant) *writer {
	h := fnv.New32a()
	_, _ = h.Write([]byte(name))
	return x.writers[int(h.Sum32()%uint32(len(x.writers)))]
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
	case x.writerOf(j.tenant).jobs <- j:
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
		w.tidy()
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
