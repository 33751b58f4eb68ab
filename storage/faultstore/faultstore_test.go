package faultstore_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/storage"
	"github.com/strata-pacs/strata/storage/driver"
	"github.com/strata-pacs/strata/storage/drivertest"
	"github.com/strata-pacs/strata/storage/faultstore"
	"github.com/strata-pacs/strata/storage/memstore"
)

func TestDriver(t *testing.T) {
	drivertest.Run(t, drivertest.Harness{New: func(*testing.T) driver.Driver {
		return faultstore.New(memstore.New(memstore.Options{}), nil).Driver
	}})
}

// TestShortReads: fewer bytes than asked for, without an error, break no promise.
func TestShortReads(t *testing.T) {
	script := func(op faultstore.Op) faultstore.Decision {
		if op.Name == faultstore.Read && op.Size > 1 {
			return faultstore.Decision{Action: faultstore.Short}
		}
		return faultstore.Decision{}
	}
	drivertest.Run(t, drivertest.Harness{New: func(*testing.T) driver.Driver {
		return faultstore.New(memstore.New(memstore.Options{}), script).Driver
	}})
}

func TestActions(t *testing.T) {
	const key = "t/log/1"
	for _, c := range []struct {
		name   faultstore.Name
		action faultstore.Action
		there  bool // the object, afterwards
	}{
		{faultstore.Create, faultstore.FailBefore, false},
		{faultstore.Create, faultstore.FailAfter, false},
		{faultstore.Write, faultstore.FailBefore, false},
		{faultstore.Write, faultstore.Short, false},
		{faultstore.Write, faultstore.FailAfter, false},
		{faultstore.Commit, faultstore.FailBefore, false},
		{faultstore.Commit, faultstore.FailAfter, true},
		{faultstore.Commit, faultstore.CrashBefore, false},
		{faultstore.Commit, faultstore.CrashAfter, true},
		{faultstore.Write, faultstore.CrashAfter, false},
	} {
		t.Run(fmt.Sprint(c.name, c.action), func(t *testing.T) {
			mem := memstore.New(memstore.Options{})
			f := faultstore.New(mem, func(op faultstore.Op) faultstore.Decision {
				if op.Name == c.name {
					return faultstore.Decision{Action: c.action}
				}
				return faultstore.Decision{}
			})
			_, err := storage.New(f).Put(t.Context(), key, []byte("a fact"), storage.CreateOptions{IfAbsent: true})
			if !fault.Is(err, fault.Unavailable) {
				t.Errorf("error %v", err)
			}
			_, err = mem.Stat(t.Context(), key)
			if there := err == nil; there != c.there {
				t.Errorf("there: %v", there)
			}
			crash := c.action == faultstore.CrashBefore || c.action == faultstore.CrashAfter
			if f.Crashed() != crash {
				t.Errorf("crashed: %v", f.Crashed())
			}
		})
	}
}

func TestReads(t *testing.T) {
	mem := memstore.New(memstore.Options{})
	want := bytes.Repeat([]byte("0123456789"), 10)
	if _, err := storage.New(mem).Put(t.Context(), "a", want, storage.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	own := fault.New(fault.Timeout, "too slow")
	f := faultstore.New(mem, nil)
	b := storage.New(f.Driver)
	set := func(d faultstore.Decision) {
		f.Script(func(op faultstore.Op) faultstore.Decision {
			if op.Name == faultstore.Read {
				return d
			}
			return faultstore.Decision{}
		})
	}
	set(faultstore.Decision{Action: faultstore.Cut, Err: own})
	r, err := b.Open(t.Context(), "a", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 100)
	if n, err := r.Read(p); n != 50 || !errors.Is(err, own) {
		t.Errorf("cut: %d, %v", n, err)
	}
	if n, err := r.Read(p); n != 0 || !errors.Is(err, own) {
		t.Errorf("after a cut: %d, %v", n, err)
	}
	set(faultstore.Decision{Action: faultstore.Flip})
	at, _, err := b.OpenAt(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	if n, err := at.ReadAt(p, 0); n != 100 || err != nil || bytes.Equal(p, want) || p[0] != want[0] {
		t.Errorf("flip: %d, %v", n, err)
	}
	set(faultstore.Decision{Action: faultstore.FailBefore, Err: own})
	if n, err := at.ReadAt(p, 0); n != 0 || !errors.Is(err, own) {
		t.Errorf("fail: %d, %v", n, err)
	}
}

func TestCrash(t *testing.T) {
	mem := memstore.New(memstore.Options{})
	f := faultstore.New(mem, nil)
	b := storage.New(f)
	if _, err := b.Put(t.Context(), "a", []byte("a"), storage.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	w, err := b.Create(t.Context(), "b", storage.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	r, err := b.Open(t.Context(), "a", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	f.Crash()
	dead := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, faultstore.ErrCrashed) {
			t.Errorf("%s: %v", what, err)
		}
	}
	_, err = b.Stat(t.Context(), "a")
	dead("stat", err)
	dead("delete", b.Delete(t.Context(), "a"))
	_, err = b.List(t.Context(), "", "", 1)
	dead("list", err)
	f.Restart()
	_, err = w.Write([]byte("b"))
	dead("a writer of before", err)
	_, err = io.ReadAll(r)
	dead("a reader of before", err)
	if ok, err := b.Exists(t.Context(), "b"); ok || err != nil {
		t.Errorf("%v, %v", ok, err)
	}
	if p, err := b.Get(t.Context(), "a", 10); err != nil || string(p) != "a" {
		t.Errorf("%q, %v", p, err)
	}
}

// TestRandom: a seed gives the same faults again.
func TestRandom(t *testing.T) {
	run := func(seed uint64) string {
		f := faultstore.New(memstore.New(memstore.Options{}),
			faultstore.Random(seed, map[faultstore.Name]float64{faultstore.Commit: .5}, faultstore.FailBefore, faultstore.FailAfter))
		b := storage.New(f)
		var out strings.Builder
		for i := range 40 {
			key := fmt.Sprintf("k/%d", i)
			_, err := b.Put(t.Context(), key, []byte(key), storage.CreateOptions{})
			there, _ := b.Exists(t.Context(), key)
			fmt.Fprint(&out, err == nil, there, " ")
		}
		return out.String()
	}
	one := run(1)
	if one != run(1) {
		t.Error("the same seed gives other faults")
	}
	if one == run(2) {
		t.Error("another seed gives the same faults")
	}
	for _, want := range []string{"true true", "false true", "false false"} {
		if !strings.Contains(one, want) {
			t.Errorf("no %q in %s", want, one)
		}
	}
	f := faultstore.New(memstore.New(memstore.Options{}), faultstore.At(2, faultstore.CrashAfter))
	_, err := storage.New(f).Put(t.Context(), "k", []byte("k"), storage.CreateOptions{})
	if !errors.Is(err, faultstore.ErrCrashed) || f.Ops() != 2 {
		t.Errorf("%d operations, %v", f.Ops(), err)
	}
}
