package restore

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/storage/driver"
)

// The package is tested over a table, an index and a store in memory, pass by pass and by
// a clock that stands still; package node tests it over databases and a provider's stand-in.

const alpha archive.Tenant = "alpha"

var noon = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

// world is everything around a Restorer.
type world struct {
	t     *testing.T
	table *memoryTable
	index *memoryIndex
	store *memoryStore
	hooks *memoryHooks
	keys  *memoryKeys
	r     *Restorer
	w     *worker

	mu      sync.Mutex
	now     time.Time
	tiers   map[archive.TierName]archive.Tier
	studies map[string]Study
	priors  map[string][]archive.Ref
	fail    error // of the catalog
}

// newWorld has an archive with the speeds of GLACIER, and a hot tier.
func newWorld(t *testing.T, o Options) *world {
	w := &world{t: t, now: noon, studies: map[string]Study{}, priors: map[string][]archive.Ref{}, tiers: map[archive.TierName]archive.Tier{
		"hot": {Name: "hot", Prices: archive.Prices{GBMonth: 0.02}},
		"archive": {Name: "archive", Class: "GLACIER", Restore: true, Speeds: []archive.RestoreSpeed{
			{Priority: archive.Expedited, Word: "Expedited", Typical: 3 * time.Minute, Longest: 5 * time.Minute, GB: 0.03, Requests: 10},
			{Priority: archive.Standard, Word: "Standard", Typical: 4 * time.Hour, Longest: 5 * time.Hour, GB: 0.01, Requests: 0.05},
			{Priority: archive.Bulk, Word: "Bulk", Typical: 8 * time.Hour, Longest: 12 * time.Hour},
		}}}}
	w.table = &memoryTable{rows: map[int64]Row{}}
	w.index = &memoryIndex{packs: map[archive.Ref][]archive.PackState{}, left: map[string]time.Time{}}
	w.store = &memoryStore{now: w.clock, packs: map[string]*frozen{}, thaws: map[string]int{}, begun: map[string]int{}}
	w.hooks = &memoryHooks{}
	w.keys = &memoryKeys{}
	o.Keys = w.keys
	o.Table, o.Index, o.Tiers, o.Catalog, o.Now, o.Hooks = w.table, w.index, w, w, w.clock, w.hooks
	o.Poll = cmp.Or(o.Poll, time.Millisecond)
	w.r = New(o)
	w.w = newWorker(w.r)
	return w
}

// over is another process at work, over another table.
func (w *world) over(table Table) *Restorer {
	o := w.r.o
	o.Table = table
	return New(o)
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

// pass lets time go by, and the worker work.
func (w *world) pass(after time.Duration) {
	w.t.Helper()
	w.mu.Lock()
	w.now = w.now.Add(after)
	w.mu.Unlock()
	if err := w.w.pass(context.Background()); err != nil {
		w.t.Fatal(err)
	}
}

// until passes in steps until the restore is in the state.
func (w *world) until(id string, step time.Duration, state archive.RestoreState) archive.RestoreStatus {
	w.t.Helper()
	for range 2000 {
		st := w.status(id)
		if st.State == state {
			return st
		}
		if st.State.Ended() {
			w.t.Fatalf("ended as %+v, want %s", st, state)
		}
		w.pass(step)
	}
	w.t.Fatalf("still %+v, want %s", w.status(id), state)
	return archive.RestoreStatus{}
}

func (w *world) status(id string) archive.RestoreStatus {
	w.t.Helper()
	st, err := w.r.Status(context.Background(), alpha, id)
	if err != nil {
		w.t.Fatal(err)
	}
	return st
}

func (w *world) ask(q archive.RestoreRequest) archive.RestoreStatus {
	w.t.Helper()
	st, err := w.r.Ask(context.Background(), alpha, q)
	if err != nil {
		w.t.Fatal(err)
	}
	return st
}

// study adds a study with packs of 1 GB in the archive.
func (w *world) study(uid string, packs ...string) archive.Ref {
	var ref archive.Ref
	copy(ref[:], uid)
	w.studies[uid] = Study{Ref: ref}
	for _, p := range packs {
		w.index.packs[ref] = append(w.index.packs[ref], archive.PackState{PackPlace: archive.PackPlace{Object: p, Size: 1e9, Tier: "archive"}})
		w.store.packs[p] = &frozen{}
	}
	return ref
}

// Tier is of Tiers.
func (w *world) Tier(name archive.TierName) (Store, archive.Tier, bool) {
	t, ok := w.tiers[name]
	return w.store, t, ok
}

// Find is of Catalog: a patient has the studies that begin with its ID.
func (w *world) Find(_ context.Context, _ archive.Tenant, q archive.RestoreRequest, _ int) (out []Study, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fail != nil {
		return nil, w.fail
	}
	for _, uid := range slices.Sorted(maps.Keys(w.studies)) {
		s := w.studies[uid]
		if slices.Contains(q.Studies, uid) || q.PatientID != "" && bytes.HasPrefix([]byte(uid), []byte(q.PatientID)) {
			if q.First.Series != "" {
				s.First = []string{q.First.Series} // the tests name the pack
			}
			out = append(out, s)
		}
	}
	if len(q.Studies) > len(out) {
		return nil, fault.New(fault.NotFound, "no such study")
	}
	return out, nil
}

// Priors is of Catalog.
func (w *world) Priors(_ context.Context, _ archive.Tenant, a archive.Appointment) ([]archive.Ref, error) {
	return w.priors[a.PatientID], nil
}

// memoryIndex has packs of studies.
type memoryIndex struct {
	mu    sync.Mutex
	packs map[archive.Ref][]archive.PackState
	left  map[string]time.Time // until when copies that moves left stay
	fail  error
}

func (m *memoryIndex) Packs(_ context.Context, _ archive.Tenant, study archive.Ref) ([]archive.PackState, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.packs[study]), m.fail
}

