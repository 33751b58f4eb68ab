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

// TestAvailabilityOfWhatIsShown: packs count in which something lies that is shown, and no others.
func TestAvailabilityOfWhatIsShown(t *testing.T) {
	both(t, func(t *testing.T, e engine) {
		o := e(t)
		o.Nearline = func(tier archive.TierName) archive.Availability {
			if tier == "deep" {
				return archive.Nearline
			}
			return archive.Online
		}
		x := openWith(t, o)
		es := three("1.2")
		ref := es[0].Fact.Study
		wants := func(step string, study, one, two archive.Availability) {
			t.Helper()
			list := studies(t, x, archive.StudyFilter{})
			if len(list) != 1 || list[0].Tier != study {
				t.Fatalf("%s: %+v", step, list)
			}
			series, err := x.SeriesOf(context.Background(), hospital, list[0].ID)
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range series {
				if want := map[string]archive.Availability{"1.2.1": one, "1.2.2": two}[s.UID]; s.Tier != want {
					t.Errorf("%s: series %s is %s, not %s", step, s.UID, s.Tier, want)
				}
			}
		}
		blobs := []archive.BlobID{es[0].Fact.Instances[0].Blob, es[1].Fact.Instances[0].Blob, es[2].Fact.Instances[0].Blob}
		apply(t, x, es...)
		first, second, third := settles(20, es[0]), settles(21, es[1]), settles(22, es[2]) // two of one series, and one
		apply(t, x, first, second, third, moves(30, ref, "hot", "deep", first.Fact.Packs[0].Object, third.Fact.Packs[0].Object))
		wants("all", archive.Nearline, archive.Nearline, archive.Nearline)
		apply(t, x, deletes(40, archive.UIDs{Study: "1.2", Series: "1.2.1", Instance: es[0].Fact.Instances[0].UIDs.Instance}, blobs[0]))
		wants("one deleted", archive.Nearline, archive.Online, archive.Nearline)
		apply(t, x, deletes(41, archive.UIDs{Study: "1.2", Series: "1.2.2"}, blobs[2]))
		wants("the other, too", archive.Online, archive.Online, "")
		apply(t, x, undeletes(42, "1.2", []uint64{40}, blobs[0]))
		wants("back", archive.Nearline, archive.Nearline, "")
		apply(t, x, deletes(43, archive.UIDs{Study: "1.2"}, blobs[0]), settles(44, first, second, third))
		apply(t, x, moves(45, ref, "hot", "deep", "hospital/pack/44"))
		wants("settled together", archive.Nearline, archive.Nearline, "")
		apply(t, x, undeletes(46, "1.2", []uint64{41}, blobs[2]), deletes(47, archive.UIDs{Study: "1.2"}, blobs[1]))
		wants("a pack of which some are shown", archive.Nearline, "", archive.Nearline)

		again := ctSpec // a version that is hidden is in no hurry either
		again.study, again.series, again.instance = "1.2", "1.2.2", es[2].Fact.Instances[0].UIDs.Instance
		late := sealedUnder(stored(50, again), keyNamed("1.2", "a"))
		apply(t, x, late, settles(51, es[2]), settles(52, late), moves(53, ref, "hot", "deep", "hospital/pack/52"))
		wants("a hidden version", archive.Online, "", archive.Online)

		// What an older version mapped and did not count keeps people waiting, as it did then, until it is settled anew.
		err := x.inWriter(context.Background(), hospital, func(b *batch, tn *tenant) error {
			return b.c.exec(`INSERT INTO pack_series (series, pack) SELECT (SELECT series FROM pack_series WHERE pack = (SELECT id FROM packs WHERE tenant = ? AND name = ?)), id
				FROM packs WHERE tenant = ? AND name = ?`, tn.id, "hospital/pack/51", tn.id, "hospital/pack/52")
		})
		if err != nil {
			t.Fatal(err)
		}
		wants("not counted", archive.Nearline, "", archive.Nearline)
		apply(t, x, settles(57, es[2]))
		wants("counted", archive.Online, "", archive.Online)
	})
}
