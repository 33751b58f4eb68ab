// Package custody is what an operator does with the keys of a tenant: rotation,
// the move from one provider to another, the end of old versions, escrow for a
// recovery key and its trial, and how all of that stands.
//
// What takes long is a job in a table that the nodes share ([Jobs]). Whichever
// node claims one works on it; should that node die, another goes on. Nothing
// needs to be remembered of how far a job is: what is done is seen by the objects.
//
// # When an old version is no longer needed
//
// A pass over the key objects of a tenant does not see keys that are made behind
// it, and a key that was wrapped just before a new version wraps may become
// durable a moment after. So a rewrap ends with a whole pass that changes nothing and that
// began [keys.Settle] after the new version was known to wrap; and nothing is
// given up before every tenant's objects have been counted no earlier than that.
package custody

import (
	"cmp"
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/keys"
	"github.com/strata-pacs/strata/storage"
)

// Tenants keeps the tenants and their settings.
type Tenants interface {
	Get(ctx context.Context, t archive.Tenant) (archive.TenantInfo, error)
	// List returns up to limit tenants with names after the given one, ascending.
	List(ctx context.Context, after archive.Tenant, limit int) ([]archive.TenantInfo, error)
	// Change lets change edit the settings and keeps the outcome, unless change fails.
	Change(ctx context.Context, t archive.Tenant, change func(*archive.TenantSettings) error) (archive.TenantInfo, error)
}

// Options open a custodian. Bucket, Wrapper, Tenants and Jobs are required.
type Options struct {
	Bucket  *storage.Bucket
	Wrapper keys.Wrapper // of every KEK that there is
	Tenants Tenants
	Jobs    Jobs
	Holder  string // names this node in the table of jobs
	// Proofs, if set, returns when the provider opened keys of a tenant's open archive.
	Proofs func(archive.Tenant) []keys.Proof

	Parallel int           // key objects at once; 0 is the default of package keys
	Rate     float64       // key objects a second that a job wraps anew; 0 is no limit
	Settle   time.Duration // 0 is keys.Settle
	Poll     time.Duration // how often the table is looked at; 0 is 2 s
	// Lease is how long a node may be silent about its job before another takes it; 0 is 30 s.
	Lease time.Duration
	// Follow is how often new keys are wrapped for recovery keys too; 0 is 5 min.
	Follow time.Duration
	// Backups is how long backups of the bucket with the keys are kept.
	Backups time.Duration
	Slog    *slog.Logger     // nil discards
	Now     func() time.Time // nil is time.Now
}

// Custodian tends the keys of all tenants. It is safe for concurrent use.
type Custodian struct {
	o    Options
	wake chan struct{} // a job was added

	counts counts
	proofs proofs

	mu      sync.Mutex
	settled map[keys.ID]string // the version after which nothing older appears any more
}

// maxRemembered bounds what is remembered per tenant or key.
const maxRemembered = 1024

// New returns a custodian. Jobs are worked on while [Custodian.Run] runs.
func New(o Options) *Custodian {
	o.Settle = cmp.Or(o.Settle, keys.Settle)
	o.Poll = cmp.Or(o.Poll, 2*time.Second)
	o.Lease = cmp.Or(o.Lease, 30*time.Second)
	o.Follow = cmp.Or(o.Follow, 5*time.Minute)
	if o.Slog == nil {
		o.Slog = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Custodian{o: o, wake: make(chan struct{}, 1), settled: map[keys.ID]string{}}
}

// usable returns the settings of a tenant whose keys may be used.
func (c *Custodian) usable(ctx context.Context, t archive.Tenant) (archive.TenantSettings, error) {
	info, err := c.o.Tenants.Get(ctx, t)
	if err != nil {
		return archive.TenantSettings{}, err
	}
	switch info.State {
	case archive.TenantRevoked:
		return archive.TenantSettings{}, fault.New(fault.Conflict, "the keys of this tenant are revoked; grant them again first (strata keys grant)")
	case archive.TenantSuspended:
		return archive.TenantSettings{}, fault.New(fault.Conflict, "this tenant is suspended; resume it first (strata tenants resume)")
	}
	return info.TenantSettings, nil
}

// kek returns which KEK wraps the tenant's new keys.
func (c *Custodian) kek(ctx context.Context, t archive.Tenant, s archive.TenantSettings) (keys.ID, error) {
	if s.KEK != "" {
		return keys.ID(s.KEK), nil
	}
	return keys.KEKOf(ctx, c.o.Bucket, t)
}

// KEK returns which KEK wraps a tenant's new keys; fault.NotFound.
func (c *Custodian) KEK(ctx context.Context, t archive.Tenant) (keys.ID, error) {
	info, err := c.o.Tenants.Get(ctx, t)
	if err != nil {
		return "", err
	}
	return c.kek(ctx, t, info.TenantSettings)
}

// Shares reports whether two names of KEKs name one key, or pairs with one in common.
func Shares(a, b keys.ID) bool {
	for _, lock := range locksOf(a) {
		for _, other := range locksOf(b) {
			if keyOf(lock) == keyOf(other) {
				return true
			}
		}
	}
	return false
}

// remember puts a value into a bounded map; some other one leaves it if need be.
func remember[K comparable, V any](m map[K]V, k K, v V) {
	if _, ok := m[k]; !ok && len(m) >= maxRemembered {
		for other := range m {
			delete(m, other)
			break
		}
	}
	m[k] = v
}
