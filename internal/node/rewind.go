package node

import (
	"context"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/remove"
)

// Rewinder brings archives of any tenant back to a moment.
type Rewinder struct{ n *Node }

// Rewinder returns what brings back.
func (n *Node) Rewinder() Rewinder { return Rewinder{n} }

// Rewind does a part of the work; see [remove.Remover.Rewind].
func (r Rewinder) Rewind(ctx context.Context, t archive.Tenant, w remove.Rewind) (remove.Rewound, error) {
	v, err := r.n.Enter(ctx, t)
	if err != nil {
		return remove.Rewound{}, err
	}
	defer v.Leave()
	ctx, cancel := v.Within(ctx)
	defer cancel()
	if v.Partial() {
		return remove.Rewound{}, fault.New(fault.Unavailable, "the index is being filled; what was there at the moment is known when it is whole: try again later")
	}
	return v.Remove.Rewind(ctx, v.Index, t, w)
}
