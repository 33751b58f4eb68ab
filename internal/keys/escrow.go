package keys

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"iter"
	"strings"
	"sync"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/storage"
)

// Escrow objects (storage/FORMAT.md) are those of keys with another beginning,
// which is also in what the recovery key binds: a key in escrow cannot be put in
// the place of one in use.
const escrowMagic = "strata-escr v1\r\n"

// EscrowFolder returns the prefix of what is wrapped for a recovery key of a
// tenant: the key's name comes as a hash, for it may hold any characters.
func EscrowFolder(t archive.Tenant, recovery ID) string {
	sum := sha256.Sum256([]byte(recovery))
	return string(t) + "/escrow/" + hex.EncodeToString(sum[:16]) + "/"
}

// EscrowName returns the name of a key's escrow object; the zero id is the root's.
func EscrowName(t archive.Tenant, recovery ID, id archive.KeyID) string {
	return EscrowFolder(t, recovery) + id.String()
}

// EscrowOptions describe a second wrapping of all keys. All but Parallel, Allowed
// and Progress are required.
type EscrowOptions struct {
	Bucket  *storage.Bucket
	Wrapper Wrapper // unwraps the keys in use
	Tenant  archive.Tenant
	To      Wrapper // wraps for the recovery key
	KEK     ID      // the recovery key
	// Renew wraps anew what is in escrow, but not under the newest version of the
	// recovery key. Otherwise only what is not there is made.
	Renew    bool
	Parallel int
	Allowed  func() error
	Progress func(EscrowPass)
}

// EscrowPass says what one pass of an escrow found.
type EscrowPass struct {
	Seen    int64 // keys looked at
	Made    int64 // escrow objects written
	Gone    int64 // keys destroyed meanwhile
	Damaged int64 // keys that cannot be read, or do not open
}

// Escrow wraps every key of a tenant for a recovery key too. It may be stopped,
// started again, and done by several at once.
func Escrow(ctx context.Context, o EscrowOptions) (EscrowPass, error) {
	e := &escrower{o: o}
	if err := e.allowed(); err != nil {
		return e.pass, err
	}
	// It is known before any key is unwrapped that the recovery key takes them.
	probe, err := o.To.Wrap(ctx, o.KEK, make([]byte, 32), []byte(escrowMagic))
	if err != nil {
		return e.pass, fmt.Errorf("trying the recovery key: %w", err)
	}
	e.target = probe.version()
	err = several(ctx, cmp.Or(max(0, o.Parallel), parallel), func(ctx context.Context, start func(func() error) error) error {
		return eachKept(ctx, o.Bucket, o.Tenant, o.KEK, func(id archive.KeyID, kept bool) error {
			if kept && !o.Renew {
				e.note(current)
				return nil
			}
			return start(func() error {
				found, err := e.one(ctx, id)
				if err != nil {
					return fmt.Errorf("wrapping a key for recovery: %w", err)
				}
				e.note(found)
				return nil
			})
		})
	})
	return e.pass, err
}

// eachKept calls f with the id of every key of a tenant, and whether there is an
// object of it in escrow for the recovery key. Both lists are in one order.
func eachKept(ctx context.Context, b *storage.Bucket, t archive.Tenant, recovery ID, f func(id archive.KeyID, kept bool) error) error {
	folder := EscrowFolder(t, recovery)
	next, stop := iter.Pull2(b.All(ctx, folder, ""))
	defer stop()
	var kept archive.KeyID // the next in escrow
	more, err := true, error(nil)
	advance := func() {
		for ok := false; more && !ok && err == nil; {
			var o storage.Object
			if o, err, more = next(); more && err == nil {
				kept, ok = idIn(folder, o.Key)
			}
		}
	}
	advance()
	return each(ctx, b, t, func(id archive.KeyID) error {
		for more && err == nil && bytes.Compare(kept[:], id[:]) < 0 {
			advance()
		}
		if err != nil {
			return fmt.Errorf("listing escrow objects: %w", err)
		}
		return f(id, more && kept == id)
	})
}

type escrower struct {
	o      EscrowOptions
	target Version

	mu   sync.Mutex
	pass EscrowPass
}

func (e *escrower) allowed() error {
	if e.o.Allowed == nil {
		return nil
	}
	return e.o.Allowed()
}

func (e *escrower) note(f finding) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.pass.Seen++
	switch f {
	case changed:
		e.pass.Made++
	case gone:
		e.pass.Gone++
	case damaged:
		e.pass.Damaged++
	}
	if e.o.Progress != nil {
		e.o.Progress(e.pass)
	}
}

