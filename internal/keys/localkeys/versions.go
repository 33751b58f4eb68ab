package localkeys

import (
	"context"
	"crypto/cipher"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/keys"
)

var _ interface {
	keys.Wrapper
	keys.Rotator
	keys.Retirer
	keys.Describer
	keys.Checker
} = (*File)(nil)

// Rotate implements [keys.Rotator]: it replaces the file by one with a version
// more. Copies of the file kept elsewhere lack it: make them anew.
func (f *File) Rotate(ctx context.Context, kek keys.ID) (string, error) {
	newest := 0
	err := f.change(ctx, kek, func(doc *document, pass cipher.AEAD) (bool, error) {
		for _, v := range doc.Keys {
			newest = max(newest, v.Version)
		}
		newest++
		doc.add(newest, f.now(), pass)
		return true, nil
	})
	return strconv.Itoa(newest), err
}

// Retire implements [keys.Retirer]: it replaces the file by one without the
// older versions. Copies of the file, and the disk's free blocks, may still hold them.
func (f *File) Retire(ctx context.Context, kek keys.ID, before string) error {
	return f.change(ctx, kek, func(doc *document, _ cipher.AEAD) (bool, error) {
		n, err := strconv.Atoi(before)
		if err != nil || !slices.ContainsFunc(doc.Keys, func(v version) bool { return v.Version == n }) {
			return false, fault.New(fault.Invalid, "the key has no such version")
		}
		had := len(doc.Keys)
		doc.Keys = slices.DeleteFunc(doc.Keys, func(v version) bool { return v.Version < n })
		return len(doc.Keys) < had, nil
	})
}

// Describe implements [keys.Describer].
func (f *File) Describe(ctx context.Context, kek keys.ID) (keys.Description, error) {
	if err := f.Check(ctx, kek); err != nil {
		return keys.Description{}, err
	}
	c, err := f.current()
	if err != nil {
		return keys.Description{}, err
	}
	return keys.Description{Provider: "local", Newest: strconv.Itoa(c.newest), Versions: slices.Clone(c.versions)}, nil
}

// Check implements [keys.Checker]: the file is there and can be read.
func (f *File) Check(ctx context.Context, kek keys.ID) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := f.mine(kek); err != nil {
		return err
	}
	_, err := f.look()
	return err
}

// change rewrites the key file by do, which returns whether there is something
// to write. No version is lost to another process that does the same.
func (f *File) change(ctx context.Context, kek keys.ID, do func(*document, cipher.AEAD) (bool, error)) error {
	if err := f.Check(ctx, kek); err != nil {
		return err
	}
	path, err := filepath.EvalSymlinks(f.path)
	if err != nil {
		return unreadable(err)
	}
	locked, err := lockCurrent(ctx, path)
	if err != nil {
		return fmt.Errorf("locking the key file: %w", err)
	}
	defer locked.Close() // and its lock
	b, state, err := readBytes(path)
	defer clear(b)
	if err != nil {
		return err
	}
	if c, err := parse(b, f.pass.again); err != nil {
		return err
	} else if c.id != f.id {
		return f.mine(c.id)
	}
	var doc document
	if err := json.Unmarshal(b, &doc); err != nil {
		return errDamaged
	}
	pass := f.pass.aead
	if doc.KDF == nil {
		pass = nil
	}
	if changed, err := do(&doc, pass); err != nil || !changed {
		return err
	}
	out, err := doc.encode()
	defer clear(out)
	if err != nil {
		return err
	}
	// What a restart would not be able to read must not take the place of what it can.
	if _, err := parse(out, f.pass.again); err != nil {
		return fmt.Errorf("checking the new key file: %w", err)
	}
	if err := replace(path, state, out); err != nil {
		return err
	}
	_, err = f.look()
	return err
}

// lockCurrent locks the file that has the name, which another process may just be replacing.
func lockCurrent(ctx context.Context, path string) (*os.File, error) {
	for {
		f, err := os.Open(path)
		if err != nil {
			return nil, unreadable(err)
		}
		if err := lock(ctx, f); err != nil {
			f.Close()
			return nil, err
		}
		mine, err1 := f.Stat()
		named, err2 := os.Stat(path)
		if err1 == nil && err2 == nil && os.SameFile(mine, named) {
			return f, nil
		}
		f.Close()
		if err2 != nil {
			return nil, unreadable(err2)
		}
	}
}
