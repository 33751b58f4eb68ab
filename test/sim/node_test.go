package sim

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	indexdb "github.com/strata-pacs/strata/internal/index"
	"github.com/strata-pacs/strata/internal/ingest"
	"github.com/strata-pacs/strata/internal/keys"
	"github.com/strata-pacs/strata/internal/ledger"
	"github.com/strata-pacs/strata/internal/pack"
	"github.com/strata-pacs/strata/internal/reconcile"
	"github.com/strata-pacs/strata/internal/remove"
	"github.com/strata-pacs/strata/storage"
	"github.com/strata-pacs/strata/storage/faultstore"
)

const grace = 24 * time.Hour

// wrapper is a key provider that always answers.
type wrapper struct{}

func (wrapper) aead() cipher.AEAD {
	b, err := aes.NewCipher([]byte("the key of keys of a simulation."))
	if err != nil {
		panic(err)
	}
	a, err := cipher.NewGCM(b)
	if err != nil {
		panic(err)
	}
	return a
}

func (w wrapper) Wrap(_ context.Context, kek keys.ID, key, aad []byte) (keys.Wrapped, error) {
	nonce := make([]byte, 12) // it wraps in a simulation alone
	return keys.Wrapped{KEK: kek, Version: "1", Bytes: w.aead().Seal(nil, nonce, key, aad)}, nil
}

func (w wrapper) Unwrap(_ context.Context, k keys.Wrapped, aad []byte) ([]byte, error) {
	key, err := w.aead().Open(nil, make([]byte, 12), k.Bytes, aad)
	if err != nil {
		return nil, fault.Wrap(fault.Corrupt, err, "this is not a wrapped key")
	}
	return key, nil
}

// index is what the real index and the model have in common.
type index interface {
	ingest.Index
	remove.Index
	reconcile.Index
	io.Closer
}

// node is one machine: its index outlives its processes.
type node struct {
	w       *world
	name    string
	index   index // nil while a real one is closed
	trouble trouble

	up      bool
	fs      *faultstore.Store
	session string
	ring    *keys.Ring
	log     *ledger.Log
	store   *ingest.Store
	remover *remove.Remover
	rec     *reconcile.Reconciler
}

// start is what node.Open does, in its order.
func (n *node) start(ctx context.Context) (err error) {
	w := n.w
	if err := n.openIndex(ctx); err != nil {
		return err
	}
	n.fs = faultstore.New(w.store, n.trouble.decide)
	bucket := storage.New(gated{w.g, n.fs})
	n.session = ulid.MustNew(ulid.Timestamp(time.Now()), w.bytes).String()
	w.began(n)
	if n.ring, err = keys.Open(ctx, keys.Options{Bucket: bucket, Wrapper: wrapper{}, KEK: "kek", Tenant: tenant, Rand: w.bytes}); err != nil {
		return err
	}
	if n.log, err = ledger.Open(ledger.Options{Bucket: bucket, Tenant: tenant, Secrets: n.ring.Secret, Session: n.session, Rand: w.bytes}); err != nil {
		return err
	}
	x, log := nodeIndex{n.index, n}, nodeLog{n.log, n}
	n.store, err = ingest.New(ingest.Options{Tenant: tenant, Index: x, Keys: nodeKeys{n.ring, n}, Log: log, Packs: bucket,
		Budget: pack.NewBudget(64 << 20), Policy: w.policy, InlineLimit: w.inline, Grace: grace, Now: time.Now, Rand: w.bytes})
	if err != nil {
		return err
	}
	n.remover = remove.New(remove.Options{Index: x, Log: log, Refs: n.ring})
	o := reconcile.Options{Tenant: tenant, Bucket: bucket, Index: x, Keys: n.ring, Log: n.log, Over: w.over, Grace: grace}
	if w.mutant == reapsEarly {
		o.Grace = 1
	}
	if w.mutant == neverVoids {
		o.Over = nil
	}
	n.rec = reconcile.New(o)
	if _, err := n.rec.Catchup(ctx); err != nil {
		return err
	}
	if err := n.rec.Checkpoint(ctx); err != nil && !fault.Is(err, fault.Full) {
		return err
	}
	n.up = true
	return nil
}

