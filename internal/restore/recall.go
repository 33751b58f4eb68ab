package restore

import (
	"context"
	"hash/maphash"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
)

const (
	recallAgain = 10 * time.Second // a viewer that asks for each image of a series counts once in that time
	maxRecalls  = 10_000           // that are remembered
)

// recall is what was asked for; not the UIDs, which must not stay in memory when the tenant's keys have left it.
type recall struct {
	tenant archive.Tenant
	sum    uint64
}

// recent is a recall that was answered lately.
type recent struct {
	id string
	at time.Time
}

// Recall has the study restored of which somebody wants to see the selection, at the default
// priority and with what is selected first; see [Restorer.Ask].
func (r *Restorer) Recall(ctx context.Context, t archive.Tenant, sel archive.UIDs) (archive.RestoreStatus, error) {
	key := recall{t, maphash.Comparable(r.seed, archive.UIDs{Study: sel.Study, Series: sel.Series})}
	now := r.o.Now()
	r.mu.Lock()
	last, ok := r.recent[key]
	r.mu.Unlock()
	if ok && now.Sub(last.at) < recallAgain {
		if st, err := r.Status(ctx, t, last.id); err == nil && !st.State.Ended() {
			return st, nil
		}
	}
	st, err := r.Ask(ctx, t, archive.RestoreRequest{Studies: []string{sel.Study}, First: sel, By: "a viewer"})
	if err != nil || st.ID == "" {
		return st, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.recent) >= maxRecalls {
		clear(r.recent)
	}
	r.recent[key] = recent{st.ID, now}
	return st, nil
}
