package reconcile

import (
	"context"
	"errors"
	"testing"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/index"
)

// refusing is an index that cannot take entries.
type refusing struct {
	*index.Index
	err error
}

func (r *refusing) Apply(_ context.Context, _ archive.Tenant, entries ...archive.Entry) ([]archive.Applied, error) {
	out := make([]archive.Applied, len(entries))
	for i := range out {
		out[i].Err = r.err
	}
	return out, nil
}

// TestFenceThatIsNotKnown: what is at a number and could not be indexed is no fence.
func TestFenceThatIsNotKnown(t *testing.T) {
	w := newWorld(t)
	e := w.store(1, false, false)
	failure := errors.New("failure")
	w.rec.o.Index = &refusing{w.index, failure}
	for _, n := range []uint64{e.N, e.N + 1} { // a fact, and a void
		if err := w.rec.Fence(t.Context(), e.Session, n); !errors.Is(err, failure) {
			t.Errorf("at %d: %v", n, err)
		}
	}
	if err := w.rec.Checkpoint(t.Context()); !errors.Is(err, failure) {
		t.Errorf("a checkpoint: %v", err)
	}
	w.rec.o.Index = w.index
	for _, n := range []uint64{e.N, e.N + 1} {
		if err := w.rec.Fence(t.Context(), e.Session, n); err != nil {
			t.Error(err)
		}
	}
}
