package node

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
)

// gate lets requests into one tenant's archive while its keys may be used. It
// opens the archive for the first request, closes it when nobody has come for a
// while, and cuts everybody off when the keys are taken away.
type gate struct {
	n        *Node
	tenant   archive.Tenant
	watching atomic.Bool
	changing sync.Mutex   // held while the settings are changed
	unread   atomic.Int64 // facts of the log that could not be indexed, when last looked
	kept     atomic.Int64 // packs that nothing readable names and that may be needed, when last looked

	mu      sync.Mutex
	a       *Archive      // open, or nil
	busy    chan struct{} // an opening or a closing is under way; closed when it ends
	pins    int           // holders who keep the archive open though idle
	used    time.Time     // when the last visit ended
	leaving bool          // what is under way is a closing
	dark    error         // why it is being closed, if it is not for want of visitors
	refused error         // why it could not be opened
	until   time.Time     // for how long that is believed
	closing error         // of the last closing
	whole   bool          // the index has all that this process knows of the log
	reaped  time.Time     // when unused packs were last looked for
}

const (
	openTimeout  = 30 * time.Second       // for opening an archive
	believeFor   = 500 * time.Millisecond // a refusal
	drainWarning = 5 * time.Second        // after which visits that do not end are told of
	watchEvery   = 500 * time.Millisecond
)

// Visit is a stay in an open archive. It ends with Leave.
type Visit struct {
	*Archive
	g    *gate
	left func()
}

// Leave ends the visit. It may be called again.
func (v *Visit) Leave() { v.left() }

