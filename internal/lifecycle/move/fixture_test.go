package move_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/lifecycle/move"
	"github.com/strata-pacs/strata/internal/lifecycle/tiers"
	"github.com/strata-pacs/strata/internal/pack"
	"github.com/strata-pacs/strata/storage"
	"github.com/strata-pacs/strata/storage/driver"
	"github.com/strata-pacs/strata/storage/faultstore"
	"github.com/strata-pacs/strata/storage/memstore"
	"github.com/strata-pacs/strata/storage/tierstore"
)

const tenant archive.Tenant = "t"

var study = archive.Ref{1}

// list are the tiers of these tests: two classes beside hot in its store, and
// another store with a class that needs a restore.
var list = []archive.Tier{
	{Name: "hot"},
	{Name: "ia", Class: "IA"},
	{Name: "deep", Class: "DEEP", Restore: true},
	{Name: "shelf", Store: "away"},
	{Name: "vault", Store: "away", Class: "DEEP", Restore: true},
}

// classed gives a driver storage classes. What is in DEEP cannot be read unless it was thawed.
type classed struct {
	driver.Driver
	own     string // the class of what is written without one; empty: STANDARD
	mu      sync.Mutex
	classes map[string]string
	thawed  map[string]bool
}

func newClassed(d driver.Driver) *classed {
	return &classed{Driver: d, classes: map[string]string{}, thawed: map[string]bool{}}
}

func (c *classed) state(key string) (class string, r driver.Restore) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if class = c.classes[key]; class == "DEEP" {
		if r.State = driver.Archived; c.thawed[key] {
			r.State = driver.Restored
		}
	}
	return class, r
}

func (c *classed) Stat(ctx context.Context, key string) (driver.Attrs, error) {
	a, err := c.Driver.Stat(ctx, key)
	a.Class, a.Restore = c.state(key)
	return a, err
}

func (c *classed) Open(ctx context.Context, key string, off, n int64) (io.ReadCloser, error) {
	if _, r := c.state(key); r.State == driver.Archived {
		return nil, fault.New(fault.Archived, "it must be restored first")
	}
	return c.Driver.Open(ctx, key, off, n)
}

// Create gives what is written its class, when it is there.
func (c *classed) Create(ctx context.Context, key string, o driver.CreateOptions) (driver.Writer, error) {
	w, err := c.Driver.Create(ctx, key, o)
	if err != nil {
		return nil, err
	}
	class := cmp.Or(o.Class, c.own)
	if class == "STANDARD" {
		class = ""
	}
	return intoClass{w, c, key, class}, nil
}

type intoClass struct {
	driver.Writer
	c          *classed
	key, class string
}

func (u intoClass) Commit(ctx context.Context) (driver.Attrs, error) {
	a, err := u.Writer.Commit(ctx)
	if err == nil {
		u.c.mu.Lock()
		defer u.c.mu.Unlock()
		u.c.classes[u.key] = u.class
		delete(u.c.thawed, u.key)
	}
	return a, err
}

func (c *classed) SetClass(ctx context.Context, key, class string) error {
	if _, err := c.Driver.Stat(ctx, key); err != nil {
		return err
	}
	was, r := c.state(key)
	if was == class {
		return nil
	}
	if r.State == driver.Archived {
		return fault.New(fault.Archived, "it must be restored first")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.classes[key] = class
	delete(c.thawed, key)
	return nil
}

func (c *classed) thaw(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.thawed[key] = true
}

// catalog is an index that knows packs alone, and a log that is in the hot store.
type catalog struct {
	mu     sync.Mutex
	packs  map[string]archive.PackState
	doomed map[string][]archive.TierName
	n      uint64
	log    *storage.Bucket
}

func (c *catalog) Packs(ctx context.Context, _ archive.Tenant, s archive.Ref) (out []archive.PackState, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s != study {
		return nil, nil
	}
	for _, p := range c.packs {
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b archive.PackState) int { return cmp.Compare(a.Object, b.Object) })
	return out, ctx.Err()
}

func (c *catalog) Apply(_ context.Context, _ archive.Tenant, entries ...archive.Entry) ([]archive.Applied, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range entries {
		for _, p := range e.Fact.Packs {
			row, ok := c.packs[p.Object]
			if !ok || bytes.Compare(e.Fact.ID[:], row.Fact[:]) <= 0 {
				continue
			}
			row.PackPlace, row.Fact = p, e.Fact.ID
			row.From = ""
			c.packs[p.Object] = row
			if p.From != "" {
				c.doomed[p.Object] = append(c.doomed[p.Object], p.From)
			}
		}
	}
	return make([]archive.Applied, len(entries)), nil
}

func (c *catalog) NewFactID() (id archive.FactID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n++
	id[0], id[1] = byte(c.n>>8), byte(c.n)
	return id
}

func (c *catalog) Append(ctx context.Context, f *archive.Fact, body *pack.Body) (archive.Entry, error) {
	if body != nil || f.Kind != archive.FactMoved || f.Study != study {
		return archive.Entry{}, fmt.Errorf("a fact that is not about a move: %+v", f)
	}
	text, err := json.Marshal(f)
	if err != nil {
		return archive.Entry{}, err
	}
	_, err = c.log.Put(ctx, fmt.Sprintf("t/log/s/%x", f.ID), text, storage.CreateOptions{IfAbsent: true})
	return archive.Entry{Fact: f}, err
}

// catchUp applies what is in the log, as a node does that starts.
func (c *catalog) catchUp(ctx context.Context) error {
	for o, err := range c.log.All(ctx, "t/log/", "") {
		if err != nil {
			return err
		}
		text, err := c.log.Get(ctx, o.Key, 1<<20)
		if err != nil {
			return err
		}
		var f archive.Fact
		if err := json.Unmarshal(text, &f); err != nil {
			return err
		}
		if _, err := c.Apply(ctx, tenant, archive.Entry{Fact: &f}); err != nil {
			return err
		}
	}
	return nil
}

