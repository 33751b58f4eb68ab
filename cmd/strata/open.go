package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/keys/localkeys"
	"github.com/strata-pacs/strata/internal/node"
	"github.com/strata-pacs/strata/internal/pixel/sandbox"
)

// logger returns the log of the configuration.
func (c *Config) logger(w io.Writer) *slog.Logger {
	var level slog.Level
	level.UnmarshalText([]byte(c.LogLevel))
	o := &slog.HandlerOptions{Level: level}
	if c.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}

// passphrase returns what protects the key file, or nil.
func (c *Config) passphrase() ([]byte, error) {
	if c.PassphraseFile == "" {
		return []byte(c.Passphrase), nil
	}
	if c.Passphrase != "" {
		return nil, fault.New(fault.Invalid, "key-passphrase and key-passphrase-file: give one of them")
	}
	b, err := os.ReadFile(c.PassphraseFile)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "key-passphrase-file: cannot be read")
	}
	b = []byte(strings.TrimRight(string(b), "\r\n"))
	if len(b) == 0 {
		return nil, fault.New(fault.Invalid, "key-passphrase-file: the file is empty")
	}
	return b, nil
}

// openKey opens the local key file. A new one is made only for a data folder
// that holds nothing yet: a new key cannot open old data.
func (c *Config) openKey(warn io.Writer) (*localkeys.File, error) {
	pass, err := c.passphrase()
	if err != nil {
		return nil, err
	}
	if !exists(c.KeyFile) {
		if c.Store != "" && c.KEK == "" {
			return nil, fault.New(fault.Invalid, "key-file: %s is not there; a store that is shared needs a key that is: name one by kek, or put the file there", c.KeyFile)
		}
		if used(c.Data) {
			return nil, fault.New(fault.KeyDenied, "key-file: %s is not there, and the data folder %s cannot be read without it; put the copy of it back", c.KeyFile, c.Data)
		}
		if err := os.MkdirAll(filepath.Dir(c.KeyFile), 0o700); err != nil {
			return nil, fault.Wrap(fault.Invalid, err, "key-file: cannot make its folder")
		}
		if err := localkeys.Create(c.KeyFile, pass); err != nil {
			return nil, fmt.Errorf("making the local key: %w", err)
		}
		fmt.Fprintf(warn, `
  A new key was made: %s
  Everything in the archive is sealed under it. Whoever loses this file loses
  the archive, backups included; whoever has it and the data can read everything.
  Keep a copy in another place now, for example on a USB stick in a safe:

      cp %s /media/usb/

`, c.KeyFile, c.KeyFile)
	}
	k, err := localkeys.Open(c.KeyFile, pass)
	if err != nil {
		return nil, fmt.Errorf("key-file: %w", err)
	}
	return k, nil
}

// exists reports whether there is anything of the name.
func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// used reports whether a data folder holds an archive.
func used(data string) bool {
	entries, err := os.ReadDir(filepath.Join(data, "objects"))
	return err == nil && len(entries) > 0
}

// open opens the node of the configuration in this process, for one command.
func (c *Config) open(ctx context.Context, log *slog.Logger, warn io.Writer, serve func(*node.Archive) http.Handler) (*node.Node, error) {
	o, err := c.nodeOptions(ctx, log, warn)
	if err != nil {
		return nil, err
	}
	o.Serve, o.IdleClose = serve, 0
	return node.Open(ctx, o)
}

// openServing opens it to serve: with what is done ahead of requests.
func (c *Config) openServing(ctx context.Context, log *slog.Logger, warn io.Writer, serve func(*node.Archive) http.Handler) (*node.Node, error) {
	o, err := c.nodeOptions(ctx, log, warn)
	if err != nil {
		return nil, err
	}
	o.Serve, o.WarmPixels, o.Lifecycle.On = serve, true, c.Lifecycle
	if c.Thumbnails {
		o.ThumbnailAfter = c.ThumbnailAfter
	}
	if !sandbox.Available() {
		log.Warn("decoders not built in: compressed images are answered as stored")
	}
	n, err := node.Open(ctx, o)
	if err != nil {
		return nil, err
	}
	if err := n.TellApart(ctx); err != nil {
		return nil, errors.Join(err, n.Close(context.WithoutCancel(ctx)))
	}
	return n, nil
}