// one makes the escrow object of one key, or makes it anew.
func (e *escrower) one(ctx context.Context, id archive.KeyID) (finding, error) {
	name := EscrowName(e.o.Tenant, e.o.KEK, id)
	there, etag, err := readAt(ctx, e.o.Bucket, escrowMagic, name, e.o.Tenant, id)
	switch {
	case isAbsent(err), fault.Is(err, fault.Corrupt): // is made, or made good
	case err != nil:
		return 0, err
	case there.Wrapped.version() == e.target:
		return current, nil
	}
	if err := e.allowed(); err != nil {
		return 0, err
	}
	o, _, err := read(ctx, e.o.Bucket, e.o.Tenant, id)
	if isAbsent(err) {
		return gone, nil
	}
	var key []byte
	if err == nil {
		key, err = e.o.Wrapper.Unwrap(ctx, o.Wrapped, o.aad)
	}
	defer clear(key)
	switch {
	case fault.Is(err, fault.Corrupt), err == nil && len(key) != len(archive.Secret{}):
		return damaged, nil
	case err != nil:
		return 0, err
	}
	w, err := e.o.To.Wrap(ctx, e.o.KEK, key, aad(escrowMagic, e.o.Tenant, id, o.Study))
	if err != nil {
		return 0, err
	}
	put := storage.CreateOptions{IfAbsent: etag == "", IfMatch: etag}
	_, err = e.o.Bucket.Put(ctx, name, encode(escrowMagic, id, o.Study, w), put)
	if fault.Is(err, fault.Exists) || fault.Is(err, fault.Conflict) {
		return current, nil // another did it, for the same recovery key
	}
	if err != nil {
		return 0, err
	}
	return e.recall(ctx, id, name)
}

// recall takes an escrow object back whose key has been destroyed while it was
// made. Who destroys a key does so before its copies, so one of the two sees the other.
func (e *escrower) recall(ctx context.Context, id archive.KeyID, name string) (finding, error) {
	_, of := place(e.o.Tenant, id)
	there, err := e.o.Bucket.Exists(ctx, of)
	if err == nil && !there {
		return gone, e.o.Bucket.Purge(ctx, name)
	}
	return changed, err
}

// eachEscrow calls f with the names of a tenant's escrow objects for every recovery key.
func eachEscrow(ctx context.Context, b *storage.Bucket, t archive.Tenant, f func(name string, id archive.KeyID) error) error {
	return eachFolder(ctx, b, t, func(folder string) error {
		return eachNamed(ctx, b, folder, func(id archive.KeyID) error { return f(folder+id.String(), id) })
	})
}

// eachFolder calls f with the folder of every recovery key that a tenant had.
func eachFolder(ctx context.Context, b *storage.Bucket, t archive.Tenant, f func(folder string) error) error {
	prefix := string(t) + "/escrow/"
	for after := ""; ; {
		page, err := b.List(ctx, prefix, after, 1)
		if err != nil {
			return fmt.Errorf("listing escrow objects: %w", err)
		}
		if len(page.Objects) == 0 {
			return nil
		}
		name, _, ok := strings.Cut(page.Objects[0].Key[len(prefix):], "/")
		if after = page.Objects[0].Key; !ok {
			continue
		}
		if err := f(prefix + name + "/"); err != nil {
			return err
		}
		after = prefix + name + "/z" // behind every id
	}
}

// PurgeEscrow destroys every version of what a key has in escrow, for whatever
// recovery key. The key's own object has to be destroyed before.
func PurgeEscrow(ctx context.Context, b *storage.Bucket, t archive.Tenant, id archive.KeyID) error {
	return eachFolder(ctx, b, t, func(folder string) error { return b.Purge(ctx, folder+id.String()) })
}

// PurgeOtherEscrow destroys what is in escrow for other recovery keys than this one.
func PurgeOtherEscrow(ctx context.Context, b *storage.Bucket, t archive.Tenant, keep ID) error {
	mine := EscrowFolder(t, keep)
	return eachEscrow(ctx, b, t, func(name string, _ archive.KeyID) error {
		if strings.HasPrefix(name, mine) {
			return nil
		}
		return b.Purge(ctx, name)
	})
}

// CountEscrow returns how many keys of a tenant are in escrow for a recovery key,
// and how many are not. It goes by names and needs no key.
func CountEscrow(ctx context.Context, b *storage.Bucket, t archive.Tenant, recovery ID) (in, missing int64, err error) {
	err = eachKept(ctx, b, t, recovery, func(_ archive.KeyID, kept bool) error {
		if kept {
			in++
		} else {
			missing++
		}
		return nil
	})
	return in, missing, err
}
