package drivertest

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/storage/driver"
)

func testRoundTrip(t *testing.T, h Harness) {
	d := h.New(t)
	for i, size := range []int{0, 1, 4095, 4096, 64 << 10, 128 << 10, 128<<10 + 1, 1<<20 + 7, 9 << 20} {
		key := "t/pack/" + string(rune('a'+i))
		want := pattern(size, byte(i))
		for _, o := range []driver.CreateOptions{{IfAbsent: true}, {Size: int64(size)}} {
			before := time.Now().Add(-24 * time.Hour)
			a := mustPut(t, d, key, want, o)
			if a.Size != int64(size) || a.ETag == "" {
				t.Errorf("%d bytes: Commit says %+v", size, a)
			}
			s, err := d.Stat(t.Context(), key)
			if err != nil || !h.sameAttrs(a, s) {
				t.Errorf("%d bytes: Stat %+v, %v; Commit said %+v", size, s, err, a)
			}
			if !s.Modified.IsZero() && s.Modified.Before(before) && s.Modified.Year() > 2001 {
				t.Errorf("%d bytes: modified %v", size, s.Modified)
			}
			wantBytes(t, d, key, want)
		}
	}
}

func testRanges(t *testing.T, h Harness) {
	d := h.New(t)
	const size = 200_000
	want := pattern(size, 3)
	mustPut(t, d, "t/x", want, driver.CreateOptions{})
	for _, c := range []struct {
		off, n int64
		end    int64 // -1: RangeInvalid
		short  bool
	}{
		{0, -1, size, false}, {0, 0, 0, false}, {0, 1, 1, false}, {0, size, size, false}, {0, size + 1, size, true},
		{1, 10, 11, false}, {65536, 65536, 131072, false}, {size - 1, 1, size, false}, {size - 1, 2, size, true},
		{size, -1, size, false}, {size, 0, size, false}, {size, 1, size, true}, {size + 1, -1, -1, false}, {size + 1, 1, -1, false},
	} {
		got, err := get(t.Context(), d, "t/x", c.off, c.n)
		switch {
		case c.end < 0:
			wantKind(t, err, fault.RangeInvalid)
			continue
		case c.short && !errors.Is(err, io.ErrUnexpectedEOF), !c.short && err != nil:
			t.Errorf("%d bytes from %d: error %v", c.n, c.off, err)
		}
		if !bytes.Equal(got, want[c.off:c.end]) {
			t.Errorf("%d bytes from %d: %d wrong bytes", c.n, c.off, len(got))
		}
	}
}

func testOpenAt(t *testing.T, h Harness) {
	d := h.New(t)
	m := driver.OptionalOf(d).Mapper
	if m == nil {
		t.Skip("the driver has no OpenAt")
	}
	want := pattern(100_000, 4)
	mustPut(t, d, "t/x", want, driver.CreateOptions{})
	r, size, err := m.OpenAt(t.Context(), "t/x")
	if err != nil || size != int64(len(want)) {
		t.Fatalf("size %d, %v", size, err)
	}
	defer r.Close()
	p := make([]byte, 1000)
	if n, err := r.ReadAt(p, 50_000); n != 1000 || err != nil || !bytes.Equal(p, want[50_000:51_000]) {
		t.Errorf("read %d, %v", n, err)
	}
	if n, err := r.ReadAt(p, size-10); n != 10 || err != io.EOF {
		t.Errorf("read at the end: %d, %v", n, err)
	}
	// The bytes opened stay what they were when the object is replaced.
	mustPut(t, d, "t/x", pattern(10, 5), driver.CreateOptions{})
	if _, err := r.ReadAt(p, 0); err != nil || !bytes.Equal(p, want[:1000]) {
		t.Errorf("read after replacement: %v", err)
	}
	_, _, err = m.OpenAt(t.Context(), "t/none")
	wantKind(t, err, fault.NotFound)
}

func testAbsent(t *testing.T, h Harness) {
	d := h.New(t)
	wantAbsent(t, d, "t/none")
	wantAbsent(t, d, "none")
	mustPut(t, d, "t/log/1", []byte("x"), driver.CreateOptions{})
	for _, key := range []string{"t", "t/log", "t/log/1/2", "t/log/10"} {
		_, err := d.Stat(t.Context(), key)
		wantKind(t, err, fault.NotFound)
		_, err = d.Open(t.Context(), key, 0, -1)
		wantKind(t, err, fault.NotFound)
	}
}

