// Package reconcile keeps index and store in agreement with the log, and tells
// where they are not:
//
//   - [Reconciler.Catchup] indexes facts that a crash left unindexed, and writes a
//     void into each number that an ended session took and never used;
//   - [Reconciler.Reap] removes packs that no fact names, in whichever tier, after a grace period;
//   - [Reconciler.Verify] reads everything back and checks every tag and digest;
//   - [Reconciler.Rebuild] fills an empty index from the log alone;
//   - [Reconciler.Controls] and [Reconciler.Refill] do so while it is in use, the newest first;
//   - [Reconciler.Missing] tells at little cost what the index lacks, and [Reconciler.Fetch] indexes that;
//   - [Reconciler.Present] has an index that was made anew count no copies that went long ago.
//
// A session's numbers are dense. A number that is missing is a loss, unless a
// void stands in its place; voids are only written into sessions that ended
// without saying so (a crash), by the first Catchup after it, and at numbers at which something was about to be destroyed ([Reconciler.Fence]). From then on a
// checkpoint names the session's last number, and whatever is missing below it is a gap. What a
// settled fact supersedes is explained, wherever in the log that fact is: its object may be gone.
//
// A fact that cannot be opened because its key was destroyed is no gap where a
// key-closed fact says so, wherever in the log that is: it counts as never stored.
// Only its clear header says which key that was, so whoever may overwrite objects
// can pass off a fact as shredded, as well as they can damage it.
package reconcile

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/keys"
	"github.com/strata-pacs/strata/internal/ledger"
	"github.com/strata-pacs/strata/storage"
)

// Index is what reconciling needs of the index.
type Index interface {
	Apply(ctx context.Context, t archive.Tenant, entries ...archive.Entry) ([]archive.Applied, error)
	// Bulk is Apply for many facts at once, indexes built last.
	Bulk(ctx context.Context, t archive.Tenant, f func(add func(archive.Entry) error) error) error
	// Fill is Apply for many facts, in the index that is in use.
	Fill(ctx context.Context, t archive.Tenant, f func(add func(archive.Entry) error) error) error
	Progress(ctx context.Context, t archive.Tenant) (map[string]archive.Progress, error)
	// Referenced reports whether a live entry of the log names the pack.
	Referenced(ctx context.Context, t archive.Tenant, object string) (bool, error)
	// Unreferenced returns those of the packs, in their order, that no live entry of the log names.
	Unreferenced(ctx context.Context, t archive.Tenant, objects []string) ([]string, error)
	// DoomedCopies returns the copies of an object that are to be deleted.
	DoomedCopies(ctx context.Context, t archive.Tenant, object string) ([]archive.Doomed, error)
	// Doomed returns copies that are to be deleted, ascending by identity.
	Doomed(ctx context.Context, t archive.Tenant, before time.Time, moved bool, after int64, limit int) ([]archive.Doomed, error)
	// Undoom notes that copies are gone.
	Undoom(ctx context.Context, t archive.Tenant, ids ...int64) error
	// Each yields every instance row, hidden and deleted ones included.
	Each(ctx context.Context, t archive.Tenant, after int64, yield func(*archive.InstanceRow, archive.State) bool) error
	// Closed reports whether a key-closed fact names the key.
	Closed(ctx context.Context, t archive.Tenant, id archive.KeyID) (bool, error)
}

// Log is the log that this process writes.
type Log interface {
	Session() string
	Void(ctx context.Context, session string, n uint64) error
	Checkpoint(ctx context.Context, sessions []archive.SessionEnd) (archive.Entry, error)
}

// Keys is what reconciling needs of the tenant's keys.
type Keys interface {
	Secret(ctx context.Context, id archive.KeyID) (archive.Secret, error)
	Digest() hash.Hash
}

