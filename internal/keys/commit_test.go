package keys_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/keys"
	"github.com/strata-pacs/strata/storage/faultstore"
)

func TestCommit(t *testing.T) {
	w := newWorld()
	r := w.open(t, "a")
	id, secret, obj, err := r.NewStudyKey(t.Context(), r.Ref("1.2.3"))
	if err != nil || obj.Name != keys.KeyName("a", id) || bytes.Contains(obj.Bytes, secret[:8]) {
		t.Fatalf("%s, %v", obj.Name, err)
	}
	if ok, _ := w.bucket.Exists(t.Context(), obj.Name); ok {
		t.Error("stored before Commit")
	}
	w.faults.Script(func(op faultstore.Op) faultstore.Decision {
		if op.Name == faultstore.Commit {
			return faultstore.Decision{Action: faultstore.FailAfter}
		}
		return faultstore.Decision{}
	})
	if err := r.Commit(t.Context(), obj); !fault.Is(err, fault.Unavailable) {
		t.Errorf("a store that fails: %v", err)
	}
	w.faults.Script(nil)
	if err := r.Commit(t.Context(), obj); err != nil { // it was there after all
		t.Errorf("a second attempt: %v", err)
	}
	_, _, other, err := r.NewStudyKey(t.Context(), r.Ref("1.2.3"))
	if err != nil {
		t.Fatal(err)
	}
	w.move(t, obj.Name, other.Name, nil)
	if err := r.Commit(t.Context(), other); !fault.Is(err, fault.Exists) {
		t.Errorf("over another object: %v", err)
	}
	if s, err := w.open(t, "a").Secret(t.Context(), id); err != nil || s != secret {
		t.Errorf("read back: %v", err)
	}

	// A key that is not stored is not served from memory.
	id, _, obj, err = r.NewStudyKey(t.Context(), r.Ref("1.2.4"))
	if err != nil {
		t.Fatal(err)
	}
	w.faults.Crash()
	if err := r.Commit(t.Context(), obj); err == nil {
		t.Fatal("committed to a dead store")
	}
	w.faults.Restart()
	if _, err := r.Secret(t.Context(), id); !errors.Is(err, keys.ErrAbsent) {
		t.Errorf("a key that is not stored: %v", err)
	}
}

func TestClose(t *testing.T) {
	w := newWorld()
	id, _ := newKey(t, w.open(t, "a"))
	r := w.open(t, "a")
	release := w.kek.Hold()
	defer release()
	_, before := w.kek.Calls()
	waiting := make(chan error)
	go func() {
		_, err := r.Secret(t.Context(), id)
		waiting <- err
	}()
	for n := before; n == before; _, n = w.kek.Calls() {
		// until the unwrap is under way
	}
	r.Close() // stops it
	if err := <-waiting; err == nil {
		t.Error("a key was served by a closed ring")
	}
	r.Close()
	for name, f := range map[string]func() error{
		"Secret":      func() error { _, err := r.Secret(t.Context(), id); return err },
		"fact key":    func() error { _, err := r.Secret(t.Context(), archive.KeyID{}); return err },
		"Derive":      func() error { _, err := r.Derive("x"); return err },
		"NewStudyKey": func() error { _, _, _, err := r.NewStudyKey(t.Context(), archive.Ref{}); return err },
	} {
		if err := f(); !fault.Is(err, fault.Unavailable) {
			t.Errorf("%s after Close: %v", name, err)
		}
	}
	for name, f := range map[string]func(){"Ref": func() { r.Ref("1") }, "Digest": func() { r.Digest() }} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s after Close gives a wrong hash", name)
				}
			}()
			f()
		}()
	}
}
