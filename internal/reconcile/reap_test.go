package reconcile

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/keys"
	"github.com/strata-pacs/strata/internal/pack"
	"github.com/strata-pacs/strata/storage"
	"github.com/strata-pacs/strata/storage/memstore"
)

// orphan writes a pack that no fact names, and returns its name.
func (w *world) orphan(b *storage.Bucket) string {
	w.t.Helper()
	s := pack.NewStage(w.t.Context(), b, w.packName, 20, nil)
	var in archive.Instance
	w.seal(s, &in, []byte("nobody was told that this is stored"))
	body, err := s.Finish(w.t.Context())
	w.do(err)
	defer body.Release()
	return strings.TrimPrefix(body.Object, string(tenant)+"/")
}

// otherKey has what comes be sealed under another key of the study.
func (w *world) otherKey() archive.KeyID {
	w.t.Helper()
	id, secret, object, err := w.ring.NewStudyKey(w.t.Context(), w.study())
	w.do(err)
	secret.Wipe()
	w.do(w.ring.Commit(w.t.Context(), object))
	w.key = id
	return id
}

// lose takes a key's object away, and returns what brings it back.
func (w *world) lose(id archive.KeyID) (back func()) {
	w.t.Helper()
	object, err := w.bucket.Get(w.t.Context(), keys.KeyName(tenant, id), 1<<20)
	w.do(err)
	w.do(w.bucket.Delete(w.t.Context(), keys.KeyName(tenant, id)))
	w.ring.Drop(id)
	return func() {
		_, err := w.bucket.Put(w.t.Context(), keys.KeyName(tenant, id), object, storage.CreateOptions{})
		w.do(err)
	}
}

func (w *world) reaps(want Reaped, left ...string) {
	w.t.Helper()
	got, err := w.rec.Reap(w.t.Context())
	w.do(err)
	if got.Bytes > 0 != (got.Packs > 0) {
		w.t.Errorf("%d bytes of %d packs", got.Bytes, got.Packs)
	}
	if got.Bytes = 0; got != want {
		w.t.Errorf("%+v, want %+v", got, want)
	}
	slices.Sort(left)
	if is := w.objects("pack/"); !slices.Equal(is, left) {
		w.t.Errorf("left: %q, want %q", is, left)
	}
}

// TestReapBesideUnread: a fact whose key is not there keeps what it may name, and nothing else; when
// the key is there again nothing is lost.
func TestReapBesideUnread(t *testing.T) {
	w := newWorld(t)
	first := w.key
	w.store(1, true, true) // P1
	second := w.otherKey()
	w.store(2, true, false)         // P2, in the log alone
	under2 := w.orphan(w.bucket)    // the fact may name this, for all that can be known
	w.do(w.bucketPut("pack/noise")) // and this
	w.key = first                   // but not this:
	under1 := w.orphan(w.bucket)    //
	back := w.lose(second)
	w.reaps(Reaped{}, "pack/P1", "pack/P2", under2, under1, "pack/noise")
	w.now = w.now.Add(3 * time.Hour)
	w.reaps(Reaped{Packs: 1, Kept: 3}, "pack/P1", "pack/P2", under2, "pack/noise")
	back()
	w.reaps(Reaped{Packs: 2}, "pack/P1", "pack/P2")
	if shown := w.shown(); !slices.Equal(shown, []string{"1 pack/P1", "2 pack/P2"}) {
		t.Errorf("the index shows %q", shown)
	}
}

