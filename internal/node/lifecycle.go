package node

import (
	"cmp"
	"context"
	"sync"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/lifecycle"
	"github.com/strata-pacs/strata/internal/lifecycle/move"
	"github.com/strata-pacs/strata/storage/filestore"
)

// Lifecycling says how lifecycle rules are carried out. With the zero value only what
// is asked for is done.
type Lifecycling struct {
	On       bool          // in the background
	Quiet    time.Duration // how long nothing of a study must have changed; default 30 min
	Interval time.Duration // between looks at what is due; default 1 min
	Wake     time.Duration // between looks at tenants whose archive is closed; default 5 min
	AtOnce   int           // studies of a tenant that are worked on at the same time; default 2
	Currency string        // of the prices of tiers
}

// applyFor is how long a call of Apply begins something new.
const applyFor = 5 * time.Second

// newLifecycle makes what carries out the tenant's rules.
func (a *Archive) newLifecycle() *lifecycle.Keeper {
	n := a.n
	l := n.o.Lifecycle
	o := lifecycle.Options{Tenant: a.Tenant, Index: n.Index, Log: a.controls, Instances: a.log, Settler: ruleSettler{a}, Remover: a.Remove, Retention: a.Keep,
		Mover: ruleMover{a}, Thumbnails: a.Thumbnail, Disk: n.disk, Whole: func() bool { return !a.Partial() }, Alone: a.roundAlone,
		Tiers: n.Tiers(), Currency: l.Currency, Quiet: l.Quiet, Interval: l.Interval, Grace: n.o.Settling.ReadGrace, MoveHold: n.o.Settling.MoveHold, AtOnce: l.AtOnce,
		Counters: &n.lifecycle.counters, Record: n.lifecycle.record(a.Tenant), Now: n.o.Now, Slog: a.slog}
	if n.locks() {
		o.Lock = a.LockPacks
	}
	return lifecycle.New(o)
}

// roundAlone runs f while no other node does a round of the tenant: whoever is asked to apply the rules may be another than the one that carries
// them out in the background.
func (a *Archive) roundAlone(ctx context.Context, until <-chan time.Time, f func(context.Context) error) error {
	return a.n.alone(ctx, "round/"+string(a.Tenant), until, f)
}

// ruleSettler settles as rules use it: new packs are locked where the store can.
type ruleSettler struct{ a *Archive }

// Settle implements [lifecycle.Settler].
func (s ruleSettler) Settle(ctx context.Context, study archive.Ref) (lifecycle.Settled, error) {
	if s.a.n.locks() {
		if err := s.a.lockOthers(ctx, study); err != nil {
			return lifecycle.Settled{}, err
		}
	}
	r, err := s.a.Settle.Settle(ctx, study)
	if err == nil {
		err = s.a.LockPacks(ctx, study)
	}
	return lifecycle.Settled{Stated: r.Settled, Dropped: int64(r.Dropped), DroppedBytes: r.DroppedBytes, Drop: r.Next}, err
}

// Sweep implements [lifecycle.Settler].
func (s ruleSettler) Sweep(ctx context.Context) (lifecycle.Swept, error) {
	w, err := s.a.Settle.Sweep(ctx, 0)
	return lifecycle.Swept{Objects: int64(w.Objects), Bytes: w.Bytes, More: w.More}, err
}

// ruleMover moves as rules have it: what is moved is locked where it comes to lie.
type ruleMover struct{ a *Archive }

// Move implements [lifecycle.Mover].
func (m ruleMover) Move(ctx context.Context, t archive.Tenant, study archive.Ref, to archive.TierName) (int64, error) {
	n, err := m.a.Move.Move(ctx, t, study, to)
	if err == nil {
		err = m.a.LockPacks(ctx, study)
	}
	return n, err
}

// lifecycled is what the lifecycle of all tenants has in common.
type lifecycled struct {
	counters lifecycle.Counters

	mu      sync.Mutex
	records map[archive.Tenant]*lifecycle.Record
}

// record is what is remembered of a tenant's lifecycle.
func (l *lifecycled) record(t archive.Tenant) *lifecycle.Record {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.records == nil {
		l.records = map[archive.Tenant]*lifecycle.Record{}
	}
	if l.records[t] == nil {
		l.records[t] = new(lifecycle.Record)
	}
	return l.records[t]
}