func (n *node) openIndex(ctx context.Context) (err error) {
	if n.index != nil {
		return nil
	}
	if n.w.dir == "" {
		n.index = newModel()
		return nil
	}
	n.index, err = n.w.openReal(ctx, filepath.Join(n.w.dir, n.name+".db"))
	return err
}

// openReal opens a real index under the tenant's root key.
func (w *world) openReal(ctx context.Context, path string) (index, error) {
	return indexdb.Open(ctx, indexdb.Options{Path: path, Now: time.Now, Readers: 1, Keys: func(ctx context.Context, _ archive.Tenant) (indexdb.Keys, error) {
		return w.openRing(ctx)
	}})
}

// openRing opens the tenant's keys from the bare store.
func (w *world) openRing(ctx context.Context) (*keys.Ring, error) {
	return keys.Open(ctx, keys.Options{Bucket: storage.New(w.store), Wrapper: wrapper{}, KEK: "kek", Tenant: tenant, Rand: w.bytes})
}

// stop is what node.Close does.
func (n *node) stop(ctx context.Context) error {
	n.store.Close()
	_, err := n.rec.Catchup(ctx)
	if err == nil {
		if err = n.rec.Checkpoint(ctx); err == nil || fault.Is(err, fault.Full) {
			err = n.log.Close(ctx)
		}
	}
	n.die()
	return err
}

// die ends the process, however far it was.
func (n *node) die() {
	if n.fs == nil {
		return
	}
	n.fs.Crash() // whatever still runs has no effect from now on
	if n.store != nil {
		n.store.Close()
	}
	n.up, n.store = false, nil
}

// forget closes a real index, as the end of its process does.
func (n *node) forget() error {
	if _, ok := n.index.(*model); ok || n.index == nil {
		return nil
	}
	err := n.index.Close()
	n.index = nil
	return err
}

func (n *node) crashed() bool { return n.fs != nil && n.fs.Crashed() }

// nodeLog makes the log's numbering a step.
type nodeLog struct {
	*ledger.Log
	n *node
}

// NewFactID leaves it to Append to draw one, which comes after the gate: several
// studies of a request, committed side by side, would draw them in any order.
func (l nodeLog) NewFactID() archive.FactID { return archive.FactID{} }

func (l nodeLog) Append(ctx context.Context, f *archive.Fact, body *pack.Body) (archive.Entry, error) {
	l.n.w.g.pass(ctx, "append", f.Study.String())
	if l.n.w.mutant == acksEarly && l.n.w.random.IntN(10) == 0 {
		return archive.Entry{}, nil
	}
	return l.Log.Append(ctx, f, body)
}

// nodeKeys makes the use of a key a step.
type nodeKeys struct {
	*keys.Ring
	n *node
}

func (k nodeKeys) Secret(ctx context.Context, id archive.KeyID) (archive.Secret, error) {
	s, err := k.Ring.Secret(ctx, id)
	k.n.w.g.pass(ctx, "secret")
	return s, err
}

// nodeIndex is the index as a process of the node sees it.
type nodeIndex struct {
	index
	n *node
}

// step waits for the gate, then has trouble, maybe: it tells whether the step
// still has an effect, and whether the process ends after it.
func (x nodeIndex) step(ctx context.Context, name faultstore.Name) (effect, crash bool, err error) {
	x.n.w.g.pass(ctx, string(name))
	if x.n.crashed() {
		return false, false, errGone
	}
	if err := ctx.Err(); err != nil {
		return false, false, err
	}
	d := x.n.trouble.decide(faultstore.Op{Name: name})
	if d.Err == nil {
		d.Err = errGone
	}
	switch d.Action {
	case faultstore.Pass:
		return true, false, nil
	case faultstore.CrashBefore:
		x.n.fs.Crash()
		return false, true, errGone
	case faultstore.CrashAfter:
		return true, true, errGone
	case faultstore.FailAfter:
		return true, false, d.Err
	}
	return false, false, d.Err
}

