package node

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/keys/keystest"
)

// clinic is a node whose key provider obeys the test.
type clinic struct {
	*Node
	t        *testing.T
	provider *keystest.Provider
	end      func() // closes the node
}

func newClinic(t *testing.T, change ...func(*Options)) *clinic {
	t.Helper()
	p := keystest.NewProvider("kek", 3)
	o := Options{Data: filepath.Join(t.TempDir(), "data"), Wrapper: p, KEK: "kek", KeyLease: 20 * time.Millisecond, KeyGrace: 300 * time.Millisecond}
	for _, f := range change {
		f(&o)
	}
	n, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	c := &clinic{n, t, p, sync.OnceFunc(func() {
		if err := n.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})}
	t.Cleanup(c.end)
	return c
}

func (c *clinic) enter() *Visit {
	c.t.Helper()
	v, err := c.Enter(c.t.Context(), c.Tenant)
	if err != nil {
		c.t.Fatal(err)
	}
	return v
}

// refuses waits until entering fails with the kind.
func (c *clinic) refuses(what string, kind fault.Kind) {
	c.t.Helper()
	c.eventually(what, func() bool {
		v, err := c.Enter(c.t.Context(), c.Tenant)
		if err == nil {
			v.Leave()
		}
		return fault.Is(err, kind)
	})
}

func (c *clinic) admits(what string) {
	c.t.Helper()
	c.eventually(what, func() bool {
		v, err := c.Enter(c.t.Context(), c.Tenant)
		if err == nil {
			v.Leave()
		}
		return err == nil
	})
}

func (c *clinic) eventually(what string, f func() bool) {
	c.t.Helper()
	for end := time.Now().Add(20 * time.Second); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			c.t.Fatal(what + ": not in 20 s")
		}
	}
}

func (c *clinic) noKeys() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.rings) == 0
}

// state writes the tenant's settings as a fact.
func (c *clinic) state(state archive.TenantState) {
	c.t.Helper()
	v := c.enter()
	defer v.Leave()
	f := &archive.Fact{ID: v.log.NewFactID(), Kind: archive.FactTenant, Settings: &archive.TenantSettings{State: state, KEK: "kek"}}
	e, err := v.log.Append(c.t.Context(), f, nil)
	if err == nil {
		_, err = c.Index.Apply(c.t.Context(), c.Tenant, e)
	}
	if err != nil {
		c.t.Fatal(err)
	}
}

func TestUnknownTenant(t *testing.T) {
	c := newClinic(t)
	if _, err := c.Enter(t.Context(), "nobody"); !fault.Is(err, fault.NotFound) || fault.Message(err) != "there is no such tenant" {
		t.Errorf("got %v", err)
	}
	if _, err := c.Enter(t.Context(), "No/body"); !fault.Is(err, fault.NotFound) {
		t.Errorf("got %v", err)
	}
}

// TestDenial: whoever is inside is cut off with the reason, whoever comes is
// refused, and all is as before when the key is given again.
func TestDenial(t *testing.T) {
	c := newClinic(t)
	v := c.enter()
	u, file := image(1, 1)
	store(t, v.Archive, file)
	ctx, cancel := v.Within(t.Context())
	defer cancel()
	c.provider.Deny()
	select {
	case <-ctx.Done():
	case <-time.After(20 * time.Second):
		t.Fatal("a visit goes on without a key")
	}
	if cause := context.Cause(ctx); !fault.Is(cause, fault.KeyDenied) {
		t.Errorf("cut off because of %v", cause)
	}
	if err := v.Check(t.Context()); !fault.Is(err, fault.KeyDenied) {
		t.Errorf("a check says %v", err)
	}
	before, _ := c.provider.Calls()
	c.refuses("while somebody is still inside", fault.KeyDenied)
	v.Leave()
	c.refuses("when all have left", fault.KeyDenied)
	if after, _ := c.provider.Calls(); after != before {
		t.Error("something was wrapped under a key that is denied")
	}
	c.eventually("no keys are in memory", c.noKeys)
	c.provider.Allow()
	c.admits("granted again")
	w := c.enter()
	defer w.Leave()
	(&place{t: t}).wants(w.Archive, u, file)
	if res := store(t, w.Archive, file); res[0].Err != nil {
		t.Errorf("storing after the grant: %v", res[0].Err)
	}
}

