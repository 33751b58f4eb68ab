package ingest

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/keys"
)

// shredding is an index in which a study is shredded at a given call.
type shredding struct {
	*rows
	b     *bench
	apply atomic.Bool // before the next Apply
	ask   atomic.Bool // after the next StudyKey
}

func (x *shredding) gone(t archive.Tenant) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, e := range x.entries {
		if err := keys.Destroy(context.Background(), x.b.bucket, t, e.Fact.Key); err != nil {
			panic(err)
		}
		x.b.ring.Drop(e.Fact.Key)
	}
	x.entries = nil
}

func (x *shredding) StudyKey(ctx context.Context, t archive.Tenant, ref archive.Ref) (archive.KeyID, bool, error) {
	id, ok, err := x.rows.StudyKey(ctx, t, ref)
	if x.ask.Swap(false) {
		x.gone(t)
	}
	return id, ok, err
}

func (x *shredding) Apply(ctx context.Context, t archive.Tenant, entries ...archive.Entry) ([]archive.Applied, error) {
	if !x.apply.Swap(false) {
		return x.rows.Apply(ctx, t, entries...)
	}
	x.gone(t)
	out := make([]archive.Applied, len(entries))
	for i, e := range entries {
		for range e.Fact.Instances {
			out[i].Instances = append(out[i].Instances, archive.Placed{Outcome: archive.Shredded})
		}
	}
	return out, nil
}

// TestShreddedWhileStoring: a store under a key that is destroyed meanwhile is refused, and the next has a new key.
func TestShreddedWhileStoring(t *testing.T) {
	x := &shredding{}
	b := newBench(t, func(o *Options) {
		x.rows = o.Index.(*rows)
		o.Index = x
	})
	x.b = b
	file := instance(1, 1, 100, "Doe^Jane")
	for _, known := range []bool{false, true} { // the first store of the study, and a later one
		x.apply.Store(true)
		r := b.store(t, RequestOptions{}, file)[0]
		if r.Outcome != Refused || !fault.Is(r.Err, fault.Conflict) || r.Reason != ReasonProcessing || r.Detail == "" {
			t.Errorf("known %v: %+v", known, r)
		}
		if r := b.store(t, RequestOptions{}, file)[0]; r.Outcome != Stored {
			t.Errorf("sent again: %+v", r)
		}
		if id := x.entries[0].Fact.Key; len(x.entries) != 1 {
			t.Errorf("%d facts", len(x.entries))
		} else if ok, err := keys.Remains(t.Context(), b.bucket, "default", id); err != nil || !ok {
			t.Error("the study has no key")
		}
		file = instance(1, 2, 100, "Doe^Jane")
	}
	// Between asking which key it is and asking for the key.
	was := x.entries[0].Fact.Key
	x.ask.Store(true)
	if r := b.store(t, RequestOptions{}, instance(1, 3, 100, "Doe^Jane"))[0]; r.Outcome != Stored {
		t.Errorf("%+v", r)
	}
	if len(x.entries) != 1 || x.entries[0].Fact.Key == was {
		t.Error("stored under a key that is destroyed")
	}
}
