package index

import (
	"context"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
)

// TestAvailability: study, series and instance are as available as the worst of their packs.
func TestAvailability(t *testing.T) {
	both(t, func(t *testing.T, e engine) {
		o := e(t)
		now := time.UnixMilli(1_700_000_000_000)
		o.Now = func() time.Time { return now }
		o.Nearline = func(tier archive.TierName) archive.Availability {
			switch tier {
			case "hot", "cold":
				return archive.Online
			case "deep":
				return archive.Nearline
			}
			return archive.Unavailable
		}
		x := openWith(t, o)
		ctx := context.Background()
		es, other := three("1.2"), three("1.3")
		for i := range other {
			other[i].N += 100
			other[i].Fact.ID = factID(other[i].N)
		}
		other[1].Fact.Instances[0].At.Object, other[1].Fact.Packs = "", nil
		apply(t, x, append(es, other...)...)
		first := settles(20, es[0], es[1]) // of series 1.2.1
		second := settles(21, es[2])       // of series 1.2.2
		apply(t, x, first, second)
		ref := es[0].Fact.Study
		wants := func(step string, study, one, two archive.Availability, place archive.TierName) {
			t.Helper()
			for _, f := range []archive.StudyFilter{{}, {UIDs: []string{"1.2", "1.3"}}, {All: [][]archive.Term{{{Tag: 0x00100010, Word: "muller"}}}}} {
				list := studies(t, x, f)
				if len(list) != 2 {
					t.Fatalf("%s: %d studies", step, len(list))
				}
				for _, s := range list {
					if s.UID == "1.2" && s.Tier != study || s.UID == "1.3" && s.Tier != archive.Online {
						t.Errorf("%s: study %s is %s", step, s.UID, s.Tier)
					}
				}
			}
			rows := instances(t, x, archive.UIDs{Study: "1.2"})
			byID, err := x.StudyByID(ctx, hospital, rows[0].StudyID)
			if err != nil || byID.Tier != study {
				t.Errorf("%s: by identity %+v, %v", step, byID, err)
			}
			list, err := x.SeriesOf(ctx, hospital, rows[0].StudyID)
			if err != nil || len(list) != 2 {
				t.Fatal(list, err)
			}
			for _, s := range list {
				want := map[string]archive.Availability{"1.2.1": one, "1.2.2": two}[s.UID]
				byUID, err := x.SeriesByUID(ctx, hospital, []string{s.UID})
				if err != nil || s.Tier != want || byUID[0].Tier != want {
					t.Errorf("%s: series %s is %s and %+v, %v", step, s.UID, s.Tier, byUID, err)
				}
				if got, err := x.SeriesByID(ctx, hospital, s.ID); err != nil || got.Tier != want {
					t.Errorf("%s: series %s by identity is %+v, %v", step, s.UID, got, err)
				}
			}
			for _, r := range rows {
				want, at := one, place
				if r.UIDs.Series == "1.2.2" {
					want, at = two, archive.HotTier
				}
				byUID, err := x.InstancesByUID(ctx, hospital, []string{r.UIDs.Instance})
				if err != nil || r.Tier != want || r.Place != at || byUID[0].Tier != want || byUID[0].Place != at {
					t.Errorf("%s: instance %s is %s in %s, or %+v, %v", step, r.UIDs.Instance, r.Tier, r.Place, byUID, err)
				}
			}
		}
		wants("settled", archive.Online, archive.Online, archive.Online, "hot")
		pack := first.Fact.Packs[0].Object
		apply(t, x, moves(30, ref, "hot", "cold", pack))
		wants("cold", archive.Online, archive.Online, archive.Online, "cold")
		apply(t, x, moves(31, ref, "", "deep", pack))
		wants("deep", archive.Nearline, archive.Nearline, archive.Online, "deep")
		if err := x.SetRestored(ctx, hospital, pack, now.Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		wants("restored", archive.Online, archive.Online, archive.Online, "deep")
		packs, err := x.Packs(ctx, hospital, ref)
		if err != nil || len(packs) != 2 || !packs[0].Restored.Equal(now.Add(time.Hour)) || !packs[1].Restored.IsZero() {
			t.Errorf("%+v, %v", packs, err)
		}
		apply(t, x, moves(29, ref, "", "cold", pack)) // an older one that comes late
		wants("restored, and a late fact", archive.Online, archive.Online, archive.Online, "deep")
		now = now.Add(2 * time.Hour)
		wants("the copy is gone", archive.Nearline, archive.Nearline, archive.Online, "deep")
		apply(t, x, moves(32, ref, "", "attic", pack))
		wants("a tier that is no longer there", archive.Unavailable, archive.Unavailable, archive.Online, "attic")
		apply(t, x, moves(33, ref, "attic", "hot", pack))
		wants("back", archive.Online, archive.Online, archive.Online, "hot")
	})
}
