// Package move brings the packs of studies to another tier.
//
// To another store a pack is copied, read back there and checked against its
// digest; then a moved fact says where it is, and the copy it came from goes after a hold (the
// sweep of package settle). It is ciphertext all the way: no key is needed. In one store it
// changes its storage class in place, then comes the fact.
//
// # Safety
//
// Nothing is deleted here, and nothing that counts is written over. Until the fact, readers
// read where they did; after it both copies are whole until the hold ends. Who
// dies on the way, or fails, leaves at most a copy that nobody counts on, and the next
// try finds it: what is there and whole is not copied again. Two movers of one study write the
// same bytes under the same name, and two facts about one pack commute: the later one holds.
//
// Into a class that needs a restore a pack is written readable and checked first,
// and gets its class last; so a pack that is found in such a class has been checked.
// Where it changes to it in place, it cannot be read between that and the fact: the store
// says so, as fault.Archived, though the index does not know yet. The opposite order would
// leave a pack that is paid for as readable, with nothing to say that its move did not end.
package move

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/pack"
	"github.com/strata-pacs/strata/storage"
	"github.com/strata-pacs/strata/storage/driver"
)

// Index is what moving needs of the index.
type Index interface {
	// Packs returns the packs of a study.
	Packs(ctx context.Context, t archive.Tenant, study archive.Ref) ([]archive.PackState, error)
	// Apply indexes facts and returns after the commit, one Applied an entry.
	Apply(ctx context.Context, t archive.Tenant, entries ...archive.Entry) ([]archive.Applied, error)
}

// Log is what moving needs of the tenant's log.
type Log interface {
	NewFactID() archive.FactID
	Append(ctx context.Context, f *archive.Fact, body *pack.Body) (archive.Entry, error)
}

// Tiers knows where each tier keeps its objects.
type Tiers interface {
	// Tier returns the store of one tier alone; false when it is not configured.
	Tier(name archive.TierName) (*storage.Bucket, archive.Tier, bool)
}

// Options are the parts of a Mover. Index, Log and Tiers are required.
type Options struct {
	Index Index
	Log   Log
	Tiers Tiers
	// Pace, if set, waits until n more bytes may be copied.
	Pace func(ctx context.Context, n int) error
	// Least is the size of a pack that no settled fact names from which on it is moved; 16 MiB
	// when 0. Smaller ones are about to be merged.
	Least int64
	// Flush is after how many bytes copied a fact is written, so that a large study need
	// not begin anew; 4 GiB when 0.
	Flush int64
}

// Mover moves packs. It is safe for concurrent use.
type Mover struct {
	o     Options
	apart storage.Apart
}

// New returns a Mover.
func New(o Options) *Mover {
	o.Least, o.Flush = cmp.Or(o.Least, 16<<20), cmp.Or(o.Flush, 4<<30)
	return &Mover{o: o}
}

// place is a tier and its store.
type place struct {
	archive.Tier
	b *storage.Bucket
}

func (m *Mover) place(name archive.TierName) (place, error) {
	b, t, ok := m.o.Tiers.Tier(name)
	if !ok {
		return place{}, fault.New(fault.Invalid, "there is no tier %q: the setting tiers names those there are", string(name))
	}
	return place{t, b}, nil
}

// Move brings the packs of a study to a tier and returns how many bytes of packs
// are there now that were not before. It can be repeated: what is there is left alone. What
// of the study is in the log, and packs that are about to be merged, stay where they are.
//
// It fails with fault.Archived, before it does anything, where a pack has to be
// restored first, and with fault.Full where the tier has no room. Packs that were moved before
// a failure are there; the rest can be read where it was.
func (m *Mover) Move(ctx context.Context, t archive.Tenant, study archive.Ref, to archive.TierName) (moved int64, err error) {
	target, err := m.place(to)
	if err != nil {
		return 0, err
	}
	packs, err := m.packs(ctx, t, study, to)
	if err != nil {
		return 0, err
	}
	// A fact that does not come after those that there are says nothing: what was done would count for nothing, and
	// what changed its class in place would not be where the index says.
	now := m.o.Log.NewFactID()
	for _, p := range packs {
		if err := m.thawed(ctx, p, target); err != nil {
			return 0, err
		}
		if bytes.Compare(now[:], p.Fact[:]) <= 0 {
			return 0, errClock
		}
	}
	var done []step
	var bytes int64
	flush := func(ctx context.Context) error {
		n, err := m.state(ctx, t, study, to, done)
		moved += n
		done, bytes = nil, 0
		return err
	}
	for _, p := range packs {
		from, err := m.place(p.Tier)
		if err != nil {
			return moved, err
		}
		placed, err := m.bring(ctx, t, p.PackPlace, from, target)
		if err != nil {
			err = fmt.Errorf("moving a pack from tier %s to %s: %w", p.Tier, to, err)
			return moved, errors.Join(err, flush(context.WithoutCancel(ctx)))
		}
		done, bytes = append(done, step{placed, p.Tier}), bytes+p.Size
		// What has become an archive in place can no longer be read as the index says.
		if unread := from.Store == target.Store && target.Restore; unread || bytes >= m.o.Flush {
			if err := flush(ctx); err != nil {
				return moved, err
			}
		}
	}
	err = flush(ctx)
	return moved, err
}

