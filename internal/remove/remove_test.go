package remove

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
)

var (
	study   = archive.UIDs{Study: "1.2"}
	errBoom = errors.New("boom")
)

// TestDelete: what a deletion states, and what keeps it from being stated.
func TestDelete(t *testing.T) {
	for _, c := range []struct {
		name  string
		blobs int
		given func(w *world)
		kind  fault.Kind
		is    error // that it is, where the kind does not tell
		facts int
		shown int
	}{
		{"one", 1, func(*world) {}, 0, nil, 1, 0},
		{"as many as a fact takes", maxBlobs, func(*world) {}, 0, nil, 1, 0},
		{"more than a fact takes", 2*maxBlobs + 1, func(*world) {}, 0, nil, 3, 0},
		{"nothing", 0, func(*world) {}, fault.NotFound, nil, 0, 0},
		{"what must be kept", 2, func(w *world) { w.kept = "a legal hold stands on this" }, fault.Conflict, nil, 0, 2},
		{"nobody can say whether it must be kept", 2, func(w *world) { w.broken = errBoom }, 0, errBoom, 0, 2},
		{"the log is away", 2, func(w *world) { w.appendFails = func(int) error { return errBoom } }, 0, errBoom, 0, 2},
		{"the log goes away", maxBlobs + 1, func(w *world) {
			w.appendFails = func(n int) error {
				if n > 1 {
					return errBoom
				}
				return nil
			}
		}, 0, errBoom, 1, 1},
		{"the index is away", 2, func(w *world) { w.applyFails = func(*archive.Fact) error { return errBoom } }, 0, errBoom, 1, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld()
			w.stores(c.blobs)
			c.given(w)
			err := w.remover(Options{}).Delete(t.Context(), tenant, study)
			if c.kind != 0 && !fault.Is(err, c.kind) || c.is != nil && !errors.Is(err, c.is) || c.kind == 0 && c.is == nil && err != nil {
				t.Errorf("%v", err)
			}
			if c.name == "what must be kept" && fault.Message(err) != w.kept {
				t.Errorf("says %q", fault.Message(err))
			}
			if len(w.facts) != c.facts {
				t.Errorf("%d facts", len(w.facts))
			}
			ids := map[archive.FactID]bool{}
			for _, f := range w.facts {
				ids[f.ID] = true
				if f.Kind != archive.FactDeleted || f.Study != w.Ref("1.2") || f.Scope != study || len(f.Blobs) > maxBlobs {
					t.Errorf("states %+v", f)
				}
			}
			if len(ids) != len(w.facts) {
				t.Error("facts of one identity")
			}
			w.shown(t, c.shown)
		})
	}
}