// TestSilence: no answer is no denial until the grace is over.
func TestSilence(t *testing.T) {
	t.Parallel()
	c := newClinic(t, func(o *Options) { o.KeyGrace = 4 * time.Second }) // since the last proof, which on a busy machine is not of just now
	v := c.enter()
	c.provider.Silence()
	began := time.Now()
	for time.Since(began) < 500*time.Millisecond {
		if err := v.Check(t.Context()); err != nil {
			t.Fatalf("after %v: %v", time.Since(began), err)
		}
		time.Sleep(10 * time.Millisecond)
	}
	c.eventually("the grace ends", func() bool { return fault.Is(v.Check(t.Context()), fault.KeyUnreachable) })
	if time.Since(began) < 1500*time.Millisecond {
		t.Errorf("it ended after %v already", time.Since(began))
	}
	v.Leave()
	c.refuses("closed", fault.KeyUnreachable)
	c.provider.Allow()
	c.admits("answering again")
}

// TestIdle: nobody comes, the keys leave memory, and the next visit brings them back.
func TestIdle(t *testing.T) {
	t.Parallel()
	c := newClinic(t, func(o *Options) { o.IdleClose = 30 * time.Millisecond })
	v := c.enter()
	time.Sleep(2 * watchEvery)
	if err := v.Check(t.Context()); err != nil {
		t.Fatalf("a visit does not keep the archive open: %v", err)
	}
	v.Leave()
	c.eventually("keys leave memory", c.noKeys)
	_, before := c.provider.Calls()
	time.Sleep(3 * watchEvery)
	if _, after := c.provider.Calls(); after != before {
		t.Errorf("an idle tenant asked its provider %d times", after-before)
	}
	c.admits("coming back")
}

// TestStates: what a tenant fact says holds within a lease, and a suspended
// tenant's provider is not even asked.
func TestStates(t *testing.T) {
	c := newClinic(t)
	c.state(archive.TenantSuspended)
	c.refuses("suspended", fault.Forbidden)
	_, before := c.provider.Calls()
	time.Sleep(2 * watchEvery)
	c.refuses("suspended", fault.Forbidden)
	if _, after := c.provider.Calls(); after != before {
		t.Error("the provider of a suspended tenant was asked")
	}
}

func TestRevokedByFact(t *testing.T) {
	c := newClinic(t)
	v := c.enter()
	ctx, cancel := v.Within(t.Context())
	defer cancel()
	c.state(archive.TenantRevoked)
	select {
	case <-ctx.Done():
	case <-time.After(20 * time.Second):
		t.Fatal("a visit goes on")
	}
	if !errors.Is(context.Cause(ctx), ErrRevoked) {
		t.Errorf("cut off because of %v", context.Cause(ctx))
	}
	v.Leave()
	c.refuses("revoked", fault.KeyDenied)
}

// TestLimits: a tenant that asks too much is told so, and the limit can change while it is open.
func TestLimits(t *testing.T) {
	t.Parallel()
	x := newLimiter(archive.TenantLimits{Concurrent: 1})
	end, err := x.begin()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := x.begin(); !fault.Is(err, fault.TooMany) {
		t.Errorf("the second at once: %v", err)
	}
	end()
	if end, err = x.begin(); err != nil {
		t.Errorf("one after the other: %v", err)
	}
	x.set(archive.TenantLimits{RequestsPerSecond: 0.001})
	end()
	if _, err = x.begin(); err != nil {
		t.Errorf("the first in a long time: %v", err)
	}
	if _, err = x.begin(); !fault.Is(err, fault.TooMany) {
		t.Errorf("the next: %v", err)
	}
	x.set(archive.TenantLimits{BytesPerSecond: 1000})
	if err := x.pace(t.Context(), 1500); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := x.pace(ctx, 100_000); err == nil {
		t.Error("100 s of bytes passed in 10 ms")
	}
	x.set(archive.TenantLimits{})
	if err := x.pace(t.Context(), 1<<40); err != nil {
		t.Error(err)
	}
}

// TestInArchiveCut: what ends because the archive is cut off says why, and not that the caller has gone away.
func TestInArchiveCut(t *testing.T) {
	c := newClinic(t)
	cause := fault.New(fault.Unavailable, "cut off")
	for name, in := range map[string]func(f func(context.Context, *Archive) error) error{
		"cut": func(f func(context.Context, *Archive) error) error { return c.inArchive(t.Context(), c.Tenant, f) },
		"gone": func(f func(context.Context, *Archive) error) error {
			ctx, cancel := context.WithCancel(t.Context())
			return c.inArchive(ctx, c.Tenant, func(ctx context.Context, a *Archive) error { cancel(); return f(ctx, a) })
		},
	} {
		err := in(func(ctx context.Context, a *Archive) error {
			if name == "cut" {
				a.cut(cause)
			}
			<-ctx.Done()
			return fault.Wrap(fault.Canceled, ctx.Err(), "asking")
		})
		if want := map[string]fault.Kind{"cut": fault.Unavailable, "gone": fault.Canceled}[name]; !fault.Is(err, want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