// facts returns how many are in the log.
func (c *catalog) facts(t *testing.T) (n int) {
	t.Helper()
	for _, err := range c.log.All(t.Context(), "t/log/", "") {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	return n
}

// world is a study of packs in the hot store, and two stores that can be broken.
type world struct {
	t             *testing.T
	hot, away     *faultstore.Store
	inHot, inAway *classed
	room          *memstore.Store // of away
	index         *catalog
	tiers         *tiers.Stores
	reader        *storage.Bucket // of all tiers
	content       map[string][]byte

	once  sync.Once
	moves *move.Mover
}

func newWorld(t *testing.T, sizes ...int) *world {
	t.Helper()
	w := &world{t: t, room: memstore.New(memstore.Options{}), content: map[string][]byte{}}
	w.inHot, w.inAway = newClassed(bare{memstore.New(memstore.Options{})}), newClassed(bare{w.room})
	w.hot, w.away = faultstore.New(w.inHot, nil), faultstore.New(w.inAway, nil)
	hot, away := storage.New(w.hot.Driver), storage.New(w.away.Driver)
	w.index = &catalog{packs: map[string]archive.PackState{}, doomed: map[string][]archive.TierName{}, log: hot, n: 1}
	w.tiers = tiers.NewStores(list, map[string]*storage.Bucket{"": hot, "away": away})
	w.reader = storage.New(tierstore.New(tierstore.Options{Stores: []driver.Driver{w.hot.Driver, w.away.Driver}, Hint: w.hint}).Driver)
	for i, size := range sizes {
		w.add(fmt.Sprintf("t/pack/%02d", i), size, true)
	}
	return w
}

// bare hides that objects can be mapped.
type bare struct{ driver.Driver }

func (w *world) hint(_ context.Context, key string) (int, bool) {
	w.index.mu.Lock()
	defer w.index.mu.Unlock()
	p, ok := w.index.packs[key]
	if !ok {
		return 0, false
	}
	_, tier, _ := w.tiers.Tier(p.Tier)
	if tier.Store == "away" {
		return 1, true
	}
	return 0, true
}

// add stores a pack of one blob and some bytes around it.
func (w *world) add(name string, size int, settled bool) {
	w.t.Helper()
	hot, _, _ := w.tiers.Tier("hot")
	s := pack.NewStage(w.t.Context(), hot, func() string { return name }, 1, nil)
	defer s.Abort()
	blob := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{byte(len(w.content)), byte(size)}).Read(blob)
	off := s.Offset()
	if _, err := s.Write(blob); err != nil {
		w.t.Fatal(err)
	}
	s.Keep(archive.BlobID{byte(len(w.content)), 1}, off)
	if _, err := s.Finish(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	all, err := hot.Get(w.t.Context(), name, 1<<30)
	if err != nil {
		w.t.Fatal(err)
	}
	p := archive.PackState{PackPlace: archive.PackPlace{Object: name, Size: int64(len(all)), Tier: "hot"}}
	if settled {
		p.Fact = archive.FactID{0, 1}
		if p.Digest, err = pack.ReadDigest(w.t.Context(), hot, name, p.Size); err != nil {
			w.t.Fatal(err)
		}
	} else {
		p.Size = 0 // a stored fact does not say
	}
	w.index.packs[name], w.content[name] = p, all
}

// mover returns the world's mover, which compares two stores when it first moves between them.
func (w *world) mover() *move.Mover {
	w.once.Do(func() { w.moves = move.New(move.Options{Index: w.index, Log: w.index, Tiers: w.tiers}) })
	return w.moves
}

// bytes returns how many are in all packs.
func (w *world) bytes() (n int64) {
	for _, b := range w.content {
		n += int64(len(b))
	}
	return n
}

// at checks that every pack is in the tier, by the index and in its store, whole.
func (w *world) at(name archive.TierName) {
	w.t.Helper()
	b, tier, _ := w.tiers.Tier(name)
	for key, want := range w.content {
		p := w.index.packs[key]
		if p.Tier != name || p.Size != int64(len(want)) || p.Digest == (archive.Digest{}) {
			w.t.Errorf("%s: the index has %+v", key, p)
		}
		a, err := b.Stat(w.t.Context(), key)
		if err != nil || a.Size != p.Size || a.Class != tier.Class {
			w.t.Errorf("%s: in the store %+v, %v", key, a, err)
		}
		c := w.inHot
		if tier.Store == "away" {
			c = w.inAway
		}
		if got, err := storage.New(c.Driver).Get(w.t.Context(), key, 1<<30); err != nil || !bytes.Equal(got, want) {
			w.t.Errorf("%s: other bytes in the store, %v", key, err)
		}
	}
}

// read checks that every pack can be read.
func (w *world) read() {
	w.t.Helper()
	for key, want := range w.content {
		if got, err := w.reader.Get(w.t.Context(), key, 1<<30); err != nil || !bytes.Equal(got, want) {
			w.t.Errorf("%s cannot be read: %d bytes, %v", key, len(got), err)
		}
	}
}

// sweep deletes the copies that moved facts let go of, with the guard that the sweeper has.
func (w *world) sweep() {
	w.t.Helper()
	for key, from := range w.index.doomed {
		_, at, _ := w.tiers.Tier(w.index.packs[key].Tier)
		for _, name := range from {
			if b, tier, _ := w.tiers.Tier(name); tier.Store != at.Store {
				if err := b.Delete(w.t.Context(), key); err != nil {
					w.t.Error(err)
				}
			}
		}
	}
}
