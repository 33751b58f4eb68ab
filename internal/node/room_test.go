package node

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/retrieve"
	"github.com/strata-pacs/strata/storage/memstore"
)

// opened is how many archives are open.
func (c *clinic) opened() (n int) {
	for _, g := range c.allGates() {
		g.mu.Lock()
		if g.a != nil {
			n++
		}
		g.mu.Unlock()
	}
	return n
}

func (c *clinic) isOpen(t archive.Tenant) bool {
	g := c.gateOf(t)
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.a != nil
}

// TestRoom: the archive that nobody has been in for longest makes room, and one
// that somebody is in does not.
func TestRoom(t *testing.T) {
	c := newClinic(t, func(o *Options) { o.Open, o.KeyLease = 2, time.Minute })
	for _, name := range []archive.Tenant{"a", "b", "c"} {
		c.create(name)
	}
	c.visit("a").Leave()
	time.Sleep(2 * time.Millisecond)
	c.visit("b").Leave()
	c.visit("c").Leave()
	if c.isOpen("a") || !c.isOpen("b") || !c.isOpen("c") {
		t.Errorf("a %v, b %v, c %v: a was idle for longest", c.isOpen("a"), c.isOpen("b"), c.isOpen("c"))
	}
	b, a := c.visit("b"), c.visit("a") // c makes room
	if _, err := c.Enter(t.Context(), "c"); !fault.Is(err, fault.Busy) {
		t.Errorf("with somebody in all: %v", err)
	}
	if err := b.Check(t.Context()); err != nil {
		t.Errorf("who was inside is cut off: %v", err)
	}
	a.Leave()
	c.eventually("there is room again", func() bool {
		v, err := c.Enter(t.Context(), "c")
		if err == nil {
			v.Leave()
		}
		return err == nil
	})
	b.Leave()
	if n := c.opened(); n > 2 {
		t.Errorf("%d are open", n)
	}
}

// TestRoomOfTheDenied: who may not be opened pushes nobody out, and keeps no place.
func TestRoomOfTheDenied(t *testing.T) {
	c := newClinic(t, func(o *Options) { o.Open, o.KeyLease = 1, time.Minute })
	c.create("a")
	c.create("b")
	if err := c.Tenants().Revoke(t.Context(), "b"); err != nil {
		t.Fatal(err)
	}
	c.visit("a").Leave()
	for range 5 {
		if _, err := c.Enter(t.Context(), "b"); !fault.Is(err, fault.KeyDenied) {
			t.Fatal(err)
		}
	}
	if !c.isOpen("a") {
		t.Error("a was pushed out")
	}
	c.visit("a").Leave()
}

// TestRoomInARush: many tenants at once through few places; nobody who is inside
// is cut off, no place is lost.
func TestRoomInARush(t *testing.T) {
	const places = 3
	c := newClinic(t, func(o *Options) { o.Open, o.KeyLease = places, time.Minute })
	var names []archive.Tenant
	for i := range 8 {
		names = append(names, archive.Tenant(fmt.Sprintf("t%d", i)))
		c.create(names[i])
	}
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 25 {
				v, err := c.Enter(t.Context(), names[(i*(w+1)+w)%len(names)])
				if fault.Is(err, fault.Busy) || fault.Is(err, fault.Unavailable) {
					continue // told to come back
				}
				if err != nil {
					t.Error(err)
					return
				}
				ctx, cancel := v.Within(t.Context())
				if n := c.opened(); n > places {
					t.Errorf("%d are open", n)
				}
				if ctx.Err() != nil {
					t.Errorf("cut off: %v", context.Cause(ctx))
				}
				cancel()
				v.Leave()
			}
		})
	}
	wg.Wait()
	c.eventually("all places are there", func() bool {
		if !c.places.TryAcquire(int64(places - c.opened())) {
			return false
		}
		c.places.Release(int64(places - c.opened()))
		return true
	})
}

// TestShutdownWhileEntering: neither waits for the other's locks.
func TestShutdownWhileEntering(t *testing.T) {
	c := newClinic(t, func(o *Options) { o.Open, o.KeyLease = 1, time.Minute })
	c.create("a")
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range 30 {
			if v, err := c.Enter(t.Context(), []archive.Tenant{"a", c.Tenant}[i%2]); err == nil {
				v.Leave()
			}
		}
	})
	for range 3000 {
		c.Shutdown()
	}
	wg.Wait()
}