// look is a step that only reads.
func (x nodeIndex) look(ctx context.Context) error {
	_, crash, err := x.step(ctx, look)
	if crash {
		x.n.fs.Crash()
	}
	return err
}

var errGone = fault.New(fault.Unavailable, "the database does not answer")

func (x nodeIndex) Apply(ctx context.Context, t archive.Tenant, entries ...archive.Entry) (out []archive.Applied, err error) {
	effect, crash, failed := x.step(ctx, apply)
	if effect {
		out, err = x.index.Apply(ctx, t, x.n.w.mutate(entries)...)
	}
	if crash {
		x.n.fs.Crash()
	}
	if failed != nil {
		return nil, failed
	}
	return out, err
}

func (x nodeIndex) StudyKey(ctx context.Context, t archive.Tenant, ref archive.Ref) (archive.KeyID, bool, error) {
	if err := x.look(ctx); err != nil {
		return archive.KeyID{}, false, err
	}
	return x.index.StudyKey(ctx, t, ref)
}

func (x nodeIndex) Versions(ctx context.Context, t archive.Tenant, u archive.UIDs) ([]archive.InstanceRow, bool, error) {
	if err := x.look(ctx); err != nil {
		return nil, false, err
	}
	return x.index.Versions(ctx, t, u)
}

func (x nodeIndex) Blobs(ctx context.Context, t archive.Tenant, scope archive.UIDs) ([]archive.BlobID, error) {
	if err := x.look(ctx); err != nil {
		return nil, err
	}
	return x.index.Blobs(ctx, t, scope)
}

func (x nodeIndex) Deletions(ctx context.Context, t archive.Tenant, scope archive.UIDs) ([]archive.Deletion, error) {
	if err := x.look(ctx); err != nil {
		return nil, err
	}
	return x.index.Deletions(ctx, t, scope)
}

func (x nodeIndex) Progress(ctx context.Context, t archive.Tenant) (map[string]archive.Progress, error) {
	if err := x.look(ctx); err != nil {
		return nil, err
	}
	return x.index.Progress(ctx, t)
}

func (x nodeIndex) Referenced(ctx context.Context, t archive.Tenant, object string) (bool, error) {
	if err := x.look(ctx); err != nil {
		return false, err
	}
	return x.index.Referenced(ctx, t, object)
}

func (x nodeIndex) Unreferenced(ctx context.Context, t archive.Tenant, objects []string) ([]string, error) {
	if err := x.look(ctx); err != nil {
		return nil, err
	}
	return x.index.Unreferenced(ctx, t, objects)
}

// mutate is the index of a mutant: it forgets.
func (w *world) mutate(entries []archive.Entry) []archive.Entry {
	if w.mutant == acksEarly { // of what was not written there is nothing to index
		return slices.DeleteFunc(slices.Clone(entries), func(e archive.Entry) bool { return e.Fact == nil })
	}
	if w.mutant != dropsRow && w.mutant != dropsDelete {
		return entries
	}
	out := make([]archive.Entry, len(entries))
	for i, e := range entries {
		f := *e.Fact
		switch {
		case w.mutant == dropsRow && len(f.Instances) > 1:
			f.Instances = f.Instances[:len(f.Instances)-1]
		case w.mutant == dropsDelete && f.Kind == archive.FactDeleted:
			f.Blobs = f.Blobs[1:]
		}
		e.Fact = &f
		out[i] = e
	}
	return out
}

func (n *node) String() string { return fmt.Sprintf("node %s", n.name) }
