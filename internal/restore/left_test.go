package restore

import (
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
)

// TestLeftCopies: what can be read from copies that a move left is not restored, and they stay as long as restored ones would.
func TestLeftCopies(t *testing.T) {
	w := newWorld(t, Options{})
	ref := w.study("1.2", "alpha/pack/A", "alpha/pack/B")
	w.index.left["alpha/pack/A"], w.index.left["alpha/pack/B"] = noon.Add(time.Hour), noon.Add(20*time.Hour)
	if e, err := w.r.Estimate(t.Context(), alpha, one("1.2")); err != nil || e.Packs != 0 || !w.index.packs[ref][0].Restored.IsZero() {
		t.Errorf("%+v %v", e, err)
	}
	st, err := w.r.Recall(t.Context(), alpha, archive.UIDs{Study: "1.2"})
	if err != nil || st.ID != "" || st.State != archive.RestoreDone || st.PacksIn != 2 || st.Cost != 0 || !st.Until.Equal(noon.Add(DefaultFor)) {
		t.Errorf("%+v %v", st, err)
	}
	// Longer, beside a study of which nothing was left.
	w.study("1.3", "alpha/pack/C")
	st = w.ask(archive.RestoreRequest{PatientID: "1.", For: 20 * day})
	if st.Studies != 2 || st.Packs != 1 || !w.index.packs[ref][1].Restored.Equal(noon.Add(20*day)) {
		t.Errorf("%+v, %+v", st, w.index.packs[ref])
	}
	w.until(st.ID, 10*time.Minute, archive.RestoreDone)
	if got := w.store.asked(); len(got) != 1 || got[0] != "alpha/pack/C Standard" {
		t.Errorf("asked for %q", got)
	}
	// A viewer could not read it all the same: the copies are looked for again, and one is gone.
	if st, err = w.r.Recall(t.Context(), alpha, archive.UIDs{Study: "1.2"}); err != nil || st.State != archive.RestoreDone || st.ID != "" {
		t.Errorf("both are there: %+v %v", st, err)
	}
	delete(w.index.left, "alpha/pack/B")
	if st, err = w.r.Recall(t.Context(), alpha, archive.UIDs{Study: "1.2"}); err != nil || st.Packs != 1 || st.ID == "" {
		t.Errorf("one is gone: %+v %v", st, err)
	}
	w.index.fail = fault.New(fault.Unavailable, "the index database does not answer")
	if _, err := w.r.Ask(t.Context(), alpha, one("1.2")); !fault.Is(err, fault.Unavailable) {
		t.Errorf("without the index: %v", err)
	}
}

// TestPrefetchOfLeft: so with priors: those of which copies were left can be read.
func TestPrefetchOfLeft(t *testing.T) {
	w := newWorld(t, Options{})
	ref := w.study("1.2", "alpha/pack/A")
	w.index.left["alpha/pack/A"] = noon.Add(time.Hour)
	w.priors["P"] = []archive.Ref{ref}
	p, err := w.r.Prefetch(t.Context(), alpha, []archive.Appointment{{PatientID: "P", At: noon.Add(48 * time.Hour)}}, "", "")
	if err != nil || p.Readable != 1 || p.Restore.ID != "" || w.index.left["alpha/pack/A"].Before(noon.Add(48*time.Hour)) {
		t.Errorf("%+v %v, stays until %s", p, err, w.index.left["alpha/pack/A"])
	}
}
