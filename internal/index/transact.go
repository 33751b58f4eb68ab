package index

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
)

// item is one entry of a transaction.
type item struct {
	t     *tenant
	e     *archive.Entry
	out   *Applied
	late  bool     // of a rebuild
	doubt *Applied // what an earlier attempt made of it, whose commit was not answered
}

// serve applies the jobs' entries.
func (w *writer) serve(jobs []*job) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var parts [][]item
	at := map[*tenant]int{}
	for _, j := range jobs {
		t, err := w.tenant(j.ctx, j.tenant)
		for i := range j.entries {
			e, out := &j.entries[i], &j.out[i]
			if out.Err = err; err == nil {
				out.Err = check(e)
			}
			if out.Err == nil && e.Fact.Kind == archive.FactStored {
				out.Err = w.x.ballast.admit(w.x.now())
			}
			if out.Err != nil {
				continue
			}
			key := t
			if !w.x.shared {
				key = nil // SQLite commits all tenants together
			}
			n, ok := at[key]
			if !ok {
				n = len(parts)
				at[key], parts = n, append(parts, nil)
			}
			parts[n] = append(parts[n], item{t: t, e: e, out: out})
		}
	}
	for _, items := range parts {
		w.apply(items)
	}
}

// apply applies the entries together when that works and one by one when it does not.
func (w *writer) apply(items []item) {
	err := w.transact(items)
	if err == nil || len(items) == 1 {
		w.settleFor(items[0], err)
		return
	}
	for _, it := range items {
		if !w.x.shared || !passes(err) {
			err = w.transact([]item{it})
			w.settleFor(it, err)
			continue
		}
		it.out.Err = err // the database does not answer: it is not asked once more for each
	}
}

// settleFor ends an entry that was alone in its transaction. On a full disk the
// ballast makes room for what frees or hides, but not for more instances.
func (w *writer) settleFor(it item, err error) {
	b := &w.x.ballast
	if fault.Is(err, fault.Full) && it.e.Fact.Kind != archive.FactStored && b.release() {
		err = w.transact([]item{it})
	}
	if fault.Is(err, fault.Full) {
		b.full()
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
	w.c.as(t.id)
	return t, w.warmWords(t)
}

// attempts is how often a transaction is tried, for no longer than patience: again after
// a deadlock or a connection that broke. Applying is idempotent, so a commit that
// was not answered is tried again too.
const attempts = 5

// transact applies the entries in one transaction, all or none.
func (w *writer) transact(items []item) error {
	start := time.Now()
	for n := 1; ; n++ {
		err := w.once(items)
		if err == nil || !w.x.shared || !passes(err) || n == attempts || time.Since(start) > w.x.patience {
			return err
		}
		if w.c.doubtful() {
			for i := range items {
				if it := &items[i]; it.doubt == nil && !it.out.Known {
					was := *it.out
					it.doubt = &was
				}
			}
		}
		time.Sleep(time.Duration(n*n)*10*time.Millisecond + rand.N(10*time.Millisecond))
	}
}

func (w *writer) once(items []item) error {
	if cuts(items) {
		if err := w.scrub(true); err != nil {
			return err
		}
		defer func() { _ = w.scrub(false) }() // what is left of it is sealed
	}
	b := w.begin()
	err := w.c.begin()
	if err == nil {
		err = b.expect(items)
	}
	for i := 0; i < len(items) && err == nil; i++ {
		it := &items[i]
		if err = b.enter(it.t); err != nil {
			break
		}
		b.late = it.late
		if *it.out, err = b.apply(it.t, it.e); err == nil && it.out.Known && it.doubt != nil {
			err = b.resume(it)
		}
	}
	return w.end(b, err)
}

// cuts reports whether an entry may delete rows.
func cuts(items []item) bool {
	return slices.ContainsFunc(items, func(it item) bool { return deletesRows(it.e.Fact) })
}

// deletesRows reports whether what the fact takes out is to be overwritten, and not only taken for free.
func deletesRows(f *archive.Fact) bool {
	return f.Kind == archive.FactKeyClosed || len(f.Dropped) > 0
}

// resume gives an entry that is known, since its commit was done though not answered, the
// result from then. It was another node that applied it when our rows are not there.
func (b *batch) resume(it *item) error {
	if len(it.doubt.Instances) == 0 {
		return nil
	}
	n, err := b.c.integer(`SELECT 1 FROM instances WHERE id = ?`, it.doubt.Instances[0].ID)
	if n != 0 {
		*it.out = *it.doubt
	}
	return err
}

func (w *writer) begin() *batch {
	return &batch{
		w: w, c: w.c, now: w.x.now().UnixMilli(), entered: map[*tenant]bool{}, grew: map[*tenant]bool{}, words: map[*tenant][]word{},
		plain: make([]byte, 0, 2048), sealed: make([]byte, 0, 2048),
	}
}

// end commits, or rolls back when there was an error.
func (w *writer) end(b *batch, err error) error {
	if err == nil {
		err = b.flush()
	}
	if err == nil {
		err = w.c.commit()
	}
	if err != nil {
		w.c.rollback()
		w.forget()
		return err
	}
	for _, s := range b.touched {
		s.touched = false
		if len(s.all) > maxCachedSeries {
			s.all = map[archive.Ref]*series{}
		}
	}
	w.studies.trim()
	b.forgetPages()
	for t := range b.grew {
		t.woke(w.known[t.id].writes)
	}
	w.x.ballast.restore(w.x.now())
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
	if err := b.w.x.postings.store(b.c, b.posts); err != nil {
		return err
	}
	if err := b.storeWords(); err != nil {
		return err
	}
	if err := b.loseWords(); err != nil {
		return err
	}
	if err := b.storeIdentities(); err != nil {
		return err
	}
	if err := b.storeUsage(); err != nil {
		return err
	}
	return b.storeSessions()
}
