package node

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/index"
	"github.com/strata-pacs/strata/internal/keys"
	"github.com/strata-pacs/strata/internal/ledger"
	"github.com/strata-pacs/strata/internal/reconcile"
)

// Several nodes work on one database and one store. Each is a member by a lease
// in the database under its id, which the sessions of its logs begin with. When
// the lease ends, because the node died or slept, others take its sessions for
// over: they index what it left, and write voids into its holes. A node that finds
// its lease gone writes nothing more under that id, and becomes a member anew.

// How often a membership is renewed, and how much of it must be left for an object
// of the log to be begun, as parts of Options.NodeLease. Others wait for all of it.
const (
	renewPart = 4
	leftPart  = 3
)

// member is a node's membership. Its time is that of this process, which goes on
// while the process is stopped.
type member struct {
	mu    sync.Mutex
	id    string
	lease index.Lease
	until time.Time
	gone  error // why it is no member, or nil
}

var errNotMember = fault.New(fault.Unavailable, "this node has lost touch with the others; try again in a moment")

func newID(now time.Time) string { return ulid.MustNew(ulid.Timestamp(now), rand.Reader).String() }

// join makes the node a member under a fresh id.
func (n *Node) join(ctx context.Context) error {
	id := newID(n.o.Now())
	asked := time.Now()
	lease, ok, err := n.Index.Leases().Acquire(ctx, "node/"+id, id, n.o.NodeLease)
	if err == nil && !ok {
		err = fault.New(fault.Internal, "a fresh id is taken")
	}
	if err != nil {
		return fmt.Errorf("becoming a member: %w", err)
	}
	n.member.mu.Lock()
	defer n.member.mu.Unlock()
	n.member.id, n.member.lease, n.member.until, n.member.gone = id, lease, asked.Add(n.o.NodeLease), nil
	return nil
}

// remain renews the membership until ctx ends, and gives it back.
func (n *Node) remain(ctx context.Context) {
	tick := time.NewTicker(n.o.NodeLease / renewPart)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			end, cancel := context.WithTimeout(context.WithoutCancel(ctx), n.o.NodeLease/renewPart)
			defer cancel()
			n.member.mu.Lock()
			lease := n.member.lease
			n.member.mu.Unlock()
			if err := n.Index.Leases().Release(end, lease); err != nil {
				n.o.Slog.Debug("the membership ends by itself", "error", err)
			}
			return
		case <-tick.C:
		}
		if err := n.renew(ctx); err != nil && ctx.Err() == nil {
			n.o.Slog.Warn("the membership could not be renewed", "error", err)
		}
	}
}

// renew renews the membership. One that is lost is replaced; archives that write
// under it are closed, and opened anew under the new one.
func (n *Node) renew(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, n.o.NodeLease/renewPart)
	defer cancel()
	n.member.mu.Lock()
	lease, gone := n.member.lease, n.member.gone
	n.member.mu.Unlock()
	if gone == nil {
		asked := time.Now()
		lease, err := n.Index.Leases().Renew(ctx, lease, n.o.NodeLease)
		if err == nil {
			n.member.mu.Lock()
			defer n.member.mu.Unlock()
			n.member.lease, n.member.until = lease, asked.Add(n.o.NodeLease)
			return nil
		}
		if !fault.Is(err, fault.Conflict) {
			return err
		}
		n.o.Slog.Warn("other nodes took this one for dead; it goes on under a new name")
		n.member.mu.Lock()
		n.member.gone = errNotMember
		n.member.mu.Unlock()
	}
	if err := n.join(ctx); err != nil {
		return err
	}
	// One that is being opened at this moment is noticed by those who watch it.
	for _, g := range n.allGates() {
		g.mu.Lock()
		a := g.a
		g.whole = false // the database may be another since, restored from a backup
		g.mu.Unlock()
		if a != nil && n.former(a) {
			g.shut(a, errNotMember)
		}
	}
	return nil
}

// former reports whether the archive's session is of a membership that was lost.
func (n *Node) former(a *Archive) bool {
	n.member.mu.Lock()
	defer n.member.mu.Unlock()
	return n.member.gone == nil && nodeOf(a.log.Session()) != n.member.id
}

// writes returns nil while objects of the log may be written in the session.
func (n *Node) writes(session string) error {
	if !n.shared() {
		return nil
	}
	n.member.mu.Lock()
	defer n.member.mu.Unlock()
	if n.member.gone != nil || nodeOf(session) != n.member.id || time.Until(n.member.until) < n.o.NodeLease/leftPart {
		return errNotMember
	}
	return nil
}

// nodeOf returns the id of the node that a session is of.
func nodeOf(session string) string {
	id, _, _ := strings.Cut(session, "-")
	return id
}

// over reports whether a session has ended: its node is no member any more.
func (n *Node) over(ctx context.Context, session string) bool {
	n.member.mu.Lock()
	own := n.member.id
	n.member.mu.Unlock()
	id := nodeOf(session)
	if id == own {
		return false
	}
	_, held, err := n.Index.Leases().Holder(ctx, "node/"+id)
	return err == nil && !held
}

