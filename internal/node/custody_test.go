package node

import (
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/custody"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/ingest"
	"github.com/strata-pacs/strata/internal/keys"
	"github.com/strata-pacs/strata/internal/keys/localkeys"
	"github.com/strata-pacs/strata/internal/keys/providers"
	"github.com/strata-pacs/strata/internal/keys/quorum"
	"github.com/strata-pacs/strata/internal/testservers"
)

// moving is a node whose keys are looked after, with real providers.
type moving struct {
	*place
	a      *Archive
	set    *providers.Set
	file   string // of the local key
	stored atomic.Int64
}

func newMoving(t *testing.T, settings map[string]string) *moving {
	t.Helper()
	key := filepath.Join(t.TempDir(), "key")
	if err := localkeys.Create(key, nil); err != nil {
		t.Fatal(err)
	}
	settings["file"] = "local:" + url.PathEscape(key)
	set, err := providers.Open(t.Context(), settings)
	if err != nil {
		if strings.Contains(err.Error(), "CGO_ENABLED") {
			t.Skip(err)
		}
		t.Fatal(err)
	}
	t.Cleanup(func() { set.Close() })
	kek, err := set.KEK("file")
	if err != nil {
		t.Fatal(err)
	}
	m := &moving{set: set, file: key, place: &place{t: t, o: Options{Data: filepath.Join(t.TempDir(), "data"), Wrapper: set, KEK: kek,
		KeyLease: 200 * time.Millisecond, KeySettle: 800 * time.Millisecond}}}
	m.a = m.open()
	t.Cleanup(func() { m.close(m.a) })
	return m
}

// store stores the first instance of a new study, which makes a key.
func (m *moving) store() {
	m.t.Helper()
	n := m.stored.Add(1)
	_, file := image(int(n), 1)
	if res := store(m.t, m.a, file); res[0].Outcome != ingest.Stored || res[0].Reason != 0 {
		m.t.Errorf("study %d: %+v", n, res[0])
	}
}

// meanwhile stores and reads until the job that start begins has ended.
func (m *moving) meanwhile(start func() (archive.Job, error)) archive.Job {
	m.t.Helper()
	var busy atomic.Bool
	busy.Store(true)
	var wg sync.WaitGroup
	wg.Go(func() {
		for busy.Load() {
			m.store()
			m.a.ring.Wipe()
			u, file := image(1, 1)
			m.wants(m.a, u, file)
			time.Sleep(30 * time.Millisecond)
		}
	})
	defer wg.Wait()
	defer busy.Store(false)
	j, err := start()
	if err != nil {
		m.t.Fatal(err)
	}
	for begun := time.Now(); !j.State.Ended(); time.Sleep(20 * time.Millisecond) {
		if time.Since(begun) > 60*time.Second {
			m.t.Fatalf("it does not end: %+v", j)
		}
		if j, err = m.host.Jobs().Get(m.t.Context(), j.ID); err != nil {
			m.t.Fatal(err)
		}
	}
	if j.State != archive.JobDone || j.Started.IsZero() || j.Finished.Before(j.Started) || j.Done < 2 || j.Total != j.Done {
		m.t.Fatalf("%+v", j)
	}
	return j
}

// under checks that every key object lies under the KEK's newest version.
func (m *moving) under(kek string) {
	m.t.Helper()
	s, err := m.host.Custody.Status(m.t.Context(), m.host.Tenant)
	if err != nil || s.KEK != kek || len(s.Versions) != 1 || s.Versions[0].KEK != kek || !s.Versions[0].Current || s.Versions[0].Objects < m.stored.Load()+1 ||
		len(s.Proofs) != 1 || s.Proofs[0].Failure != "" || s.Job != nil {
		m.t.Errorf("%+v, %v", s, err)
	}
}

func (m *moving) rotateAndRetire() {
	m.t.Helper()
	c, t := m.host.Custody, m.host.Tenant
	before := m.version()
	m.meanwhile(func() (archive.Job, error) { return c.Rotate(m.t.Context(), t) })
	if m.version() == before {
		m.t.Error("there is no new version")
	}
	if err := c.Retire(m.t.Context(), t, ""); err != nil {
		m.t.Fatal(err)
	}
	m.all()
}

