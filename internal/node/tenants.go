package node

import (
	"context"
	"fmt"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/ingest"
	"github.com/strata-pacs/strata/internal/keys"
	"github.com/strata-pacs/strata/internal/ledger"
	"github.com/strata-pacs/strata/internal/reconcile"
)

// Tenants keeps the tenants of a node and their settings, which are facts in
// their logs and rows of the index.
type Tenants struct{ n *Node }

// Tenants returns the tenants of the node.
func (n *Node) Tenants() Tenants { return Tenants{n} }

// Create makes a tenant and its root key. An empty KEK is the node's default.
// fault.Exists when the name is taken.
func (ts Tenants) Create(ctx context.Context, t archive.Tenant, s archive.TenantSettings) (archive.TenantInfo, error) {
	n := ts.n
	if s.KEK == "" {
		s.KEK = string(n.o.KEK)
	}
	if err := checkSettings(&s); err != nil {
		return archive.TenantInfo{}, err
	}
	if _, err := n.Index.Tenant(ctx, t); err == nil || t == n.Tenant {
		return archive.TenantInfo{}, errTaken
	} else if !fault.Is(err, fault.NotFound) {
		return archive.TenantInfo{}, err
	}
	err := keys.Create(ctx, keys.Options{Bucket: n.Bucket, Wrapper: n.o.Wrapper, KEK: keys.ID(s.KEK), Tenant: t, Now: n.o.Now})
	if fault.Is(err, fault.Exists) {
		// What was begun and has no log yet may be finished, by whoever asks for it again.
		page, lerr := n.Bucket.List(ctx, string(t)+"/log/", "", 1)
		if lerr != nil {
			return archive.TenantInfo{}, lerr
		}
		if err = nil; len(page.Objects) > 0 {
			err = errTaken
		}
	}
	if err != nil {
		return archive.TenantInfo{}, fmt.Errorf("making the tenant's root key: %w", err)
	}
	g := n.gateOf(t)
	if err := g.state(ctx, &s, archive.FactID{}); err != nil {
		return archive.TenantInfo{}, fmt.Errorf("creating a tenant: %w", err)
	}
	return n.Index.Tenant(ctx, t)
}

var errTaken = fault.New(fault.Exists, "there is a tenant of this name already")

// List returns up to limit tenants with names after the given one, ascending.
func (ts Tenants) List(ctx context.Context, after archive.Tenant, limit int) ([]archive.TenantInfo, error) {
	list, err := ts.n.Index.Tenants(ctx, after, limit)
	if err != nil || after >= ts.n.Tenant {
		return list, err
	}
	// The default tenant is listed even before anything has been said about it.
	for i := range list {
		if list[i].Tenant == ts.n.Tenant {
			return list, nil
		}
	}
	info, err := ts.Get(ctx, ts.n.Tenant)
	if err != nil || len(list) == limit && list[limit-1].Tenant < ts.n.Tenant {
		return list, err
	}
	at := 0
	for at < len(list) && list[at].Tenant < ts.n.Tenant {
		at++
	}
	list = append(list[:at:at], append([]archive.TenantInfo{info}, list[at:]...)...)
	return list[:min(len(list), limit)], nil
}

// Get returns one tenant; fault.NotFound.
func (ts Tenants) Get(ctx context.Context, t archive.Tenant) (archive.TenantInfo, error) {
	info, err := ts.n.Index.Tenant(ctx, t)
	if fault.Is(err, fault.NotFound) && t == ts.n.Tenant {
		info.Tenant = t
		info.TenantSettings, err = ts.n.settings(ctx, t)
	}
	return info, err
}

