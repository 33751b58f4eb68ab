package node

import (
	"cmp"
	"time"

	"github.com/strata-pacs/strata/internal/settle"
)

// Settling says how studies are settled, and how long what that leaves behind
// stays. The zero value has the defaults of package settle.
type Settling struct {
	Hold      time.Duration // how long a deletion can be undone
	ReadGrace time.Duration // how long an object stays that no instance lies in any more
	MoveHold  time.Duration // how long the copy stays that a pack was moved from
	PackBytes int64         // about how large packs are made
}

// undoable is Hold with its default, as whoever undoes deletions counts it: never zero, which there is for ever.
func (s Settling) undoable() time.Duration {
	return max(cmp.Or(s.Hold, 30*24*time.Hour), 1)
}

func (a *Archive) newSettler() (*settle.Settler, error) {
	n := a.n
	o := n.o.Settling
	so := settle.Options{Tenant: a.Tenant, Bucket: n.past, Index: n.Index, Log: a.log, Keys: a.ring, Tiers: n.tiers, Thumbnails: a.Thumbnail, Pace: n.paceMoves, Held: a.kept,
		Destroy: a.guard(a.log).Destroy, StoreTime: a.storeTime, Fresh: a.fresh,
		Hold: o.Hold, ReadGrace: o.ReadGrace, MoveHold: o.MoveHold, PackBytes: o.PackBytes, Grace: n.o.Grace, Now: n.o.Now, Slog: a.slog}
	if n.near != nil {
		so.Near = warmer{n.near, n}
	}
	return settle.New(so)
}