// LifecyclesPaused tells of each tenant of which this node has read whether its lifecycle is paused.
func (n *Node) LifecyclesPaused() map[archive.Tenant]bool {
	l := n.lifecycle
	l.mu.Lock()
	defer l.mu.Unlock()
	out := map[archive.Tenant]bool{}
	for t, r := range l.records {
		if paused, known := r.Paused(); known {
			out[t] = paused
		}
	}
	return out
}

// disk tells the room of the hot tier, where that is a disk of this machine.
func (n *Node) disk() (free, capacity int64, err error) {
	if n.o.Remote != nil {
		return 0, 0, nil
	}
	return filestore.Room(n.o.Data)
}

// carryOut carries out the tenant's rules while the archive is open, and its index whole.
func (a *Archive) carryOut(ctx context.Context) {
	if !a.untilWhole(ctx) {
		return
	}
	var strays sync.WaitGroup
	defer strays.Wait()
	strays.Go(func() { a.removeStrays(ctx) })
	a.Lifecycle.Run(ctx, func(ctx context.Context, f func(context.Context) error) error {
		v, err := a.n.Enter(ctx, a.Tenant)
		if err != nil {
			return err
		}
		defer v.Leave()
		if v.Archive != a { // this one is being closed
			return errClosing
		}
		ctx, cancel := v.Within(ctx)
		defer cancel()
		return f(ctx)
	})
}

