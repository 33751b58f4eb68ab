package lifecycle

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/pack"
)

var noon = time.Date(2030, 6, 15, 12, 0, 0, 0, time.UTC)

// world is a tenant's studies as lifecycle work sees them, and what is done to them. Its hooks are called without the lock, before what
// they are named after. What the real index, settler, mover and remover do is held in package node's tests.
type world struct {
	t *testing.T
	o Options

	mu        sync.Mutex
	now       time.Time
	lives     map[archive.Ref]*archive.StudyLife
	instances map[archive.Ref][]int // visible
	deleted   map[archive.Ref][]int
	set       archive.RuleSet
	stated    archive.FactID
	facts     byte
	did       []string // in order
	until     map[archive.Ref]time.Time
	asked     int // how often until when something must be kept
	letGo     int64
	free      int64

	settling, moving, deleting, stating func(ctx context.Context, study archive.Ref) error
	sweeping                            func(context.Context) (Swept, error)
	broken                              error // the database
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, now: noon, lives: map[archive.Ref]*archive.StudyLife{}, instances: map[archive.Ref][]int{}, deleted: map[archive.Ref][]int{},
		until: map[archive.Ref]time.Time{}, free: 100}
	w.o = Options{Tenant: "t", Index: w, Log: w, Instances: w, Settler: w, Mover: w, Remover: w, Retention: w, Thumbnails: w, AtOnce: 1, Now: w.clock,
		Tiers: []archive.Tier{{Name: "hot"}, {Name: "cold"}, {Name: "ice", Restore: true}}, Counters: new(Counters), Record: new(Record)}
	return w
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) passes(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

// keeper returns a Keeper with rules, if there are any.
func (w *world) keeper(rules string) *Keeper {
	w.t.Helper()
	k := New(w.o)
	if rules != "" {
		if err := k.SetRules(w.t.Context(), []byte(rules), "alice"); err != nil {
			w.t.Fatal(err)
		}
	}
	return k
}

// add adds settled studies of a modality and ten bytes, of so many days ago.
func (w *world) add(modality string, days int, names ...byte) {
	for _, n := range names {
		at := w.now.AddDate(0, 0, -days)
		ref := archive.Ref{n}
		w.lives[ref] = &archive.StudyLife{ID: int64(n), Study: ref, UID: "1." + string(rune('a'+n)), StudyDate: at.Format("20060102"), Received: at, Changed: at, Accessed: at,
			Modalities: []string{modality}, Instances: 1, Bytes: 10, Settled: true, Tiers: []archive.TierName{"hot"}, Due: w.now.Add(-time.Minute)}
		w.instances[ref] = []int{0}
	}
}

// stores stores an instance into a study now.
func (w *world) stores(study archive.Ref) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.instances[study] = append(w.instances[study], len(w.instances[study]))
	l := w.lives[study]
	l.Instances, l.Changed, l.Loose, l.Settled, l.Mark.Seen[0] = len(w.instances[study]), w.now, 1, false, l.Mark.Seen[0]+1
	l.Due = w.now.Add(30 * time.Minute)
}

// change changes a study without a fact.
func (w *world) change(study archive.Ref, f func(*archive.StudyLife)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f(w.lives[study])
}

func (w *world) done() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.did)
}

func (w *world) note(what string, study archive.Ref) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.did = append(w.did, what+" "+string(rune('0'+study[0])))
}

func (w *world) Life(_ context.Context, _ archive.Tenant, study archive.Ref) (archive.StudyLife, bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	l, ok := w.lives[study]
	if !ok {
		return archive.StudyLife{}, false, w.broken
	}
	return *l, true, w.broken
}

func (w *world) Lives(_ context.Context, _ archive.Tenant, after int64, limit int) (out []archive.StudyLife, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, l := range w.lives {
		if l.ID > after {
			out = append(out, *l)
		}
	}
	slices.SortFunc(out, func(a, b archive.StudyLife) int { return cmp.Compare(a.ID, b.ID) })
	return out[:min(len(out), limit)], w.broken
}

func (w *world) Due(ctx context.Context, t archive.Tenant, now time.Time, from archive.DuePlace, limit int) (out []archive.StudyLife, end archive.DuePlace, err error) {
	all, err := w.Lives(ctx, t, from.ID, 1<<20)
	for _, l := range all {
		if !l.Due.IsZero() && !l.Due.After(now) && len(out) < limit {
			out, end.ID = append(out, l), l.ID
		}
	}
	return out, end, err
}

func (w *world) Judged(context.Context, archive.Tenant, archive.DuePlace) error { return w.broken }

func (w *world) SetDue(_ context.Context, _ archive.Tenant, next ...archive.NextDue) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, n := range next {
		if l := w.lives[n.Study]; l != nil && l.Mark.Seen == n.Mark.Seen {
			l.Due = n.At
		}
	}
	return w.broken
}

