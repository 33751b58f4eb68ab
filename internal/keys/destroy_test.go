package keys_test

import (
	"encoding/hex"
	"errors"
	"testing"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/keys"
	"github.com/strata-pacs/strata/storage"
	"github.com/strata-pacs/strata/storage/faultstore"
)

// TestDestroy: a key goes, from memory too, with all that is in escrow of it; another stays.
func TestDestroy(t *testing.T) {
	w := newWorld()
	r := w.open(t, "default")
	a, _ := newKey(t, r)
	b, _ := newKey(t, r)
	for _, folder := range []string{"00ff", "1234"} {
		for _, id := range []archive.KeyID{a, b} {
			if _, err := w.bucket.Put(t.Context(), "default/escrow/"+folder+"/"+hex.EncodeToString(id[:]), []byte("wrapped"), storage.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	for range 2 {
		if err := keys.Destroy(t.Context(), w.bucket, "default", a); err != nil {
			t.Fatal(err)
		}
	}
	r.Drop(a)
	if _, err := r.Secret(t.Context(), a); !errors.Is(err, keys.ErrAbsent) {
		t.Errorf("a destroyed key: %v", err)
	}
	if s, err := r.Secret(t.Context(), b); err != nil {
		t.Error(err)
	} else {
		s.Wipe()
	}
	for id, want := range map[archive.KeyID]bool{a: false, b: true} {
		if got, err := keys.Remains(t.Context(), w.bucket, "default", id); err != nil || got != want {
			t.Errorf("remains: %v, %v", got, err)
		}
	}
	if err := w.bucket.Delete(t.Context(), keys.KeyName("default", b)); err != nil {
		t.Fatal(err)
	}
	if got, err := keys.Remains(t.Context(), w.bucket, "default", b); err != nil || !got {
		t.Errorf("in escrow alone: %v, %v", got, err)
	}
}

// TestDropWhileFetching: a key that is dropped while it is fetched serves who asked, and is not kept.
func TestDropWhileFetching(t *testing.T) {
	w := newWorld()
	id, _ := newKey(t, w.open(t, "default"))
	r := w.open(t, "default")
	w.faults.Script(func(o faultstore.Op) faultstore.Decision {
		if o.Name == faultstore.Open {
			r.Drop(id)
		}
		return faultstore.Decision{}
	})
	if s, err := r.Secret(t.Context(), id); err != nil {
		t.Fatal(err)
	} else {
		s.Wipe()
	}
	w.faults.Script(nil)
	if err := keys.Destroy(t.Context(), w.bucket, "default", id); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Secret(t.Context(), id); !errors.Is(err, keys.ErrAbsent) {
		t.Errorf("the key is still in memory: %v", err)
	}
}
