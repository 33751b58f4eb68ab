package reconcile

import (
	"slices"
	"testing"

	"github.com/strata-pacs/strata/internal/ledger"
)

// TestMissing: what the index lacks is found, in sessions that it knows and in others, and fetched.
func TestMissing(t *testing.T) {
	w := newWorld(t)
	first := w.store(1, false, true)
	ask := func(most int, want ...string) []ledger.Place {
		t.Helper()
		places, err := w.rec.Missing(t.Context(), most)
		w.do(err)
		var got []string
		for _, p := range places {
			got = append(got, ledger.ObjectName(tenant, p.Session, p.N))
		}
		if !slices.Equal(got, want) {
			t.Errorf("missing: %v, want %v", got, want)
		}
		return places
	}
	ask(100)
	second := w.store(2, true, false)  // of a session that the index knows
	w.restart("B")                     // another session
	third := w.store(3, false, false)  // that it does not
	fourth := w.store(4, false, false) // nor this
	places := ask(100, fourth.Object, third.Object, second.Object)
	w.do(w.rec.Fetch(t.Context(), places))
	ask(100)
	if shown := w.shown(); len(shown) != 4 {
		t.Errorf("the index shows %v", shown)
	}
	w.freshIndex()
	w.reconciler()
	ask(100, fourth.Object, third.Object, second.Object, first.Object)
	some, err := w.rec.Missing(t.Context(), 2)
	if w.do(err); len(some) != 2 {
		t.Errorf("%d are missing, of which two were asked for", len(some))
	}
}
