package index

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
)

func holds(n uint64, study, by string) archive.Entry {
	ref := fakeKeys(hospital).Ref(study)
	return entry(n, &archive.Fact{Kind: archive.FactHeld, Study: ref, Hold: &archive.Hold{Study: ref, Reason: fmt.Sprint("reason ", n), By: by}})
}

func holdsPatient(n uint64, id, by string) archive.Entry {
	ref := fakeKeys(hospital).Ref(archive.PatientRef(id))
	return entry(n, &archive.Fact{Kind: archive.FactHeld, Hold: &archive.Hold{Patient: ref, Reason: fmt.Sprint("reason ", n), By: by}})
}

func releases(n, hold uint64, by string) archive.Entry {
	return entry(n, &archive.Fact{Kind: archive.FactReleased, Release: &archive.Release{Hold: factID(hold), Reason: fmt.Sprint("over ", n), By: by}})
}

func rules(n uint64, name, document string) archive.Entry {
	return entry(n, &archive.Fact{Kind: archive.FactRule, Rules: &archive.RuleSet{Name: name, Document: []byte(document), By: "alice"}})
}

// orders is everything that queries say of holds and rules, in a form to compare.
func orders(t fatal, x *Index, name archive.Tenant) string {
	ctx := context.Background()
	var out strings.Builder
	check := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	all, err := x.Holds(ctx, name, archive.FactID{}, 100)
	check(err)
	fmt.Fprintln(&out, all)
	for _, h := range all {
		one, err := x.HoldOf(ctx, name, h.ID)
		check(err)
		fmt.Fprintln(&out, one)
	}
	keys := fakeKeys(hospital)
	standing, err := x.HeldBy(ctx, name, keys.Ref("1.1"), keys.Ref(archive.PatientRef("P1")))
	check(err)
	fmt.Fprintln(&out, standing)
	for _, n := range []string{archive.RulesLifecycle, archive.RulesRetention} {
		set, stated, err := x.RuleSet(ctx, name, n)
		check(err)
		fmt.Fprintln(&out, set, stated)
	}
	return out.String()
}

// TestHolds: a hold stands until two different persons released it, on the study or on the patient.
func TestHolds(t *testing.T) { both(t, testHolds) }

func testHolds(t *testing.T, on engine) {
	ctx := context.Background()
	x := openTest(t, on)
	keys := fakeKeys(hospital)
	study, patient := keys.Ref("1.1"), keys.Ref(archive.PatientRef("P1"))
	ids := func(hs []archive.Held, err error) (out []archive.FactID) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range hs {
			out = append(out, h.ID)
		}
		return out
	}
	want := func(what string, got []archive.FactID, of ...uint64) {
		t.Helper()
		var ids []archive.FactID
		for _, n := range of {
			ids = append(ids, factID(n))
		}
		if d := cmp.Diff(ids, got); d != "" {
			t.Errorf("%s: %s", what, d)
		}
	}
	want("nothing", ids(x.HeldBy(ctx, hospital, study, patient)))
	apply(t, x, holds(1, "1.1", "alice"), holdsPatient(2, "P1", "alice"), holds(3, "1.2", "alice"))
	want("both", ids(x.HeldBy(ctx, hospital, study, patient)), 1, 2)
	want("the study", ids(x.HeldBy(ctx, hospital, study, archive.Ref{})), 1)
	want("another", ids(x.HeldBy(ctx, hospital, keys.Ref("1.3"), keys.Ref(archive.PatientRef("P2")))))
	want("nobody", ids(x.HeldBy(ctx, hospital, archive.Ref{}, archive.Ref{})))
	apply(t, x, releases(4, 1, "alice"), releases(5, 1, "ALICE"), releases(6, 2, "alice"))
	want("one person twice", ids(x.HeldBy(ctx, hospital, study, patient)), 1, 2)
	apply(t, x, releases(7, 1, "bob"))
	want("two persons", ids(x.HeldBy(ctx, hospital, study, patient)), 2)
	want("another tenant's", ids(x.HeldBy(ctx, "elsewhere", study, patient)))
	want("first page", ids(x.Holds(ctx, hospital, archive.FactID{}, 2)), 1, 2)
	want("second page", ids(x.Holds(ctx, hospital, factID(2), 2)), 3)
	h, err := x.HoldOf(ctx, hospital, factID(1))
	if err != nil || !h.Lifted || h.By != "alice" || h.Reason != "reason 1" || len(h.Releases) != 3 || h.Releases[2].By != "bob" || h.Releases[2].Reason != "over 7" {
		t.Errorf("%+v, %v", h, err)
	}
	if _, err := x.HoldOf(ctx, hospital, factID(99)); !fault.Is(err, fault.NotFound) {
		t.Errorf("a hold that is not there: %v", err)
	}
}

// TestRuleSets: the newest fact of a name holds, in whatever order they come.
func TestRuleSets(t *testing.T) { both(t, testRuleSets) }

func testRuleSets(t *testing.T, on engine) {
	x := openTest(t, on)
	if _, stated, err := x.RuleSet(t.Context(), hospital, archive.RulesRetention); err != nil || stated != (archive.FactID{}) {
		t.Fatal(stated, err)
	}
	apply(t, x, rules(2, archive.RulesRetention, "second"), rules(1, archive.RulesRetention, "first"), rules(3, archive.RulesLifecycle, "third"))
	for name, want := range map[string]string{archive.RulesRetention: "second", archive.RulesLifecycle: "third"} {
		set, stated, err := x.RuleSet(t.Context(), hospital, name)
		if err != nil || string(set.Document) != want || set.By != "alice" || set.Name != name || stated == (archive.FactID{}) {
			t.Errorf("%s: %+v, %v", name, set, err)
		}
	}
}

func TestOrdersThatCannotBeStated(t *testing.T) {
	x := openTest(t, onSQLite)
	both := holds(1, "1.1", "alice")
	both.Fact.Hold.Patient = archive.Ref{1}
	unnamed := rules(1, "", "{}")
	for i, e := range []archive.Entry{both, holds(1, "1.1", ""), releases(1, 2, ""), unnamed,
		entry(1, &archive.Fact{Kind: archive.FactHeld}), entry(1, &archive.Fact{Kind: archive.FactReleased}), entry(1, &archive.Fact{Kind: archive.FactRule})} {
		if _, err := x.Apply(t.Context(), hospital, e); !fault.Is(err, fault.Invalid) {
			t.Errorf("%d: %v", i, err)
		}
	}
}
