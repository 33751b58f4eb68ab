package node

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/ingest"
	"github.com/strata-pacs/strata/internal/keys/keystest"
	"github.com/strata-pacs/strata/internal/ledger"
	"github.com/strata-pacs/strata/internal/reconcile"
	"github.com/strata-pacs/strata/internal/testservers"
	"github.com/strata-pacs/strata/storage/driver"
	"github.com/strata-pacs/strata/storage/filestore"
	"github.com/strata-pacs/strata/storage/memstore"
)

// house is what nodes share. Nothing of a node's own happens unless the test has it happen.
type house struct {
	*testservers.PostgresServer
	o      Options
	failed atomic.Bool // the store fails
}

// failing is a store that can be made to fail.
type failing struct {
	driver.Driver
	h *house
}

func (f failing) List(ctx context.Context, prefix, after string, limit int) (driver.Page, error) {
	if f.h.failed.Load() {
		return driver.Page{}, fault.New(fault.Full, "the store is on fire")
	}
	return f.Driver.List(ctx, prefix, after, limit)
}

func newHouse(t *testing.T) *house {
	t.Helper()
	h := &house{PostgresServer: testservers.Postgres(t)}
	objects, err := filestore.New(filepath.Join(t.TempDir(), "objects"), filestore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	h.o = Options{Database: h.DSN("node"), Remote: failing{objects, h}, Wrapper: keystest.NewProvider("kek", 3), KEK: "kek",
		NodeLease: time.Hour, ReconcileEvery: time.Hour}
	return h
}

// open opens a node and the default tenant's archive on it.
func (h *house) open(t *testing.T) (*Node, *Archive) {
	t.Helper()
	o := h.o
	o.Data = filepath.Join(t.TempDir(), "data")
	n, a, err := OpenArchive(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return n, a
}

// expire has the other nodes take one for dead.
func expire(t *testing.T, n *Node) {
	t.Helper()
	if err := n.Index.Leases().Release(t.Context(), n.member.lease); err != nil {
		t.Fatal(err)
	}
}

func gaps(t *testing.T, a *Archive, when string) {
	t.Helper()
	r, err := a.Reconcile.Verify(t.Context(), reconcile.VerifyOptions{Sample: 1})
	if err != nil || len(r.Gaps) > 0 {
		t.Errorf("%s: %+v, %v", when, r.Gaps, err)
	}
}

// takes stores a new instance, and tries until the node takes it.
func takes(t *testing.T, n *Node, i int) *Archive {
	t.Helper()
	_, file := image(i, 1)
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		v, err := n.Enter(t.Context(), n.Tenant)
		if err == nil {
			res := store(t, v.Archive, file)
			v.Leave()
			if res[0].Outcome != ingest.Refused {
				return v.Archive
			}
		}
		if time.Now().After(end) {
			t.Fatalf("the node takes no store: %v", err)
		}
	}
}

// TestTakenForDead: a node whose membership is gone writes nothing more under it,
// and goes on under another; the others end what it began.
func TestTakenForDead(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	n, a := h.open(t)
	_, other := h.open(t)
	_, file := image(1, 1)
	store(t, a, file)
	was := a.log.Session()
	crashed, err := a.log.Checkpoint(t.Context(), nil) // in the log and not in the index, as after a crash
	if err != nil {
		t.Fatal(err)
	}
	gaps(t, other, "a node has not indexed yet what it wrote")
	expire(t, n)
	if err := n.renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	if id := nodeOf(was); n.member.id == id || n.member.gone != nil {
		t.Errorf("it goes on as %s, %v", n.member.id, n.member.gone)
	}
	if _, err := a.log.Checkpoint(t.Context(), nil); !fault.Is(err, fault.Unavailable) {
		t.Errorf("writing under the lost membership: %v", err)
	}
	if err := a.log.Close(t.Context()); err != nil { // leaves the end to others
		t.Error(err)
	}
	if again := takes(t, n, 2); nodeOf(again.log.Session()) != n.member.id {
		t.Errorf("its session is %s", again.log.Session())
	}
	if _, err := other.Reconcile.Catchup(t.Context()); err != nil {
		t.Error(err)
	}
	if p, err := n.Index.Progress(t.Context(), n.Tenant); err != nil || !p[was].Has(crashed.N) {
		t.Errorf("caught up with what it left: %+v, %v", p[was], err)
	}
	gaps(t, other, "caught up")

	// What it had begun to write may be completed after that.
	late, err := ledger.Open(ledger.Options{Bucket: n.Bucket, Tenant: n.Tenant, Secrets: other.ring.Secret, Session: was})
	if err != nil {
		t.Fatal(err)
	}
	for _, catch := range []func() error{
		func() error { _, err := other.Reconcile.Catchup(t.Context()); return err },
		func() error { gaps(t, other, "a late write"); return nil },
	} {
		if err := other.Reconcile.Checkpoint(t.Context()); err != nil { // it has ended
			t.Fatal(err)
		}
		e, err := late.Checkpoint(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := catch(); err != nil {
			t.Fatal(err)
		}
		if p, err := n.Index.Progress(t.Context(), n.Tenant); err != nil || !p[was].Has(e.N) {
			t.Errorf("what was written late is not indexed: %+v, %v", p[was], err)
		}
	}
}

// TestOpenedInBetween: an archive that is opened while the node is no member is
// closed when it is one again: its session would be nobody's for ever.
func TestOpenedInBetween(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	n, a := h.open(t)
	expire(t, n)
	n.member.mu.Lock()
	n.member.gone = errNotMember
	n.member.mu.Unlock()
	_, file := image(1, 1)
	if res := store(t, a, file); res[0].Outcome != ingest.Refused {
		t.Fatalf("%+v", res[0])
	}
	if err := n.Ready(t.Context()); err == nil || !strings.Contains(fault.Message(err), "membership: ") {
		t.Errorf("ready: %v", err)
	}
	if err := n.join(t.Context()); err != nil { // as of an archive that renew does not see
		t.Fatal(err)
	}
	if again := takes(t, n, 1); again == a {
		t.Error("the archive was not opened anew")
	}
	gaps(t, takes(t, n, 2), "after all")
}

// TestReady: a node says which part keeps it from working.
func TestReady(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	began := time.Now()
	var ahead atomic.Int64
	h.o.Now = func() time.Time { return began.Add(time.Duration(ahead.Load())) }
	keystore, err := filestore.New(filepath.Join(t.TempDir(), "keys"), filestore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	h.o.RemoteKeys = keystore
	o := h.o
	o.Data = filepath.Join(t.TempDir(), "data")
	n, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Close(context.Background()) })
	h.o.Wrapper.(*keystest.Provider).Deny() // is the tenant's matter
	if err := n.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.failed.Store(true)
	if err := n.Ready(t.Context()); err != nil {
		t.Errorf("a good answer of the store is not believed for a while: %v", err)
	}
	ahead.Add(int64(readyFor))
	if err := n.Ready(t.Context()); !fault.Is(err, fault.Unavailable) || fault.Message(err) != "store: the store is on fire" {
		t.Errorf("the store fails: %v", err)
	}
	h.Kill()
	err = n.Ready(t.Context())
	if m := fault.Message(err); !strings.HasPrefix(m, "database: ") || !strings.Contains(m, "; store: ") || strings.Contains(m, "key-store") {
		t.Errorf("the database is gone too: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := n.Ready(ended); err == nil || errors.Is(err, errNotMember) {
		t.Errorf("asked by who is gone: %v", err)
	}
}

// TestAnotherStore: a store that the database does not belong to is not begun to be filled.
func TestAnotherStore(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	n, a := h.open(t)
	_, file := image(1, 1)
	store(t, a, file)
	h.o.Remote = memstore.New(memstore.Options{})
	h.o.Data = filepath.Join(t.TempDir(), "data")
	_, _, err := OpenArchive(t.Context(), h.o)
	if !fault.Is(err, fault.Conflict) || !strings.Contains(fault.Message(err), "store: it has no key of tenant default") {
		t.Errorf("an empty store: %v", err)
	}
	if page, err := h.o.Remote.List(t.Context(), "", "", 1); err != nil || len(page.Objects) > 0 {
		t.Errorf("it is empty no more: %+v, %v", page, err)
	}
	takes(t, n, 2)
	// A database that is empty is filled from the store.
	h.o.Remote, h.o.Database = n.o.Remote, h.DSN("empty")
	_, fresh := h.open(t)
	if r, err := fresh.Reconcile.Verify(t.Context(), reconcile.VerifyOptions{Sample: 1}); err != nil || len(r.Gaps) > 0 || r.Instances != 2 {
		t.Errorf("an empty database: %+v, %v", r, err)
	}
}

// TestApplyElsewhere: a node that is asked to apply rules does not do so while another is at it, and says that there is more.
func TestApplyElsewhere(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.o.Lifecycle.Quiet = time.Nanosecond
	n, a := h.open(t)
	_, other := h.open(t)
	_, file := image(1, 1)
	store(t, a, file)
	begun, end, ended := make(chan struct{}), make(chan struct{}), make(chan error)
	go func() {
		ended <- other.Lifecycle.Alone(context.Background(), func(context.Context) error {
			close(begun)
			<-end
			return nil
		})
	}()
	<-begun
	done, err := a.Lifecycle.Apply(t.Context(), 50*time.Millisecond)
	if err != nil || !done.More || done.Looked != 0 {
		t.Errorf("beside another node: %+v, %v", done, err)
	}
	close(end)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if done, err = n.Lifecycle().Apply(t.Context(), n.Tenant); err != nil || done.More || done.Settled != 1 {
		t.Errorf("afterwards: %+v, %v", done, err)
	}
	// Whose lease is lost ends, and another may begin.
	err = a.Lifecycle.Alone(t.Context(), func(ctx context.Context) error {
		lease, held, err := n.Index.Leases().Holder(ctx, "round/"+string(n.Tenant))
		if err != nil || !held {
			t.Errorf("nobody holds the lease: %v", err)
			return err
		}
		return n.Index.Leases().Release(ctx, lease)
	})
	if err != nil {
		t.Error(err)
	}
	if done, err = other.Lifecycle.Apply(t.Context(), time.Minute); err != nil || done.More {
		t.Errorf("on the other node: %+v, %v", done, err)
	}
}
