package storage_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/storage"
	"github.com/strata-pacs/strata/storage/driver"
	"github.com/strata-pacs/strata/storage/memstore"
)

func TestCheckKey(t *testing.T) {
	for _, key := range []string{"a", "a/b", "default/log/01HZX/1", "A-Z_a.z/0..9", "...", ".a", "a.", strings.Repeat("a", 255),
		strings.Repeat("a/", 255) + "ab"} {
		if err := storage.CheckKey(key); err != nil {
			t.Errorf("%q: %v", key, err)
		}
	}
	for _, key := range []string{"", "/", "/a", "a/", "a//b", ".", "..", "a/.", "a/../b", "./a", "a b", "a\x00b", "ä", "a\\b", "a+b", "+ff/x",
		strings.Repeat("a", 256), "b/" + strings.Repeat("a", 256), strings.Repeat("a/", 300) + "a"} {
		if err := storage.CheckKey(key); !fault.Is(err, fault.Invalid) {
			t.Errorf("%q: %v", key, err)
		}
	}
}

func FuzzCheckKey(f *testing.F) {
	for _, s := range []string{"a/b", "..", "a//b", "x/.", "\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, key string) {
		if storage.CheckKey(key) != nil {
			return
		}
		for _, e := range strings.Split(key, "/") {
			if e == "" || e == "." || e == ".." || len(e) > 255 || strings.ContainsAny(e, "+ \\\x00") {
				t.Errorf("%q passes", key)
			}
		}
	})
}

func newBucket() *storage.Bucket { return storage.New(memstore.New(memstore.Options{})) }

func TestInvalid(t *testing.T) {
	b, ctx := newBucket(), t.Context()
	var errs []error
	note := func(err error) { errs = append(errs, err) }
	_, err := b.Create(ctx, "../x", storage.CreateOptions{})
	note(err)
	_, err = b.Create(ctx, "x", storage.CreateOptions{Size: -1})
	note(err)
	_, err = b.Create(ctx, "x", storage.CreateOptions{IfAbsent: true, IfMatch: "1"})
	note(err)
	_, err = b.Put(ctx, "", nil, storage.CreateOptions{})
	note(err)
	_, err = b.Open(ctx, "a//b", 0, -1)
	note(err)
	_, _, err = b.OpenAt(ctx, "..")
	note(err)
	_, err = b.Stat(ctx, "a/")
	note(err)
	_, err = b.List(ctx, "../", "", 1)
	note(err)
	_, err = b.List(ctx, "", "\x00", 1)
	note(err)
	note(b.Delete(ctx, "/etc/passwd"))
	note(b.Purge(ctx, "a/../b"))
	for i, err := range errs {
		if !fault.Is(err, fault.Invalid) {
			t.Errorf("call %d: %v", i, err)
		}
	}
}

func TestReads(t *testing.T) {
	b, ctx := newBucket(), t.Context()
	want := bytes.Repeat([]byte("0123456789abcdef"), 10_000)
	if _, err := b.Put(ctx, "x", want, storage.CreateOptions{IfAbsent: true}); err != nil {
		t.Fatal(err)
	}
	if p, err := b.Get(ctx, "x", int64(len(want))); err != nil || !bytes.Equal(p, want) {
		t.Errorf("Get: %d bytes, %v", len(p), err)
	}
	if _, err := b.Get(ctx, "x", int64(len(want))-1); !fault.Is(err, fault.TooLarge) {
		t.Errorf("Get of more than its limit: %v", err)
	}
	if p, err := b.ReadRange(ctx, "x", 100, 70_000); err != nil || !bytes.Equal(p, want[100:70_100]) {
		t.Errorf("ReadRange: %d bytes, %v", len(p), err)
	}
	if p, err := b.ReadRange(ctx, "x", 5, 0); err != nil || len(p) != 0 {
		t.Errorf("ReadRange of nothing: %d bytes, %v", len(p), err)
	}
	for _, c := range []struct {
		off, n int64
		want   fault.Kind
	}{{-1, 5, fault.RangeInvalid}, {0, -1, fault.TooLarge}, {0, storage.MaxRead + 1, fault.TooLarge}, {int64(len(want)) - 1, 2, fault.RangeInvalid}, {int64(len(want)) + 1, 1, fault.RangeInvalid}} {
		if _, err := b.ReadRange(ctx, "x", c.off, c.n); !fault.Is(err, c.want) {
			t.Errorf("%+v: %v", c, err)
		}
	}
	if _, err := b.Get(ctx, "none", 10); !fault.Is(err, fault.NotFound) {
		t.Errorf("Get of nothing: %v", err)
	}
}

// bare hides the optional interfaces of a driver.
type bare struct{ driver.Driver }