var errClock = fault.New(fault.Conflict, "another node's clock is ahead; the study is moved when this one has caught up")

// step is a pack in its new place, of which no fact tells yet.
type step struct {
	archive.PackPlace
	was archive.TierName
}

// packs returns the packs of a study that are to be moved.
func (m *Mover) packs(ctx context.Context, t archive.Tenant, study archive.Ref, to archive.TierName) (out []archive.PackState, err error) {
	all, err := m.o.Index.Packs(ctx, t, study)
	if err != nil {
		return nil, fmt.Errorf("asking for the packs of a study: %w", err)
	}
	for _, p := range all {
		if p.Tier == to {
			continue
		}
		if (p.Fact == archive.FactID{}) {
			from, err := m.place(p.Tier)
			if err != nil {
				return nil, err
			}
			// A stored fact does not say how large its pack is.
			a, err := from.b.Stat(ctx, p.Object)
			if err != nil {
				return nil, fmt.Errorf("asking for the size of a pack: %w", err)
			}
			if p.Size = a.Size; p.Size < m.o.Least {
				continue
			}
		}
		out = append(out, p)
	}
	return out, nil
}

// thawed fails where a pack must be restored before it can be moved. One of which the target has a copy, since it was moved
// from there not long ago, need not.
func (m *Mover) thawed(ctx context.Context, p archive.PackState, to place) error {
	from, err := m.place(p.Tier)
	if err != nil || !from.Restore {
		return err
	}
	a, err := from.b.Stat(ctx, p.Object)
	if err != nil {
		return fmt.Errorf("looking whether a pack can be read: %w", err)
	}
	if readable(a) {
		return nil
	}
	if to.Store != from.Store && p.Digest != (archive.Digest{}) {
		if a, err := to.b.Stat(ctx, p.Object); err == nil && a.Size == p.Size && readable(a) {
			return nil
		}
	}
	return fault.New(fault.Archived, "the study is in tier %s: restore it first, then it can be moved", string(p.Tier))
}

// readable reports whether an object can be read as it is.
func readable(a storage.Attrs) bool {
	return a.Restore.State == driver.Online || a.Restore.State == driver.Restored
}

// bring sees to it that the pack is in the tier, checked, and returns its place.
func (m *Mover) bring(ctx context.Context, t archive.Tenant, p archive.PackPlace, from, to place) (archive.PackPlace, error) {
	if from.Store == to.Store {
		p.Tier, p.From = to.Name, ""
		return p, to.b.SetClass(ctx, p.Object, to.Class)
	}
	if err := m.apart.Check(ctx, to.b, from.b, Probes(t)); err != nil {
		return p, err
	}
	digest, ended, err := m.copied(ctx, p, from, to)
	if err != nil {
		return p, err
	}
	p.Tier, p.From, p.Digest = to.Name, from.Name, digest
	if ended || to.Class == "" {
		return p, nil
	}
	return p, to.b.SetClass(ctx, p.Object, to.Class)
}

// copied sees to it that the store of a tier has the whole pack, and returns its
// digest; ended: it has its class too.
func (m *Mover) copied(ctx context.Context, p archive.PackPlace, from, to place) (digest archive.Digest, ended bool, err error) {
	there, err := to.b.Stat(ctx, p.Object)
	switch {
	case fault.Is(err, fault.NotFound):
	case err != nil:
		return digest, false, err
	case there.Size == p.Size && to.Class != "" && there.Class == to.Class:
		// An earlier try got as far as the class, which comes after the check.
		digest, err = m.digest(ctx, p, from)
		return digest, true, err
	case there.Size == p.Size && readable(there):
		if digest, err = m.check(ctx, p, to); err == nil || !fault.Is(err, fault.Corrupt) {
			return digest, false, err
		}
	}
	// A copy that is not the pack is written over: nobody counts on it.
	if err := m.copy(ctx, p, from, to); err != nil {
		return digest, false, err
	}
	if digest, err = m.check(ctx, p, to); err != nil {
		return digest, false, fmt.Errorf("checking what was written: %w", err)
	}
	return digest, false, nil
}

