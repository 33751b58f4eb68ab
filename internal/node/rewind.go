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
func (r Rewinder) Rewind(ctx context.Context, t archive.Tenant, w remove.Rewind) (out remove.Rewound, err error) {
	err = r.n.inArchive(ctx, t, func(ctx context.Context, a *Archive) error {
		if a.Partial() {
			return fault.New(fault.Unavailable, "the index is being filled; what was there at the moment is known when it is whole: try again later")
		}
		out, err = a.Remove.Rewind(ctx, a.Index, t, w)
		return err
	})
	return out, err
}
