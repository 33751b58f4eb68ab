package custody

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/keys"
	"github.com/strata-pacs/strata/internal/keys/keystest"
	"github.com/strata-pacs/strata/internal/keys/providers"
	"github.com/strata-pacs/strata/storage"
	"github.com/strata-pacs/strata/storage/memstore"
)

// world is a store, three providers, tenants and jobs, all in memory.
type world struct {
	bucket             *storage.Bucket
	one, two, recovery *keystest.Provider
	set                *providers.Set
	tenants            *tenants
	jobs               *table
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{bucket: storage.New(memstore.New(memstore.Options{})), set: providers.NewSet(), jobs: &table{},
		one: keystest.NewProvider("k", 1), two: keystest.NewProvider("k2", 2), recovery: keystest.NewProvider("r", 3)}
	for name, p := range map[string]*keystest.Provider{"one": w.one, "two": w.two, "spare": w.recovery} {
		kek := map[string]keys.ID{"one": "k", "two": "k2", "spare": "r"}[name]
		if err := w.set.Add(name, providers.Provider{Wrapper: p, KEK: kek}); err != nil {
			t.Fatal(err)
		}
	}
	w.tenants = &tenants{of: map[archive.Tenant]archive.TenantSettings{
		"a": {State: archive.TenantActive, KEK: "one/k"}, "b": {State: archive.TenantActive, KEK: "one/k"}}}
	return w
}

// options are those of a node that does not wait for long.
func (w *world) options() Options {
	return Options{Bucket: w.bucket, Wrapper: w.set, Tenants: w.tenants, Jobs: w.jobs, Holder: "node",
		Settle: 30 * time.Millisecond, Poll: 5 * time.Millisecond, Lease: 2 * time.Second, Follow: time.Hour}
}

// run starts a node, which works on jobs until the test ends or stop is called.
func (w *world) run(t testing.TB, o Options) (c *Custodian, stop func()) {
	t.Helper()
	c = New(o)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.Run(ctx)
	}()
	stop = sync.OnceFunc(func() { cancel(); <-done })
	t.Cleanup(stop)
	return c, stop
}

// ring opens a tenant's keys, as a node does.
func (w *world) ring(t testing.TB, tenant archive.Tenant) *keys.Ring {
	t.Helper()
	s, _ := w.tenants.Get(t.Context(), tenant)
	r, err := keys.Open(t.Context(), keys.Options{Bucket: w.bucket, Wrapper: w.set, KEK: keys.ID(s.KEK), Tenant: tenant})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

type known map[archive.KeyID]archive.Secret

func (k known) add(t testing.TB, r *keys.Ring, n int) {
	t.Helper()
	for range n {
		id, s, obj, err := r.NewStudyKey(t.Context(), r.Ref("1"))
		if err == nil {
			err = r.Commit(t.Context(), obj)
		}
		if err != nil {
			t.Fatal(err)
		}
		k[id] = s
	}
}

func (k known) open(t testing.TB, r *keys.Ring) {
	t.Helper()
	for id, want := range k {
		if s, err := r.Secret(t.Context(), id); err != nil || s != want {
			t.Fatalf("a key does not open: %v", err)
		}
	}
}

// ended waits for the end of a job.
func (w *world) ended(t testing.TB, j archive.Job, err error) archive.Job {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	for start := time.Now(); time.Since(start) < 20*time.Second; time.Sleep(2 * time.Millisecond) {
		if now := w.jobs.get(j.ID); now.State.Ended() {
			return now
		}
	}
	t.Fatalf("job %s does not end: %+v", j.Kind, w.jobs.get(j.ID))
	return j
}

func (w *world) done(t testing.TB, j archive.Job, err error) archive.Job {
	t.Helper()
	if j = w.ended(t, j, err); j.State != archive.JobDone {
		t.Fatalf("job %s: %+v", j.Kind, j)
	}
	return j
}

func wantKind(t testing.TB, what string, err error, kind fault.Kind) {
	t.Helper()
	if !fault.Is(err, kind) {
		t.Errorf("%s: want %v, got %v", what, kind, err)
	}
}

// tenants keeps settings in memory.
type tenants struct {
	mu sync.Mutex
	of map[archive.Tenant]archive.TenantSettings
}

func (ts *tenants) Get(_ context.Context, t archive.Tenant) (archive.TenantInfo, error) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	s, ok := ts.of[t]
	if !ok {
		return archive.TenantInfo{}, fault.New(fault.NotFound, "there is no such tenant")
	}
	return archive.TenantInfo{Tenant: t, TenantSettings: s}, nil
}

