package settle

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/ledger"
	"github.com/strata-pacs/strata/internal/pack"
)

// Settle settles a study, and lets go of its deleted instances whose hold window
// has ended. It does nothing where there is nothing to gain. Errors are those
// of store, keys and index, and fault.Conflict where the study changed
// meanwhile: it is settled the next time. fault.TooLarge: it never is.
func (s *Settler) Settle(ctx context.Context, study archive.Ref) (Result, error) {
	r, err := s.settle(ctx, study)
	if err != nil {
		return r, fmt.Errorf("settling a study: %w", err)
	}
	return r, nil
}

func (s *Settler) settle(ctx context.Context, study archive.Ref) (Result, error) {
	all, err := s.keys(ctx, study)
	if err != nil {
		return Result{}, err
	}
	var r Result
	for i, key := range all {
		one, err := s.settleKey(ctx, study, key, i == 0, len(all) == 1)
		r.add(one)
		if err != nil {
			return r, err
		}
	}
	if r.Instances == 0 && s.o.Thumbnails != nil {
		_, err = s.o.Thumbnails.Remove(ctx, s.o.Tenant, study)
	}
	return r, err
}

// settleKey settles what a key seals of a study.
func (s *Settler) settleKey(ctx context.Context, study archive.Ref, key archive.KeyID, first, only bool) (Result, error) {
	v, err := s.look(ctx, study, key, first, only)
	if err != nil {
		return Result{}, err
	}
	r := Result{Instances: len(v.instances), Next: v.next, Before: v.before(), Dropped: len(v.dropped)}
	dirty := map[string]bool{}
	for i := range v.dropped {
		r.DroppedBytes += v.dropped[i].At.Length
		dirty[v.dropped[i].At.Object] = true
	}
	items := make([]item, len(v.instances))
	for i := range items {
		items[i] = item{v.instances[i].At, v.series[i]}
	}
	l := arrange(items, v.packs, s.frozen, dirty, sizes{target: s.o.PackBytes, large: s.o.LargePack})
	r.Kept, r.Made, r.After = len(l.keep), len(l.fresh), r.Before
	if v.done(l) {
		return r, nil
	}
	f, err := s.fact(ctx, v, l)
	if err != nil {
		return r, s.because(ctx, v, err)
	}
	var began time.Time // when the first pack was there
	for _, g := range l.fresh {
		list := make([]*archive.Instance, len(g))
		for i, at := range g {
			list[i] = &f.Instances[at]
		}
		p, err := s.copyPack(ctx, list)
		if err != nil {
			s.discard(ctx, f.Packs[len(l.keep):])
			return r, s.because(ctx, v, err)
		}
		if began.IsZero() {
			began = s.o.Now()
		}
		f.Packs = append(f.Packs, p)
		r.Copied += p.Size
	}
	if err := s.state(ctx, v, f, began, len(l.keep)); err != nil {
		return r, err
	}
	r.Settled, r.After = true, 1+len(f.Packs)
	s.follow(ctx, v, f)
	return r, nil
}

// because returns why settling failed: where what was seen does not hold any more, what was
// to be read is gone for that reason.
func (s *Settler) because(ctx context.Context, v *view, err error) error {
	if changed := s.holds(ctx, v); errors.Is(changed, errChanged) {
		return changed
	}
	return err
}

// before counts the objects that the study lies in.
func (v *view) before() int {
	n := len(v.entries)
	for object := range v.objects {
		if _, ok := v.packs[object]; ok {
			n++
		}
	}
	return n
}

// maxMoved is how many facts about moves of a study are let stand beside its settled one.
const maxMoved = 8

// done reports whether a fact would say nothing new.
func (v *view) done(l layout) bool {
	settled, moved := 0, 0
	for _, e := range v.entries {
		switch e.Kind {
		case archive.FactSettled:
			settled++
		case archive.FactMoved:
			moved++
		default:
			return false
		}
	}
	used := map[string]bool{}
	for i := range v.instances {
		used[v.instances[i].At.Object] = true
	}
	return settled+moved == 0 && len(v.instances) == 0 ||
		settled == 1 && moved <= maxMoved && len(l.fresh) == 0 && len(v.dropped) == 0 && len(used) == len(l.keep)
}