// Options are the parts of a Reconciler. All are required, but for those that say otherwise.
type Options struct {
	Tenant archive.Tenant
	Bucket *storage.Bucket
	Index  Index
	Log    Log // nil where nothing may be written: Rebuild and Verify without a server
	Keys   Keys
	// Over reports whether a session has ended: its process is gone for good.
	Over  func(ctx context.Context, session string) bool
	Grace time.Duration // of Reap
	// Tier returns the store of a tier, of those that Tiers returns, the hot one first; nil, both, where
	// there is but one, which Bucket is.
	Tier  func(archive.TierName) (*storage.Bucket, archive.Tier, bool)
	Tiers func() []archive.Tier
	Slog  *slog.Logger
	Now   func() time.Time // nil is time.Now
}

// Reconciler does the work. Its methods may run beside stores and reads.
type Reconciler struct {
	o      Options
	clocks atomic.Uint64 // objects written to learn the store's time

	mu    sync.Mutex
	ended map[string]time.Time // when sessions that were over before Catchup listed were indexed and voided whole
}

// lateFor is how long a session that has ended is looked at nevertheless: a process
// that slept in the middle of a write may complete it when it wakes, and die before
// it has indexed it. Nobody was told that this is stored, but it is in the log.
const lateFor = time.Hour

