package cachestore

import (
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/strata-pacs/strata/internal/fault"
)

// Beside the folders of tenants: blocks being written, and what was dropped.
const (
	tempFolder = "new"
	goneFolder = "gone"
)

// scan prepares the folder and counts the blocks that are in it, in the order in
// which they were used last. Of more than there may be, only so many are looked at.
func (c *cache) scan() error {
	bad := func(err error) error {
		return fault.Wrap(fault.Invalid, err, "the read cache's folder %s cannot be used; name another or mend it", c.o.Folder)
	}
	// What an earlier run left half done.
	for _, dir := range []string{tempFolder, goneFolder} {
		if err := os.RemoveAll(filepath.Join(c.o.Folder, dir)); err != nil {
			return bad(err)
		}
		if err := os.MkdirAll(filepath.Join(c.o.Folder, dir), 0o700); err != nil {
			return bad(err)
		}
	}
	tenants, err := os.ReadDir(c.o.Folder)
	if err != nil {
		return bad(err)
	}
	var found []*entry
	for _, t := range tenants {
		var tenant name
		if n, err := hex.Decode(tenant[:], limit([]byte(t.Name()), 2*len(tenant))); err != nil || n != len(tenant) || !t.IsDir() {
			continue // not ours
		}
		if found, err = c.scanTenant(tenant, found); err != nil {
			return bad(err)
		}
	}
	slices.SortFunc(found, func(a, b *entry) int { return a.touched.Compare(b.touched) })
	for _, e := range found {
		c.evict(c.add(e))
	}
	c.evictions.Store(0)
	return nil
}

// limit makes what is too long for a hash no hash at all.
func limit(b []byte, n int) []byte {
	if len(b) != n {
		return nil
	}
	return b
}

// scanTenant appends the blocks in a tenant's folder. Files of other names, and
// those past the bound, are removed.
func (c *cache) scanTenant(tenant name, found []*entry) ([]*entry, error) {
	d, err := os.Open(c.dir(tenant))
	if err != nil {
		return nil, err
	}
	defer d.Close()
	for {
		files, err := d.ReadDir(1024)
		if errors.Is(err, io.EOF) {
			return found, nil
		} else if err != nil {
			return nil, err
		}
		for _, f := range files {
			b, ok := parse(tenant, f.Name())
			info, err := f.Info()
			if err != nil {
				continue // gone meanwhile
			}
			if !ok || len(found) >= c.o.Files {
				_ = os.Remove(filepath.Join(c.dir(tenant), f.Name()))
				continue
			}
			found = append(found, &entry{b, (info.Size() + 4095) &^ 4095, info.ModTime()})
		}
	}
}

// touch lets a block's file remember that it was used.
func (c *cache) touch(b id, now time.Time) {
	_ = os.Chtimes(c.path(b), now, now) // it only falls out too early after a restart
}
