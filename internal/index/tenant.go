package index

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync"

	"github.com/zeebo/blake3"
	"gorm.io/gorm/clause"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/fault"
)

// tenant is what the index holds of a tenant in memory.
type tenant struct {
	id    int64
	name  archive.Tenant
	keys  Keys
	seal  *sealer
	token sync.Pool // *blake3.Hasher under the tenant's token key

	// Only the writer uses these.
	sequence   int64 // of the change feed
	feedTime   int64 // of its newest entry, ms
	tombstones bool  // there are any

	mu   sync.Mutex
	wake chan struct{} // closed when the feed grows
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

// tenants caches the tenants that were asked for. Rows of a tenant are made
// by the first entry that is applied.
type tenants struct {
	x      *Index
	mu     sync.Mutex
	byName map[archive.Tenant]*tenant
	wake   chan struct{} // closed when there is one more
}

func (ts *tenants) watch() <-chan struct{} {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	return ts.wake
}

// get returns the tenant, or nil when the index has nothing of it.
func (ts *tenants) get(ctx context.Context, name archive.Tenant) (*tenant, error) {
	ts.mu.Lock()
	t := ts.byName[name]
	ts.mu.Unlock()
	if t != nil {
		return t, nil
	}
	var id int64
	err := ts.x.readers.with(ctx, func(c *conn) (err error) {
		id, err = c.integer(`SELECT id FROM tenants WHERE name = ?`, string(name))
		return err
	})
	if err != nil || id == 0 {
		return nil, err
	}
	return ts.load(ctx, id, name)
}

// create is get for the writer, outside a transaction: it makes the row.
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
	return ts.load(ctx, m.ID, name)
}

func (ts *tenants) load(ctx context.Context, id int64, name archive.Tenant) (*tenant, error) {
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
	t := &tenant{id: id, name: name, keys: keys, wake: make(chan struct{})}
	if t.seal, err = newSealer(row, name, ts.x.nonces); err != nil {
		return nil, err
	}
	hasher, err := blake3.NewKeyed(token[:])
	if err != nil {
		return nil, fault.Wrap(fault.Internal, err, "preparing the token key")
	}
	t.token.New = func() any { return hasher.Clone() }
	err = ts.x.readers.with(ctx, func(c *conn) (err error) {
		if t.sequence, t.feedTime, err = lastChange(c, id); err != nil {
			return err
		}
		n, err := c.integer(`SELECT 1 FROM tombstones WHERE tenant = ? LIMIT 1`, id)
		t.tombstones = n != 0
		return err
	})
	if err != nil {
		return nil, err
	}
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if have := ts.byName[name]; have != nil {
		return have, nil
	}
	ts.byName[name] = t
	close(ts.wake)
	ts.wake = make(chan struct{})
	return t, nil
}

// What a token is of, so that equal texts in different uses have different tokens.
const (
	tokenWord     = 'w'
	tokenFull     = 'f'
	tokenModality = 'm'
	tokenFacet    = 'c'
	tokenAttrs    = 'a'
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

// woke tells those that wait for the feed.
func (t *tenant) woke() {
	t.mu.Lock()
	close(t.wake)
	t.wake = make(chan struct{})
	t.mu.Unlock()
}

func (t *tenant) watch() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.wake
}
