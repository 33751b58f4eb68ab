// Package intent has what destroys and what protects follow one another, on however many nodes, whatever their clocks say
// and wherever they stop.
//
// Two facts destroy for good: a settled fact that drops deleted instances, and a key-closed fact. Three protect: a legal hold,
// rules of retention, an undeletion. Each is stated by a node that looks at the index first, and between its look and its
// statement the other may be stated and acknowledged. So:
//
// Who destroys ([Guard.Destroy])
//
//  1. reserves the number n of its session of the log;
//  2. notes in the database the intent to state something at n of the study, and waits for the commit;
//  3. asks whether the study may be destroyed, from the index;
//  4. writes the fact at n if nothing is there, and nowhere else;
//  5. has the fact indexed and forgets the intent.
//
// Who protects ([Guard.Protect])
//
//  1. has the protecting fact in the log and in the index;
//  2. reads the intents about what it protects;
//  3. of each, writes a void at n if nothing is there, and has indexed what is there then;
//  4. acknowledges.
//
// # Why that is enough
//
// Assume that a protection is acknowledged and that the destroying fact comes to be in the log after it. Had the intent been
// committed before the protector read the intents, then the protector had read it, and at n there would have been something before the
// acknowledgement: either the void, and then the fact is not written, since each of the two is written only if nothing is
// there, or the fact, which is not after it then. Had the intent been committed later, then the destroyer asked later still, when the protecting fact
// was in the index, and it would not have gone on. Neither is possible. What was in the log before the acknowledgement was destroyed before
// the protection, and is in the index when Protect returns, so that an undeletion does not count it as returned.
//
// This takes two things: that the database tells what was committed before it was asked (one primary; commits are
// synchronous), and that the store writes if absent. It takes no clock and no lease, so a node that sleeps between any two steps, and a
// request to the store that arrives late, do no harm; and nobody waits for a node that died. An intent that is left goes when
// the next protection or destruction of the study meets it.
//
// Two who destroy the same study void each other's numbers; one of them at least is tried again later.
package intent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/ledger"
)

// Index is where intents are noted.
type Index interface {
	// Intend notes an intent, and returns when it is committed; Desist forgets it.
	Intend(ctx context.Context, t archive.Tenant, i archive.Intent) error
	Desist(ctx context.Context, t archive.Tenant, i archive.Intent) error
	// Intents returns those about a study, or with a zero reference all.
	Intents(ctx context.Context, t archive.Tenant, study archive.Ref) ([]archive.Intent, error)
	Apply(ctx context.Context, t archive.Tenant, entries ...archive.Entry) ([]archive.Applied, error)
}

// Log is a session of the tenant's log.
type Log interface {
	Session() string
	// Reserve takes a number; Return ends that.
	Reserve() (uint64, error)
	Return(n uint64, written bool)
	// AppendAt writes a fact at a reserved number or not at all.
	AppendAt(ctx context.Context, f *archive.Fact, n uint64) (archive.Entry, error)
}

// Options are the parts of a Guard. All are required.
type Options struct {
	Tenant archive.Tenant
	Index  Index
	Log    Log
	// Fence writes a void at a number of a session, any process's, unless something is there, and indexes what is there then.
	Fence func(ctx context.Context, session string, n uint64) error
}

// Guard is what facts that destroy or protect are stated by. It is safe for concurrent use.
type Guard struct{ o Options }

// New returns a Guard.
func New(o Options) *Guard { return &Guard{o} }

// cleanup bounds what is done after a failure, whatever became of the caller's context.
const cleanup = 10 * time.Second

// Destroy states a fact that destroys something of a study, and returns when it is indexed, if check, which is asked when the intent is
// known to all, returns nil. It fails with fault.Conflict where somebody protected the study meanwhile; the fact is not in the log
// then. After other errors it may be, and Catchup indexes it.
func (g *Guard) Destroy(ctx context.Context, study archive.Ref, f *archive.Fact, check func(context.Context) error) error {
	if err := g.Protect(ctx, study); err != nil { // what is left of intents before
		return err
	}
	n, err := g.o.Log.Reserve()
	if err != nil {
		return err
	}
	i := archive.Intent{Study: study, Session: g.o.Log.Session(), N: n}
	if err := g.o.Index.Intend(ctx, g.o.Tenant, i); err != nil {
		g.o.Log.Return(n, false)
		return fmt.Errorf("noting what is about to be destroyed: %w", err) // if it was committed: see Protect
	}
	err = check(ctx)
	after, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanup)
	defer cancel()
	if err != nil {
		g.o.Log.Return(n, false)
		_ = g.o.Index.Desist(after, g.o.Tenant, i) // nothing was begun: what is left of the intent does no harm
		return err
	}
	e, err := g.o.Log.AppendAt(ctx, f, n)
	if err != nil {
		// Nothing is to come there later, when nobody thinks of it any more.
		g.o.Log.Return(n, g.settle(after, i) == nil)
		return err
	}
	g.o.Log.Return(n, true)
	if err := ledger.Apply(ctx, g.o.Index, g.o.Tenant, e); err != nil {
		return fmt.Errorf("destroying: %w", err)
	}
	// It is done; what is left of the intent does no harm.
	_ = g.o.Index.Desist(after, g.o.Tenant, i)
	return nil
}

// Protect is for after a fact that protects a study, or with a zero reference perhaps every study, is in the index and before it is
// acknowledged. When it returns nil, nothing that may not be destroyed by that fact is going to be.
func (g *Guard) Protect(ctx context.Context, study archive.Ref) error {
	intents, err := g.o.Index.Intents(ctx, g.o.Tenant, study)
	if err != nil {
		return fmt.Errorf("asking what is about to be destroyed: %w", err)
	}
	var errs []error
	for _, i := range intents {
		errs = append(errs, g.settle(ctx, i))
	}
	return errors.Join(errs...)
}

// settle decides what is at the number of an intent: a void, unless something is there.
func (g *Guard) settle(ctx context.Context, i archive.Intent) error {
	if err := g.o.Fence(ctx, i.Session, i.N); err != nil {
		return fmt.Errorf("keeping something from being destroyed: %w", err)
	}
	if err := g.o.Index.Desist(ctx, g.o.Tenant, i); err != nil {
		return fmt.Errorf("forgetting what was about to be destroyed: %w", err)
	}
	return nil
}
