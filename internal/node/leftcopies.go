package node

import (
	"cmp"
	"context"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/storage/driver"
)

// A copy that a move left stays for the hold. It is read in place of the one in the archive, but for the last of that
// time: what is read of it until the end of a read grace must not meet the sweeper.

// left says when copies that moves left go.
func (s Settling) left() (hold, grace time.Duration) {
	return cmp.Or(s.MoveHold, 24*time.Hour), cmp.Or(s.ReadGrace, time.Hour)
}

// leftCopy returns the copy of a pack that stays the longest of those that can be read as they are, and until when;
// none where that is over.
func (n *Node) leftCopy(ctx context.Context, t archive.Tenant, p archive.PackState) (best archive.Doomed, until time.Time, err error) {
	copies, err := n.Index.DoomedCopies(ctx, t, p.Object)
	if err != nil {
		return best, until, err
	}
	_, at, _ := n.Tier(p.Tier)
	hold, grace := n.o.Settling.left()
	for _, d := range copies {
		_, tier, ok := n.Tier(d.Tier)
		if end := d.Since.Add(hold - grace); d.Moved && ok && !tier.Restore && tier.Store != at.Store && end.After(n.o.Now()) && end.After(until) {
			best, until = d, end
		}
	}
	if until.IsZero() {
		return best, until, nil
	}
	b, _, _ := n.Tier(best.Tier)
	switch a, err := b.Stat(ctx, p.Object); {
	case fault.Is(err, fault.NotFound): // somebody removed it
		return best, time.Time{}, nil
	case err != nil:
		return best, time.Time{}, err
	case a.Size != p.Size || a.Restore.State != driver.Online:
		return best, time.Time{}, nil
	}
	return best, until, nil
}

// Left implements [restore.Index].
func (i restoreIndex) Left(ctx context.Context, t archive.Tenant, p archive.PackState) (time.Time, error) {
	v, err := i.n.Enter(ctx, t)
	if err != nil {
		return time.Time{}, err
	}
	defer v.Leave()
	_, until, err := i.n.leftCopy(ctx, t, p)
	return until, err
}

// Keep implements [restore.Index].
func (i restoreIndex) Keep(ctx context.Context, t archive.Tenant, p archive.PackState, until time.Time) (time.Time, error) {
	v, err := i.n.Enter(ctx, t)
	if err != nil {
		return time.Time{}, err
	}
	defer v.Leave()
	d, stays, err := i.n.leftCopy(ctx, t, p)
	if err != nil || stays.IsZero() {
		return time.Time{}, err
	}
	if stays.After(until) {
		until = stays
	}
	hold, grace := i.n.o.Settling.left()
	kept, err := i.n.Index.KeepCopy(ctx, t, d.Object, d.Tier, i.n.o.Now().Add(grace-hold), until.Add(grace-hold), until)
	if err != nil || !kept {
		return time.Time{}, err
	}
	return until, nil
}