func (w *world) Places(_ context.Context, _ archive.Tenant, studies ...archive.Ref) (out []archive.StudyPlace, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range studies {
		out = append(out, archive.StudyPlace{Tiers: w.lives[s].Tiers, Settled: w.lives[s].Loose == 0})
	}
	return out, w.broken
}

func (w *world) Pending(ctx context.Context, t archive.Tenant, now, _, _ time.Time) (bool, error) {
	due, _, err := w.Due(ctx, t, now, archive.DuePlace{}, 1)
	return len(due) > 0 || w.sweeping != nil, err
}

func (w *world) StudyCount(context.Context, archive.Tenant) (int64, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return int64(len(w.lives)), w.broken
}

func (w *world) LetGo(context.Context, archive.Tenant, archive.TierName) (int64, error) {
	return w.letGo, w.broken
}

func (w *world) RuleSet(context.Context, archive.Tenant, string) (archive.RuleSet, archive.FactID, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.set, w.stated, w.broken
}

func (w *world) TagsOf(context.Context, archive.Tenant, archive.Ref) ([]string, archive.FactID, error) {
	return nil, archive.FactID{}, w.broken
}

func (w *world) NewFactIDAfter(archive.FactID) archive.FactID {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.facts++
	return archive.FactID{15: w.facts}
}

func (w *world) Append(_ context.Context, f *archive.Fact, _ *pack.Body) (archive.Entry, error) {
	return archive.Entry{Fact: f}, nil
}

// Apply takes rules over; with them all studies are due.
func (w *world) Apply(_ context.Context, _ archive.Tenant, entries ...archive.Entry) ([]archive.Applied, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range entries {
		w.set, w.stated = *e.Fact.Rules, e.Fact.ID
		for _, l := range w.lives {
			l.Due = w.now
		}
	}
	return make([]archive.Applied, len(entries)), nil
}

func (w *world) Settle(ctx context.Context, study archive.Ref) (Settled, error) {
	if w.settling != nil {
		if err := w.settling(ctx, study); err != nil {
			return Settled{}, err
		}
	}
	w.note("settle", study)
	w.mu.Lock()
	defer w.mu.Unlock()
	l := w.lives[study]
	r := Settled{Stated: l.Loose > 0 || l.Deleted > 0, Dropped: int64(l.Deleted), DroppedBytes: 10 * int64(l.Deleted)}
	l.Settled, l.Loose, l.Deleted = true, 0, 0
	if len(l.Tiers) == 0 && l.Instances > 0 {
		l.Tiers = []archive.TierName{"hot"}
	}
	return r, nil
}

func (w *world) Sweep(ctx context.Context) (Swept, error) {
	if w.sweeping == nil {
		return Swept{}, nil
	}
	return w.sweeping(ctx)
}

func (w *world) Move(ctx context.Context, _ archive.Tenant, study archive.Ref, to archive.TierName) (int64, error) {
	if w.moving != nil {
		if err := w.moving(ctx, study); err != nil {
			return 0, err
		}
	}
	w.note("move", study)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lives[study].Tiers = []archive.TierName{to}
	return 10, nil
}

func (w *world) Make(context.Context, archive.Tenant, string) error { return nil }

// DeleteIf is as [remove.Remover.DeleteIf] is: what there is is looked up first.
func (w *world) DeleteIf(ctx context.Context, _ archive.Tenant, scope archive.UIDs, sure func(context.Context) error) error {
	ref := archive.Ref{scope.Study[2] - 'a'}
	w.mu.Lock()
	there := slices.Clone(w.instances[ref])
	w.mu.Unlock()
	if len(there) == 0 {
		return fault.New(fault.NotFound, "there is nothing to delete")
	}
	if w.deleting != nil {
		if err := w.deleting(ctx, ref); err != nil {
			return err
		}
	}
	if err := sure(ctx); err != nil {
		return err
	}
	if w.stating != nil {
		if err := w.stating(ctx, ref); err != nil {
			return err
		}
	}
	w.note("delete", ref)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.deleted[ref] = append(w.deleted[ref], there...)
	w.instances[ref] = slices.DeleteFunc(w.instances[ref], func(i int) bool { return slices.Contains(there, i) })
	l := w.lives[ref]
	l.Instances, l.Deleted = len(w.instances[ref]), len(w.deleted[ref])
	l.Mark.Seen[0]++
	return nil
}

func (w *world) Until(_ context.Context, _ archive.Tenant, study archive.Ref) (time.Time, string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked++
	return w.until[study], "", w.broken
}

func (w *world) round(k *Keeper) archive.LifecycleDone {
	w.t.Helper()
	d, err := k.Round(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return d
}

// wants holds what was done in which order, and forgets it.
func (w *world) wants(what string, want ...string) {
	w.t.Helper()
	if got := w.done(); !slices.Equal(got, want) {
		w.t.Errorf("%s: %q, want %q", what, got, want)
	}
	w.did = nil
}