func (m *moving) version() string {
	m.t.Helper()
	info, err := m.host.Tenants().Get(m.t.Context(), m.host.Tenant)
	if err != nil {
		m.t.Fatal(err)
	}
	v, err := keys.Probe(m.t.Context(), m.set, keys.ID(info.KEK))
	if err != nil {
		m.t.Fatal(err)
	}
	return v.Version
}

// all reads everything that was stored, with keys that are unwrapped anew.
func (m *moving) all() {
	m.t.Helper()
	m.a.ring.Wipe()
	for n := range int(m.stored.Load()) {
		u, file := image(n+1, 1)
		m.wants(m.a, u, file)
	}
	if err := m.a.ring.Prove(m.t.Context(), 0); err != nil {
		m.t.Error(err)
	}
}

// TestMove takes an archive in use from a local key file to Vault and from there
// into an HSM, with a rotation and a retirement at each. In the end the first two are gone.
func TestMove(t *testing.T) {
	v, h := testservers.Vault(t), testservers.SoftHSM(t)
	v.Write(t, "transit/keys/clinic", nil)
	h.MakeKey(t, "clinic", "01")
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte(v.Token), 0o600); err != nil {
		t.Fatal(err)
	}
	m := newMoving(t, map[string]string{
		"vault": "vault:" + v.Address + "/transit/clinic?auth=token&timeout=5s&token-file=" + token,
		"hsm":   "pkcs11:token=" + h.Label + ";object=clinic?module-path=" + h.Module + "&pin-source=" + h.PINFile,
	})
	for range 20 {
		m.store()
	}
	c, tenant := m.host.Custody, m.host.Tenant
	m.rotateAndRetire()
	m.under(string(m.o.KEK))
	for _, name := range []string{"vault", "hsm"} {
		kek, err := m.set.KEK(name)
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		j := m.meanwhile(func() (archive.Job, error) { return c.Move(t.Context(), tenant, string(kek)) })
		t.Logf("to %s: %d key objects in %v", name, j.Done, time.Since(start).Round(time.Millisecond))
		m.under(string(kek))
		m.rotateAndRetire()
		m.under(string(kek))
	}
	v.Kill(t)
	if err := os.Remove(m.file); err != nil {
		t.Fatal(err)
	}
	m.all()
	m.close(m.a)
	m.a = m.open() // nothing of what the first providers held is needed
	m.all()
	if r := m.verify(m.a); len(r.Gaps) > 0 {
		t.Errorf("%+v", r)
	}
	list, err := m.host.Jobs().List(t.Context(), tenant, "", 100)
	if err != nil || len(list) != 5 || list[0].Kind != archive.JobRotate || list[1].Kind != archive.JobMove {
		t.Errorf("%+v, %v", list, err)
	}
}

// TestEscrowOfANode: the recovery key opens what the node made, and survives in the log.
func TestEscrowOfANode(t *testing.T) {
	m := newMoving(t, map[string]string{})
	m.store()
	m.store()
	public, shares, err := quorum.New(3, 2)
	if err != nil {
		t.Fatal(err)
	}
	c, tenant := m.host.Custody, m.host.Tenant
	m.meanwhile(func() (archive.Job, error) {
		return c.Escrow(t.Context(), tenant, archive.Recovery{PublicKey: public.Bytes()})
	})
	m.close(m.a)
	if _, err := Rebuild(t.Context(), m.o, nil); err != nil {
		t.Fatal(err)
	}
	m.a = m.open()
	private, err := quorum.Combine(shares[:2])
	if err != nil {
		t.Fatal(err)
	}
	secret, err := private.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	r, err := m.host.Custody.Drill(t.Context(), tenant, archive.Drill{PrivateKey: secret})
	if err != nil || r.Tried < 3 || r.Opened != r.Tried {
		t.Errorf("%+v, %v", r, err)
	}
	s, err := m.host.Custody.Status(t.Context(), tenant)
	if err != nil || s.Escrow == nil || s.Escrow.Fingerprint != public.Fingerprint() || s.Escrow.Drilled.IsZero() {
		t.Errorf("%+v, %v", s.Escrow, err)
	}
}

