// Package apitest is an administration in memory, for tests of what speaks to the API.
package apitest

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/keys/quorum"
	"github.com/strata-pacs/strata/internal/remove"
	"github.com/strata-pacs/strata/internal/retention"
)

// Noon is now.
var Noon = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

// Memory is everything that the API administers. What it is asked for in vain
// is a fault, as the interfaces of package api say. It is safe for concurrent
// use; its fields are for before and after, or within Do.
type Memory struct {
	mu      sync.Mutex
	Tenants map[archive.Tenant]archive.TenantInfo
	Keys    map[archive.Tenant]archive.KeyStatus
	JobList []archive.Job
	Shreds  map[archive.ShredTarget]archive.ShredStatus
	// What the last call was given.
	Disabled, Enabled bool
	LastDrill         archive.Drill
	Private           []byte // as it was during the drill
	Recovery          archive.Recovery
	Fail              error // of the next call
	FailedDrill       int64 // keys that a drill does not open
	FailedJobs        bool  // jobs fail at their end
	Retained          retention.Document
	RetainedBy        string
	HoldList          []archive.Held
	FailedStudies     int64  // of each application of rules
	Who               string // sends requests, where a test has its own way to say so
	Rewinds           []remove.Rewind
	Rules             map[archive.Tenant][]byte // lifecycle rules
	Paused            map[archive.Tenant]bool
	Question          archive.LifecycleQuestion // the last
	Due               int64                     // studies that Apply has yet to look at, three a call
	Away              archive.Tenant            // of whom no store can be listed
	Damaged           bool                      // recovery drills find what cannot be restored
	DrillRuns         map[archive.Tenant]archive.DrillStatus

	restores Restores
}

// New returns three tenants whose keys are in a vault, 9 under the current
// version and 4 under the one before; study 1.2.3, whose shredding is pending,
// and patient P1, whose is not.
func New() *Memory {
	m := &Memory{Tenants: map[archive.Tenant]archive.TenantInfo{}, Keys: map[archive.Tenant]archive.KeyStatus{},
		Rules: map[archive.Tenant][]byte{}, Paused: map[archive.Tenant]bool{},
		DrillRuns: map[archive.Tenant]archive.DrillStatus{},
		Shreds: map[archive.ShredTarget]archive.ShredStatus{{Study: "1.2.3"}: {Studies: 1, Instances: 3, Keys: 1, Closed: Noon, PendingUntil: Noon.Add(time.Hour)},
			{PatientID: "P1"}: {Studies: 2, Instances: 5, Keys: 2, Closed: Noon}}}
	m.restores.m = m
	for _, t := range []archive.Tenant{"alpha", "beta", "gamma"} {
		m.Tenants[t] = archive.TenantInfo{Tenant: t, Created: Noon, Changed: Noon,
			TenantSettings: archive.TenantSettings{Title: "Praxis", State: archive.TenantActive, KEK: "vault/" + string(t)}}
		m.Keys[t] = archive.KeyStatus{KEK: "vault/" + string(t),
			Versions: []archive.KeyVersion{{KEK: "vault/" + string(t), Version: "2", Current: true, Objects: 9}, {KEK: "vault/" + string(t), Version: "1", Objects: 4}},
			Proofs:   []archive.KeyProof{{KEK: "vault/" + string(t), At: Noon, Latency: 1500 * time.Microsecond}}}
	}
	return m
}

// Do calls f, which may use the fields, while nothing else does.
func (m *Memory) Do(f func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f()
}

func (m *Memory) lock() (unlock func(), err error) {
	m.mu.Lock()
	err, m.Fail = m.Fail, nil
	return m.mu.Unlock, err
}

// Create is of api.Tenants.
func (m *Memory) Create(_ context.Context, t archive.Tenant, s archive.TenantSettings) (archive.TenantInfo, error) {
	unlock, err := m.lock()
	defer unlock()
	if _, ok := m.Tenants[t]; ok {
		err = fault.New(fault.Exists, "there is a tenant of this name")
	}
	if err != nil {
		return archive.TenantInfo{}, err
	}
	m.Tenants[t] = archive.TenantInfo{Tenant: t, TenantSettings: s, Created: Noon, Changed: Noon}
	return m.Tenants[t], nil
}