// Change reads the settings, lets change edit them and keeps the outcome, unless
// change fails, whose error is returned.
func (ts Tenants) Change(ctx context.Context, t archive.Tenant, change func(*archive.TenantSettings) error) (archive.TenantInfo, error) {
	if _, err := ts.Get(ctx, t); err != nil {
		return archive.TenantInfo{}, err
	}
	g := ts.n.gateOf(t)
	g.changing.Lock()
	defer g.changing.Unlock()
	var before archive.TenantInfo
	var s archive.TenantSettings
	// Another node may be about to revoke the key.
	err := ts.n.inTurn(ctx, "settings/"+string(t), func(ctx context.Context) (err error) {
		if before, s, err = ts.edited(ctx, t, change); err != nil || s == before.TenantSettings {
			return err
		}
		// The log may have other settings than a database that was restored: a change must not undo them.
		learned, err := g.learn(ctx)
		if err != nil {
			return fmt.Errorf("changing a tenant: %w", err)
		}
		if learned {
			if before, s, err = ts.edited(ctx, t, change); err != nil || s == before.TenantSettings {
				return err
			}
		}
		if err := g.state(ctx, &s, before.Stated); err != nil {
			return fmt.Errorf("changing a tenant: %w", err)
		}
		return nil
	})
	if err != nil || s == before.TenantSettings {
		return before, err
	}
	// Here it holds at once, on other nodes when they ask for their leases anew.
	if err := usable(s); err != nil {
		if err := g.dismiss(ctx, err); err != nil {
			return archive.TenantInfo{}, err
		}
	} else {
		g.adopt(s)
	}
	return ts.Get(ctx, t)
}

// edited returns the settings and what change makes of them.
func (ts Tenants) edited(ctx context.Context, t archive.Tenant, change func(*archive.TenantSettings) error) (before archive.TenantInfo, s archive.TenantSettings, err error) {
	if before, err = ts.Get(ctx, t); err != nil {
		return before, s, err
	}
	s = before.TenantSettings
	if err = change(&s); err == nil {
		err = checkSettings(&s)
	}
	return before, s, err
}

func checkSettings(s *archive.TenantSettings) error {
	if s.Duplicates != "" {
		if _, err := ingest.ParsePolicy(s.Duplicates); err != nil {
			return fault.New(fault.Invalid, "duplicates: must be keep-first, replace or refuse")
		}
	}
	if l := s.Limits; l.Concurrent < 0 || l.BytesPerSecond < 0 || l.RequestsPerSecond < 0 {
		return fault.New(fault.Invalid, "limits: must not be below zero")
	}
	return nil
}

// Revoke takes the tenant's keys away from Strata's side. It returns when no
// node serves anything of the tenant any more. Revoking again is no error.
func (ts Tenants) Revoke(ctx context.Context, t archive.Tenant) error {
	_, err := ts.Change(ctx, t, func(s *archive.TenantSettings) error {
		if s.State != archive.TenantRevoked {
			s.Before, s.State = s.State, archive.TenantRevoked
		}
		return nil
	})
	if err != nil {
		return err
	}
	return ts.n.othersNoticed(ctx)
}

// Grant takes a revocation back. Granting what is not revoked is no error.
func (ts Tenants) Grant(ctx context.Context, t archive.Tenant) error {
	_, err := ts.Change(ctx, t, func(s *archive.TenantSettings) error {
		if s.State == archive.TenantRevoked {
			s.State, s.Before = s.Before, ""
			if s.State == "" {
				s.State = archive.TenantActive
			}
		}
		return nil
	})
	return err
}

// othersNoticed returns when every other node has asked for its leases anew, or
// has lost them for want of the database.
func (n *Node) othersNoticed(ctx context.Context) error {
	if !n.shared() {
		return nil
	}
	select {
	case <-time.After(keys.Revoked):
		return nil
	case <-ctx.Done():
		return fault.Wrap(fault.Timeout, ctx.Err(), "the key is revoked, but not every node may have noticed yet")
	}
}

// state writes the settings as a fact in the place of another one, and applies it, also while the archive is
// closed by what they say: a revocation can be taken back.
func (g *gate) state(ctx context.Context, s *archive.TenantSettings, before archive.FactID) error {
	return g.with(ctx, func(log *ledger.Log) error {
		f := &archive.Fact{ID: log.NewFactIDAfter(before), Kind: archive.FactTenant, Settings: s}
		return ledger.State(ctx, log, g.n.Index, g.tenant, f)
	})
}

// with runs f with a log of the tenant: that of the open archive, or one opened
// for the purpose while nobody can enter.
func (g *gate) with(ctx context.Context, f func(*ledger.Log) error) error {
	return g.either(ctx, func(a *Archive) error { return f(a.controls) },
		func() error { return g.n.withLog(ctx, g.tenant, f) })
}