// removeStrays removes the copies that moves left which never ended, once a day, or more often
// where the reaper's grace is shorter.
func (a *Archive) removeStrays(ctx context.Context) {
	tick := time.NewTicker(min(24*time.Hour, a.n.o.Grace))
	defer tick.Stop()
	for ctx.Err() == nil {
		done, err := move.RemoveStrays(ctx, a.Tenant, move.StrayOptions{Index: a.Index, Tiers: a.n.tiers, Alone: a.Lifecycle.Alone, Grace: a.n.o.Grace, Now: a.n.o.Now})
		if err != nil && ctx.Err() == nil {
			a.slog.Error("removing copies that moves left failed", "error", err)
		} else if done.Copies > 0 {
			a.slog.Info("removed copies that moves left", "copies", done.Copies, "bytes", done.Bytes)
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

// pastWaking is how long a tenant is left alone that was woken: what is due of it
// then cannot be done, or is paused.
const pastWaking = time.Hour

// wake opens now and then the archives of tenants that nobody asks for and of which
// something is due; what carries out their rules does the rest.
func (n *Node) wake(ctx context.Context) {
	every := n.o.Lifecycle.Wake
	if every <= 0 {
		every = 5 * time.Minute
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	woken := map[archive.Tenant]time.Time{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := n.o.Now()
		for t, at := range woken {
			if now.Sub(at) >= pastWaking {
				delete(woken, t)
			}
		}
		if err := n.wakeDue(ctx, woken); err != nil && ctx.Err() == nil {
			n.o.Slog.Warn("asking which tenants have studies that are due failed; it is tried again", "error", err)
		}
	}
}

// wakeDue opens the archives of which something is due, one after the other.
func (n *Node) wakeDue(ctx context.Context, woken map[archive.Tenant]time.Time) error {
	const page = 100
	for after := archive.Tenant(""); ; {
		list, err := n.Tenants().List(ctx, after, page)
		if err != nil {
			return err
		}
		for _, info := range list {
			after = info.Tenant
			if _, late := woken[after]; late || info.State != archive.TenantActive || n.isOpen(after) {
				continue
			}
			pending, err := n.pending(ctx, after)
			if err != nil {
				return err
			}
			if !pending {
				continue
			}
			woken[after] = n.o.Now()
			v, err := n.Enter(ctx, after)
			if err != nil {
				n.o.Slog.Debug("an archive with studies that are due cannot be opened", "tenant", string(after), "error", err)
				continue
			}
			v.Leave()
		}
		if len(list) < page {
			return nil
		}
	}
}

// pending reports whether lifecycle rules have something to look at or to remove. It needs no key of the tenant.
func (n *Node) pending(ctx context.Context, t archive.Tenant) (bool, error) {
	now := n.o.Now()
	return n.Index.Pending(ctx, t, now, now.Add(-cmp.Or(n.o.Settling.ReadGrace, time.Hour)), now.Add(-cmp.Or(n.o.Settling.MoveHold, 24*time.Hour)))
}

// isOpen reports whether the tenant's archive is open.
func (n *Node) isOpen(t archive.Tenant) bool {
	n.mu.Lock()
	g := n.gates[t]
	n.mu.Unlock()
	if g == nil {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.a != nil
}

// Lifecycle shows and changes the lifecycle of any tenant.
type Lifecycle struct{ n *Node }

// Lifecycle returns what keeps studies where rules want them.
func (n *Node) Lifecycle() Lifecycle { return Lifecycle{n} }

// LifecycleCounters count what was done for all tenants since the node was opened.
func (n *Node) LifecycleCounters() *lifecycle.Counters { return &n.lifecycle.counters }

// visit runs f in the tenant's archive.
func (l Lifecycle) visit(ctx context.Context, t archive.Tenant, f func(context.Context, *lifecycle.Keeper) error) error {
	return l.n.inArchive(ctx, t, func(ctx context.Context, a *Archive) error { return f(ctx, a.Lifecycle) })
}

// change is visit for what states the document anew: who pauses must not have that undone by who states rules elsewhere.
func (l Lifecycle) change(ctx context.Context, t archive.Tenant, f func(context.Context, *lifecycle.Keeper) error) error {
	return l.visit(ctx, t, func(ctx context.Context, k *lifecycle.Keeper) error {
		return l.n.inTurn(ctx, "rules/"+string(t), func(ctx context.Context) error { return f(ctx, k) })
	})
}

// State says how a tenant's lifecycle stands.
func (l Lifecycle) State(ctx context.Context, t archive.Tenant) (s archive.LifecycleState, err error) {
	err = l.visit(ctx, t, func(ctx context.Context, k *lifecycle.Keeper) error { s, err = k.State(ctx); return err })
	return s, err
}

// Rules returns the rules that hold, as JSON.
func (l Lifecycle) Rules(ctx context.Context, t archive.Tenant) (document []byte, err error) {
	err = l.visit(ctx, t, func(ctx context.Context, k *lifecycle.Keeper) error {
		set, err := k.Rules(ctx)
		if err == nil {
			document, err = set.Document()
		}
		return err
	})
	return document, err
}

// CheckRules returns fault.Invalid for rules that cannot be stated.
func (l Lifecycle) CheckRules(ctx context.Context, t archive.Tenant, rules []byte) error {
	return l.visit(ctx, t, func(_ context.Context, k *lifecycle.Keeper) error {
		_, err := k.Check(rules)
		return err
	})
}

// SetRules states other rules; they are durable when it returns.
func (l Lifecycle) SetRules(ctx context.Context, t archive.Tenant, rules []byte, by string) error {
	return l.change(ctx, t, func(ctx context.Context, k *lifecycle.Keeper) error { return k.SetRules(ctx, rules, by) })
}

// Pause has nothing done to any study of the tenant, or ends that.
func (l Lifecycle) Pause(ctx context.Context, t archive.Tenant, paused bool, by string) error {
	return l.change(ctx, t, func(ctx context.Context, k *lifecycle.Keeper) error { return k.SetPaused(ctx, paused, by) })
}

// Tag adds tags to a study of the tenant and takes others from it, and returns those that it has then.
func (l Lifecycle) Tag(ctx context.Context, t archive.Tenant, study string, add, remove []string) (tags []string, err error) {
	err = l.n.inArchive(ctx, t, func(ctx context.Context, a *Archive) error {
		// Who changes them elsewhere must not undo it.
		return l.n.inTurn(ctx, "tags/"+string(t), func(ctx context.Context) error {
			tags, err = a.Lifecycle.Tag(ctx, a.ring.Ref(study), add, remove)
			return err
		})
	})
	return tags, err
}

// Plan reckons what rules would do to a tenant's studies.
func (l Lifecycle) Plan(ctx context.Context, t archive.Tenant, q archive.LifecycleQuestion) (p archive.LifecyclePlan, err error) {
	err = l.visit(ctx, t, func(ctx context.Context, k *lifecycle.Keeper) error { p, err = k.Plan(ctx, q); return err })
	return p, err
}

// Apply does what the rules want done now, for some seconds.
func (l Lifecycle) Apply(ctx context.Context, t archive.Tenant) (d archive.LifecycleDone, err error) {
	err = l.visit(ctx, t, func(ctx context.Context, k *lifecycle.Keeper) error { d, err = k.Apply(ctx, applyFor); return err })
	return d, err
}