// TestManyTenants: memory does not grow with the tenants that were there, but
// with those that may be open.
func TestManyTenants(t *testing.T) {
	if testing.Short() {
		t.Skip("makes hundreds of tenants")
	}
	const tenants, places = 300, 32
	c := newClinic(t, func(o *Options) {
		o.Open, o.KeyLease, o.CacheBytes = places, time.Minute, 1<<20
		o.Driver = memstore.New(memstore.Options{})
	})
	u, file := image(1, 1)
	visit := func(i int) {
		name := archive.Tenant(fmt.Sprintf("t%d", i))
		c.create(name)
		v := c.visit(name)
		defer v.Leave()
		if res := store(t, v.Archive, file); res[0].Err != nil {
			t.Fatal(res[0].Err)
		}
		for range 2 {
			m, err := v.Retrieve.Metadata(t.Context(), name, u)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := v.Retrieve.JSON(t.Context(), name, u, ""); err != nil || m == nil {
				t.Fatal(err)
			}
		}
		if found, err := v.Retrieve.Find(t.Context(), name, u, retrieve.Files); err != nil || len(found) != 1 {
			t.Fatalf("%d found, %v", len(found), err)
		}
	}
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	for i := range 2 * places {
		visit(i)
	}
	full, began := heap(), runtime.NumGoroutine()
	for i := 2 * places; i < tenants; i++ {
		visit(i)
	}
	if n := c.opened(); n > places {
		t.Errorf("%d archives are open", n)
	}
	// What a tenant leaves behind: its objects, in this store, and its gate.
	grown := int64(heap()) - int64(full)
	if most := int64(tenants-2*places) * 40 << 10; grown > most {
		t.Errorf("the heap grew by %d KiB with %d tenants that are closed", grown>>10, tenants-2*places)
	}
	t.Logf("heap %d KiB with %d open, and %d KiB more after %d others; %d goroutines, then %d",
		full>>10, places, grown>>10, tenants-2*places, began, runtime.NumGoroutine())
	if n := runtime.NumGoroutine(); n > began+20 {
		t.Errorf("%d goroutines, of %d before", n, began)
	}
	if most := int64(headroom * c.o.CacheBytes); c.together.cached.Used() > most {
		t.Errorf("%d bytes are remembered, of %d", c.together.cached.Used(), most)
	}
}

// TestNothingIsRemembered: what closed archives remembered is given back.
func TestNothingIsRemembered(t *testing.T) {
	c := newClinic(t, func(o *Options) { o.Open, o.KeyLease = 1, time.Minute })
	c.create("a")
	c.create("b")
	u, file := image(1, 1)
	v := c.visit("a")
	store(t, v.Archive, file)
	if _, err := v.Retrieve.JSON(t.Context(), "a", u, ""); err != nil {
		t.Fatal(err)
	}
	if c.together.cached.Used() == 0 {
		t.Error("nothing is remembered while it is open")
	}
	v.Leave()
	c.visit("b").Leave()
	if n := c.together.cached.Used(); n != 0 {
		t.Errorf("%d bytes are remembered of an archive that is closed", n)
	}
}

// TestPaceFollows: who waits for bytes goes on when the limit is lifted.
func TestPaceFollows(t *testing.T) {
	x := newLimiter(archive.TenantLimits{BytesPerSecond: 1})
	done := make(chan error, 1)
	go func() { done <- x.pace(t.Context(), 1<<20) }()
	time.Sleep(10 * time.Millisecond)
	x.set(archive.TenantLimits{BytesPerSecond: 2})
	select {
	case err := <-done:
		t.Fatalf("it did not wait: %v", err)
	case <-time.After(10 * time.Millisecond):
	}
	x.set(archive.TenantLimits{})
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("it waits for the old limit")
	}
	// Whoever is cut off while waiting is told why.
	x.set(archive.TenantLimits{BytesPerSecond: 1})
	ctx, cut := context.WithCancelCause(t.Context())
	go func() { done <- x.pace(ctx, 1<<20) }()
	cut(ErrRevoked)
	if err := <-done; !fault.Is(err, fault.KeyDenied) {
		t.Errorf("cut off: %v", err)
	}
}
