package node

import (
	"context"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/custody"
	"github.com/strata-pacs/strata/internal/keys"
)

// openCustody opens what tends the keys of all tenants, and works on its jobs
// until the context ends.
func (n *Node) openCustody(ctx context.Context) {
	n.Custody = custody.New(custody.Options{Bucket: n.Bucket, Wrapper: n.o.Wrapper, Tenants: n.Tenants(), Jobs: n.Jobs(), Holder: newID(n.o.Now()),
		Proofs: n.proofs, Rate: n.o.RewrapRate, Backups: n.o.KeyBackups, Settle: n.o.KeySettle, Slog: n.o.Slog, Now: n.o.Now})
	n.wg.Go(func() { n.Custody.Run(ctx) })
}

// proofs tells when the provider opened keys of a tenant's open archive.
func (n *Node) proofs(t archive.Tenant) []keys.Proof {
	n.mu.Lock()
	r := n.rings[t]
	n.mu.Unlock()
	if r == nil {
		return nil
	}
	return r.Proofs()
}