func (m *memoryIndex) SetRestored(_ context.Context, _ archive.Tenant, object string, until time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, packs := range m.packs {
		for i := range packs {
			if packs[i].Object == object {
				packs[i].Restored = until
			}
		}
	}
	return m.fail
}

// Left and Keep know of what the test has put in left.
func (m *memoryIndex) Left(_ context.Context, _ archive.Tenant, p archive.PackState) (time.Time, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.left[p.Object], m.fail
}

func (m *memoryIndex) Keep(ctx context.Context, t archive.Tenant, p archive.PackState, until time.Time) (time.Time, error) {
	left, err := m.Left(ctx, t, p)
	if err != nil || left.IsZero() {
		return time.Time{}, err
	}
	if left.After(until) {
		until = left
	}
	m.mu.Lock()
	m.left[p.Object] = until
	m.mu.Unlock()
	return until, m.SetRestored(ctx, t, p.Object, until)
}

// memoryStore is an archive class with the longest times of the tier's speeds.
type memoryStore struct {
	now   func() time.Time
	mu    sync.Mutex
	packs map[string]*frozen
	thaws map[string]int // by object
	begun map[string]int // of these, those that no copy was there for
	looks int            // calls of Stat
	order []string       // objects and speeds as they were asked for
	fail  func(call, key, speed string) error
}

type frozen struct{ ready, until time.Time }

func (s *memoryStore) call(name, key, speed string) (*frozen, error) {
	if s.fail != nil {
		if err := s.fail(name, key, speed); err != nil {
			return nil, err
		}
	}
	p := s.packs[key]
	if p == nil {
		return nil, fault.New(fault.NotFound, "no such object")
	}
	if !p.until.IsZero() && !p.until.After(s.now()) {
		*p = frozen{}
	}
	return p, nil
}

func (s *memoryStore) Stat(_ context.Context, key string) (a driver.Attrs, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.looks++
	p, err := s.call("stat", key, "")
	switch {
	case err != nil:
	case p.ready.IsZero():
		a.Restore.State = driver.Archived
	case p.ready.After(s.now()):
		a.Restore.State = driver.Restoring
	default:
		a.Restore = driver.Restore{State: driver.Restored, Until: p.until}
	}
	return a, err
}

var delays = map[string]time.Duration{"Expedited": 5 * time.Minute, "Standard": 5 * time.Hour, "Bulk": 12 * time.Hour}

func (s *memoryStore) Thaw(_ context.Context, key string, o driver.ThawOptions) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, err := s.call("thaw", key, o.Speed)
	if err != nil {
		return err
	}
	s.thaws[key]++
	s.order = append(s.order, key+" "+o.Speed)
	switch now := s.now(); {
	case p.ready.IsZero():
		s.begun[key]++
		p.ready = now.Add(delays[o.Speed])
		p.until = p.ready.Add(o.For)
	case !p.ready.After(now):
		p.until = now.Add(o.For)
	}
	return nil
}

func (s *memoryStore) setFail(f func(call, key, speed string) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = f
}

func (s *memoryStore) asked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.order)
}

// memoryHooks keeps what was posted.
type memoryHooks struct {
	mu     sync.Mutex
	posts  []string
	always []string
	fails  int
}

func (h *memoryHooks) Allowed(_ archive.Tenant, url string) error {
	if url == "https://evil.example/" {
		return fault.New(fault.Invalid, "not on the list")
	}
	return nil
}

func (h *memoryHooks) Always(archive.Tenant) []string { return h.always }

func (h *memoryHooks) Post(_ context.Context, _ archive.Tenant, url, id string, body []byte) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.fails > 0 {
		h.fails--
		return errors.New("no answer")
	}
	h.posts = append(h.posts, fmt.Sprintf("%s %s %s", url, id, body))
	return nil
}

// memoryKeys seals so that nothing can be read, and opens only what was sealed about the same.
type memoryKeys struct {
	mu   sync.Mutex
	fail error
}

func (k *memoryKeys) Box(context.Context, archive.Tenant) (Box, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k, k.fail
}

func (k *memoryKeys) setFail(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.fail = err
}

func (*memoryKeys) Seal(about string, plain []byte) ([]byte, error) {
	out := []byte(about + "|")
	for _, b := range plain {
		out = append(out, ^b)
	}
	return out, nil
}

func (*memoryKeys) Open(about string, sealed []byte) ([]byte, error) {
	rest, ok := bytes.CutPrefix(sealed, []byte(about+"|"))
	if !ok {
		return nil, fault.New(fault.Corrupt, "sealed about something else")
	}
	out := []byte{}
	for _, b := range rest {
		out = append(out, ^b)
	}
	return out, nil
}

func (*memoryKeys) Mark(text string) string { return fmt.Sprintf("%x", len(text)) + text[len(text)-1:] }