// whileHeld runs f while this node has the lease of the name, so that of all
// nodes one does the work; it tries again until ctx ends. A node that is alone
// needs no lease.
func (n *Node) whileHeld(ctx context.Context, name string, f func(context.Context)) {
	if !n.shared() {
		f(ctx)
		return
	}
	ttl := n.o.NodeLease
	for ctx.Err() == nil {
		holder := newID(n.o.Now())
		lease, ok, err := n.Index.Leases().Acquire(ctx, name, holder, ttl)
		if err == nil && ok {
			n.hold(ctx, lease, ttl, f)
		}
		select {
		case <-ctx.Done():
		case <-time.After(ttl / 2):
		}
	}
}

// aloneEvery is how often a lease is asked for that another node has.
const aloneEvery = 500 * time.Millisecond

// alone runs f once while this node has the lease of the name, and waits for it; where until comes first it returns fault.Busy.
func (n *Node) alone(ctx context.Context, name string, until <-chan time.Time, f func(context.Context) error) error {
	if !n.shared() {
		return f(ctx)
	}
	for {
		lease, ok, err := n.Index.Leases().Acquire(ctx, name, newID(n.o.Now()), n.o.NodeLease)
		if err != nil {
			return err
		}
		if ok {
			lost := false
			n.hold(ctx, lease, n.o.NodeLease, func(held context.Context) {
				err = f(held)
				lost = held.Err() != nil && ctx.Err() == nil
			})
			if lost && err != nil {
				err = fault.Wrap(fault.Unavailable, err, "this node has lost touch with the database, and another may go on with the work; try again")
			}
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-until:
			return fault.New(fault.Busy, "another node is at it; try again")
		case <-time.After(aloneEvery):
		}
	}
}

// hold runs f and keeps the lease; f's context ends when it is lost.
func (n *Node) hold(ctx context.Context, lease index.Lease, ttl time.Duration, f func(context.Context)) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		defer cancel()
		f(ctx)
	})
	until := time.Now().Add(ttl)
	tick := time.NewTicker(ttl / 4)
	defer tick.Stop()
	for ctx.Err() == nil && time.Now().Before(until) {
		select {
		case <-ctx.Done():
			continue
		case <-tick.C:
		}
		asked := time.Now()
		renewed, err := n.Index.Leases().Renew(ctx, lease, ttl)
		if err == nil {
			lease, until = renewed, asked.Add(ttl)
		} else if fault.Is(err, fault.Conflict) {
			break
		}
	}
	cancel()
	wg.Wait()
	end, stop := context.WithTimeout(context.WithoutCancel(ctx), ttl/4)
	defer stop()
	_ = n.Index.Leases().Release(end, lease) // it ends by itself
}

// inTurn runs f while no other node, and nobody else here, runs one of the same name: what is read and stated anew in it is not
// stated in between. f's context ends when that can no longer be said. It waits for those before it until ctx ends.
func (n *Node) inTurn(ctx context.Context, name string, f func(context.Context) error) error {
	ttl := n.o.NodeLease
	for {
		asked := time.Now()
		lease, ok, err := n.Index.Leases().Acquire(ctx, name, newID(n.o.Now()), ttl)
		if err != nil {
			return err
		}
		if ok {
			within, cancel := context.WithDeadline(ctx, asked.Add(ttl))
			defer cancel()
			err := f(within)
			if err != nil && within.Err() != nil && ctx.Err() == nil {
				err = fault.Wrap(fault.Unavailable, err, "this took so long that others may have changed it; look what holds, and try again")
			}
			end, stop := context.WithTimeout(context.WithoutCancel(ctx), ttl/4)
			defer stop()
			_ = n.Index.Leases().Release(end, lease) // it ends by itself
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(turnEvery):
		}
	}
}

// turnEvery is how often is asked whether another one has ended.
const turnEvery = 50 * time.Millisecond

// reconcileOptions are those of a tenant; own are the logs that this process writes of
// it, the one for what a reconciler writes first, or none.
func (n *Node) reconcileOptions(t archive.Tenant, ring *keys.Ring, own ...*ledger.Log) reconcile.Options {
	ro := reconcile.Options{Tenant: t, Bucket: n.past, Index: n.Index, Keys: ring, Grace: n.o.Grace, Tier: n.tiers.Tier, Tiers: n.tiers.All, Slog: n.o.Slog, Now: n.o.Now}
	if len(own) == 0 {
		return ro
	}
	ro.Log = own[0]
	ro.Over = n.over
	if !n.shared() {
		// The lock on the data folder says that nobody else writes.
		ro.Over = func(_ context.Context, session string) bool {
			return !slices.ContainsFunc(own, func(l *ledger.Log) bool { return l.Session() == session })
		}
	}
	return ro
}