func TestOpenAtWithoutMapper(t *testing.T) {
	b, ctx := storage.New(bare{memstore.New(memstore.Options{})}), t.Context()
	if _, err := b.Put(ctx, "x", []byte("0123456789"), storage.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	r, size, err := b.OpenAt(ctx, "x")
	if err != nil || size != 10 {
		t.Fatal(size, err)
	}
	defer r.Close()
	for _, c := range []struct {
		off  int64
		n    int
		want string
		err  error
	}{{0, 10, "0123456789", nil}, {3, 4, "3456", nil}, {8, 5, "89", io.EOF}, {10, 1, "", io.EOF}, {11, 1, "", io.EOF}, {2, 0, "", nil}} {
		p := make([]byte, c.n)
		n, err := r.ReadAt(p, c.off)
		if string(p[:n]) != c.want || err != c.err {
			t.Errorf("%+v: %q, %v", c, p[:n], err)
		}
	}
	if err := b.Delete(ctx, "x"); err != nil {
		t.Fatal(err)
	}
	if _, err := r.ReadAt(make([]byte, 1), 0); !fault.Is(err, fault.NotFound) {
		t.Errorf("after Delete: %v", err)
	}
	if _, _, err := b.OpenAt(ctx, "x"); !fault.Is(err, fault.NotFound) {
		t.Errorf("of nothing: %v", err)
	}
}

func TestWriter(t *testing.T) {
	b, ctx := newBucket(), t.Context()
	w, err := b.Create(ctx, "x", storage.CreateOptions{Size: 3})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("ab")); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Commit(ctx); err == nil {
		t.Error("an object of another size than announced is committed")
	}
	if ok, err := b.Exists(ctx, "x"); ok || err != nil {
		t.Errorf("there: %v, %v", ok, err)
	}

	// After a failed Write there is nothing to commit.
	b = storage.New(failing{memstore.New(memstore.Options{})})
	if w, err = b.Create(ctx, "x", storage.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("a")); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("a short write: %v", err)
	}
	if _, err := w.Write([]byte("b")); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("a second write: %v", err)
	}
	if _, err := w.Commit(ctx); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("commit: %v", err)
	}
	w.Abort()
}

func TestAll(t *testing.T) {
	b, ctx := newBucket(), t.Context()
	for i := range 2500 {
		if _, err := b.Put(ctx, fmt.Sprintf("t/%05d", i), nil, storage.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	for o, err := range b.All(ctx, "t/", "t/00099") {
		if err != nil || o.Key != fmt.Sprintf("t/%05d", n+100) {
			t.Fatalf("%d: %v, %v", n, o, err)
		}
		n++
	}
	if n != 2400 {
		t.Errorf("%d objects", n)
	}
	for range b.All(ctx, "t/", "") {
		break
	}
	for _, err := range b.All(ctx, "//", "") {
		if !fault.Is(err, fault.Invalid) {
			t.Error(err)
		}
	}
}

func TestPurge(t *testing.T) {
	b, ctx := newBucket(), t.Context()
	if _, err := b.Put(ctx, "x", nil, storage.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := b.Purge(ctx, "x"); err != nil { // the driver keeps no versions
		t.Fatal(err)
	}
	if ok, _ := b.Exists(ctx, "x"); ok {
		t.Error("still there")
	}
}

// failing is a driver whose writers write short.
type failing struct{ driver.Driver }

func (f failing) Create(ctx context.Context, key string, o driver.CreateOptions) (driver.Writer, error) {
	w, err := f.Driver.Create(ctx, key, o)
	return short{w}, err
}

type short struct{ driver.Writer }

func (short) Write([]byte) (int, error) { return 0, nil }

// tiered is a store with classes and an archive.
type tiered struct {
	driver.Driver
	class map[string]string
}

func (d tiered) SetClass(_ context.Context, key, class string) error {
	d.class[key] = class
	return nil
}

func (d tiered) Thaw(_ context.Context, key string, _ driver.ThawOptions) error {
	if d.class[key] != "COLD" {
		return fault.New(fault.NotFound, "there is no such object")
	}
	return nil
}

func (d tiered) Locks() bool { return true }

func (d tiered) Lock(_ context.Context, key string, until time.Time) error {
	if d.class[key] == "" {
		return fault.New(fault.NotFound, "there is no such object")
	}
	d.class[key] = until.Format(time.DateOnly)
	return nil
}

func TestLock(t *testing.T) {
	until := time.Date(2036, 1, 2, 0, 0, 0, 0, time.UTC)
	plain := storage.New(memstore.New(memstore.Options{}))
	if err := plain.Lock(t.Context(), "a", until); err != nil {
		t.Errorf("a store that locks nothing: %v", err)
	}
	d := tiered{memstore.New(memstore.Options{}), map[string]string{"a": "COLD"}}
	b := storage.New(d)
	if err := b.Lock(t.Context(), "a", until); err != nil || d.class["a"] != "2036-01-02" {
		t.Errorf("%v, %v", d.class, err)
	}
	if err := b.Lock(t.Context(), "b", until); !fault.Is(err, fault.NotFound) {
		t.Errorf("what is not there: %v", err)
	}
	if err := b.Lock(t.Context(), "../a", until); !fault.Is(err, fault.Invalid) {
		t.Errorf("an impossible name: %v", err)
	}
}

func TestTiers(t *testing.T) {
	plain := storage.New(memstore.New(memstore.Options{}))
	if plain.HasClasses() {
		t.Error("a store in memory has classes")
	}
	for _, err := range []error{plain.SetClass(t.Context(), "a", "COLD"), plain.Thaw(t.Context(), "a", storage.ThawOptions{})} {
		if !fault.Is(err, fault.Invalid) {
			t.Errorf("a store without tiers: %v", err)
		}
	}
	b := storage.New(tiered{memstore.New(memstore.Options{}), map[string]string{}})
	if !b.HasClasses() {
		t.Error("a store with classes has none")
	}
	if err := b.Thaw(t.Context(), "a", storage.ThawOptions{}); !fault.Is(err, fault.NotFound) {
		t.Errorf("thawing what is not there: %v", err)
	}
	if err := b.SetClass(t.Context(), "a", "COLD"); err != nil {
		t.Error(err)
	}
	if err := b.Thaw(t.Context(), "a", storage.ThawOptions{}); err != nil {
		t.Error(err)
	}
	for _, err := range []error{b.SetClass(t.Context(), "../a", "COLD"), b.Thaw(t.Context(), "../a", storage.ThawOptions{})} {
		if !fault.Is(err, fault.Invalid) {
			t.Errorf("an impossible name: %v", err)
		}
	}
}