// TestDeleteIf: it is asked when it is known what there is, and what comes then stays.
func TestDeleteIf(t *testing.T) {
	w := newWorld()
	w.stores(2)
	r := w.remover(Options{})
	if err := r.DeleteIf(t.Context(), tenant, study, func(context.Context) error { return errBoom }); err != errBoom || len(w.facts) != 0 {
		t.Errorf("%v, %d facts", err, len(w.facts))
	}
	err := r.DeleteIf(t.Context(), tenant, study, func(context.Context) error {
		w.stores(1)
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	w.shown(t, 1)
	w.kept = "it must be kept"
	asked := false
	if err := r.DeleteIf(t.Context(), tenant, study, func(context.Context) error { asked = true; return nil }); !fault.Is(err, fault.Conflict) || asked {
		t.Errorf("%v, asked %v", err, asked)
	}
}

// TestStatedIsApplied: what is in the log is indexed, also when whoever asked for it has gone meanwhile.
func TestStatedIsApplied(t *testing.T) {
	w := newWorld()
	w.stores(1)
	ctx, cancel := context.WithCancel(t.Context())
	w.appendFails = func(int) error { cancel(); return nil }
	if err := w.remover(Options{}).Delete(ctx, tenant, study); err != nil || w.applied != 1 {
		t.Errorf("%v, %d applied", err, w.applied)
	}
}

// TestUndelete: how long, and how much of it, can be undone.
func TestUndelete(t *testing.T) {
	const hold = 30 * 24 * time.Hour
	for _, c := range []struct {
		name  string
		hold  time.Duration
		after time.Duration // by the node's clock
		store time.Duration // by the store's; 0: it is not asked
		given func(w *world)
		n     int
		kind  fault.Kind
		is    error
		shown int
	}{
		{"at once", hold, time.Minute, 0, nil, 3, 0, nil, 3},
		{"at the last moment", hold, hold, 0, nil, 3, 0, nil, 3},
		{"too late", hold, hold + time.Second, 0, nil, 0, fault.Conflict, nil, 0},
		{"for ever", 0, 100 * hold, 0, nil, 3, 0, nil, 3},
		{"by the store's clock", hold, hold + time.Hour, hold, nil, 3, 0, nil, 3},
		{"too late by both", hold, hold + time.Hour, hold + time.Second, nil, 0, fault.Conflict, nil, 0},
		{"by the node's clock", hold, hold, 2 * hold, nil, 3, 0, nil, 3},
		{"too late, but it must be kept", hold, 2 * hold, 0, func(w *world) { w.kept = "it must be kept" }, 3, 0, nil, 3},
		{"the store does not tell", hold, 2 * hold, hold, func(w *world) { w.storeErr = errBoom }, 0, 0, errBoom, 0},
		{"nothing was deleted", hold, time.Minute, 0, func(w *world) { clear(w.hidden) }, 0, fault.NotFound, nil, 3},
		{"some was just dropped", hold, time.Minute, 0, func(w *world) { w.gone[w.blobs[0]] = true }, 2, 0, nil, 2},
		{"all was just dropped", hold, time.Minute, 0, func(w *world) {
			for _, b := range w.blobs {
				w.gone[b] = true
			}
		}, 0, fault.Conflict, nil, 0},
		{"it cannot be protected", hold, time.Minute, 0, func(w *world) { w.protectErr = errBoom }, 0, 0, errBoom, 3},
		{"the log is away", hold, time.Minute, 0, func(w *world) { w.appendFails = func(int) error { return errBoom } }, 0, 0, errBoom, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld()
			w.stores(3)
			if err := w.remover(Options{}).Delete(t.Context(), tenant, study); err != nil {
				t.Fatal(err)
			}
			w.now = w.now.Add(c.after)
			if c.store > 0 {
				w.store = noon.Add(c.store)
			}
			if c.given != nil {
				c.given(w)
			}
			n, err := w.remover(Options{Hold: c.hold}).Undelete(t.Context(), tenant, study)
			if n != c.n || c.kind != 0 && !fault.Is(err, c.kind) || c.is != nil && !errors.Is(err, c.is) || c.kind == 0 && c.is == nil && err != nil {
				t.Errorf("%d, %v", n, err)
			}
			if err == nil && !slices.Equal(w.protected, []archive.Ref{w.Ref("1.2")}) {
				t.Errorf("protected: %v", w.protected)
			}
			w.shown(t, c.shown)
		})
	}
}

// TestUndeleteTwice: what was deleted twice comes back by one undeletion, and its time is counted from the later one.
func TestUndeleteTwice(t *testing.T) {
	const hold = 24 * time.Hour
	w := newWorld()
	w.stores(maxBlobs + 2)
	r := w.remover(Options{Hold: hold})
	if err := r.Delete(t.Context(), tenant, study); err != nil {
		t.Fatal(err)
	}
	w.now = w.now.Add(hold)
	again := factAt(w.now, 1000)
	for _, b := range w.blobs { // of another node, at the same moment
		w.hidden[b] = append(w.hidden[b], again)
	}
	w.now = w.now.Add(hold)
	w.facts = nil
	n, err := r.Undelete(t.Context(), tenant, study)
	if err != nil || n != maxBlobs+2 {
		t.Errorf("%d, %v", n, err)
	}
	w.shown(t, maxBlobs+2)
	if len(w.facts) != 2 || len(w.facts[0].Blobs) != maxBlobs || len(w.facts[0].Undoes) != 2 || len(w.facts[1].Blobs) != 2 || len(w.facts[1].Undoes) != 2 {
		t.Errorf("%d facts", len(w.facts))
	}
	for _, f := range w.facts {
		if f.Kind != archive.FactUndeleted || f.Study != w.Ref("1.2") {
			t.Errorf("states %v of %v", f.Kind, f.Study)
		}
	}
}
