// Package localkeys keeps key-encryption keys in a file on this machine, for
// the embedded default. The file can be read by its owner alone and may be
// protected by a passphrase (argon2id, RFC 9106). It is written once and never
// overwritten. Whoever loses it loses the archive.
package localkeys

import (
	"context"
	"crypto/cipher"
	"crypto/rand"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/keys"
)

// File is an open key file: a [keys.Wrapper].
type File struct {
	path string
	id   keys.ID
	pass protection
	now  func() time.Time

	mu     sync.Mutex
	looked time.Time   // when the file was looked at
	state  fs.FileInfo // of the file that was read
	held   *contents   // nil while the file cannot be used
	err    error       // why
}

// Open reads a key file. Errors say what to do about it.
func Open(path string, passphrase []byte) (*File, error) {
	return openAt(path, passphrase, time.Now)
}

func openAt(path string, passphrase []byte, now func() time.Time) (*File, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "cannot find the folder of the key file")
	}
	f := &File{path: path, now: now, looked: now()}
	if f.held, f.state, err = read(path, f.pass.unlock(passphrase)); err != nil {
		return nil, err
	}
	f.id = f.held.id
	return f, nil
}

// ID returns the name of the KEK.
func (f *File) ID() keys.ID { return f.id }

// Wrap implements [keys.Wrapper].
func (f *File) Wrap(ctx context.Context, kek keys.ID, key, aad []byte) (keys.Wrapped, error) {
	if err := ctx.Err(); err != nil {
		return keys.Wrapped{}, err
	}
	c, err := f.current()
	if err != nil {
		return keys.Wrapped{}, err
	}
	w := keys.Wrapped{KEK: kek, Version: strconv.Itoa(c.newest)}
	aead, err := f.aead(c, w)
	if err != nil {
		return keys.Wrapped{}, err
	}
	nonce := make([]byte, nonceSize, nonceSize+len(key)+aead.Overhead())
	rand.Read(nonce)
	w.Bytes = aead.Seal(nonce, nonce, key, bind(w, aad))
	return w, nil
}

// Unwrap implements [keys.Wrapper].
func (f *File) Unwrap(ctx context.Context, w keys.Wrapped, aad []byte) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	c, err := f.current()
	if err != nil {
		return nil, err
	}
	if n, err := strconv.Atoi(w.Version); err == nil && n > c.newest {
		// Another node may have made this version since the file was read.
		if c, err = f.look(); err != nil {
			return nil, err
		}
	}
	aead, err := f.aead(c, w)
	if err != nil {
		return nil, err
	}
	if len(w.Bytes) < nonceSize {
		return nil, fault.New(fault.Corrupt, "a wrapped key is cut short; restore its object from a copy")
	}
	key, err := aead.Open(nil, w.Bytes[:nonceSize], w.Bytes[nonceSize:], bind(w, aad))
	if err != nil {
		return nil, fault.New(fault.Corrupt, "a wrapped key is damaged, or belongs to another place; restore its object from a copy")
	}
	return key, nil
}

func (f *File) aead(c *contents, w keys.Wrapped) (cipher.AEAD, error) {
	if err := f.mine(w.KEK); err != nil {
		return nil, err
	}
	n, err := strconv.Atoi(w.Version)
	aead := c.aeads[n]
	if err != nil || aead == nil {
		return nil, fault.New(fault.KeyDenied, "the key file lacks the version of the key that this was sealed under; put the newer copy of it back")
	}
	return aead, nil
}

func (f *File) mine(kek keys.ID) error {
	if kek != f.id {
		return fault.New(fault.KeyDenied, "the archive is sealed under another key than the one in the key file; give the right file by key-file")
	}
	return nil
}

// bind adds the KEK and its version to the associated data.
func bind(w keys.Wrapped, aad []byte) []byte {
	return append(fmt.Appendf(nil, "%s\x00%s\x00", w.KEK, w.Version), aad...)
}
