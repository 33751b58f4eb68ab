package keys_test

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/keys"
	"github.com/strata-pacs/strata/internal/keys/keystest"
	"github.com/strata-pacs/strata/internal/keys/quorum"
	"github.com/strata-pacs/strata/storage/faultstore"
)

func (w *world) escrow(to keys.Wrapper, kek keys.ID) keys.EscrowOptions {
	return keys.EscrowOptions{Bucket: w.bucket, Wrapper: w.kek, Tenant: "a", To: to, KEK: kek}
}

func (w *world) drill(from keys.Wrapper, kek keys.ID, sample int) keys.DrillOptions {
	return keys.DrillOptions{Bucket: w.bucket, Wrapper: w.kek, Tenant: "a", From: from, KEK: kek, Sample: sample}
}

// TestEscrow: shares of a quorum open every key, of what was made later too once
// it was followed; and the recovery key alone, without the KEK, opens what is there.
func TestEscrow(t *testing.T) {
	w := newWorld()
	w.makeKeys(t, 20)
	public, shares, err := quorum.New(3, 2)
	if err != nil {
		t.Fatal(err)
	}
	private, err := quorum.Combine(shares[1:])
	if err != nil {
		t.Fatal(err)
	}
	check := func(want keys.EscrowPass, missing int64) {
		t.Helper()
		p, err := keys.Escrow(t.Context(), w.escrow(public, public.ID()))
		if err != nil || p != want {
			t.Fatalf("%+v, want %+v, %v", p, want, err)
		}
		in, not, err := keys.CountEscrow(t.Context(), w.bucket, "a", public.ID())
		if err != nil || in != p.Seen || not != missing {
			t.Errorf("%d in escrow, %d missing, %v", in, not, err)
		}
	}
	check(keys.EscrowPass{Seen: 21, Made: 21}, 0)
	w.makeKeys(t, 5)
	if _, missing, err := keys.CountEscrow(t.Context(), w.bucket, "a", public.ID()); err != nil || missing != 5 {
		t.Errorf("%d missing, %v", missing, err)
	}
	w.rotate(t) // concerns it not
	check(keys.EscrowPass{Seen: 26, Made: 5}, 0)
	check(keys.EscrowPass{Seen: 26}, 0)

	for sample, want := range map[int]int64{0: 26, 3: 4, 100: 26} {
		if tried, opened, err := keys.Drill(t.Context(), w.drill(private, public.ID(), sample)); err != nil || tried != want || opened != want {
			t.Errorf("sample %d: %d tried, %d opened, %v", sample, tried, opened, err)
		}
	}
	c, err := keys.TakeCensus(t.Context(), w.bucket, "a")
	if err != nil || len(c.Escrow) != 1 || c.Escrow[keys.Version{KEK: public.ID(), Version: "hpke-1"}] != 26 {
		t.Errorf("%+v, %v", c, err)
	}
}

// TestDrillFails: a drill tells what the recovery key would not recover.
func TestDrillFails(t *testing.T) {
	w := newWorld()
	made := w.makeKeys(t, 6)
	recovery := keystest.NewProvider("recovery", 3)
	if _, err := keys.Escrow(t.Context(), w.escrow(recovery, "recovery")); err != nil {
		t.Fatal(err)
	}
	var names []string
	for id := range made {
		names = append(names, keys.EscrowName("a", "recovery", id))
	}
	w.move(t, names[0], names[1], nil)                                                                      // another key's
	w.move(t, names[2], names[2], func(b []byte) []byte { b[len(b)-1] ^= 1; return b })                     // damaged
	w.move(t, names[3], names[3], func(b []byte) []byte { return nil })                                     // empty
	if err := w.bucket.Delete(t.Context(), keys.EscrowName("a", "recovery", archive.KeyID{})); err != nil { // no root
		t.Fatal(err)
	}
	tried, opened, err := keys.Drill(t.Context(), w.drill(recovery, "recovery", 0))
	if err != nil || tried != 7 || opened != 3 {
		t.Errorf("%d tried, %d opened, %v", tried, opened, err)
	}
	ops := w.faults.Ops()
	w.faults.Script(func(op faultstore.Op) faultstore.Decision {
		switch op.Name {
		case faultstore.Create, faultstore.Delete, faultstore.Purge:
			t.Errorf("a drill does %s", op.Name)
		}
		return faultstore.Decision{}
	})
	if _, _, err := keys.Drill(t.Context(), w.drill(keystest.NewProvider("recovery", 4), "recovery", 2)); err != nil || w.faults.Ops() == ops {
		t.Errorf("with a false key: %v", err)
	}
	w.faults.Script(nil)
	recovery.Silence()
	if _, _, err := keys.Drill(t.Context(), w.drill(recovery, "recovery", 0)); !fault.Is(err, fault.KeyUnreachable) {
		t.Errorf("a silent provider: %v", err)
	}
	recovery.Allow()

	// Made good, and under the newest version, when asked to be renewed.
	if _, err := recovery.Rotate(t.Context(), "recovery"); err != nil {
		t.Fatal(err)
	}
	o := w.escrow(recovery, "recovery")
	o.Renew = true
	if p, err := keys.Escrow(t.Context(), o); err != nil || p.Made != 7 {
		t.Errorf("%+v, %v", p, err)
	}
	if err := recovery.Retire(t.Context(), "recovery", "2"); err != nil {
		t.Fatal(err)
	}
	if tried, opened, err := keys.Drill(t.Context(), w.drill(recovery, "recovery", 0)); err != nil || tried != 7 || opened != 7 {
		t.Errorf("made good: %d tried, %d opened, %v", tried, opened, err)
	}
}

