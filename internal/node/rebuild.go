package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/keys"
	"github.com/strata-pacs/strata/internal/reconcile"
)

// Rebuild makes the index anew from the log alone and puts it in the old one's
// place. The old one stays until the new one is complete. No server may be running.
func Rebuild(ctx context.Context, o Options, progress func(done, total int)) (report reconcile.Report, err error) {
	o = o.withDefaults()
	n := newNode(o)
	defer func() { err = errors.Join(err, n.Close(context.WithoutCancel(ctx))) }()
	if err := n.openStore(); err != nil {
		return report, err
	}
	if o.Database != "" {
		return n.rebuildShared(ctx, progress)
	}
	return n.rebuildFile(ctx, progress)
}

// rebuildShared fills an empty database.
func (n *Node) rebuildShared(ctx context.Context, progress func(done, total int)) (report reconcile.Report, err error) {
	if err := n.openIndex(ctx, ""); err != nil {
		return report, err
	}
	used, err := n.Index.Used(ctx)
	if err != nil {
		return report, err
	}
	if used {
		return report, fault.New(fault.Conflict, "the database holds an index; stop every node, drop its schema (DROP SCHEMA strata CASCADE) and run this again")
	}
	return n.rebuild(ctx, progress)
}

// rebuildFile makes a SQLite index beside the old one, and puts it in its place.
func (n *Node) rebuildFile(ctx context.Context, progress func(done, total int)) (report reconcile.Report, err error) {
	o := n.o
	fresh := o.Index + ".rebuild"
	if err := removeIndex(fresh); err != nil {
		return report, err
	}
	if err := n.openIndex(ctx, fresh); err != nil {
		return report, err
	}
	report, err = n.rebuild(ctx, progress)
	err = errors.Join(err, n.Index.Close())
	n.Index = nil
	if err != nil {
		return report, errors.Join(err, removeIndex(fresh))
	}
	if err := removeIndex(o.Index); err != nil {
		return report, err
	}
	if err := os.Rename(fresh, o.Index); err != nil {
		return report, fault.Wrap(fault.Internal, err, "putting the new index in its place")
	}
	if err := removeIndex(fresh); err != nil { // what lay beside it
		return report, err
	}
	return report, syncFolder(filepath.Dir(o.Index))
}

// rebuild fills the empty index with the log of every tenant in the store.
func (n *Node) rebuild(ctx context.Context, progress func(done, total int)) (all reconcile.Report, err error) {
	tenants, err := n.stored(ctx)
	if err != nil {
		return all, err
	}
	rings := map[archive.Tenant]*keys.Ring{}
	defer func() {
		for t, ring := range rings {
			n.takeBack(t)
			ring.Close()
		}
	}()
	// All at once, since the index is finished for all of them together.
	for _, t := range tenants {
		ring, err := keys.Open(ctx, keys.Options{Bucket: n.Bucket, Wrapper: n.o.Wrapper, Tenant: t, KEK: n.o.KEK, Now: n.o.Now})
		if fault.Is(err, fault.KeyDenied) || fault.Is(err, fault.KeyUnreachable) {
			if t == n.Tenant && len(tenants) == 1 {
				return all, err
			}
			n.o.Slog.Warn("a tenant cannot be rebuilt without its key; it is when the key is there again", "tenant", string(t), "error", err)
			continue
		}
		if err != nil {
			return all, fmt.Errorf("opening the keys of tenant %s: %w", t, err)
		}
		rings[t] = ring
		n.lend(t, ring)
	}
	for _, t := range tenants {
		if rings[t] == nil {
			continue
		}
		report, err := reconcile.New(n.reconcileOptions(t, rings[t])).Rebuild(ctx, progress)
		all.Add(report)
		if err != nil {
			return all, fmt.Errorf("tenant %s: %w", t, err)
		}
	}
	return all, nil
}

// stored returns the tenants that the store has anything of, and the default one.
func (n *Node) stored(ctx context.Context) (out []archive.Tenant, err error) {
	found := false
	for after := ""; ; {
		page, err := n.Bucket.List(ctx, "", after, 1)
		if err != nil {
			return nil, fmt.Errorf("listing the tenants of the store: %w", err)
		}
		if len(page.Objects) == 0 {
			break
		}
		name, _, _ := strings.Cut(page.Objects[0].Key, "/")
		if after = name + "/z"; !archive.Tenant(name).Valid() {
			after = page.Objects[0].Key
			continue
		}
		found = found || archive.Tenant(name) == n.Tenant
		out = append(out, archive.Tenant(name))
	}
	if !found {
		out = append(out, n.Tenant)
	}
	return out, nil
}

// syncFolder makes durable which files a folder holds.
func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("opening the folder of the index: %w", err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fault.Wrap(fault.Unavailable, err, "syncing the folder of the index")
	}
	return nil
}

// removeIndex removes a database and what lies beside it. The database goes
// first: without its WAL it may be damaged, while SQLite drops a WAL without a database.
func removeIndex(path string) error {
	for _, suffix := range []string{"", "-wal", "-shm", ".ballast"} {
		if err := os.Remove(path + suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("removing an index file: %w", err)
		}
	}
	return nil
}