// TestReapBesideUncommitted: so do settled facts, whose header tells it, and facts of which a pack is missing.
func TestReapBesideUncommitted(t *testing.T) {
	for _, how := range []string{"no key", "no pack"} {
		t.Run(how, func(t *testing.T) {
			w := newWorld(t)
			one := w.store(1, true, true) // P1
			first := w.key
			f := w.settled(one) // P2
			back := func() {}
			if how == "no pack" {
				f.Packs = append(f.Packs, archive.PackPlace{Object: string(tenant) + "/pack/P0", Size: 1, Tier: archive.HotTier})
			}
			w.write(f, nil, false)
			w.otherKey()
			free := w.orphan(w.bucket)
			if how == "no key" {
				back = w.lose(first)
			}
			w.now = w.now.Add(3 * time.Hour)
			w.reaps(Reaped{Packs: 1, Kept: 1}, "pack/P1", "pack/P2")
			if slices.Contains(w.objects("pack/"), free) {
				t.Error("what nothing may name is there still")
			}
			back()
			w.now = w.now.Add(3 * time.Hour)
			switch how {
			case "no key":
				w.reaps(Reaped{}, "pack/P1", "pack/P2") // P1 is let go of from now on
			case "no pack":
				w.reaps(Reaped{Kept: 1}, "pack/P1", "pack/P2")
			}
		})
	}
}

// TestReapOfTiers: packs that nothing names go from the stores of all tiers, by their clocks, once where a
// store has two addresses; what is another archive's stays.
func TestReapOfTiers(t *testing.T) {
	w := newWorld(t)
	behind := -48 * time.Hour // the clock of the cold store
	cold := storage.New(memstore.New(memstore.Options{Now: func() time.Time { return w.now.Add(behind) }}))
	list := []archive.Tier{{Name: archive.HotTier}, {Name: "warm"}, {Name: "cold", Store: "one"}, {Name: "cellar", Store: "one"}, {Name: "attic", Store: "other"}}
	w.rec.o.Tiers = func() []archive.Tier { return list }
	w.rec.o.Tier = func(name archive.TierName) (*storage.Bucket, archive.Tier, bool) {
		i := slices.IndexFunc(list, func(t archive.Tier) bool { return t.Name == name })
		if i < 0 {
			return nil, archive.Tier{}, false
		}
		if list[i].Store == "" {
			return w.bucket, list[i], true
		}
		return cold, list[i], true
	}
	there := func(want ...string) {
		t.Helper()
		var is []string
		for o, err := range cold.All(t.Context(), string(tenant)+"/", "") {
			w.do(err)
			is = append(is, strings.TrimPrefix(o.Key, string(tenant)+"/"))
		}
		if slices.Sort(want); !slices.Equal(is, want) {
			t.Errorf("in the cold store: %q, want %q", is, want)
		}
	}
	w.store(1, true, true) // P1
	whole, err := w.bucket.Get(t.Context(), string(tenant)+"/pack/P1", 1<<20)
	w.do(err)
	_, err = cold.Put(t.Context(), string(tenant)+"/pack/P1", whole, storage.CreateOptions{}) // a copy of what is in use
	w.do(err)
	ours := w.orphan(cold)
	destroyed := w.otherKey()
	dark := w.orphan(cold)
	w.write(&archive.Fact{Kind: archive.FactKeyClosed, Study: w.study(), Closed: []archive.KeyID{destroyed}}, nil, true)
	w.lose(destroyed)
	other := newWorld(t)
	other.packs = 50
	theirs := other.orphan(cold)
	_, err = cold.Put(t.Context(), string(tenant)+"/pack/noise", []byte("x"), storage.CreateOptions{})
	w.do(err)

	w.reaps(Reaped{}, "pack/P1")
	w.now = w.now.Add(50 * time.Minute) // by no clock longer than the grace
	young := fmt.Sprint("pack/", "P9")
	w.packs = 8
	w.key = w.otherKey()
	if name := w.orphan(cold); name != young {
		t.Fatal(name)
	}
	w.reaps(Reaped{}, "pack/P1")
	there("pack/P1", ours, dark, theirs, young, "pack/noise")
	w.now = w.now.Add(20 * time.Minute)
	w.reaps(Reaped{Packs: 2, Kept: 4}, "pack/P1") // what is kept is seen at both addresses
	there("pack/P1", theirs, young, "pack/noise")
	w.now = w.now.Add(time.Hour)
	w.reaps(Reaped{Packs: 1, Kept: 4}, "pack/P1")
	there("pack/P1", theirs, "pack/noise")
}