// New returns a Reconciler.
func New(o Options) *Reconciler {
	if o.Over == nil {
		o.Over = func(context.Context, string) bool { return false }
	}
	if o.Slog == nil {
		o.Slog = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Reconciler{o: o, ended: map[string]time.Time{}}
}

// batch is how many facts are indexed in one call.
const batch = 64

// CaughtUp is what Catchup found.
type CaughtUp struct {
	Indexed     int // facts that were not in the index
	Voided      int // numbers that ended sessions never used
	Uncommitted int // facts whose key or pack is not there: they count as never written
}

// Catchup brings the index up to the log. Errors of single facts do not stop
// it; the first is returned at the end.
func (r *Reconciler) Catchup(ctx context.Context) (CaughtUp, error) { return r.catchUp(ctx, nil) }

// catchUp is Catchup that tells what it leaves in doubt; unread may be nil.
func (r *Reconciler) catchUp(ctx context.Context, unread *doubts) (CaughtUp, error) {
	progress, err := r.o.Index.Progress(ctx, r.o.Tenant)
	if err != nil {
		return CaughtUp{}, fmt.Errorf("asking the index how far it is: %w", err)
	}
	skip := func(session string, p archive.Progress) bool { return settled(p) && !r.late(session) }
	done, err := r.catchup(ctx, skip, unread)
	if err != nil || len(progress) > 0 {
		return done, err
	}
	if done.Uncommitted > 0 { // now it is known which keys were destroyed
		again, err := r.catchup(ctx, skip, unread)
		again.Indexed, again.Voided = again.Indexed+done.Indexed, again.Voided+done.Voided
		if done = again; err != nil {
			return done, err
		}
	}
	return done, r.Present(ctx)
}

// late reports whether a session has ended so recently that more of it may come.
func (r *Reconciler) late(session string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	at, ok := r.ended[session]
	return ok && r.o.Now().Sub(at) < lateFor
}

// catchup looks at all sessions but those that are to be skipped.
func (r *Reconciler) catchup(ctx context.Context, skip func(session string, p archive.Progress) bool, unread *doubts) (CaughtUp, error) {
	var done CaughtUp
	sessions, err := ledger.Sessions(ctx, r.o.Bucket, r.o.Tenant)
	if err != nil {
		return done, err
	}
	progress, err := r.o.Index.Progress(ctx, r.o.Tenant)
	if err != nil {
		return done, fmt.Errorf("asking the index how far it is: %w", err)
	}
	var first error
	failed := func(session string, err error) {
		r.o.Slog.Error("a session of the log could not be caught up with", "session", session, "error", err)
		if first == nil {
			first = err
		}
	}
	var over []ending
	for _, s := range sessions {
		if skip(s, progress[s]) {
			continue
		}
		end, err := r.session(ctx, s, progress[s], &done, unread)
		if ctx.Err() != nil {
			return done, ctx.Err()
		}
		if err != nil {
			failed(s, err)
		} else if end.session != "" {
			over = append(over, end)
		}
	}
	// Holes are closed when everything is indexed: a settled fact of a later session may explain them.
	if len(over) == 0 || r.o.Log == nil {
		return done, first
	}
	if progress, err = r.o.Index.Progress(ctx, r.o.Tenant); err != nil {
		return done, fmt.Errorf("asking the index how far it is: %w", err)
	}
	for _, end := range over {
		if err := r.end(ctx, end, progress[end.session], &done); err != nil {
			if ctx.Err() != nil {
				return done, ctx.Err()
			}
			failed(end.session, err)
		}
	}
	return done, first
}

// ending is what was found of a session that is over.
type ending struct {
	session  string
	holes    []uint64 // numbers that were not there; none to be closed where a checkpoint has ended the session
	complete bool     // all that was there counts
}

// end closes the holes that nothing explains.
func (r *Reconciler) end(ctx context.Context, e ending, p archive.Progress, done *CaughtUp) error {
	var holes []uint64
	for _, n := range e.holes {
		if !p.Has(n) {
			holes = append(holes, n)
		}
	}
	if err := r.void(ctx, e.session, holes, done); err != nil {
		return err
	}
	if e.complete {
		r.mu.Lock()
		defer r.mu.Unlock()
		if _, known := r.ended[e.session]; !known {
			r.ended[e.session] = r.o.Now()
		}
	}
	return nil
}

// settled reports whether nothing of a session can be missing from the index.
func settled(p archive.Progress) bool {
	return p.Ended && len(p.Applied) == 1 && p.Applied[0].From == 1 && p.Applied[0].To >= p.Last
}

// session indexes what is there of a session. The ending is empty while it is not over.
func (r *Reconciler) session(ctx context.Context, session string, p archive.Progress, done *CaughtUp, unread *doubts) (end ending, err error) {
	// Asked before listing: what is written after the listing belongs to a session that was not over.
	over, uncommitted := r.o.Over(ctx, session), done.Uncommitted
	after := contiguous(p)
	last := after
	var holes []uint64
	var pending []archive.Entry
	flush := func() error {
		if len(pending) == 0 {
			return nil
		}
		applied, err := r.o.Index.Apply(ctx, r.o.Tenant, pending...)
		pending = pending[:0]
		for i := range applied {
			if applied[i].Err == nil && !applied[i].Known {
				done.Indexed++
			}
		}
		return err
	}
	for place, err := range ledger.Numbers(ctx, r.o.Bucket, r.o.Tenant, session, after) {
		if err != nil {
			return end, err
		}
		for n := last + 1; n < place.N; n++ {
			if !p.Has(n) {
				holes = append(holes, n)
			}
		}
		last = place.N
		if p.Has(place.N) {
			continue
		}
		entry, counts, err := r.entry(ctx, place, unread)
		if err != nil {
			return end, err
		}
		if !counts {
			done.Uncommitted++
			continue
		}
		if pending = append(pending, entry); len(pending) >= batch {
			if err := flush(); err != nil {
				return end, err
			}
		}
	}
	if err := flush(); err != nil {
		return end, err
	}
	if !over {
		return end, nil
	}
	end = ending{session: session, complete: done.Uncommitted == uncommitted}
	if !p.Ended {
		end.holes = holes
	}
	return end, nil
}

// entry reads what is at a place, and reports whether it counts: its key and its packs are there, or it is known that its key
// was destroyed. What does not count is added to unread.
func (r *Reconciler) entry(ctx context.Context, place ledger.Place, unread *doubts) (_ archive.Entry, counts bool, err error) {
	entry, err := ledger.ReadPlace(ctx, r.o.Bucket, r.o.Tenant, place, r.o.Keys.Secret, ledger.All)
	if u, ok := keyless(err); ok {
		// Where it is not closed, its key was never written: nobody was told that it is stored. Or it was
		// destroyed, by a fact that is still to be indexed: the next run knows.
		closed, err := r.o.Index.Closed(ctx, r.o.Tenant, u.Fact.Key)
		if err != nil {
			return entry, false, fmt.Errorf("asking whether a key was destroyed: %w", err)
		}
		if !closed {
			unread.add(&u.Fact, true)
		}
		return shredded(place, r.o.Tenant, u), closed, nil
	}
	if fault.Is(err, fault.NotFound) {
		return entry, false, nil // it went meanwhile
	}
	if err != nil {
		return entry, false, fmt.Errorf("reading fact %d: %w", place.N, err)
	}
	counts, err = r.committed(ctx, &entry, nil)
	if err == nil && !counts {
		unread.add(entry.Fact, false)
	}
	return entry, counts, err
}

// keyless reports whether a fact could not be read for want of its key's object.
func keyless(err error) (*ledger.Unopened, bool) {
	var u *ledger.Unopened
	if errors.Is(err, keys.ErrAbsent) && errors.As(err, &u) && (u.Fact.Kind == archive.FactStored || u.Fact.Kind == archive.FactSettled) {
		return u, true
	}
	return nil, false
}

// shredded is what is left of a fact whose key was destroyed: its number in the log.
func shredded(p ledger.Place, t archive.Tenant, u *ledger.Unopened) archive.Entry {
	f := u.Fact
	return archive.Entry{Session: p.Session, N: p.N, Object: ledger.ObjectName(t, p.Session, p.N), Size: p.Size, Fact: &f}
}

// committed reports whether the packs that a fact names are there, and has a stored fact say how large they are. Of
// packs among those of known size that need not be asked; nil where nothing is known.
func (r *Reconciler) committed(ctx context.Context, e *archive.Entry, sizes map[string]int64) (bool, error) {
	f := e.Fact
	var named []archive.PackPlace
	switch f.Kind {
	case archive.FactSettled:
		named = f.Packs
	case archive.FactStored:
		seen := map[string]bool{"": true, e.Object: true}
		for i := range f.Instances {
			if object := f.Instances[i].At.Object; !seen[object] {
				seen[object] = true
				named = append(named, archive.PackPlace{Object: object, Tier: archive.HotTier})
			}
		}
		f.Packs = named
	}
	for i := range named {
		if size, ok := sizes[named[i].Object]; ok {
			if f.Kind == archive.FactStored {
				named[i].Size = size
			}
			continue
		}
		switch attrs, err := r.o.Bucket.Stat(ctx, named[i].Object); {
		case fault.Is(err, fault.NotFound):
			return false, nil
		case err != nil:
			return false, fmt.Errorf("looking for a pack: %w", err)
		case f.Kind == archive.FactStored:
			named[i].Size = attrs.Size
		}
	}
	return true, nil
}

// void closes the holes of an ended session; a late writer then finds its
// number taken.
func (r *Reconciler) void(ctx context.Context, session string, holes []uint64, done *CaughtUp) error {
	for _, n := range holes {
		err := r.o.Log.Void(ctx, session, n)
		if fault.Is(err, fault.Exists) {
			continue // a late writer was faster; the next run indexes it
		}
		if err != nil {
			return fmt.Errorf("voiding a number that was never used: %w", err)
		}
		if err := r.one(ctx, session, n); err != nil {
			return fmt.Errorf("indexing a void: %w", err)
		}
		done.Voided++
	}
	return nil
}

// Checkpoint states every session and its last number, so that a short tail
// shows. Only sessions of which Catchup has seen the end are said to have ended:
// nobody looks for more in those.
func (r *Reconciler) Checkpoint(ctx context.Context) error {
	progress, err := r.o.Index.Progress(ctx, r.o.Tenant)
	if err != nil {
		return fmt.Errorf("asking the index how far it is: %w", err)
	}
	r.mu.Lock()
	ended := maps.Clone(r.ended)
	r.mu.Unlock()
	var ends []archive.SessionEnd
	for s, p := range progress {
		end := archive.SessionEnd{Session: s, Last: p.Last, Ended: p.Ended || !ended[s].IsZero()}
		if n := len(p.Applied); n > 0 {
			end.Last = max(end.Last, p.Applied[n-1].To)
		}
		ends = append(ends, end)
	}
	slices.SortFunc(ends, func(a, b archive.SessionEnd) int {
		if a.Session < b.Session {
			return -1
		}
		return 1
	})
	entry, err := r.o.Log.Checkpoint(ctx, ends)
	if err != nil {
		return fmt.Errorf("writing a checkpoint: %w", err)
	}
	return ledger.Apply(ctx, r.o.Index, r.o.Tenant, entry)
}
