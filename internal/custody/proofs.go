package custody

import (
	"context"
	"sync"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/keys"
)

// proofs remembers when each lock last opened.
type proofs struct {
	mu sync.Mutex
	of map[keys.ID]tried
}

// tried is the last trial of a KEK, and its last success.
type tried struct {
	asked time.Time
	proof archive.KeyProof
}

const (
	tryWithin = 2 * time.Second // a provider that takes longer is unreachable
	tryAgain  = time.Second     // a trial is believed for so long
)

// locksOf returns the KEKs that a name names: one, or those of a pair.
func locksOf(kek keys.ID) []keys.ID {
	first, second, ok := keys.SplitPair(kek)
	if !ok {
		return []keys.ID{kek}
	}
	return append(locksOf(first), locksOf(second)...)
}

// prove tries each lock with a random value, and adds what the open archive knows.
// Without ask no provider is asked.
func (c *Custodian) prove(ctx context.Context, t archive.Tenant, kek keys.ID, ask bool) []archive.KeyProof {
	locks := locksOf(kek)
	out := make([]archive.KeyProof, len(locks))
	var wg sync.WaitGroup
	for i, lock := range locks {
		wg.Go(func() { out[i] = c.proveOne(ctx, lock, ask) })
	}
	wg.Wait()
	if c.o.Proofs == nil {
		return out
	}
	for _, p := range c.o.Proofs(t) {
		for i, lock := range locks {
			for _, opened := range locksOf(p.KEK) { // a pair opens with both
				if opened == lock && p.At.After(out[i].At) {
					out[i].At, out[i].Latency = p.At, p.Latency
				}
			}
		}
	}
	return out
}

func (c *Custodian) proveOne(ctx context.Context, lock keys.ID, ask bool) archive.KeyProof {
	c.proofs.mu.Lock()
	last := c.proofs.of[lock]
	c.proofs.mu.Unlock()
	last.proof.KEK = string(lock)
	if !ask || time.Since(last.asked) < tryAgain {
		return last.proof
	}
	within, cancel := context.WithTimeout(ctx, tryWithin)
	defer cancel()
	began, at := time.Now(), c.o.Now()
	_, err := keys.Probe(within, c.o.Wrapper, lock)
	switch {
	case err == nil:
		last.proof.At, last.proof.Failure = at, ""
		last.proof.Latency = time.Since(began) / 2 // it wrapped and unwrapped
	case ctx.Err() != nil:
		return last.proof // nobody waits for it any more
	case fault.Is(err, fault.KeyDenied), fault.Is(err, fault.Invalid), fault.Is(err, fault.Corrupt):
		last.proof.Failure = archive.ProofDenied
	default:
		last.proof.Failure = archive.ProofUnreachable
	}
	last.asked = began
	c.proofs.mu.Lock()
	defer c.proofs.mu.Unlock()
	if c.proofs.of == nil {
		c.proofs.of = map[keys.ID]tried{}
	}
	remember(c.proofs.of, lock, last)
	return last.proof
}