// List is of api.Tenants.
func (m *Memory) List(_ context.Context, after archive.Tenant, limit int) ([]archive.TenantInfo, error) {
	unlock, err := m.lock()
	defer unlock()
	var out []archive.TenantInfo
	for t, i := range m.Tenants {
		if t > after {
			out = append(out, i)
		}
	}
	slices.SortFunc(out, func(a, b archive.TenantInfo) int { return strings.Compare(string(a.Tenant), string(b.Tenant)) })
	return out[:min(limit, len(out))], err
}

// Get is of api.Tenants.
func (m *Memory) Get(_ context.Context, t archive.Tenant) (archive.TenantInfo, error) {
	unlock, err := m.lock()
	defer unlock()
	if _, ok := m.Tenants[t]; !ok {
		err = fault.New(fault.NotFound, "there is no such tenant")
	}
	return m.Tenants[t], err
}

// Change is of api.Tenants.
func (m *Memory) Change(_ context.Context, t archive.Tenant, change func(*archive.TenantSettings) error) (archive.TenantInfo, error) {
	unlock, err := m.lock()
	defer unlock()
	info, ok := m.Tenants[t]
	if !ok {
		err = fault.New(fault.NotFound, "there is no such tenant")
	}
	if err == nil {
		err = change(&info.TenantSettings)
	}
	if err != nil {
		return archive.TenantInfo{}, err
	}
	info.Changed = Noon.Add(time.Minute)
	m.Tenants[t] = info
	return info, nil
}

// Status is of api.Keys.
func (m *Memory) Status(_ context.Context, t archive.Tenant) (archive.KeyStatus, error) {
	unlock, err := m.lock()
	defer unlock()
	k, ok := m.Keys[t]
	if !ok {
		err = fault.New(fault.NotFound, "there is no such tenant")
	}
	k.State = m.Tenants[t].State
	return k, err
}

// Retire is of api.Keys.
func (m *Memory) Retire(_ context.Context, t archive.Tenant, before string) error {
	unlock, err := m.lock()
	defer unlock()
	if err != nil {
		return err
	}
	k := m.Keys[t]
	k.Versions = slices.Clone(k.Versions)
	oldest := slices.IndexFunc(k.Versions, func(v archive.KeyVersion) bool { return v.Version == before || before == "" && v.Current })
	if oldest < 0 {
		return fault.New(fault.Invalid, "there is no version %s", before)
	}
	for i := oldest + 1; i < len(k.Versions); i++ { // newest first
		if v := &k.Versions[i]; v.Objects > 0 {
			return fault.New(fault.Conflict, "%d key objects are under version %s; rotate first", v.Objects, v.Version)
		}
		k.Versions[i].Retired = true
	}
	m.Keys[t] = k
	return nil
}

func (m *Memory) state(t archive.Tenant, s archive.TenantState, note func()) error {
	unlock, err := m.lock()
	defer unlock()
	info, ok := m.Tenants[t]
	if !ok {
		err = fault.New(fault.NotFound, "there is no such tenant")
	}
	if err == nil {
		info.State = s
		m.Tenants[t] = info
		note()
	}
	return err
}

// Revoke is of api.Keys.
func (m *Memory) Revoke(ctx context.Context, t archive.Tenant, disable bool) error {
	if ctx.Done() != nil {
		return fault.New(fault.Internal, "a revocation can be interrupted")
	}
	return m.state(t, archive.TenantRevoked, func() { m.Disabled = disable })
}

// Grant is of api.Keys.
func (m *Memory) Grant(_ context.Context, t archive.Tenant, enable bool) error {
	return m.state(t, archive.TenantActive, func() { m.Enabled = enable })
}

func (m *Memory) job(kind archive.JobKind, t archive.Tenant) (archive.Job, error) {
	unlock, err := m.lock()
	defer unlock()
	if _, ok := m.Tenants[t]; !ok {
		err = fault.New(fault.NotFound, "there is no such tenant")
	}
	if err != nil {
		return archive.Job{}, err
	}
	j := archive.Job{ID: "01J0000000000000000000000" + string(rune('A'+len(m.JobList))), Kind: kind, Tenant: t, State: archive.JobRunning, Done: 1, Total: 13, Created: Noon, Started: Noon}
	m.JobList = append(m.JobList, j)
	return j, nil
}

// Rotate is of api.Rewraps.
func (m *Memory) Rotate(_ context.Context, t archive.Tenant) (archive.Job, error) {
	return m.job(archive.JobRotate, t)
}

// Move is of api.Rewraps.
func (m *Memory) Move(_ context.Context, t archive.Tenant, kek string) (archive.Job, error) {
	j, err := m.job(archive.JobMove, t)
	if err == nil {
		m.mu.Lock()
		defer m.mu.Unlock()
		k := m.Keys[t]
		k.KEK = kek
		m.Keys[t] = k
	}
	return j, err
}

