package storage_test

import (
	"testing"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/storage"
	"github.com/strata-pacs/strata/storage/driver"
	"github.com/strata-pacs/strata/storage/faultstore"
	"github.com/strata-pacs/strata/storage/filestore"
)

func TestApart(t *testing.T) {
	open := func(dir string) driver.Driver {
		d, err := filestore.New(dir, filestore.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	dir := t.TempDir()
	one := faultstore.New(open(dir), nil)
	a, again, b := storage.New(one.Driver), storage.New(open(dir+"/")), storage.New(open(t.TempDir()))
	var apart storage.Apart
	for range 2 {
		for _, pair := range [][2]*storage.Bucket{{a, again}, {again, a}, {a, a}} {
			if err := apart.Check(t.Context(), pair[0], pair[1], "t/clock/"); !fault.Is(err, fault.Invalid) {
				t.Errorf("one folder: %v", err)
			}
		}
	}
	before := one.Ops()
	for range 2 {
		if err := apart.Check(t.Context(), a, b, "t/clock/"); err != nil {
			t.Errorf("two folders: %v", err)
		}
	}
	once := one.Ops() - before
	var other storage.Apart
	if err := other.Check(t.Context(), a, b, "t/clock/"); err != nil || one.Ops() != before+2*once {
		t.Errorf("what is apart is asked again: %v", err)
	}
	for _, b := range []*storage.Bucket{a, b} {
		for o, err := range b.All(t.Context(), "", "") {
			t.Errorf("left behind: %s, %v", o.Key, err)
		}
	}
	// What one has and the other lacks tells as much: nothing is written.
	if _, err := a.Put(t.Context(), "t/log/1", []byte{1}, storage.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	one.Script(func(op faultstore.Op) faultstore.Decision {
		if op.Name == faultstore.Create {
			t.Error("something is written to a store that can be told apart without")
		}
		return faultstore.Decision{}
	})
	if err := (&storage.Apart{}).Check(t.Context(), a, b, "t/clock/"); err != nil {
		t.Errorf("two folders, of which one has something: %v", err)
	}
	one.Script(nil)
	for _, pair := range [][2]*storage.Bucket{{a, again}, {again, a}} {
		if err := (&storage.Apart{}).Check(t.Context(), pair[0], pair[1], "t/clock/"); !fault.Is(err, fault.Invalid) {
			t.Errorf("one folder with something in it: %v", err)
		}
	}
	// Who cannot tell does not say that they are two.
	one.Script(func(op faultstore.Op) faultstore.Decision { return faultstore.Decision{Action: faultstore.FailBefore} })
	if err := (&storage.Apart{}).Check(t.Context(), a, b, "t/clock/"); err == nil || fault.Is(err, fault.Invalid) {
		t.Errorf("a store that fails: %v", err)
	}
	if err := (&storage.Apart{}).Check(t.Context(), b, a, "t/clock/"); err == nil || fault.Is(err, fault.Invalid) {
		t.Errorf("a store that fails: %v", err)
	}
}