func testStaged(t *testing.T, h Harness) {
	d := h.New(t)
	for _, size := range []int{10, 300_000} {
		w, err := d.Create(t.Context(), "t/staged", driver.CreateOptions{IfAbsent: true})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(pattern(size, 1)); err != nil {
			t.Fatal(err)
		}
		wantAbsent(t, d, "t/staged")
		w.Abort()
		wantAbsent(t, d, "t/staged")
	}
	all, err := keys(t.Context(), d, "", "", 100)
	if err != nil || len(all) != 0 {
		t.Errorf("listed %v, %v", all, err)
	}
}

func testWriterEnds(t *testing.T, h Harness) {
	d := h.New(t)
	w, err := d.Create(t.Context(), "t/x", driver.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	want := pattern(100, 1)
	buf := bytes.Clone(want)
	if n, err := w.Write(buf); n != 100 || err != nil {
		t.Fatalf("wrote %d, %v", n, err)
	}
	clear(buf) // a writer keeps nothing of the caller's
	if _, err := w.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.Abort()
	w.Abort()
	wantBytes(t, d, "t/x", want)
	if _, err := w.Write(want); err == nil {
		t.Error("a write after Commit succeeds")
	}
	if _, err := w.Commit(t.Context()); err == nil {
		t.Error("a second Commit succeeds")
	}
	wantBytes(t, d, "t/x", want)
}

func testDelete(t *testing.T, h Harness) {
	d := h.New(t)
	mustPut(t, d, "t/a", []byte("a"), driver.CreateOptions{})
	mustPut(t, d, "t/b", []byte("b"), driver.CreateOptions{})
	for range 2 {
		if err := d.Delete(t.Context(), "t/a"); err != nil {
			t.Fatal(err)
		}
		wantAbsent(t, d, "t/a")
	}
	if err := d.Delete(t.Context(), "never/there"); err != nil {
		t.Fatal(err)
	}
	wantBytes(t, d, "t/b", []byte("b"))
	mustPut(t, d, "t/a", []byte("again"), driver.CreateOptions{IfAbsent: true})
	wantBytes(t, d, "t/a", []byte("again"))
}

func testReserved(t *testing.T, h Harness) {
	d := h.New(t)
	mustPut(t, d, "t/log/1", []byte("a fact"), driver.CreateOptions{IfAbsent: true, Reserved: true, Size: 6})
	wantBytes(t, d, "t/log/1", []byte("a fact"))
	_, err := put(t.Context(), d, "t/log/1", []byte("other!"), driver.CreateOptions{IfAbsent: true, Reserved: true})
	wantKind(t, err, fault.Exists)
}

func testReopen(t *testing.T, h Harness) {
	if h.Reopen == nil {
		t.Skip("the store does not outlive its driver")
	}
	d := h.New(t)
	mustPut(t, d, "t/a", pattern(300_000, 1), driver.CreateOptions{IfAbsent: true})
	a := mustPut(t, d, "t/b", pattern(10, 2), driver.CreateOptions{})
	var staged []driver.Writer
	for _, o := range []driver.CreateOptions{{}, {IfAbsent: true}} {
		w, err := d.Create(t.Context(), "t/c", o)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(pattern(500_000, 3)); err != nil {
			t.Fatal(err)
		}
		staged = append(staged, w)
	}
	d2 := h.Reopen(t, d)
	wantBytes(t, d2, "t/a", pattern(300_000, 1))
	wantBytes(t, d2, "t/b", pattern(10, 2))
	if s, err := d2.Stat(t.Context(), "t/b"); err != nil || !h.sameAttrs(a, s) {
		t.Errorf("Stat %+v, %v; was %+v", s, err, a)
	}
	wantAbsent(t, d2, "t/c")
	for _, w := range staged {
		w.Abort()
	}
	wantAbsent(t, d2, "t/c")
	mustPut(t, d2, "t/c", []byte("c"), driver.CreateOptions{IfAbsent: true})
}
