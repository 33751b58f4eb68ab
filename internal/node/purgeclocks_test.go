package node

import (
	"strings"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
)

const month = 30 * 24 * time.Hour

// TestPurgeByTwoClocks: whichever clock is wrong, and in which direction, a deletion can be undone for the whole window, and
// is dropped after it.
func TestPurgeByTwoClocks(t *testing.T) {
	for _, c := range []struct {
		name            string
		deleted, purged time.Duration // how far the node's clock is ahead of the store's, then
		sleeps          bool          // the index is made anew in between
	}{
		{"both are right", 0, 0, false},
		{"the node that purges is a month ahead", 0, month, false},
		{"it is a month behind", 0, -month, false},
		{"the node that deleted was a month behind", -month, 0, false},
		{"it was a month behind, and the index is made anew", -month, 0, true},
		{"it was a month ahead", month, 0, false},
		{"one was behind and the other is ahead", -month, month, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			q := newQuiet(t, Settling{Hold: 24 * time.Hour})
			defer func() { q.close(q.a) }()
			// off has the node's clock differ from the store's, which goes on as it did.
			off := func(d time.Duration) {
				q.ahead.Add(int64(d) - q.behind.Load())
				q.behind.Store(int64(d))
			}
			q.fill(4)
			q.settles()
			off(c.deleted)
			gone, _ := slice(2, 1, "Fern^Ada")
			q.deletes(gone)
			if c.sleeps {
				q.rebuilt("deleted")
			}
			left := func() int {
				d, err := q.a.Index.Deletions(t.Context(), q.a.Tenant, archive.UIDs{Study: quietStudy})
				if err != nil {
					t.Fatal(err)
				}
				return len(d)
			}
			off(c.purged)
			q.passes(24 * time.Hour)
			r := q.settles()
			if left() != 1 || r.Dropped != 0 {
				t.Fatalf("dropped within the window: %+v", r)
			}
			if c.deleted <= 0 && c.purged >= 0 && (r.Next.Before(q.o.Now()) || r.Next.After(q.o.Now().Add(2*time.Hour))) {
				t.Errorf("to be looked at in %v", r.Next.Sub(q.o.Now()))
			}
			if q.passes(2 * time.Hour); c.deleted > 0 || c.purged < 0 { // then the later of the two counts
				q.passes(month)
			}
			if r := q.settles(); left() != 0 || r.Dropped != 1 {
				t.Errorf("not dropped after the window: %+v", r)
			}
			q.reads("dropped")
			q.rebuilt("dropped")
		})
	}
}

// TestPeriodsByTwoClocks: a node that is twenty years ahead deletes and shreds nothing that must be kept, and once the store's clock
// agrees it does.
func TestPeriodsByTwoClocks(t *testing.T) {
	q := newQuiet(t, Settling{})
	defer func() { q.close(q.a) }()
	ctx := t.Context()
	q.fill(2)
	if _, err := q.a.Keep.SetRules(ctx, []byte(`{"rules":[{"name":"house","years":12}]}`), "alice"); err != nil {
		t.Fatal(err)
	}
	const years = 20 * 366 * 24 * time.Hour
	q.ahead.Store(int64(years))
	q.behind.Store(int64(years))
	scope := archive.UIDs{Study: quietStudy}
	if err := q.a.Remove.Delete(ctx, q.a.Tenant, scope); !fault.Is(err, fault.Conflict) || !strings.Contains(err.Error(), "must be kept until") {
		t.Errorf("deleting by a clock that is ahead: %v", err)
	}
	if _, err := q.a.Shred.Shred(ctx, archive.ShredTarget{Study: quietStudy}); !fault.Is(err, fault.Conflict) {
		t.Errorf("shredding by a clock that is ahead: %v", err)
	}
	q.behind.Store(0)
	q.passes(time.Hour) // the store is asked again
	if err := q.a.Remove.Delete(ctx, q.a.Tenant, scope); err != nil {
		t.Errorf("when both agree: %v", err)
	}
}
