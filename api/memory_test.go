package api

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
)

var noon = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

// memory is everything that the server administers, in memory. What it is asked
// for in vain is a fault, as the interfaces say.
type memory struct {
	mu      sync.Mutex
	tenants map[archive.Tenant]archive.TenantInfo
	keys    map[archive.Tenant]archive.KeyStatus
	jobs    []archive.Job
	shreds  map[archive.ShredTarget]archive.ShredStatus
	// What the last call was given.
	retired  []string
	disabled bool
	enabled  bool
	drill    archive.Drill
	private  []byte // as it was during the call
	recovery archive.Recovery
	fail     error // of the next call
}

func newMemory() *memory {
	m := &memory{tenants: map[archive.Tenant]archive.TenantInfo{}, keys: map[archive.Tenant]archive.KeyStatus{},
		shreds: map[archive.ShredTarget]archive.ShredStatus{{Study: "1.2.3"}: {Studies: 1, Instances: 3, Keys: 1, Closed: noon, PendingUntil: noon.Add(time.Hour)},
			{PatientID: "P1"}: {Studies: 2, Instances: 5, Keys: 2, Closed: noon}}}
	for _, t := range []archive.Tenant{"alpha", "beta", "gamma"} {
		m.tenants[t] = archive.TenantInfo{Tenant: t, Created: noon, Changed: noon,
			TenantSettings: archive.TenantSettings{Title: "Praxis", State: archive.TenantActive, KEK: "vault/" + string(t)}}
		m.keys[t] = archive.KeyStatus{KEK: "vault/" + string(t),
			Versions: []archive.KeyVersion{{KEK: "vault/" + string(t), Version: "2", Current: true, Objects: 9}, {KEK: "vault/" + string(t), Version: "1", Objects: 4}},
			Proofs:   []archive.KeyProof{{KEK: "vault/" + string(t), At: noon, Latency: 1500 * time.Microsecond}}}
	}
	return m
}

func (m *memory) lock() (unlock func(), err error) {
	m.mu.Lock()
	err, m.fail = m.fail, nil
	return m.mu.Unlock, err
}

func (m *memory) Create(_ context.Context, t archive.Tenant, s archive.TenantSettings) (archive.TenantInfo, error) {
	unlock, err := m.lock()
	defer unlock()
	if _, ok := m.tenants[t]; ok {
		err = fault.New(fault.Exists, "there is a tenant of this name")
	}
	if err != nil {
		return archive.TenantInfo{}, err
	}
	m.tenants[t] = archive.TenantInfo{Tenant: t, TenantSettings: s, Created: noon, Changed: noon}
	return m.tenants[t], nil
}

func (m *memory) List(_ context.Context, after archive.Tenant, limit int) ([]archive.TenantInfo, error) {
	unlock, err := m.lock()
	defer unlock()
	var out []archive.TenantInfo
	for t, i := range m.tenants {
		if t > after {
			out = append(out, i)
		}
	}
	slices.SortFunc(out, func(a, b archive.TenantInfo) int { return strings.Compare(string(a.Tenant), string(b.Tenant)) })
	return out[:min(limit, len(out))], err
}

func (m *memory) Get(_ context.Context, t archive.Tenant) (archive.TenantInfo, error) {
	unlock, err := m.lock()
	defer unlock()
	if _, ok := m.tenants[t]; !ok {
		err = fault.New(fault.NotFound, "there is no such tenant")
	}
	return m.tenants[t], err
}

func (m *memory) Change(_ context.Context, t archive.Tenant, change func(*archive.TenantSettings) error) (archive.TenantInfo, error) {
	unlock, err := m.lock()
	defer unlock()
	info, ok := m.tenants[t]
	if !ok {
		err = fault.New(fault.NotFound, "there is no such tenant")
	}
	if err == nil {
		err = change(&info.TenantSettings)
	}
	if err != nil {
		return archive.TenantInfo{}, err
	}
	info.Changed = noon.Add(time.Minute)
	m.tenants[t] = info
	return info, nil
}

func (m *memory) Status(_ context.Context, t archive.Tenant) (archive.KeyStatus, error) {
	unlock, err := m.lock()
	defer unlock()
	k, ok := m.keys[t]
	if !ok {
		err = fault.New(fault.NotFound, "there is no such tenant")
	}
	k.State = m.tenants[t].State
	return k, err
}

func (m *memory) Retire(_ context.Context, t archive.Tenant, versions []string) error {
	unlock, err := m.lock()
	defer unlock()
	m.retired = versions
	return err
}

func (m *memory) state(t archive.Tenant, s archive.TenantState) error {
	unlock, err := m.lock()
	defer unlock()
	info := m.tenants[t]
	info.State = s
	if err == nil {
		m.tenants[t] = info
	}
	return err
}

