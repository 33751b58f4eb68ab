package index

import (
	"context"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
)

// TestKeepCopy: a copy that a move left stays longer, unless it is about to go; facts that come late do not shorten that, and
// one that comes later in the log prolongs it.
func TestKeepCopy(t *testing.T) {
	both(t, func(t *testing.T, e engine) {
		o := e(t)
		now := time.UnixMilli(1_700_000_000_000)
		o.Now = func() time.Time { return now }
		o.Nearline = func(tier archive.TierName) archive.Availability {
			if tier == "deep" {
				return archive.Nearline
			}
			return archive.Online
		}
		x := openWith(t, o)
		ctx := context.Background()
		es := three("1.2")
		apply(t, x, es...)
		first := settles(20, es...)
		apply(t, x, first)
		ref, pack := es[0].Fact.Study, first.Fact.Packs[0].Object
		apply(t, x, moves(30, ref, "hot", "deep", pack))
		moved := now
		before := usage(t, x)
		keep := func(tier archive.TierName, last, since, until time.Time, want bool) {
			t.Helper()
			if kept, err := x.KeepCopy(ctx, hospital, pack, tier, last, since, until); err != nil || kept != want {
				t.Errorf("kept %v, %v", kept, err)
			}
		}
		is := func(since, restored time.Time, tier archive.Availability) {
			t.Helper()
			list, err := x.DoomedCopies(ctx, hospital, pack)
			if err != nil || len(list) != 1 || !list[0].Since.Equal(since) || list[0].Tier != "hot" || !list[0].Moved {
				t.Errorf("%+v %v, since %s wanted", list, err, since)
			}
			packs, err := x.Packs(ctx, hospital, ref)
			if err != nil || !packs[0].Restored.Equal(restored) {
				t.Errorf("%+v %v, until %s wanted", packs, err, restored)
			}
			if rows := instances(t, x, archive.UIDs{Study: "1.2"}); rows[0].Tier != tier {
				t.Errorf("it is %s, %s wanted", rows[0].Tier, tier)
			}
		}
		is(moved, time.Time{}, archive.Nearline)
		day := 24 * time.Hour
		now = now.Add(time.Hour)
		keep("hot", moved, now.Add(day), now.Add(day), false) // about to go
		keep("cold", moved.Add(-1), now.Add(day), now.Add(day), false)
		is(moved, time.Time{}, archive.Nearline)
		keep("hot", moved.Add(-time.Minute), now.Add(2*day), now.Add(3*day), true)
		is(now.Add(2*day), now.Add(3*day), archive.Online)
		keep("hot", moved, now.Add(day), now.Add(day), true) // less than it has
		is(now.Add(2*day), now.Add(3*day), archive.Online)
		for _, out := range apply(t, x, moves(30, ref, "hot", "deep", pack), moves(29, ref, "hot", "attic", pack)) {
			if out.Err != nil {
				t.Error(out.Err)
			}
		}
		is(now.Add(2*day), now.Add(3*day), archive.Online)
		before["hot"] = [2]int64{before["hot"][0] + 1, before["hot"][1] + 1000} // the entry of the log that came late
		if u := usage(t, x); u["hot"] != before["hot"] || u["deep"] != before["deep"] {
			t.Errorf("usage %v, was %v", u, before)
		}
		now = now.Add(3 * day)
		is(now.Add(-day), now, archive.Nearline)
		// Back, and away again: the later move's time counts.
		apply(t, x, moves(40, ref, "deep", "hot", pack))
		keep("hot", moved.Add(-day), now, now, false)
		apply(t, x, moves(41, ref, "hot", "deep", pack))
		list, err := x.DoomedCopies(ctx, hospital, pack)
		if err != nil || len(list) != 1 || !list[0].Since.Equal(now) {
			t.Errorf("%+v %v", list, err)
		}
	})
}
