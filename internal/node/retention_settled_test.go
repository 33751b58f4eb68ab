package node

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/remove"
	"github.com/strata-pacs/strata/internal/retention"
	"github.com/strata-pacs/strata/storage/driver"
	"github.com/strata-pacs/strata/storage/memstore"
)

// locks remembers what a store was told to lock.
type locks struct {
	mu    sync.Mutex
	until map[string]time.Time
}

func (l *locks) Lock(_ context.Context, key string, until time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.until[key] = until
	return nil
}

func (l *locks) Locks() bool { return true }

// TestPacksAreLocked: the packs of a settled study, and nothing else, for as long as the study must be kept.
func TestPacksAreLocked(t *testing.T) {
	l := &locks{until: map[string]time.Time{}}
	p := newPlace(t)
	p.o.Driver = driver.Join(memstore.New(memstore.Options{}), driver.Optional{Locker: l})
	a := p.open()
	defer p.close(a)
	u, file := slice(1, 1, "Fern^Ada")
	stores(t, a, file)
	ref := a.ring.Ref(u.Study)
	if _, err := a.Settle.Settle(t.Context(), ref); err != nil {
		t.Fatal(err)
	}
	if err := a.LockPacks(t.Context(), ref); err != nil || len(l.until) != 0 {
		t.Fatalf("where nothing is demanded: %v, %v", l.until, err)
	}
	if _, err := a.Keep.SetRules(t.Context(), []byte(`{"set":"de"}`), "alice"); err != nil {
		t.Fatal(err)
	}
	if err := a.LockPacks(t.Context(), ref); err != nil || len(l.until) != 1 {
		t.Fatalf("%v, %v", l.until, err)
	}
	for key, until := range l.until {
		if !strings.Contains(key, "/pack/") || until.Before(time.Now().AddDate(28, 0, 0)) || until.After(time.Now().AddDate(28, 0, 3)) {
			t.Errorf("%s is locked until %v", key, until)
		}
	}
}

// TestHeldBytesStay: what was deleted before a hold is not purged under it, and comes back from a settled study.
func TestHeldBytesStay(t *testing.T) {
	q := newQuiet(t, Settling{Hold: 24 * time.Hour})
	defer func() { q.close(q.a) }()
	ctx := t.Context()
	q.fill(4)
	moment := q.o.Now()
	time.Sleep(2 * time.Millisecond)
	gone, file := slice(2, 1, "Fern^Ada")
	q.deletes(gone)
	hold, err := q.a.Keep.Hold(ctx, retention.HoldTarget{Study: quietStudy}, "case", "alice")
	if err != nil {
		t.Fatal(err)
	}
	q.passes(40 * time.Hour)
	q.settles()
	if d, err := q.a.Index.Deletions(ctx, q.a.Tenant, archive.UIDs{Study: quietStudy}); err != nil || len(d) != 1 {
		t.Fatalf("under a hold %d deleted blobs are there, %v", len(d), err)
	}
	if r := rewinds(t, q.a, remove.Rewind{At: moment}); r.Instances != 1 {
		t.Errorf("%+v", r)
	}
	q.want[gone] = file
	q.reads("brought back")
	for _, by := range []string{"alice", "bob"} {
		if _, err := q.a.Keep.Release(ctx, hold.ID, "settled", by); err != nil {
			t.Fatal(err)
		}
	}
	q.deletes(gone)
	q.passes(24*time.Hour + 10*time.Minute)
	if r := rewinds(t, q.a, remove.Rewind{At: moment}); r.Instances != 0 || r.TooLate != 1 {
		t.Errorf("what is about to be dropped: %+v", r)
	}
	q.passes(16 * time.Hour)
	q.settles()
	if d, err := q.a.Index.Deletions(ctx, q.a.Tenant, archive.UIDs{Study: quietStudy}); err != nil || len(d) != 0 {
		t.Errorf("after the hold %d deleted blobs are there, %v", len(d), err)
	}
	if r := rewinds(t, q.a, remove.Rewind{At: moment}); r.Instances != 0 {
		t.Errorf("what was purged comes back: %+v", r)
	}
}