// TestEscrowStops: what is denied or not allowed is not begun, and a kill loses nothing.
func TestEscrowStops(t *testing.T) {
	w := newWorld()
	w.makeKeys(t, 20)
	recovery := keystest.NewProvider("recovery", 3)
	o := w.escrow(recovery, "recovery")
	o.Allowed = func() error { return fault.New(fault.KeyDenied, "revoked") }
	_, before := w.kek.Calls()
	if _, err := keys.Escrow(t.Context(), o); !fault.Is(err, fault.KeyDenied) {
		t.Errorf("not allowed: %v", err)
	}
	recovery.Deny()
	if _, err := keys.Escrow(t.Context(), w.escrow(recovery, "recovery")); !fault.Is(err, fault.KeyDenied) {
		t.Errorf("denied by the recovery key: %v", err)
	}
	if _, now := w.kek.Calls(); now != before {
		t.Errorf("%d keys were unwrapped in vain", now-before)
	}
	recovery.Allow()
	draw := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		w.faults.Script(faultstore.At(w.faults.Ops()+1+draw.IntN(60), faultstore.CrashAfter))
		_, _ = keys.Escrow(t.Context(), w.escrow(recovery, "recovery"))
		w.faults.Script(nil)
		w.faults.Restart()
	}
	if _, err := keys.Escrow(t.Context(), w.escrow(recovery, "recovery")); err != nil {
		t.Fatal(err)
	}
	if tried, opened, err := keys.Drill(t.Context(), w.drill(recovery, "recovery", 0)); err != nil || tried != 21 || opened != 21 {
		t.Errorf("%d tried, %d opened, %v", tried, opened, err)
	}
}

// TestEscrowForgets: a key that is destroyed leaves nothing in escrow, also when
// it is just being wrapped for it; and a recovery key that was replaced opens nothing.
func TestEscrowForgets(t *testing.T) {
	w := newWorld()
	made := w.makeKeys(t, 3)
	a, b := keystest.NewProvider("recovery", 3), keystest.NewProvider("another", 4)
	for kek, p := range map[keys.ID]keys.Wrapper{"recovery": a, "another": b} {
		if _, err := keys.Escrow(t.Context(), w.escrow(p, kek)); err != nil {
			t.Fatal(err)
		}
	}
	var ids []archive.KeyID
	for id := range made {
		ids = append(ids, id)
	}
	destroy := func(id archive.KeyID) {
		if err := errors.Join(w.bucket.Purge(t.Context(), keys.KeyName("a", id)), keys.PurgeEscrow(t.Context(), w.bucket, "a", id)); err != nil {
			t.Error(err)
		}
	}
	left := func(kek keys.ID, id archive.KeyID) bool {
		ok, err := w.bucket.Exists(t.Context(), keys.EscrowName("a", kek, id))
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	destroy(ids[0])
	if left("recovery", ids[0]) || left("another", ids[0]) || !left("recovery", ids[1]) {
		t.Error("a destroyed key is left in escrow, or another one is not")
	}
	if tried, opened, err := keys.Drill(t.Context(), w.drill(a, "recovery", 0)); err != nil || tried != 3 || opened != 3 {
		t.Errorf("%d tried, %d opened, %v", tried, opened, err)
	}
	if err := keys.PurgeOtherEscrow(t.Context(), w.bucket, "a", "another"); err != nil {
		t.Fatal(err)
	}
	if left("recovery", ids[1]) || left("recovery", archive.KeyID{}) || !left("another", ids[1]) || !left("another", archive.KeyID{}) {
		t.Error("the recovery key that was replaced is left, or the other one is not")
	}

	// Destroyed between its reading and the writing of its escrow object.
	o := w.escrow(destroying{a, func(aad []byte) {
		if bytes.Contains(aad, ids[1][:]) {
			destroy(ids[1])
		}
	}}, "recovery")
	o.Parallel = 1
	if p, err := keys.Escrow(t.Context(), o); err != nil || p.Gone != 1 || left("recovery", ids[1]) {
		t.Errorf("%+v, left %v, %v", p, left("recovery", ids[1]), err)
	}
}

// destroying is a provider during whose calls something happens.
type destroying struct {
	keys.Wrapper
	do func(aad []byte)
}

func (d destroying) Wrap(ctx context.Context, kek keys.ID, key, aad []byte) (keys.Wrapped, error) {
	w, err := d.Wrapper.Wrap(ctx, kek, key, aad)
	d.do(aad)
	return w, err
}
