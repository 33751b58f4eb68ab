package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/reconcile"
)

// Rebuild makes the index anew from the log alone and puts it in the old one's
// place. The old one stays until the new one is complete. No server may be running.
func Rebuild(ctx context.Context, o Options, progress func(done, total int)) (report reconcile.Report, err error) {
	o = o.withDefaults()
	n := &Node{Tenant: o.Tenant, o: o}
	n.o.Offline = true
	defer func() { err = errors.Join(err, n.Close(context.WithoutCancel(ctx))) }()
	if err := n.openStore(ctx); err != nil {
		return report, err
	}
	fresh := o.Index + ".rebuild"
	if err := removeIndex(fresh); err != nil {
		return report, err
	}
	if err := n.openIndex(ctx, fresh); err != nil {
		return report, err
	}
	report, err = reconcile.New(n.reconcileOptions()).Rebuild(ctx, progress)
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
