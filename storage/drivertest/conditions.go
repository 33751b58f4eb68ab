package drivertest

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/storage/driver"
)

func testIfAbsent(t *testing.T, h Harness) {
	d := h.New(t)
	want := pattern(1000, 1)
	first := mustPut(t, d, "t/x", want, driver.CreateOptions{IfAbsent: true})
	for _, size := range []int{1, 1000, 400_000} {
		_, err := put(t.Context(), d, "t/x", pattern(size, 2), driver.CreateOptions{IfAbsent: true})
		wantKind(t, err, fault.Exists)
	}
	wantBytes(t, d, "t/x", want)
	if a, err := d.Stat(t.Context(), "t/x"); err != nil || !h.sameAttrs(first, a) {
		t.Errorf("Stat %+v, %v; want %+v", a, err, first)
	}
	// The condition counts at Commit, not at Create.
	w, err := d.Create(t.Context(), "t/y", driver.CreateOptions{IfAbsent: true})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	mustPut(t, d, "t/y", []byte("first"), driver.CreateOptions{IfAbsent: true})
	if _, err := w.Write([]byte("second")); err == nil {
		_, err = w.Commit(t.Context())
		wantKind(t, err, fault.Exists)
	}
	wantBytes(t, d, "t/y", []byte("first"))
}

func testIfAbsentRace(t *testing.T, h Harness) {
	d := h.New(t)
	for round := range 5 {
		key := "t/race/" + string(rune('a'+round))
		var won atomic.Int32
		var winner atomic.Int32
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				_, err := put(t.Context(), d, key, pattern(5000+i, byte(i)), driver.CreateOptions{IfAbsent: true})
				switch {
				case err == nil:
					won.Add(1)
					winner.Store(int32(i))
				case !fault.Is(err, fault.Exists):
					t.Errorf("racing: %v", err)
				}
			})
		}
		wg.Wait()
		if won.Load() != 1 {
			t.Fatalf("%d of 8 concurrent creations succeeded", won.Load())
		}
		i := int(winner.Load())
		wantBytes(t, d, key, pattern(5000+i, byte(i)))
	}
}

func testOverwrite(t *testing.T, h Harness) {
	d := h.New(t)
	seen := map[string]bool{}
	for i := range 10 {
		a := mustPut(t, d, "t/x", pattern(100, byte(i)), driver.CreateOptions{})
		if seen[a.ETag] {
			t.Fatalf("two versions have the same ETag")
		}
		seen[a.ETag] = true
		wantBytes(t, d, "t/x", pattern(100, byte(i)))
	}
	// An aborted replacement leaves what was there.
	w, err := d.Create(t.Context(), "t/x", driver.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(pattern(300_000, 99)); err != nil {
		t.Fatal(err)
	}
	wantBytes(t, d, "t/x", pattern(100, 9))
	w.Abort()
	wantBytes(t, d, "t/x", pattern(100, 9))
}

func testIfMatch(t *testing.T, h Harness) {
	d := h.New(t)
	_, err := put(t.Context(), d, "t/x", []byte("v"), driver.CreateOptions{IfMatch: "none"})
	wantKind(t, err, fault.Conflict)
	wantAbsent(t, d, "t/x")
	v1 := mustPut(t, d, "t/x", []byte("v1"), driver.CreateOptions{IfAbsent: true})
	v2 := mustPut(t, d, "t/x", []byte("v2"), driver.CreateOptions{IfMatch: v1.ETag})
	_, err = put(t.Context(), d, "t/x", []byte("v3"), driver.CreateOptions{IfMatch: v1.ETag})
	wantKind(t, err, fault.Conflict)
	wantBytes(t, d, "t/x", []byte("v2"))
	if err := d.Delete(t.Context(), "t/x"); err != nil {
		t.Fatal(err)
	}
	_, err = put(t.Context(), d, "t/x", []byte("v4"), driver.CreateOptions{IfMatch: v2.ETag})
	wantKind(t, err, fault.Conflict)
	wantAbsent(t, d, "t/x")
	// The same bytes again are another version.
	if v5 := mustPut(t, d, "t/x", []byte("v2"), driver.CreateOptions{}); v5.ETag == v2.ETag {
		t.Error("an object made anew has its predecessor's ETag")
	}
}

func testIfMatchRace(t *testing.T, h Harness) {
	d := h.New(t)
	v := mustPut(t, d, "t/x", []byte("v"), driver.CreateOptions{})
	for range 5 {
		var won atomic.Int32
		var mu sync.Mutex
		var next driver.Attrs
		var wg sync.WaitGroup
		for i := range 6 {
			wg.Go(func() {
				a, err := put(t.Context(), d, "t/x", pattern(20, byte(i)), driver.CreateOptions{IfMatch: v.ETag})
				switch {
				case err == nil:
					won.Add(1)
					mu.Lock()
					next = a
					mu.Unlock()
				case !fault.Is(err, fault.Conflict):
					t.Errorf("racing: %v", err)
				}
			})
		}
		wg.Wait()
		if won.Load() != 1 {
			t.Fatalf("%d of 6 concurrent replacements of one version succeeded", won.Load())
		}
		v = next
	}
}