// learn has the index know what the log says about the tenant, also while the archive is closed by what the index
// says of it. It reports whether there was something to learn. What was open once in this process knows it.
func (g *gate) learn(ctx context.Context) (learned bool, err error) {
	g.mu.Lock()
	whole := g.whole
	g.mu.Unlock()
	if whole {
		return false, nil
	}
	err = g.either(ctx, func(*Archive) error { return nil }, func() error {
		return g.n.withKeys(ctx, g.tenant, func(ring *keys.Ring) error {
			r := reconcile.New(g.n.reconcileOptions(g.tenant, ring))
			missing, err := r.Missing(ctx, 1)
			if err != nil || len(missing) == 0 {
				return err
			}
			learned = true
			return r.Controls(ctx)
		})
	})
	return learned, err
}

// either runs open with the archive while that is open, and shut, while nobody can enter, if it is not.
func (g *gate) either(ctx context.Context, open func(*Archive) error, shut func() error) error {
	for {
		g.mu.Lock()
		a, busy := g.a, g.busy
		if a != nil {
			a.active++
			g.mu.Unlock()
			defer g.leave(a)
			return open(a)
		}
		if busy == nil {
			done := make(chan struct{})
			g.busy = done
			g.mu.Unlock()
			defer func() {
				g.mu.Lock()
				defer g.mu.Unlock()
				g.busy, g.refused = nil, nil // what refused may not hold any more
				close(done)
			}()
			return shut()
		}
		g.mu.Unlock()
		select {
		case <-busy:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// withKeys opens the tenant's keys for f, and for the index meanwhile.
func (n *Node) withKeys(ctx context.Context, t archive.Tenant, f func(*keys.Ring) error) error {
	ring, err := keys.Open(ctx, keys.Options{Bucket: n.Bucket, Wrapper: n.o.Wrapper, Tenant: t, KEK: n.o.KEK, Now: n.o.Now})
	if err != nil {
		return fmt.Errorf("opening the tenant's keys: %w", err)
	}
	defer ring.Close()
	n.lend(t, ring)
	defer n.takeBack(t)
	return f(ring)
}

// withLog opens the tenant's keys and a session of its log for f.
func (n *Node) withLog(ctx context.Context, t archive.Tenant, f func(*ledger.Log) error) error {
	return n.withKeys(ctx, t, func(ring *keys.Ring) error {
		log, err := ledger.Open(ledger.Options{Bucket: n.Bucket, Tenant: t, Secrets: ring.Secret, Session: n.session(ledger.Controls), Now: n.o.Now})
		if err != nil {
			return err
		}
		if err := f(log); err != nil {
			return err
		}
		return n.endLog(ctx, t, log)
	})
}

// endLog ends a session of the log, and has the index know at once: it counts what is there. Should that fail, it does
// when the archive is next opened.
func (n *Node) endLog(ctx context.Context, t archive.Tenant, log *ledger.Log) error {
	if err := log.Close(ctx); err != nil {
		return err
	}
	if end, ok := log.End(); ok {
		if err := ledger.Apply(ctx, n.Index, t, end); err != nil {
			n.o.Slog.Debug("the end of a session of the log is not indexed yet", "tenant", string(t), "error", err)
		}
	}
	return nil
}

// adopt lets settings hold in the archive, if it is open.
func (g *gate) adopt(s archive.TenantSettings) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.a != nil {
		g.a.adopt(s, g.n.o.Now())
	}
}

// dismiss cuts off who is in the archive, closes it, and returns when that is done.
func (g *gate) dismiss(ctx context.Context, cause error) error {
	g.mu.Lock()
	a, busy := g.a, g.busy
	g.mu.Unlock()
	if a != nil {
		busy = g.shut(a, cause)
	}
	if busy == nil {
		return nil
	}
	select {
	case <-busy:
		return nil
	case <-ctx.Done():
		return fault.Wrap(fault.Timeout, ctx.Err(), "requests in the archive do not end; try again")
	}
}

// Made reports whether the tenant's root key has been made.
func (n *Node) Made(ctx context.Context, t archive.Tenant) bool {
	_, err := n.Bucket.Stat(ctx, keys.RootName(t))
	return err == nil
}

// gateOf returns the gate of a tenant that is known, or about to be.
func (n *Node) gateOf(t archive.Tenant) *gate {
	n.mu.Lock()
	defer n.mu.Unlock()
	g := n.gates[t]
	if g == nil {
		g = &gate{n: n, tenant: t}
		n.gates[t] = g
	}
	return g
}