// nodeOptions opens what a node stands on. The node releases it when it is closed.
func (c *Config) nodeOptions(ctx context.Context, log *slog.Logger, warn io.Writer) (o node.Options, err error) {
	set, kek, err := c.openProviders(ctx, warn)
	if err != nil {
		return o, err
	}
	o = node.Options{Tenant: c.Tenant, Data: c.Data, Index: c.Index, DrillScratch: c.DrillScratch, Database: c.Database, Wrapper: set, KEK: kek, Release: set.Close,
		NodeLease: c.NodeLease, StoreStall: c.StoreStall, KeyBackups: c.KeyBackups, RewrapRate: float64(c.RewrapRate), KeyLease: c.KeyLease, KeyGrace: c.KeyGrace, IdleClose: c.IdleClose, Duplicates: c.Duplicates, Retention: c.Retention, ReconcileEvery: c.ReconcileEvery, Grace: c.ReapGrace,
		StoreMemory: c.StoreMemory, CacheBytes: c.CacheBytes, Open: c.OpenTenants, PixelWorkers: c.PixelWorkers, ThumbnailsInMemory: !c.Thumbnails, Slog: log}
	o.Settling = node.Settling{Hold: c.DeleteHold, ReadGrace: c.ReadGrace, MoveHold: c.MoveHold}
	o.Lifecycle = node.Lifecycling{Quiet: c.SettleAfter, Interval: c.LifecycleEvery, Currency: c.Currency}
	o.Restores = c.Restores
	o.Restores.Hooks, err = c.openHooks()
	if err == nil && c.Store != "" {
		err = c.openStores(ctx, &o)
	}
	if err == nil {
		err = c.openTiers(ctx, &o)
	}
	if err != nil {
		_ = set.Close() // nothing was used yet
	}
	return o, err
}

func (c *Config) openStores(ctx context.Context, o *node.Options) (err error) {
	if o.Remote, err = openStore(ctx, "store", c.Store); err != nil {
		return err
	}
	if c.KeyStore != "" {
		if o.RemoteKeys, err = openStore(ctx, "key-store", c.KeyStore); err != nil {
			return err
		}
	}
	c.cacheReads(o)
	return nil
}

func (c *Config) cacheReads(o *node.Options) {
	if c.ReadCacheBytes > 0 {
		o.ReadCache, o.ReadCacheBytes = c.ReadCache, c.ReadCacheBytes
	}
}

// ahead opens the default tenant's archive before the first request, so that
// what a crash left unindexed is indexed. A key that was revoked, here or at its
// provider, or whose provider is silent, must not keep the server from starting: others
// than the default tenant have other keys. A wrong one must. A provider's refusal counts as a
// revocation where it has opened this archive before.
func (c *Config) ahead(ctx context.Context, n *node.Node, log *slog.Logger) error {
	v, err := n.Enter(ctx, n.Tenant)
	switch {
	case err == nil:
		v.Leave()
	case fault.Is(err, fault.KeyUnreachable), errors.Is(err, node.ErrRevoked), fault.Is(err, fault.Forbidden):
		log.Warn("the default archive is closed", "error", err)
		err = nil
	case c.KEK != "" && fault.Is(err, fault.KeyDenied) && n.Made(ctx, n.Tenant):
		log.Warn("the default archive is closed: its key is refused", "error", err)
		err = nil
	case c.KEK != "" && (fault.Is(err, fault.KeyDenied) || fault.Is(err, fault.Invalid)):
		err = fmt.Errorf("kek %s, or the settings of its provider: %w", c.KEK, err)
	}
	return err
}