// digest returns the digest of a pack that has been checked.
func (m *Mover) digest(ctx context.Context, p archive.PackPlace, from place) (archive.Digest, error) {
	if p.Digest != (archive.Digest{}) {
		return p.Digest, nil
	}
	return pack.ReadDigest(ctx, from.b, p.Object, p.Size)
}

// check reads a pack back and holds it to its digest, and to the one that is known.
func (m *Mover) check(ctx context.Context, p archive.PackPlace, at place) (digest archive.Digest, err error) {
	if _, err := pack.Verify(ctx, paced{at.b, m.o.Pace}, p.Object, p.Size); err != nil {
		return digest, err
	}
	if digest, err = pack.ReadDigest(ctx, at.b, p.Object, p.Size); err != nil {
		return digest, err
	}
	if p.Digest != (archive.Digest{}) && digest != p.Digest {
		return digest, fault.New(fault.Corrupt, "a pack is another than its name says; check the store with strata verify")
	}
	return digest, nil
}

// copy writes the pack to the other store.
func (m *Mover) copy(ctx context.Context, p archive.PackPlace, from, to place) error {
	r, err := from.b.Open(ctx, p.Object, 0, p.Size)
	if err != nil {
		return err
	}
	defer r.Close()
	w, err := to.b.Create(ctx, p.Object, storage.CreateOptions{Size: p.Size})
	if err != nil {
		return err
	}
	defer w.Abort()
	if _, err := io.CopyBuffer(struct{ io.Writer }{w}, pacedReader{ctx, r, m.o.Pace}, make([]byte, 256<<10)); err != nil {
		return fmt.Errorf("copying a pack: %w", err)
	}
	_, err = w.Commit(ctx)
	return err
}

// state makes it durable, then known, that packs are in the tier. What another has
// moved or merged meanwhile is left out; it returns the bytes that it stated.
func (m *Mover) state(ctx context.Context, t archive.Tenant, study archive.Ref, to archive.TierName, done []step) (int64, error) {
	if len(done) == 0 {
		return 0, nil
	}
	now, err := m.o.Index.Packs(ctx, t, study)
	if err != nil {
		return 0, fmt.Errorf("asking for the packs of a study: %w", err)
	}
	at, stated := map[string]archive.TierName{}, map[string]archive.FactID{}
	for _, p := range now {
		at[p.Object], stated[p.Object] = p.Tier, p.Fact
	}
	f := &archive.Fact{ID: m.o.Log.NewFactID(), Kind: archive.FactMoved, Study: study}
	var size int64
	for _, p := range done {
		tier, there := at[p.Object]
		switch {
		case !there || tier == to:
			continue
		case tier != p.was:
			return 0, fault.New(fault.Conflict, "somebody else has moved the study meanwhile")
		}
		if last := stated[p.Object]; bytes.Compare(f.ID[:], last[:]) <= 0 {
			return 0, errClock
		}
		f.Packs, size = append(f.Packs, p.PackPlace), size+p.Size
	}
	if len(f.Packs) == 0 {
		return 0, nil
	}
	entry, err := m.o.Log.Append(ctx, f, nil)
	if err != nil {
		return 0, fmt.Errorf("stating where the packs of a study are: %w", err)
	}
	applied, err := m.o.Index.Apply(context.WithoutCancel(ctx), t, entry)
	if err == nil && len(applied) > 0 {
		err = applied[0].Err
	}
	if err != nil {
		return 0, fmt.Errorf("indexing where the packs of a study are: %w", err)
	}
	for _, p := range f.Packs {
		if err := m.remain(ctx, t, p); err != nil {
			return size, fmt.Errorf("looking for a pack where it was moved to: %w", err)
		}
	}
	return size, nil
}

// remain sees to it that the copy that counts from now on is there. One that was there before the move another
// node may have removed until the fact was known: the sweeper what was let go of by a move away from there, or whoever removes strays.
// The copy that it came from stays until the hold ends.
func (m *Mover) remain(ctx context.Context, t archive.Tenant, p archive.PackPlace) error {
	if p.From == "" {
		return nil
	}
	to, err := m.place(p.Tier)
	if err != nil {
		return err
	}
	if _, err = to.b.Stat(ctx, p.Object); !fault.Is(err, fault.NotFound) {
		return err
	}
	from, err := m.place(p.From)
	if err == nil {
		_, err = m.bring(ctx, t, p, from, to)
	}
	return err
}
