package reconcile

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/index"
	"github.com/strata-pacs/strata/storage"
	"github.com/strata-pacs/strata/storage/driver"
	"github.com/strata-pacs/strata/storage/memstore"
)

// asked is an index that counts what it is asked.
type asked struct {
	*index.Index
	pages     []int  // packs that it was asked about together
	single    int    // and alone
	catchUps  int    // how often it was asked how far it is
	catchesUp func() // called then
}

func (a *asked) Unreferenced(ctx context.Context, t archive.Tenant, objects []string) ([]string, error) {
	a.pages = append(a.pages, len(objects))
	return a.Index.Unreferenced(ctx, t, objects)
}

func (a *asked) Referenced(ctx context.Context, t archive.Tenant, object string) (bool, error) {
	a.single++
	return a.Index.Referenced(ctx, t, object)
}

func (a *asked) Progress(ctx context.Context, t archive.Tenant) (map[string]archive.Progress, error) {
	if a.catchUps++; a.catchesUp != nil {
		f := a.catchesUp
		a.catchesUp = nil
		f()
	}
	return a.Index.Progress(ctx, t)
}

// TestReapByPages: packs are asked about a page at a time, and the log is read once, when the first is found that nothing
// seems to name, for the pages before and after it.
func TestReapByPages(t *testing.T) {
	w := newWorld(t)
	fact := w.settled(w.store(1, false, true)) // P1
	add := func(i int) string {
		name := fmt.Sprintf("%s/pack/A%05d", tenant, i)
		_, err := w.bucket.Put(t.Context(), name, []byte("x"), storage.CreateOptions{})
		w.do(err)
		return name
	}
	const packs = 3*reapPage + 7
	for i := range packs {
		fact.Packs = append(fact.Packs, archive.PackPlace{Object: add(i), Size: 1, Tier: archive.HotTier})
	}
	free := []int{reapPage + 3, packs - 2} // in the second page and the last
	for i, at := range free {
		fact.Packs = slices.Delete(fact.Packs, 1+at-i, 2+at-i)
	}
	w.write(fact, nil, true)
	w.store(2, true, false) // P2, which comes last, and whose fact is not indexed
	a := &asked{Index: w.index}
	w.rec.o.Index = a
	w.now = w.now.Add(2 * time.Hour)
	got, err := w.rec.Reap(t.Context())
	if err != nil || got.Packs != len(free) {
		t.Errorf("%+v, %v", got, err)
	}
	if want := []int{reapPage, reapPage, reapPage, 9}; !slices.Equal(a.pages, want) || a.single != len(free) {
		t.Errorf("asked about %v together and %d alone, want %v and %d", a.pages, a.single, want, len(free))
	}
	left := w.objects("pack/")
	if len(left) != packs-len(free)+2 || !slices.Contains(left, "pack/P2") || slices.Contains(left, fmt.Sprintf("pack/A%05d", free[0])) {
		t.Errorf("%d packs are left", len(left))
	}
	once := a.catchUps // Catchup asks twice
	if shown := w.shown(); once != 2 || !slices.Equal(shown, []string{"1 pack/P1", "2 pack/P2"}) {
		t.Errorf("%q after %d looks", shown, once)
	}
	// Nothing to be removed: the log is not read at all.
	if got, err := w.rec.Reap(t.Context()); err != nil || got != (Reaped{}) || a.catchUps != once {
		t.Errorf("%+v, %v; asked %d times more", got, err, a.catchUps-once)
	}
}

// TestReapWhatCameSince: a pack is as old as it was when Catchup began, however long it is until its store is listed: its
// fact may have come since.
func TestReapWhatCameSince(t *testing.T) {
	w := newWorld(t)
	cold := storage.New(memstore.New(memstore.Options{Now: func() time.Time { return w.now }}))
	list := []archive.Tier{{Name: archive.HotTier}, {Name: "cold", Store: "one"}}
	w.rec.o.Tiers = func() []archive.Tier { return list }
	w.rec.o.Tier = func(name archive.TierName) (*storage.Bucket, archive.Tier, bool) {
		if name == "cold" {
			return cold, list[1], true
		}
		return w.bucket, list[0], true
	}
	w.orphan(w.bucket)
	w.orphan(cold)
	w.now = w.now.Add(2 * time.Hour)
	a := &asked{Index: w.index, catchesUp: func() {
		w.orphan(cold)
		w.now = w.now.Add(3 * time.Hour)
	}}
	w.rec.o.Index = a
	if got, err := w.rec.Reap(t.Context()); err != nil || got.Packs != 2 {
		t.Errorf("%+v, %v", got, err)
	}
	if there, err := cold.Exists(t.Context(), string(tenant)+"/pack/P3"); err != nil || !there {
		t.Errorf("what came while the log was read is there: %v, %v", there, err)
	}
	if got, err := w.rec.Reap(t.Context()); err != nil || got.Packs != 1 {
		t.Errorf("the next time: %+v, %v", got, err)
	}
}

// untimed is a store whose answers to writes tell no time, as S3's.
type untimed struct{ driver.Driver }

func (u untimed) Create(ctx context.Context, key string, o driver.CreateOptions) (driver.Writer, error) {
	w, err := u.Driver.Create(ctx, key, o)
	return untimedWriter{w}, err
}

type untimedWriter struct{ driver.Writer }

func (w untimedWriter) Commit(ctx context.Context) (driver.Attrs, error) {
	a, err := w.Writer.Commit(ctx)
	a.Modified = time.Time{}
	return a, err
}

// TestTimeOfUntimedStore: a store that tells the time only of what is there has a clock, too: else nothing would ever be old in it.
func TestTimeOfUntimedStore(t *testing.T) {
	w := newWorld(t)
	w.bucket = storage.New(untimed{w.mem})
	w.reconciler()
	if at, err := w.rec.StoreTime(t.Context()); err != nil || !at.Equal(w.now) {
		t.Errorf("%v, %v; want %v", at, err, w.now)
	}
	if left := w.objects("clock/"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	w.orphan(w.bucket)
	w.now = w.now.Add(3 * time.Hour)
	w.reaps(Reaped{Packs: 1})
}
