package custody

import (
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/keys"
)

func TestRotateAndRetire(t *testing.T) {
	w, made := newWorld(t), known{}
	made.add(t, w.ring(t, "a"), 30)
	c, _ := w.run(t, w.options())
	wantKind(t, "an unknown version", c.Retire(t.Context(), "a", "99"), fault.Invalid)
	start := time.Now()
	j, err := c.Rotate(t.Context(), "a")
	if j = w.done(t, j, err); j.Done != 31 || j.Total != 31 || j.Kind != archive.JobRotate || j.Finished.IsZero() {
		t.Errorf("%+v", j)
	}
	if took := time.Since(start); took < 30*time.Millisecond {
		t.Errorf("it ended after %v, before what was under way had settled", took)
	}
	s, err := c.Status(t.Context(), "a")
	if err != nil || len(s.Versions) != 1 || s.Versions[0] != (archive.KeyVersion{KEK: "one/k", Version: "2", Current: true, Objects: 31}) {
		t.Errorf("%+v, %v", s, err)
	}
	if err := c.Retire(t.Context(), "a", ""); err != nil {
		t.Fatal(err)
	}
	if _, err := keys.Describe(t.Context(), w.set, "one/k"); err != nil {
		t.Error(err)
	}
	made.open(t, w.ring(t, "a"))
	if err := c.Retire(t.Context(), "a", ""); err != nil {
		t.Errorf("retiring again: %v", err)
	}
}

// TestRetireRefuses while anything is under an older version: keys, what is in
// escrow, keys of other tenants with the same KEK, and those that may still appear.
func TestRetireRefuses(t *testing.T) {
	w, mine, other := newWorld(t), known{}, known{}
	mine.add(t, w.ring(t, "a"), 3)
	other.add(t, w.ring(t, "b"), 2)
	c, _ := w.run(t, w.options())
	if _, err := w.one.Rotate(t.Context(), "k"); err != nil {
		t.Fatal(err)
	}
	refused := func(what, says string) {
		t.Helper()
		err := c.Retire(t.Context(), "a", "2")
		if wantKind(t, what, err, fault.Conflict); err == nil || !strings.Contains(fault.Message(err), says) {
			t.Errorf("%s: %v", what, err)
		}
		mine.open(t, w.ring(t, "a"))
		other.open(t, w.ring(t, "b"))
	}
	refused("own keys", "4 key objects are")
	j, err := c.Move(t.Context(), "a", "one/k") // to the newest version of the same key
	w.done(t, j, err)
	refused("another tenant's keys", "3 key objects of other tenants (b)")

	// b goes over to another key, with its recovery key being the old one.
	j, err = c.Move(t.Context(), "b", "two/k2")
	w.done(t, j, err)
	if _, err := w.recovery.Rotate(t.Context(), "r"); err != nil {
		t.Fatal(err)
	}
	_, err = keys.Escrow(t.Context(), keys.EscrowOptions{Bucket: w.bucket, Wrapper: w.set, Tenant: "b", To: older{w.set}, KEK: "one/k"})
	if err != nil {
		t.Fatal(err)
	}
	refused("what is in escrow", "3 key objects of other tenants (b)")
	if err := keys.PurgeOtherEscrow(t.Context(), w.bucket, "b", ""); err != nil {
		t.Fatal(err)
	}

	// A node that did not see the rewrap waits for what is under way.
	o := w.options()
	o.Settle = 150 * time.Millisecond
	fresh, start := New(o), time.Now()
	var late sync.WaitGroup
	late.Go(func() {
		time.Sleep(50 * time.Millisecond)
		_, err := keys.Escrow(t.Context(), keys.EscrowOptions{Bucket: w.bucket, Wrapper: w.set, Tenant: "b", To: older{w.set}, KEK: "one/k"})
		if err != nil {
			t.Error(err)
		}
	})
	err = fresh.Retire(t.Context(), "a", "")
	late.Wait()
	if wantKind(t, "what appeared late", err, fault.Conflict); time.Since(start) < o.Settle {
		t.Errorf("after %v", time.Since(start))
	}
	if err := keys.PurgeOtherEscrow(t.Context(), w.bucket, "b", ""); err != nil {
		t.Fatal(err)
	}
	if err := fresh.Retire(t.Context(), "a", ""); err != nil {
		t.Fatal(err)
	}
	mine.open(t, w.ring(t, "a"))
	other.open(t, w.ring(t, "b"))
}