func (ts *tenants) List(_ context.Context, after archive.Tenant, limit int) (out []archive.TenantInfo, _ error) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	for t, s := range ts.of {
		if t > after {
			out = append(out, archive.TenantInfo{Tenant: t, TenantSettings: s})
		}
	}
	slices.SortFunc(out, func(a, b archive.TenantInfo) int { return cmp.Compare(a.Tenant, b.Tenant) })
	return out[:min(limit, len(out))], nil
}

func (ts *tenants) Change(ctx context.Context, t archive.Tenant, change func(*archive.TenantSettings) error) (archive.TenantInfo, error) {
	ts.mu.Lock()
	s, ok := ts.of[t]
	if !ok {
		ts.mu.Unlock()
		return archive.TenantInfo{}, fault.New(fault.NotFound, "there is no such tenant")
	}
	err := change(&s)
	if err == nil {
		ts.of[t] = s
	}
	ts.mu.Unlock()
	if err != nil {
		return archive.TenantInfo{}, err
	}
	return ts.Get(ctx, t)
}

func (ts *tenants) set(t archive.Tenant, state archive.TenantState) {
	_, _ = ts.Change(context.Background(), t, func(s *archive.TenantSettings) error { s.State = state; return nil })
}

// table is a table of jobs in memory.
type table struct {
	mu   sync.Mutex
	rows []*row
	fail error // what calls fail with
}

type row struct {
	archive.Job
	token      int
	until, due time.Time
}

func (x *table) cut(err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.fail = err
}

func (x *table) get(id string) archive.Job {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, r := range x.rows {
		if r.ID == id {
			return r.Job
		}
	}
	return archive.Job{}
}

func (x *table) open(t archive.Tenant, lane Lane) *row {
	for _, r := range x.rows {
		if r.Tenant == t && LaneOf(r.Kind) == lane && !r.State.Ended() {
			return r
		}
	}
	return nil
}

func (x *table) Add(_ context.Context, j archive.Job) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.open(j.Tenant, LaneOf(j.Kind)) != nil {
		return fault.New(fault.Conflict, "another job runs")
	}
	x.rows = append(x.rows, &row{Job: j})
	return x.fail
}

func (x *table) Open(_ context.Context, t archive.Tenant, lane Lane) (archive.Job, bool, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if r := x.open(t, lane); r != nil {
		return r.Job, true, x.fail
	}
	return archive.Job{}, false, x.fail
}

func (x *table) Claim(_ context.Context, _ string, ttl time.Duration) (Claim, bool, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	now := time.Now()
	for _, r := range x.rows {
		if !r.State.Ended() && !r.until.After(now) && !r.due.After(now) && x.fail == nil {
			r.State, r.until = archive.JobRunning, now.Add(ttl)
			r.token++
			return Claim{r.Job, strconv.Itoa(r.token)}, true, nil
		}
	}
	return Claim{}, false, x.fail
}

func (x *table) own(c Claim, f func(*row)) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.fail != nil {
		return x.fail
	}
	for _, r := range x.rows {
		if r.ID == c.ID && strconv.Itoa(r.token) == c.Token && r.until.After(time.Now()) {
			r.Job = c.Job
			f(r)
			return nil
		}
	}
	return fault.New(fault.Conflict, "the claim has ended")
}

func (x *table) Keep(_ context.Context, c Claim, ttl time.Duration) error {
	return x.own(c, func(r *row) { r.until = time.Now().Add(ttl) })
}

func (x *table) Return(_ context.Context, c Claim, after time.Duration) error {
	return x.own(c, func(r *row) {
		r.State, r.until, r.due = archive.JobWaiting, time.Time{}, time.Now().Add(after)
	})
}

func (x *table) End(_ context.Context, c Claim) error {
	if !c.State.Ended() {
		return fmt.Errorf("ended in state %s", c.State)
	}
	return x.own(c, func(*row) {})
}