// TestJobTable holds the table of jobs to its contract.
func TestJobTable(t *testing.T) {
	p := newPlace(t)
	p.close(p.open()) // so that no node of the test claims
	n := newNode(p.o.withDefaults())
	if err := n.openStore(); err != nil {
		t.Fatal(err)
	}
	if err := n.openIndex(t.Context(), n.o.Index); err != nil {
		t.Fatal(err)
	}
	defer n.Close(t.Context())
	q := n.Jobs()
	add := func(id string, kind archive.JobKind, tenant archive.Tenant) error {
		return q.Add(t.Context(), archive.Job{ID: id, Kind: kind, Tenant: tenant, State: archive.JobWaiting, Created: time.Now()})
	}
	for _, err := range []error{add("01", archive.JobRotate, "a"), add("02", archive.JobEscrow, "a"), add("03", archive.JobMove, "b")} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := add("04", archive.JobMove, "a"); !fault.Is(err, fault.Conflict) {
		t.Errorf("a second one in the lane: %v", err)
	}
	claim := func(ttl time.Duration) custody.Claim {
		t.Helper()
		c, ok, err := q.Claim(t.Context(), "me", ttl)
		if err != nil || !ok {
			t.Fatalf("claimed %v, %v", ok, err)
		}
		return c
	}
	get := func(id string) archive.Job {
		t.Helper()
		j, err := q.Get(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		return j
	}
	first := claim(time.Minute)
	if first.ID != "01" || first.State != archive.JobRunning || first.Started.IsZero() || get("01").State != archive.JobRunning || get("02").State != archive.JobWaiting {
		t.Errorf("%+v", first)
	}
	first.Done, first.Total = 3, 9
	if err := q.Keep(t.Context(), first, time.Minute); err != nil {
		t.Error(err)
	}
	if j, open, err := q.Open(t.Context(), "a", custody.LaneRewrap); err != nil || !open || j.Done != 3 || j.Total != 9 || !j.Started.Equal(first.Started) {
		t.Errorf("%+v %v %v", j, open, err)
	}
	first.Failure = "the key provider does not answer"
	if err := q.Return(t.Context(), first, time.Hour); err != nil {
		t.Error(err)
	}
	if j := get("01"); j.State != archive.JobWaiting || j.Failure != first.Failure {
		t.Errorf("%+v", j)
	}
	if err := q.Keep(t.Context(), first, time.Minute); !fault.Is(err, fault.Conflict) {
		t.Errorf("kept what was given back: %v", err)
	}
	late := claim(30 * time.Millisecond)
	time.Sleep(60 * time.Millisecond)
	again := claim(time.Minute) // whoever was silent has lost it
	if late.ID != "02" || again.ID != "02" {
		t.Errorf("%s, then %s", late.ID, again.ID)
	}
	for what, err := range map[string]error{"keeping": q.Keep(t.Context(), late, time.Minute), "ending": q.End(t.Context(), late), "giving back": q.Return(t.Context(), late, 0)} {
		if !fault.Is(err, fault.Conflict) {
			t.Errorf("%s another's job: %v", what, err)
		}
	}
	again.State, again.Finished, again.Done = archive.JobFailed, time.Now(), 5
	again.Failure = "why"
	if err := q.End(t.Context(), again); err != nil {
		t.Fatal(err)
	}
	if j := get("02"); j.State != archive.JobFailed || j.Failure != "why" || j.Done != 5 || j.Finished.IsZero() {
		t.Errorf("%+v", j)
	}
	if _, open, err := q.Open(t.Context(), "a", custody.LaneEscrow); open || err != nil {
		t.Errorf("still open, %v", err)
	}
	if err := add("05", archive.JobEscrow, "a"); err != nil {
		t.Errorf("the next one: %v", err)
	}
	ids := func(tenant archive.Tenant, after string, limit int) (out string) {
		t.Helper()
		list, err := q.List(t.Context(), tenant, after, limit)
		if err != nil {
			t.Fatal(err)
		}
		for _, j := range list {
			out += j.ID + " "
		}
		return out
	}
	if a, b, c := ids("", "", 100), ids("a", "01", 100), ids("", "01", 2); a != "01 02 03 05 " || b != "02 05 " || c != "02 03 " {
		t.Errorf("%q, %q, %q", a, b, c)
	}
	if _, err := q.Get(t.Context(), "99"); !fault.Is(err, fault.NotFound) {
		t.Errorf("no such job: %v", err)
	}
}
