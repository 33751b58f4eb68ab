package index

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/strata-pacs/strata/internal/archive"
)

// TestPlaces: what rules look at beside a study's life follows the facts.
func TestPlaces(t *testing.T) {
	both(t, func(t *testing.T, e engine) {
		x := openTest(t, e)
		ctx := context.Background()
		one, two, none := three("1.2.3"), three("1.2.4"), fakeKeys(hospital).Ref("9.9")
		for i := range two { // other objects than the first study's
			two[i] = stored(uint64(30+i), spec{study: "1.2.4", series: "1.2.4.1", instance: "1.2.4.1." + string(rune('1'+i)), modality: "MR"})
		}
		apply(t, x, append(slices.Clone(one), two...)...)
		studies := []archive.Ref{two[0].Fact.Study, none, one[0].Fact.Study}
		places := func(when string, want ...archive.StudyPlace) {
			t.Helper()
			got, err := x.Places(ctx, hospital, studies...)
			if err != nil {
				t.Fatal(err)
			}
			for i := range got {
				slices.Sort(got[i].Tiers)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", when, diff)
			}
		}
		hot, cold := []archive.TierName{"hot"}, []archive.TierName{"cold"}
		places("stored", archive.StudyPlace{}, archive.StudyPlace{Settled: true}, archive.StudyPlace{Tiers: hot})
		settled := settles(50, one...)
		apply(t, x, settled)
		places("settled", archive.StudyPlace{}, archive.StudyPlace{Settled: true}, archive.StudyPlace{Tiers: hot, Settled: true})
		if n, err := x.LetGo(ctx, hospital, "hot"); err != nil || n == 0 {
			t.Errorf("%d bytes are let go of, %v", n, err)
		}
		before, _ := x.LetGo(ctx, hospital, "hot")
		apply(t, x, moves(51, settled.Fact.Study, "hot", "cold", settled.Fact.Packs[0].Object))
		places("moved", archive.StudyPlace{}, archive.StudyPlace{Settled: true}, archive.StudyPlace{Tiers: cold, Settled: true})
		if after, err := x.LetGo(ctx, hospital, "hot"); err != nil || after <= before {
			t.Errorf("%d bytes are let go of, %d before the move, %v", after, before, err)
		}
		if n, err := x.LetGo(ctx, hospital, "cold"); err != nil || n != 0 {
			t.Errorf("%d bytes of the cold tier are let go of, %v", n, err)
		}
		late := sealedUnder(stored(60, spec{study: "1.2.3", series: "1.2.3.9", instance: "1.2.3.9.1", modality: "CT"}), keyNamed("1.2.3", "a"))
		apply(t, x, late)
		places("and one came late", archive.StudyPlace{}, archive.StudyPlace{Settled: true}, archive.StudyPlace{Tiers: cold})
		if got, err := x.Places(ctx, hospital); err != nil || len(got) != 0 {
			t.Errorf("of no study: %v, %v", got, err)
		}
	})
}

// TestPending: that there is something to do is known without keys, and is what Due and Doomed say.
func TestPending(t *testing.T) {
	both(t, func(t *testing.T, e engine) {
		o := e(t)
		x := openWith(t, o)
		ctx := context.Background()
		long := factID(99).Time().Add(1000 * time.Hour)
		pending := func(when string, now, letGo time.Time, want bool) {
			t.Helper()
			got, err := x.Pending(ctx, hospital, now, letGo, time.Time{})
			if err != nil || got != want {
				t.Errorf("%s: %v, %v, want %v", when, got, err, want)
			}
		}
		pending("nothing is known", long, long, false)
		one := three("1.2.3")
		apply(t, x, one...)
		pending("not yet quiet", one[2].Fact.ID.Time(), time.Time{}, false)
		pending("quiet", long, time.Time{}, true)
		life := lifeOf(t, x, "1.2.3")
		setDue(t, x, life.Next(time.Time{}))
		pending("never due", long, time.Time{}, false)
		if err := x.AllDue(ctx, hospital); err != nil {
			t.Fatal(err)
		}
		pending("the rules changed", time.UnixMilli(1), time.Time{}, true)
		lives, all, err := x.Due(ctx, hospital, time.UnixMilli(1), archive.DuePlace{}, 9)
		if err != nil || len(lives) != 1 {
			t.Fatal(lives, err)
		}
		setDue(t, x, lives[0].Next(long))
		pending("not all are judged", time.UnixMilli(1), time.Time{}, true)
		if err := x.Judged(ctx, hospital, all); err != nil {
			t.Fatal(err)
		}
		pending("due later", long.Add(-time.Hour), time.Time{}, false)
		pending("due now", long, time.Time{}, true)

		// Without the tenant's keys.
		shut := o
		shut.Keys = func(context.Context, archive.Tenant) (Keys, error) {
			t.Error("keys are asked for")
			return nil, errClosed
		}
		blind := openWith(t, shut)
		if got, err := blind.Pending(ctx, hospital, long, time.Time{}, time.Time{}); err != nil || !got {
			t.Errorf("without keys: %v, %v", got, err)
		}

		settled := settles(50, one...)
		apply(t, x, settled)
		life = lifeOf(t, x, "1.2.3")
		setDue(t, x, life.Next(time.Time{}))
		pending("let go of, but not long enough ago", long, time.UnixMilli(1), false)
		later := x.now().Add(time.Hour)
		pending("let go of", time.UnixMilli(1), later, true)
		apply(t, x, moves(51, settled.Fact.Study, "hot", "cold", settled.Fact.Packs[0].Object))
		if got, err := x.Pending(ctx, hospital, time.UnixMilli(1), time.Time{}, later); err != nil || !got {
			t.Errorf("moved: %v, %v", got, err)
		}
	})
}

// TestRulesMakeDue: rules that are stated make every study due, those of another name too.
func TestRulesMakeDue(t *testing.T) {
	both(t, func(t *testing.T, e engine) {
		x := openTest(t, e)
		apply(t, x, stored(1, ctSpec))
		for n, name := range []string{archive.RulesLifecycle, archive.RulesRetention} {
			life := lifeOf(t, x, "1.2.3")
			setDue(t, x, life.Next(time.Time{}))
			apply(t, x, rules(uint64(10+n), name, "{}"))
			if life = lifeOf(t, x, "1.2.3"); !life.Outdated {
				t.Errorf("%s: %+v", name, life)
			}
		}
	})
}
