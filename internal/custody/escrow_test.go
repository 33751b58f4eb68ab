package custody

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/keys"
	"github.com/strata-pacs/strata/internal/keys/quorum"
)

type ctx = context.Context

// older wraps under the first version of a KEK, as one who began before a rotation.
type older struct{ keys.Wrapper }

func (o older) Wrap(ctx ctx, kek keys.ID, key, aad []byte) (keys.Wrapped, error) {
	w, err := o.Wrapper.Wrap(ctx, kek, key, aad)
	w.Version = "1" // it does not open, which nobody tries
	return w, err
}

func TestEscrowInShares(t *testing.T) {
	w, made := newWorld(t), known{}
	made.add(t, w.ring(t, "a"), 10)
	c, stop := w.run(t, w.options())
	public, shares, err := quorum.New(3, 2)
	if err != nil {
		t.Fatal(err)
	}
	j, err := c.Escrow(t.Context(), "a", archive.Recovery{PublicKey: public.Bytes()})
	if j = w.done(t, j, err); j.Done != 11 || j.Total != 11 {
		t.Errorf("%+v", j)
	}
	private, err := quorum.Combine(shares[:2])
	if err != nil {
		t.Fatal(err)
	}
	secret := func() []byte {
		b, err := private.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	given := secret()
	report, err := c.Drill(t.Context(), "a", archive.Drill{PrivateKey: given})
	if err != nil || report.Tried != 11 || report.Opened != 11 || report.Failed != 0 || report.At.IsZero() {
		t.Errorf("%+v, %v", report, err)
	}
	if !bytes.Equal(given, make([]byte, len(given))) {
		t.Error("the private key was not wiped")
	}
	made.add(t, w.ring(t, "a"), 2)
	c.counts.forget("a")
	s, err := c.Status(t.Context(), "a")
	if e := s.Escrow; err != nil || e == nil || e.Fingerprint != public.Fingerprint() || e.Objects != 11 || e.Missing != 2 || !e.Drilled.Equal(report.At.Truncate(time.Millisecond)) || e.At.IsZero() {
		t.Errorf("%+v, %v", s.Escrow, err)
	}
	stop()
	o := w.options()
	o.Follow = 5 * time.Millisecond
	_, stop = w.run(t, o)
	for start := time.Now(); ; time.Sleep(2 * time.Millisecond) {
		if _, missing, err := keys.CountEscrow(t.Context(), w.bucket, "a", public.ID()); err == nil && missing == 0 {
			break
		} else if time.Since(start) > 10*time.Second {
			t.Fatalf("%d keys do not follow, %v", missing, err)
		}
	}
	stop()
	if report, err = c.Drill(t.Context(), "a", archive.Drill{PrivateKey: secret(), Sample: 5}); err != nil || report.Opened != 6 {
		t.Errorf("%+v, %v", report, err)
	}

	// A wrong key, and none.
	_, err = c.Drill(t.Context(), "a", archive.Drill{})
	wantKind(t, "without a private key", err, fault.Invalid)
	_, err = c.Drill(t.Context(), "a", archive.Drill{PrivateKey: []byte("short")})
	wantKind(t, "with what is no private key", err, fault.Invalid)
	given = bytes.Repeat([]byte{7}, quorum.PrivateSize)
	_, err = c.Drill(t.Context(), "a", archive.Drill{PrivateKey: given})
	if wantKind(t, "with another one", err, fault.Invalid); err == nil || !strings.Contains(err.Error(), public.Fingerprint()) || given[0] != 0 {
		t.Errorf("%v", err)
	}

	// Another recovery key takes its place.
	c, _ = w.run(t, w.options())
	j, err = c.Escrow(t.Context(), "a", archive.Recovery{KEK: "spare/r"})
	w.done(t, j, err)
	if in, _, err := keys.CountEscrow(t.Context(), w.bucket, "a", public.ID()); err != nil || in != 0 {
		t.Errorf("%d objects of the former recovery key are left, %v", in, err)
	}
	if s, err = c.Status(t.Context(), "a"); err != nil || s.Escrow.KEK != "spare/r" || s.Escrow.Fingerprint != "" || s.Escrow.Missing != 0 || s.Escrow.Objects != 13 || !s.Escrow.Drilled.IsZero() {
		t.Errorf("%+v, %v", s.Escrow, err)
	}
	if report, err = c.Drill(t.Context(), "a", archive.Drill{}); err != nil || report.Opened != 13 {
		t.Errorf("%+v, %v", report, err)
	}
	_, err = c.Drill(t.Context(), "a", archive.Drill{PrivateKey: secret()})
	wantKind(t, "with a private key that is not needed", err, fault.Invalid)
	// Escrow again goes over to the newest version of the recovery key.
	if _, err := w.recovery.Rotate(t.Context(), "r"); err != nil {
		t.Fatal(err)
	}
	j, err = c.Escrow(t.Context(), "a", archive.Recovery{KEK: "spare/r"})
	w.done(t, j, err)
	if err := w.recovery.Retire(t.Context(), "r", "2"); err != nil {
		t.Fatal(err)
	}
	if report, err = c.Drill(t.Context(), "a", archive.Drill{}); err != nil || report.Opened != 13 {
		t.Errorf("%+v, %v", report, err)
	}
	// Lost: the drill says so, and when it succeeded last stays as it was.
	if s, err = c.Status(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	drilled := s.Escrow.Drilled
	w.recovery.Deny()
	if report, err = c.Drill(t.Context(), "a", archive.Drill{}); err != nil || report.Failed != 13 || report.Tried != 13 {
		t.Errorf("%+v, %v", report, err)
	}
	if s, err = c.Status(t.Context(), "a"); err != nil || !s.Escrow.Drilled.Equal(drilled) || drilled.IsZero() {
		t.Errorf("%+v, %v", s.Escrow, err)
	}
}

func TestEscrowRefuses(t *testing.T) {
	w := newWorld(t)
	w.ring(t, "a")
	c := New(w.options())
	_, err := c.Drill(t.Context(), "a", archive.Drill{PrivateKey: make([]byte, 32)})
	wantKind(t, "a drill of nothing", err, fault.Conflict)
	public, _, err := quorum.New(3, 2)
	if err != nil {
		t.Fatal(err)
	}
	for what, to := range map[string]archive.Recovery{
		"nothing": {}, "both": {KEK: "spare/r", PublicKey: public.Bytes()}, "no public key": {PublicKey: []byte("x")},
		"no provider": {KEK: "nowhere/k"}, "no key": {KEK: "spare/k"}, "the tenant's own key": {KEK: "one/k"}, "a pair with it": {KEK: "two/k2+one/k"},
	} {
		_, err := c.Escrow(t.Context(), "a", to)
		wantKind(t, what, err, fault.Invalid)
	}
	if s, _ := w.tenants.Get(t.Context(), "a"); s.Recovery != (archive.TenantRecovery{}) {
		t.Errorf("%+v", s.Recovery)
	}
	if _, err := c.Escrow(t.Context(), "a", archive.Recovery{KEK: "spare/r"}); err != nil {
		t.Fatal(err)
	}
	_, err = c.Escrow(t.Context(), "a", archive.Recovery{KEK: "spare/r"})
	wantKind(t, "a second one", err, fault.Conflict)
	if s, err := c.Status(t.Context(), "a"); err != nil || s.Job == nil || s.Job.Kind != archive.JobEscrow || s.Escrow.Missing != 1 {
		t.Errorf("%+v, %v", s, err)
	}
}

// TestStatus works whatever the provider says.
func TestStatus(t *testing.T) {
	w, made := newWorld(t), known{}
	made.add(t, w.ring(t, "a"), 2)
	o := w.options()
	var opened []keys.Proof
	o.Proofs = func(archive.Tenant) []keys.Proof { return opened }
	noon := time.UnixMilli(1e12)
	o.Now = func() time.Time { return noon }
	status := func(c *Custodian) archive.KeyStatus {
		t.Helper()
		s, err := c.Status(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := status(New(o))
	if p := s.Proofs; s.State != archive.TenantActive || s.KEK != "one/k" || len(p) != 1 || p[0].KEK != "one/k" || !p[0].At.Equal(noon) || p[0].Latency <= 0 || p[0].Failure != "" || s.Escrow != nil || s.Job != nil {
		t.Errorf("%+v", s)
	}
	if _, err := w.one.Rotate(t.Context(), "k"); err != nil {
		t.Fatal(err)
	}
	want := []archive.KeyVersion{{KEK: "one/k", Version: "2", Current: true}, {KEK: "one/k", Version: "1", Objects: 3}}
	if s = status(New(o)); len(s.Versions) != 2 || s.Versions[0] != want[0] || s.Versions[1] != want[1] {
		t.Errorf("%+v", s.Versions)
	}
	w.tenants.set("a", archive.TenantRevoked)
	for failure, set := range map[string]func(){archive.ProofDenied: w.one.Deny, archive.ProofUnreachable: w.one.Silence} {
		set()
		opened = []keys.Proof{{KEK: "one/k+two/k2", At: noon.Add(-time.Minute), Latency: time.Millisecond}}
		s = status(New(o))
		if p := s.Proofs[0]; s.State != archive.TenantRevoked || p.Failure != failure || !p.At.Equal(noon.Add(-time.Minute)) || p.Latency != time.Millisecond || s.Versions[0].Objects != 3 {
			t.Errorf("%+v", s)
		}
	}
	w.one.Allow()
	if err := w.one.Retire(t.Context(), "k", "2"); err != nil {
		t.Fatal(err)
	}
	if s = status(New(o)); !s.Versions[1].Retired {
		t.Errorf("%+v", s.Versions)
	}
	w.tenants.set("a", archive.TenantSuspended)
	wraps, unwraps := w.one.Calls()
	if s = status(New(o)); s.Versions[0].Objects != 3 || len(s.Proofs) != 1 {
		t.Errorf("%+v", s)
	}
	if a, b := w.one.Calls(); a != wraps || b != unwraps {
		t.Error("the key of a suspended tenant was asked for")
	}
	_, err := New(o).Status(t.Context(), "nobody")
	wantKind(t, "no tenant", err, fault.NotFound)
}

// TestCounts: what was counted is remembered for a while, unless it has changed.
func TestCounts(t *testing.T) {
	var c counts
	n := 0
	get := func() int64 {
		got, err := c.get(t.Context(), "a", func() (counted, error) { n++; return counted{in: int64(n)}, nil })
		if err != nil {
			t.Fatal(err)
		}
		return got.in
	}
	if get() != 1 || get() != 1 {
		t.Error("counted again at once")
	}
	c.forget("a")
	if get() != 2 {
		t.Error("not counted again")
	}
	_, err := c.get(t.Context(), "b", func() (counted, error) {
		c.forget("b") // while it counts
		return counted{}, nil
	})
	if err != nil || len(c.of) != 1 {
		t.Errorf("what had changed is remembered: %v", err)
	}
}
