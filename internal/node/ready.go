package node

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/strata-pacs/strata/internal/fault"
)

// Whether a node can work is asked often, by every load balancer: a good answer
// of the store is believed for a while, since each costs a request, and none is
// waited for longer than they wait.
const (
	readyFor  = 5 * time.Second
	readyWait = 1500 * time.Millisecond
)

// ready is when the stores were last seen to answer.
type ready struct {
	mu     sync.Mutex
	stores map[string]time.Time
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
	parts := []part{{"database", n.Index.Ready}, {"store", n.storeReady("log")}}
	if n.o.RemoteKeys != nil {
		parts = append(parts, part{"key-store", n.storeReady("root")})
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
	return fault.Wrap(fault.Unavailable, errors.Join(errs...), "%s", strings.Join(wrong, "; "))
}

// storeReady asks the store that holds the default tenant's objects of a kind.
func (n *Node) storeReady(kind string) func(context.Context) error {
	return func(ctx context.Context) error {
		n.ready.mu.Lock()
		fresh := n.o.Now().Sub(n.ready.stores[kind]) < readyFor
		n.ready.mu.Unlock()
		if fresh {
			return nil
		}
		asked := n.o.Now()
		if _, err := n.Bucket.List(ctx, string(n.Tenant)+"/"+kind+"/", "", 1); err != nil {
			return err
		}
		n.ready.mu.Lock()
		defer n.ready.mu.Unlock()
		if n.ready.stores == nil {
			n.ready.stores = map[string]time.Time{}
		}
		n.ready.stores[kind] = asked
		return nil
	}
}