// Escrow is of api.Escrows.
func (m *Memory) Escrow(_ context.Context, t archive.Tenant, r archive.Recovery) (archive.Job, error) {
	e := &archive.EscrowStatus{KEK: r.KEK, At: Noon, Objects: 13}
	if r.KEK == "" {
		public, err := quorum.ParsePublic(r.PublicKey)
		if err != nil {
			return archive.Job{}, err
		}
		e.Fingerprint = public.Fingerprint()
	}
	j, err := m.job(archive.JobEscrow, t)
	if err == nil {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.Recovery = r
		k := m.Keys[t]
		k.Escrow = e
		m.Keys[t] = k
	}
	return j, err
}

// Drill is of api.Escrows.
func (m *Memory) Drill(_ context.Context, t archive.Tenant, d archive.Drill) (archive.DrillReport, error) {
	unlock, err := m.lock()
	defer unlock()
	if err != nil {
		return archive.DrillReport{}, err
	}
	m.LastDrill, m.Private = d, bytes.Clone(d.PrivateKey)
	e := m.Keys[t].Escrow
	switch {
	case e == nil:
		return archive.DrillReport{}, fault.New(fault.Conflict, "nothing was escrowed")
	case (e.Fingerprint != "") != (d.PrivateKey != nil):
		return archive.DrillReport{}, fault.New(fault.Invalid, "shares of the recovery key are needed, or are not")
	case d.PrivateKey != nil:
		k, err := quorum.ParsePrivate(d.PrivateKey)
		if err != nil || k.Fingerprint() != e.Fingerprint {
			return archive.DrillReport{}, fault.New(fault.Invalid, "these are shares of another recovery key")
		}
	}
	return archive.DrillReport{At: Noon, Tried: 10, Opened: 10 - m.FailedDrill, Failed: m.FailedDrill}, nil
}

// Shred is of api.Shredder.
func (m *Memory) Shred(_ context.Context, t archive.Tenant, target archive.ShredTarget) (archive.ShredStatus, error) {
	unlock, err := m.lock()
	defer unlock()
	s, ok := m.Shreds[target]
	if !ok && err == nil {
		err = fault.New(fault.NotFound, "there is no such study or patient")
	}
	return s, err
}

// Jobs is api.Jobs, whose methods are called as others are.
func (m *Memory) Jobs() Jobs { return Jobs{m} }

// Jobs is the jobs of a memory. Each look at one takes it further.
type Jobs struct{ m *Memory }

// Get is of api.Jobs.
func (j Jobs) Get(_ context.Context, id string) (archive.Job, error) {
	unlock, err := j.m.lock()
	defer unlock()
	for i := range j.m.JobList {
		if job := &j.m.JobList[i]; job.ID == id && err == nil {
			j.m.advance(job)
			return *job, nil
		}
	}
	return archive.Job{}, fault.New(fault.NotFound, "there is no such job")
}

// advance does half of a job; when a rotation is done all keys are under a third version.
func (m *Memory) advance(j *archive.Job) {
	if j.State.Ended() {
		return
	}
	if j.Done = min(j.Done+6, j.Total); j.Done < j.Total {
		return
	}
	j.State, j.Finished = archive.JobDone, Noon.Add(time.Second)
	if m.FailedJobs {
		j.State, j.Failure = archive.JobFailed, "the provider refuses"
		return
	}
	k := m.Keys[j.Tenant]
	switch j.Kind {
	case archive.JobRotate:
		k.Versions = []archive.KeyVersion{{KEK: k.KEK, Version: "3", Current: true, Objects: 13}, {KEK: k.KEK, Version: "2"}, {KEK: k.KEK, Version: "1"}}
	case archive.JobMove:
		k.Versions = []archive.KeyVersion{{KEK: k.KEK, Version: "1", Current: true, Objects: 13}}
	}
	m.Keys[j.Tenant] = k
}

// List is of api.Jobs.
func (j Jobs) List(_ context.Context, t archive.Tenant, after string, limit int) ([]archive.Job, error) {
	unlock, err := j.m.lock()
	defer unlock()
	var out []archive.Job
	for _, job := range j.m.JobList {
		if (t == "" || job.Tenant == t) && job.ID > after && len(out) < limit {
			out = append(out, job)
		}
	}
	return out, err
}
