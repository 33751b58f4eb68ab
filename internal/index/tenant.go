package index

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/zeebo/blake3"
	"gorm.io/gorm/clause"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/fault"
)

// tenant is what the index holds of a tenant in memory: what is derived from its keys.
type tenant struct {
	x        *Index
	id       int64
	name     archive.Tenant
	keys     Keys
	seal     *sealer
	token    sync.Pool   // *blake3.Hasher under the tenant's token key
	complete atomic.Bool // no row of lives is left to be made
	gone     atomic.Bool // forgotten: whoever has it may finish, nobody keeps anything of it

	mu      sync.Mutex
	wake    chan struct{} // closed when the feed grows
	watched bool          // somebody waits for that
	seen    int64         // writes on PostgreSQL that those who waited were told of
}

// tenantModel is the row of a tenant.
type tenantModel struct {
	ID   int64 `gorm:"primaryKey"`
	Name string
}

// TableName names the table for GORM.
func (tenantModel) TableName() string { return "tenants" }

const (
	sequenceBits = 44
	sequenceMask = 1<<sequenceBits - 1
)

// rowID is the identity of the tenant's row, 0 of nil.
func (t *tenant) rowID() int64 {
	if t == nil {
		return 0
	}
	return t.id
}

// tenants caches the tenants that were asked for. Rows of a tenant are made
// by the first entry that is applied.
type tenants struct {
	x       *Index
	mu      sync.Mutex
	byName  map[archive.Tenant]*tenant
	forgets int           // calls of Forget
	wake    chan struct{} // closed when there is one more
	watched bool          // somebody waits for that
	newest  int64         // highest identity that those who waited were told of
}

// get returns the tenant, or nil when the index has nothing of it.
func (ts *tenants) get(ctx context.Context, name archive.Tenant) (*tenant, error) {
	if t := ts.have(name); t != nil {
		return t, nil
	}
	var id int64
	err := ts.x.readers.with(ctx, nil, func(c *conn) (err error) {
		id, err = c.integer(`SELECT id FROM tenants WHERE name = ?`, string(name))
		return err
	})
	if err != nil || id == 0 {
		return nil, err
	}
	return ts.load(ctx, id, name)
}

func (ts *tenants) have(name archive.Tenant) *tenant {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	return ts.byName[name]
}

// create is get for a writer, outside a transaction: it makes the row.
func (ts *tenants) create(ctx context.Context, name archive.Tenant) (*tenant, error) {
	if !name.Valid() {
		return nil, fault.New(fault.Invalid, "the tenant's name must be letters, digits and hyphens")
	}
	t, err := ts.get(ctx, name)
	if err != nil || t != nil {
		return t, err
	}
	m := tenantModel{Name: string(name)}
	if err := ts.x.gorm.WithContext(ctx).Clauses(clause.OnConflict{DoNothing: true}).Create(&m).Error; err != nil {
		return nil, fmt.Errorf("adding the tenant to the index: %w", classify(err))
	}
	if m.ID == 0 { // another node was faster
		return ts.get(ctx, name)
	}
	return ts.load(ctx, m.ID, name)
}

// load asks for the tenant's keys and remembers what follows from them, unless it is to be forgotten meanwhile.
func (ts *tenants) load(ctx context.Context, id int64, name archive.Tenant) (*tenant, error) {
	for {
		ts.mu.Lock()
		forgets := ts.forgets
		ts.mu.Unlock()
		t, err := ts.derive(ctx, id, name)
		if err != nil {
			return nil, err
		}
		if t = ts.add(t, forgets); t != nil {
			return t, nil
		}
	}
}

func (ts *tenants) add(t *tenant, forgets int) *tenant {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if ts.forgets != forgets {
		return nil
	}
	if have := ts.byName[t.name]; have != nil {
		return have
	}
	ts.byName[t.name] = t
	ts.tell(t.id)
	return t
}

func (ts *tenants) derive(ctx context.Context, id int64, name archive.Tenant) (*tenant, error) {
	keys, err := ts.x.keys(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("reading the tenant's keys: %w", err)
	}
	row, err := keys.Derive("index/rows")
	if err != nil {
		return nil, fmt.Errorf("deriving the index key: %w", err)
	}
	defer row.Wipe()
	token, err := keys.Derive("index/tokens")
	if err != nil {
		return nil, fmt.Errorf("deriving the token key: %w", err)
	}
	defer token.Wipe()
	t := &tenant{x: ts.x, id: id, name: name, keys: keys, wake: make(chan struct{})}
	if t.seal, err = newSealer(row, name, ts.x.nonces); err != nil {
		return nil, err
	}
	hasher, err := blake3.NewKeyed(token[:])
	if err != nil {
		return nil, fault.Wrap(fault.Internal, err, "preparing the token key")
	}
	t.token.New = func() any { return hasher.Clone() }
	return t, nil
}

// Forget drops everything in memory that is derived from the tenant's keys: what
// seals and opens its rows, its words, the studies being received. The next
// use asks Options.Keys again and has its error. Operations under way finish with what they
// began with, at the latest with the page or transaction in hand, and leave nothing behind. The
// memory of words is wiped; what the garbage collector has not taken yet of the rest may remain.
func (x *Index) Forget(name archive.Tenant) {
	t := x.tenants.forget(name)
	if t == nil {
		return
	}
	x.pages.drop(t.id)
	w := x.writerOf(name)
	w.purge.Store(true)
	w.tidy()
	t.woke(0) // those that wait for its feed ask again
}

func (ts *tenants) forget(name archive.Tenant) *tenant {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	ts.forgets++ // also for one that is being loaded
	t := ts.byName[name]
	if t != nil {
		delete(ts.byName, name)
		t.gone.Store(true)
	}
	return t
}

// What a token is of, so that equal texts in different uses have different tokens.
const (
	tokenWord     = 'w'
	tokenFull     = 'f'
	tokenModality = 'm'
	tokenFacet    = 'c'
	tokenAttrs    = 'a'
	tokenFact     = 'i'
	tokenJob      = 'j'
)

// hash is the tenant's keyed hash of a text in a use.
func (t *tenant) hash(dst []byte, use byte, tag dicom.Tag, s string) []byte {
	h := t.token.Get().(*blake3.Hasher)
	h.Reset()
	var head [5]byte
	head[0] = use
	binary.BigEndian.PutUint32(head[1:], uint32(tag))
	_, _ = h.Write(head[:])
	_, _ = h.WriteString(s)
	_, _ = h.Digest().Read(dst)
	t.token.Put(h)
	return dst
}

func (t *tenant) hash64(use byte, tag dicom.Tag, s string) int64 {
	var b [8]byte
	t.hash(b[:], use, tag, s)
	return int64(binary.BigEndian.Uint64(b[:]))
}

// sop is the key under which a SOP Instance UID is looked up: 64 bits of its
// keyed hash. Whoever finds something compares the UID.
func (t *tenant) sop(uid string) int64 {
	r := t.keys.Ref(uid)
	return int64(binary.BigEndian.Uint64(r[:8]))
}