// TestRetirePair: of two locks, what is under the one key alone counts too.
func TestRetirePair(t *testing.T) {
	w, made := newWorld(t), known{}
	made.add(t, w.ring(t, "b"), 1) // under the first key alone
	made.add(t, w.ring(t, "a"), 1)
	c, _ := w.run(t, w.options())
	j, err := c.Move(t.Context(), "a", "one/k+two/k2")
	w.done(t, j, err)
	j, err = c.Rotate(t.Context(), "a")
	w.done(t, j, err)
	s, err := c.Status(t.Context(), "a")
	if err != nil || len(s.Versions) != 1 || s.Versions[0].Version != "2+2" || !s.Versions[0].Current || len(s.Proofs) != 2 ||
		s.Proofs[0].KEK != "one/k" || s.Proofs[1].KEK != "two/k2" || s.Proofs[0].At.IsZero() || s.Proofs[1].Failure != "" {
		t.Errorf("%+v, %v", s, err)
	}
	err = c.Retire(t.Context(), "a", "")
	if wantKind(t, "another tenant is under one of the two", err, fault.Conflict); err == nil {
		t.Fatal()
	}
	j, err = c.Move(t.Context(), "b", "two/k2")
	w.done(t, j, err)
	if err := c.Retire(t.Context(), "a", ""); err != nil {
		t.Error(err)
	}
	w.ring(t, "a")
	w.ring(t, "b")
}

