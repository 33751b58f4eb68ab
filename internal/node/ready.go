package node

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/storage/driver"
)

// Whether a node can work is asked often, by every load balancer: a good answer
// of the store is believed for a while, since each costs a request, and none is
// waited for longer than they wait.
const (
	readyFor  = 5 * time.Second
	readyWait = 1500 * time.Millisecond
	extraWait = 500 * time.Millisecond
)

// ready is when stores, by the setting that names them, were last seen to answer.
type ready struct {
	mu     sync.Mutex
	stores map[string]time.Time
	extra  map[string]said                        // of what a node can do without
	gone   map[archive.TierName]archive.TierUsage // what tiers hold that are not configured
}

// said is what a store said last.
type said struct {
	at   time.Time
	what string // empty: that it works
}

// Ready says which parts keep the node from working, or nil. The keys of tenants
// are none of them: a node without one serves all the others.
func (n *Node) Ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyWait)
	defer cancel()
	type part struct {
		name string
		ask  func(context.Context) error
	}
	parts := []part{{"database", n.Index.Ready}}
	for name, store := range n.stores {
		parts = append(parts, part{name, func(ctx context.Context) error { return n.storeReady(ctx, name, store) }})
	}
	if n.shared() {
		parts = append(parts, part{"membership", func(context.Context) error {
			n.member.mu.Lock()
			defer n.member.mu.Unlock()
			return n.member.gone
		}})
	}
	errs := make([]error, len(parts))
	var wg sync.WaitGroup
	for i, p := range parts {
		wg.Go(func() { errs[i] = p.ask(ctx) })
	}
	wg.Wait()
	var wrong []string
	for i, p := range parts {
		switch err := errs[i]; {
		case err == nil:
		case fault.Is(err, fault.Timeout):
			wrong = append(wrong, p.name+": it does not answer")
		default:
			wrong = append(wrong, p.name+": "+fault.Message(err))
		}
	}
	if wrong == nil {
		return nil
	}
	slices.Sort(wrong)
	return fault.Wrap(fault.Unavailable, errors.Join(errs...), "%s", strings.Join(wrong, "; "))
}

// storeReady asks a store for what it has of the default tenant.
func (n *Node) storeReady(ctx context.Context, name string, store lister) error {
	n.ready.mu.Lock()
	fresh := n.o.Now().Sub(n.ready.stores[name]) < readyFor
	n.ready.mu.Unlock()
	if fresh {
		return nil
	}
	asked := n.o.Now()
	if _, err := store.List(ctx, string(n.Tenant)+"/", "", 1); err != nil {
		return err
	}
	n.ready.mu.Lock()
	defer n.ready.mu.Unlock()
	n.ready.stores[name] = asked
	return nil
}

// Impaired names the tiers whose stores do not answer, and those that hold something and are not configured, with what is wrong. A node is
// ready all the same: everything else is served, and what lies there was not
// expected at once.
func (n *Node) Impaired(ctx context.Context) []string {
	asker := ctx
	ctx, cancel := context.WithTimeout(ctx, extraWait)
	defer cancel()
	now := n.o.Now()
	var wg sync.WaitGroup
	for name, store := range n.extra {
		n.ready.mu.Lock()
		last, asked := n.ready.extra[name]
		n.ready.mu.Unlock()
		if asked && now.Sub(last.at) < readyFor {
			continue
		}
		wg.Go(func() {
			s := said{at: now}
			_, err := store.List(ctx, string(n.Tenant)+"/pack/", "", 1)
			switch {
			case asker.Err() != nil:
				return // that says nothing of the store
			case fault.Is(err, fault.Timeout):
				s.what = name + ": it does not answer"
			case err != nil:
				s.what = name + ": " + fault.Message(err)
			}
			n.ready.mu.Lock()
			defer n.ready.mu.Unlock()
			n.ready.extra[name] = s
		})
	}
	wg.Wait()
	n.ready.mu.Lock()
	defer n.ready.mu.Unlock()
	wrong := n.ready.saidOfGone()
	for _, s := range n.ready.extra {
		if s.what != "" {
			wrong = append(wrong, s.what)
		}
	}
	slices.Sort(wrong)
	return wrong
}

// lister is what asking a store takes.
type lister interface {
	List(ctx context.Context, prefix, after string, limit int) (driver.Page, error)
}