// fact prepares what is stated: all but the new packs.
func (s *Settler) fact(ctx context.Context, v *view, l layout) (*archive.Fact, error) {
	f := &archive.Fact{Kind: archive.FactSettled, Study: v.study, Instances: slices.Clone(v.instances)}
	refs, chunks, err := regroup(ctx, s.o.Index, s.o.Tenant, v.texts, s.z)
	if err != nil {
		return nil, fmt.Errorf("reading the metadata of a study: %w", err)
	}
	size := 0
	for i := range chunks {
		size += len(chunks[i].Data)
	}
	if size > maxChunks {
		return nil, fault.New(fault.TooLarge, "the study has more metadata than one fact takes: it stays as it was stored")
	}
	f.Chunks = chunks
	for i := range f.Instances {
		f.Instances[i].JSON = refs[i]
	}
	for i := range v.dropped {
		f.Dropped = append(f.Dropped, v.dropped[i].Blob)
	}
	for _, old := range v.old { // an entry that stated them may still be there
		f.Dropped = append(f.Dropped, old.Dropped...)
	}
	if len(f.Instances) > 0 {
		f.Key = v.key
	}
	for _, object := range l.keep {
		p := v.packs[object].PackPlace
		p.From = ""
		if err := s.complete(ctx, &p); err != nil {
			return nil, err
		}
		f.Packs = append(f.Packs, p)
	}
	f.Supersedes = v.supersedes()
	return f, nil
}

// complete looks up what is not known of a pack that stays, unless it must not be read.
func (s *Settler) complete(ctx context.Context, p *archive.PackPlace) error {
	if p.Digest != (archive.Digest{}) || s.frozen(p.Tier) {
		return nil
	}
	a, err := s.o.Bucket.Stat(ctx, p.Object)
	if err != nil {
		return err
	}
	p.Size = a.Size
	if p.Digest, err = pack.ReadDigest(ctx, s.o.Bucket, p.Object, p.Size); err != nil {
		return fmt.Errorf("reading the digest of %s: %w", p.Object, err)
	}
	return nil
}

// supersedes names the entries and what settled ones among them superseded: their
// numbers are to be explained when they are gone.
func (v *view) supersedes() []archive.LogRange {
	var all []archive.LogRange
	for _, f := range v.old {
		all = append(all, f.Supersedes...)
	}
	for _, e := range v.entries {
		all = append(all, archive.LogRange{Session: e.Session, Range: archive.Range{From: e.N, To: e.N}})
	}
	return merge(all)
}

// merge sorts ranges and joins those that touch.
func merge(all []archive.LogRange) []archive.LogRange {
	slices.SortFunc(all, func(a, b archive.LogRange) int {
		return cmp.Or(cmp.Compare(a.Session, b.Session), cmp.Compare(a.From, b.From))
	})
	out := all[:0]
	for _, r := range all {
		if n := len(out); n > 0 && out[n-1].Session == r.Session && r.From <= out[n-1].To+1 {
			out[n-1].To = max(out[n-1].To, r.To)
			continue
		}
		out = append(out, r)
	}
	return out
}

// state writes the fact and indexes it, if what it was made of still holds. One that drops something is stated by way of an intent,
// so that who protects the study at this moment is not too late.
func (s *Settler) state(ctx context.Context, v *view, f *archive.Fact, began time.Time, kept int) error {
	now := s.o.Now()
	deadline := now.Add(s.o.ReadGrace / 2)
	if !began.IsZero() {
		deadline = earlier(deadline, began.Add(s.o.Grace/2))
	}
	unstated := true
	check := func(ctx context.Context) error {
		err := s.holds(ctx, v)
		if err == nil {
			f.ID, err = s.factID(v)
		}
		if err == nil && !s.o.Now().Before(deadline) {
			err = errSlow
		}
		unstated = err != nil
		return err
	}
	inTime, cancel := context.WithTimeout(ctx, deadline.Sub(now))
	defer cancel()
	var err error
	if len(v.dropped) > 0 {
		err = s.o.Destroy(inTime, v.study, f, check)
	} else if err = check(inTime); err == nil {
		err = ledger.State(inTime, s.o.Log, s.o.Index, s.o.Tenant, f)
	}
	if unstated { // else the packs stay: the fact may have been written, whatever the error says
		s.discard(ctx, f.Packs[kept:])
	}
	return err
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// factID returns an identity that is larger than those of all facts it supersedes:
// the largest one tells where a blob lies.
func (s *Settler) factID(v *view) (archive.FactID, error) {
	id := s.o.Log.NewFactID()
	for _, e := range v.entries {
		if bytes.Compare(id[:], e.Fact[:]) <= 0 {
			return id, errClock
		}
	}
	for _, p := range v.packs {
		if bytes.Compare(id[:], p.Fact[:]) <= 0 {
			return id, errClock
		}
	}
	return id, nil
}

// discard removes packs of a settling that failed, which no fact names nor will. What it
// cannot remove, or has no time for, is left to the reaper.
func (s *Settler) discard(ctx context.Context, packs []archive.PackPlace) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second) // also where the node is being stopped
	defer cancel()
	for _, p := range packs {
		if err := s.o.Bucket.Delete(ctx, p.Object); err != nil {
			s.o.Slog.Warn("a pack of a settling that failed could not be removed; the reaper will", "object", p.Object, "error", err)
			return
		}
	}
}