func TestRefusesToStart(t *testing.T) {
	w := newWorld(t)
	w.ring(t, "a")
	c := New(w.options()) // nobody works on jobs
	for what, start := range map[string]func(archive.Tenant) error{
		"rotate": func(a archive.Tenant) error { _, err := c.Rotate(t.Context(), a); return err },
		"move":   func(a archive.Tenant) error { _, err := c.Move(t.Context(), a, "two/k2"); return err },
		"escrow": func(a archive.Tenant) error {
			_, err := c.Escrow(t.Context(), a, archive.Recovery{KEK: "spare/r"})
			return err
		},
		"drill": func(a archive.Tenant) error { _, err := c.Drill(t.Context(), a, archive.Drill{}); return err },
	} {
		wantKind(t, what+" of no tenant", start("nobody"), fault.NotFound)
		for _, state := range []archive.TenantState{archive.TenantRevoked, archive.TenantSuspended} {
			w.tenants.set("a", state)
			wantKind(t, what+" of one "+string(state), start("a"), fault.Conflict)
		}
		w.tenants.set("a", archive.TenantActive)
	}
	for _, kek := range []string{"", "nowhere/k", "two/other", "k", "one/k+"} {
		_, err := c.Move(t.Context(), "a", kek)
		wantKind(t, "a move to "+kek, err, fault.Invalid)
	}
	if s, _ := w.tenants.Get(t.Context(), "a"); s.KEK != "one/k" {
		t.Errorf("new keys go under %s", s.KEK)
	}
	w.two.Silence()
	_, err := c.Move(t.Context(), "a", "two/k2")
	wantKind(t, "a move to a silent provider", err, fault.KeyUnreachable)
	if _, err := c.Rotate(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	_, err = c.Rotate(t.Context(), "a")
	wantKind(t, "a second rotation", err, fault.Conflict)
	_, err = c.Move(t.Context(), "a", "one/k")
	wantKind(t, "a move meanwhile", err, fault.Conflict)
	wantKind(t, "a retirement meanwhile", c.Retire(t.Context(), "a", ""), fault.Conflict)
	if d, err := keys.Describe(t.Context(), w.set, "one/k"); err != nil || d.Newest != "2" {
		t.Errorf("the refused rotation made version %s, %v", d.Newest, err)
	}
}

// TestRevokedMeanwhile: a job stops when the keys are revoked, and goes on when
// it is started again. While a provider is silent it waits.
func TestRevokedMeanwhile(t *testing.T) {
	w, made := newWorld(t), known{}
	made.add(t, w.ring(t, "a"), 20)
	o := w.options()
	o.Rate, o.Lease = 100, 150*time.Millisecond
	c, _ := w.run(t, o)
	j, err := c.Rotate(t.Context(), "a")
	w.tenants.set("a", archive.TenantRevoked)
	if j = w.ended(t, j, err); j.State != archive.JobFailed || !strings.Contains(j.Failure, "revoked") {
		t.Errorf("%+v", j)
	}
	w.tenants.set("a", archive.TenantActive)
	w.one.Silence()
	_, err = c.Rotate(t.Context(), "a")
	wantKind(t, "a rotation at a silent provider", err, fault.KeyUnreachable)
	w.one.Allow()
	j, err = c.Rotate(t.Context(), "a")
	w.one.Silence()
	time.Sleep(50 * time.Millisecond)
	if now := w.jobs.get(j.ID); now.State.Ended() {
		t.Errorf("it has ended: %+v", now)
	}
	w.one.Allow()
	w.done(t, j, err)
	made.open(t, w.ring(t, "a"))
}

// TestTakenOver: a node that is cut off from the table stops when its claim has
// ended, and another one goes on.
func TestTakenOver(t *testing.T) {
	w, made := newWorld(t), known{}
	made.add(t, w.ring(t, "a"), 40)
	mine := &cutOff{table: w.jobs}
	o := w.options()
	o.Jobs, o.Rate, o.Lease = mine, 50, 200*time.Millisecond
	c, stop := w.run(t, o)
	j, err := c.Rotate(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	for w.jobs.get(j.ID).Done == 0 {
		time.Sleep(time.Millisecond)
	}
	mine.off.Store(true)
	o = w.options()
	o.Holder = "another"
	w.run(t, o)
	w.done(t, j, nil)
	stop()
	made.open(t, w.ring(t, "a"))
	if err := w.one.Retire(t.Context(), "k", "2"); err != nil {
		t.Fatal(err)
	}
	made.open(t, w.ring(t, "a"))
}

// cutOff is the table as seen by a node that may lose it.
type cutOff struct {
	*table
	off atomic.Bool
}

var errCutOff = fault.Wrap(fault.Unavailable, errors.New("no route"), "the database does not answer")

func (x *cutOff) Claim(ctx ctx, holder string, ttl time.Duration) (Claim, bool, error) {
	if x.off.Load() {
		return Claim{}, false, errCutOff
	}
	return x.table.Claim(ctx, holder, ttl)
}

func (x *cutOff) Keep(ctx ctx, c Claim, ttl time.Duration) error {
	if x.off.Load() {
		return errCutOff
	}
	return x.table.Keep(ctx, c, ttl)
}

func (x *cutOff) End(ctx ctx, c Claim) error {
	if x.off.Load() {
		return errCutOff
	}
	return x.table.End(ctx, c)
}

// TestKilled stops the node twenty times in the middle of rotations and moves,
// while others make and read keys.
func TestKilled(t *testing.T) {
	w, made := newWorld(t), known{}
	made.add(t, w.ring(t, "a"), 60)
	var busy atomic.Bool
	busy.Store(true)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer busy.Store(false)
	r, fresh := w.ring(t, "a"), known{}
	wg.Go(func() {
		for busy.Load() {
			if s, err := w.tenants.Get(t.Context(), "a"); err == nil {
				r.SetKEK(keys.ID(s.KEK), time.Now())
			}
			fresh.add(t, r, 1)
			r.Wipe()
			fresh.open(t, r)
		}
	})
	draw := rand.New(rand.NewPCG(3, 4))
	var j archive.Job
	for kill := range 20 {
		c, stop := w.run(t, w.options())
		if j.ID == "" || w.jobs.get(j.ID).State.Ended() {
			var err error
			if j, err = c.Move(t.Context(), "a", []string{"two/k2", "one/k"}[kill%2]); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Duration(draw.IntN(8)) * time.Millisecond)
		stop()
		made.open(t, w.ring(t, "a"))
	}
	c, _ := w.run(t, w.options())
	w.done(t, j, nil)
	j, err := c.Rotate(t.Context(), "a")
	w.done(t, j, err)
	if err := c.Retire(t.Context(), "a", ""); err != nil {
		t.Fatal(err)
	}
	busy.Store(false)
	wg.Wait()
	r.Wipe()
	for _, k := range []known{made, fresh} {
		k.open(t, r)
		k.open(t, w.ring(t, "a"))
	}
}
