package lifecycle

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
)

// TestRulesOfANewerVersion: what this version cannot read only other rules replace, and nothing is done by them before somebody resumes.
func TestRulesOfANewerVersion(t *testing.T) {
	w := newWorld(t)
	w.add("CT", 400, 1)
	newer := `{"rules":[{"action":"compress"}]}`
	w.set, w.stated = archive.RuleSet{Name: archive.RulesLifecycle, Document: []byte(newer), By: "carol"}, archive.FactID{1}
	k := w.keeper("")
	for _, paused := range []bool{true, false} {
		if err := k.SetPaused(t.Context(), paused, "anna"); !fault.Is(err, fault.Conflict) {
			t.Errorf("paused %v: %v", paused, err)
		}
	}
	if _, err := k.Round(t.Context()); !fault.Is(err, fault.Conflict) || string(w.set.Document) != newer {
		t.Errorf("%v; the rules are %s", err, w.set.Document)
	}
	if err := k.SetRules(t.Context(), []byte(deleteMR), "anna"); err != nil {
		t.Fatal(err)
	}
	if d := w.round(k); !d.Paused || d.Looked != 0 {
		t.Errorf("%+v", d)
	}
	if err := k.SetPaused(t.Context(), false, "bob"); err != nil {
		t.Fatal(err)
	}
	w.round(k)
	w.wants("resumed", "move 1")
}

// TestWhoStated: who states rules and who pauses are told apart, on any node.
func TestWhoStated(t *testing.T) {
	w := newWorld(t)
	is := func(what string, want archive.LifecycleState) {
		t.Helper()
		s, err := New(w.o).State(t.Context())
		if diff := cmp.Diff(want, s); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", what, err, diff)
		}
		if paused, known := w.o.Record.Paused(); !known || paused != want.Paused {
			t.Errorf("%s: remembered as paused: %v, known: %v", what, paused, known)
		}
	}
	k := w.keeper("")
	is("at first", archive.LifecycleState{})
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		w.passes(time.Hour)
	}
	do(k.SetPaused(t.Context(), true, "anna"))
	want := archive.LifecycleState{Paused: true, PausedBy: "anna", PausedAt: noon}
	is("paused without rules", want)
	do(k.SetRules(t.Context(), []byte(deleteMR), "alice"))
	want.Rules, want.By, want.Stated = 2, "alice", noon.Add(time.Hour)
	is("then rules", want)
	do(k.SetPaused(t.Context(), false, "bob"))
	want.Paused, want.PausedBy, want.PausedAt = false, "bob", noon.Add(2*time.Hour)
	is("resumed", want)
	// As it was written before the document said so, the fact tells.
	w.set, w.stated = archive.RuleSet{Name: archive.RulesLifecycle, Document: []byte(`{"rules":[{"action":"keep"}]}`), By: "carol"}, archive.FactID{2}
	is("of an older version", archive.LifecycleState{Rules: 1, By: "carol", Stated: w.stated.Time()})
}
