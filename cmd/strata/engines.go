package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/keys"
	"github.com/strata-pacs/strata/internal/keys/providers"
	"github.com/strata-pacs/strata/storage/driver"
	"github.com/strata-pacs/strata/storage/filestore"
	"github.com/strata-pacs/strata/storage/miniostore"
	"github.com/strata-pacs/strata/storage/s3store"
)

// openStore opens the store at an address, and makes sure that it can be used.
func openStore(ctx context.Context, key, address string) (driver.Driver, error) {
	d, err := dialStore(ctx, key, address)
	if err == nil {
		err = checkStore(ctx, key, d)
	}
	if err != nil {
		return nil, err
	}
	return d, nil
}

// checkStore fails where the store does not answer, or two nodes could overwrite each other in it.
func checkStore(ctx context.Context, key string, d driver.Driver) error {
	if c, ok := d.(interface{ Reach(context.Context) error }); ok {
		if err := c.Reach(ctx); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
	}
	if c, ok := d.(interface{ Check(context.Context) error }); ok {
		if err := c.Check(ctx); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
	}
	return nil
}

// dialStore opens the store at an address without asking it anything.
func dialStore(ctx context.Context, key, address string) (d driver.Driver, err error) {
	scheme, rest, _ := strings.Cut(address, "://")
	switch scheme {
	case "s3":
		d, err = opened(s3store.Open(ctx, address, s3store.Options{Unasked: true}))
	case "minio":
		d, err = opened(miniostore.Open(ctx, address, miniostore.Options{Unasked: true}))
	case "file":
		d, err = opened(filestore.New(rest, filestore.Options{}))
	default:
		err = fault.New(fault.Invalid, "must begin with s3://, minio:// or file://")
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	return d, nil
}

// opened is a driver, or no driver at all where opening it failed.
func opened[D driver.Driver](d D, err error) (driver.Driver, error) {
	if err != nil {
		return nil, err
	}
	return d, nil
}

// openProviders opens the key providers, and returns the KEK of tenants whose
// settings name none. The local key file is one of them where it is there, or
// where nothing else is configured.
func (c *Config) openProviders(ctx context.Context, warn io.Writer) (*providers.Set, keys.ID, error) {
	set, err := providers.Open(ctx, c.Providers)
	if err != nil {
		return nil, "", err
	}
	kek, err := c.openLocal(set, warn)
	if err != nil {
		_ = set.Close() // nothing was used yet
		return nil, "", err
	}
	return set, kek, nil
}

// openLocal adds the local key file to the providers, and returns the KEK.
func (c *Config) openLocal(set *providers.Set, warn io.Writer) (keys.ID, error) {
	kek := keys.ID(c.KEK)
	if kek == "" || exists(c.KeyFile) {
		key, err := c.openKey(warn)
		if err == nil {
			err = set.Add(localProvider, providers.Provider{Wrapper: key, KEK: key.ID()})
		}
		if err != nil {
			return "", err
		}
		kek = cmp.Or(kek, key.ID())
	}
	for part := range strings.SplitSeq(c.KEK, "+") {
		provider, _, named := strings.Cut(part, "/")
		if named && !slices.Contains(set.Names(), provider) {
			return "", fault.New(fault.Invalid, "kek: there is no provider %q; settings below providers name them", provider)
		}
	}
	return kek, nil
}

// localProvider is the name of the local key file among the providers.
const localProvider = "local"