// Enter opens the tenant's archive, if it is not open, and keeps it open until
// the visit ends, or its keys are taken away: then the context that Within
// returns ends. Errors are fault.NotFound (no such tenant), fault.Forbidden
// (suspended), fault.KeyDenied, fault.KeyUnreachable, and those of the stores.
func (n *Node) Enter(ctx context.Context, t archive.Tenant) (*Visit, error) {
	g, err := n.gate(ctx, t)
	if err != nil {
		return nil, err
	}
	for {
		a, wait, err := g.step(ctx)
		if err != nil {
			return nil, err
		}
		if a != nil {
			v := &Visit{Archive: a, g: g, left: sync.OnceFunc(func() { g.leave(a) })}
			if err := g.check(ctx, a, 0); err != nil {
				v.Leave()
				return nil, err
			}
			return v, nil
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// step enters the archive if it is open; else it starts opening it, and
// returns what to wait for.
func (g *gate) step(ctx context.Context) (*Archive, <-chan struct{}, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.a != nil:
		g.a.active++
		return g.a, nil, nil
	case g.busy != nil && g.dark != nil:
		return nil, nil, g.dark
	case g.busy != nil:
		return nil, g.busy, nil
	case g.refused != nil && g.n.o.Now().Before(g.until):
		return nil, nil, g.refused
	}
	done := make(chan struct{})
	if !g.n.start(func() { g.open(context.WithoutCancel(ctx), done) }) {
		return nil, nil, errClosing
	}
	g.busy = done
	return nil, done, nil
}

func (g *gate) open(ctx context.Context, done chan struct{}) {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	g.mu.Lock()
	whole := g.whole
	g.mu.Unlock()
	a, err := g.n.openArchive(ctx, g.tenant, whole)
	if err == nil {
		a.background(g)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.a, g.refused, g.whole = a, err, whole || err == nil
	g.used = g.n.o.Now()
	if err != nil {
		g.until = g.used.Add(believeFor)
		if !fault.Is(err, fault.KeyDenied) && !fault.Is(err, fault.Forbidden) {
			g.n.o.Slog.Warn("an archive cannot be opened", "tenant", string(g.tenant), "error", err)
		}
	}
	g.busy = nil
	close(done)
}

func (g *gate) leave(a *Archive) {
	g.mu.Lock()
	defer g.mu.Unlock()
	a.active--
	g.used = g.n.o.Now()
	if a.active == 0 && a.drained != nil {
		close(a.drained)
		a.drained = nil
	}
}

// check asks for the lease, renewing it if it runs out within ahead, and cuts
// the archive off when it is lost.
func (g *gate) check(ctx context.Context, a *Archive, ahead time.Duration) error {
	err := a.lease.Ahead(ctx, ahead)
	if err == nil || ctx.Err() != nil {
		return err
	}
	silent := fault.Is(err, fault.KeyUnreachable) || fault.Is(err, fault.Unavailable)
	if silent && g.n.o.Now().Sub(a.lease.Good()) < g.n.o.KeyGrace {
		return err // refused now, but the keys may stay until the grace is over
	}
	g.shut(a, err)
	return err
}

// shut cuts off who is in the archive and closes it, if it is still the one that is open.
func (g *gate) shut(a *Archive, cause error) chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.a != a {
		return g.busy
	}
	return g.shutNow(a, cause)
}

// shutIdle closes the archive if nobody is in it; else it returns nil.
func (g *gate) shutIdle(a *Archive) chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.a != a || !g.idle() {
		return nil
	}
	return g.shutNow(a, errIdle)
}

// idle reports whether the archive is open and nobody is in it. The caller holds mu.
func (g *gate) idle() bool { return g.a != nil && g.a.active == 0 && g.pins == 0 }

// shutNow begins to close the open archive. The caller holds mu.
func (g *gate) shutNow(a *Archive, cause error) chan struct{} {
	done := make(chan struct{})
	drained := make(chan struct{})
	if a.active == 0 {
		close(drained)
	} else {
		a.drained = drained
	}
	g.a, g.busy, g.leaving = nil, done, true
	if cause != errIdle {
		g.dark = cause
	}
	g.n.wg.Go(func() { g.close(a, cause, drained, done) })
	return done
}

func (g *gate) close(a *Archive, cause error, drained, done chan struct{}) {
	a.cut(cause)
	idle := cause == errIdle || cause == errClosing
	if !idle {
		g.n.dark.Add(1)
		a.ring.Wipe() // at once; the rest when nobody works with it any more
		if g.n.near != nil {
			if err := g.n.near.Drop(string(g.tenant)); err != nil {
				a.slog.Error("the read cache cannot be emptied; what is in it is sealed", "error", err)
			}
		}
		a.slog.Warn("the archive has gone dark", "error", cause)
	}
	late := time.NewTimer(drainWarning)
	defer late.Stop()
	select {
	case <-drained:
	case <-late.C:
		a.slog.Error("requests do not end although the archive is closed")
		<-drained
	}
	ctx, cancel := context.WithTimeout(context.Background(), openTimeout)
	defer cancel()
	err := a.close(ctx, idle)
	if err != nil {
		a.slog.Error("closing the archive", "error", err)
	}
	if cause != errClosing {
		g.n.tidy.ask()
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.busy, g.leaving, g.dark, g.closing, g.whole = nil, false, nil, err, idle && err == nil
	close(done)
}

// end closes the archive for good, and returns what could not be finished.
func (g *gate) end(ctx context.Context) error {
	for {
		g.mu.Lock()
		a, busy := g.a, g.busy
		g.mu.Unlock()
		if a != nil {
			busy = g.shut(a, errClosing)
		}
		if busy == nil {
			break
		}
		select {
		case <-busy:
		case <-ctx.Done():
			return fault.Wrap(fault.Timeout, ctx.Err(), "an archive could not be closed in time")
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.closing
}

// errIdle ends the archive of a tenant whom nobody asks for.
var errIdle = fault.New(fault.Unavailable, "the archive was not in use; try again")

// watch renews the lease of an open archive ahead of its end, and closes it
// when it has been idle: keys are never in memory without a lease that holds.
func (g *gate) watch(ctx context.Context) {
	g.mu.Lock()
	a := g.a
	idle := g.idle() && g.n.o.IdleClose > 0 && g.n.o.Now().Sub(g.used) >= g.n.o.IdleClose
	g.mu.Unlock()
	switch {
	case a == nil:
	case idle:
		g.shutIdle(a)
	case g.n.former(a):
		g.shut(a, errNotMember)
	default:
		_ = g.check(ctx, a, 2*watchEvery) // a failure has been told by closing
	}
}

// watchGates watches every gate, each on its own: one provider that hangs does
// not keep the others waiting.
func (n *Node) watchGates(ctx context.Context) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		n.mu.Lock()
		for _, g := range n.gates {
			if g.watching.CompareAndSwap(false, true) {
				wg.Go(func() {
					defer g.watching.Store(false)
					g.watch(ctx)
				})
			}
		}
		n.mu.Unlock()
	}
}

// Within returns a context that ends with the parent, and with the cause when
// the archive is cut off.
func (v *Visit) Within(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(v.ctx, func() { cancel(context.Cause(v.ctx)) })
	return ctx, func() {
		stop()
		cancel(nil)
	}
}

// inArchive runs f in the tenant's archive. What ends because the archive is cut off fails with the cause of that: the
// caller has not gone away.
func (n *Node) inArchive(ctx context.Context, t archive.Tenant, f func(context.Context, *Archive) error) error {
	v, err := n.Enter(ctx, t)
	if err != nil {
		return err
	}
	defer v.Leave()
	ctx, cancel := v.Within(ctx)
	defer cancel()
	err = f(ctx, v.Archive)
	if cause := context.Cause(ctx); err != nil && errors.Is(err, context.Canceled) && fault.KindOf(cause) != fault.Canceled {
		err = cause
	}
	return err
}

// OpenArchive opens a node and, for as long as it lives, the archive of its
// default tenant.
func OpenArchive(ctx context.Context, o Options) (*Node, *Archive, error) {
	n, err := Open(ctx, o)
	if err != nil {
		return nil, nil, err
	}
	a, err := n.Pin(ctx, n.Tenant)
	if err != nil {
		return nil, nil, errors.Join(err, n.Close(context.WithoutCancel(ctx)))
	}
	return n, a, nil
}

// Pin opens the tenant's archive and keeps it open until the node is closed,
// unless its keys are taken away. It is for who does one thing for one tenant.
func (n *Node) Pin(ctx context.Context, t archive.Tenant) (*Archive, error) {
	v, err := n.Enter(ctx, t)
	if err != nil {
		return nil, err
	}
	v.g.mu.Lock()
	v.g.pins++
	v.g.mu.Unlock()
	v.Leave()
	return v.Archive, nil
}

// Shutdown ends what would last as long as its clients, in every open archive.
// It is to be called before or while the servers shut down.
func (n *Node) Shutdown() {
	n.shutdown.Do(func() { close(n.stopping) })
	for _, g := range n.allGates() {
		g.mu.Lock()
		if g.a != nil {
			if h, ok := g.a.Handler.(interface{ Shutdown() }); ok {
				h.Shutdown()
			}
		}
		g.mu.Unlock()
	}
}