func (m *memory) Revoke(ctx context.Context, t archive.Tenant, disable bool) error {
	if ctx.Done() != nil {
		return fault.New(fault.Internal, "a revocation can be interrupted")
	}
	m.disabled = disable
	return m.state(t, archive.TenantRevoked)
}

func (m *memory) Grant(_ context.Context, t archive.Tenant, enable bool) error {
	m.enabled = enable
	return m.state(t, archive.TenantActive)
}

func (m *memory) job(kind archive.JobKind, t archive.Tenant) (archive.Job, error) {
	unlock, err := m.lock()
	defer unlock()
	if _, ok := m.tenants[t]; !ok {
		err = fault.New(fault.NotFound, "there is no such tenant")
	}
	if err != nil {
		return archive.Job{}, err
	}
	j := archive.Job{ID: "01J0000000000000000000000" + string(rune('A'+len(m.jobs))), Kind: kind, Tenant: t, State: archive.JobRunning, Done: 1, Total: 13, Created: noon, Started: noon}
	m.jobs = append(m.jobs, j)
	return j, nil
}

func (m *memory) Rotate(_ context.Context, t archive.Tenant) (archive.Job, error) {
	return m.job(archive.JobRotate, t)
}

func (m *memory) Move(_ context.Context, t archive.Tenant, kek string) (archive.Job, error) {
	return m.job(archive.JobMove, t)
}

func (m *memory) Escrow(_ context.Context, t archive.Tenant, r archive.Recovery) (archive.Job, error) {
	m.recovery = r
	return m.job(archive.JobEscrow, t)
}

func (m *memory) Drill(_ context.Context, t archive.Tenant, d archive.Drill) (archive.DrillReport, error) {
	unlock, err := m.lock()
	defer unlock()
	m.drill, m.private = d, bytes.Clone(d.PrivateKey)
	return archive.DrillReport{At: noon, Tried: 10, Opened: 9, Failed: 1}, err
}

func (m *memory) Shred(_ context.Context, t archive.Tenant, target archive.ShredTarget) (archive.ShredStatus, error) {
	unlock, err := m.lock()
	defer unlock()
	s, ok := m.shreds[target]
	if !ok && err == nil {
		err = fault.New(fault.NotFound, "there is no such study or patient")
	}
	return s, err
}

// jobList is the side of memory whose methods are called as others are.
type jobList struct{ *memory }

func (m jobList) Get(_ context.Context, id string) (archive.Job, error) {
	unlock, err := m.lock()
	defer unlock()
	for _, j := range m.jobs {
		if j.ID == id {
			return j, err
		}
	}
	return archive.Job{}, fault.New(fault.NotFound, "there is no such job")
}

func (m jobList) List(_ context.Context, t archive.Tenant, after string, limit int) ([]archive.Job, error) {
	unlock, err := m.lock()
	defer unlock()
	var out []archive.Job
	for _, j := range m.jobs {
		if (t == "" || j.Tenant == t) && j.ID > after && len(out) < limit {
			out = append(out, j)
		}
	}
	return out, err
}

// harness is a server over memory, and what it logged and measured.
type harness struct {
	t       *testing.T
	memory  *memory
	url     string
	client  *ClientWithResponses
	log     *lockedBuffer
	metrics *metrics
}

func serve(t *testing.T, authorize func(*http.Request) error) *harness {
	t.Helper()
	h := &harness{t: t, memory: newMemory(), log: &lockedBuffer{}, metrics: &metrics{}}
	m := h.memory
	s := httptest.NewServer(New(Options{Tenants: m, Keys: m, Rewraps: m, Escrows: m, Shredder: m, Jobs: jobList{m}, Authorize: authorize,
		Log: slog.New(slog.NewTextHandler(h.log, nil)), Metrics: h.metrics, Now: func() time.Time { return noon }}))
	t.Cleanup(s.Close)
	h.url = s.URL + Root
	c, err := NewClientWithResponses(h.url)
	if err != nil {
		t.Fatal(err)
	}
	h.client = c
	return h
}

type reply struct {
	*http.Response
	body string
}

// do sends a body as it is; one that begins with a brace is JSON.
func (h *harness) do(method, path, body string) reply {
	h.t.Helper()
	r, err := http.NewRequest(method, h.url+path, strings.NewReader(body))
	if err != nil {
		h.t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
		if method == http.MethodPatch {
			r.Header.Set("Content-Type", "application/merge-patch+json")
		}
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		h.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	return reply{resp, string(b)}
}

type metrics struct {
	mu     sync.Mutex
	routes []string
}

func (m *metrics) Request(method, route string, _ int, _ time.Duration, _, _ int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.routes = append(m.routes, method+" "+route)
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
