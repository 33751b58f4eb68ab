// Package localkeys keeps key-encryption keys in a file on this machine, for
// the embedded default. The file can be read by its owner alone and may be
// protected by a passphrase (argon2id, RFC 9106). It is written once and never
// overwritten. Whoever loses it loses the archive.
package localkeys

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/crypto/argon2"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/keys"
)

// format is the first field of a key file.
const format = "strata-local-key v1"

// document is the key file: JSON.
type document struct {
	Format string    `json:"format"`
	Note   string    `json:"note"`
	ID     string    `json:"id"`
	KDF    *kdf      `json:"kdf,omitempty"` // absent without a passphrase
	Keys   []version `json:"keys"`          // the last one wraps
}

// kdf are the parameters of argon2id.
type kdf struct {
	Time    uint32 `json:"time"`
	Memory  uint32 `json:"memory"` // KiB
	Threads uint8  `json:"threads"`
	Salt    []byte `json:"salt"`
}

// version is one version of the KEK: 32 bytes, or with a passphrase a nonce and
// their AES-256-GCM ciphertext, associated data id and version.
type version struct {
	Version int       `json:"version"`
	Created time.Time `json:"created"`
	Key     []byte    `json:"key"`
}

const (
	note       = "Keep a copy of this file in another place. Without it the archive cannot be read by anyone."
	keySize    = 32
	nonceSize  = 12
	maxFile    = 1 << 20 // bytes of a key file
	maxMemory  = 1 << 20 // KiB that a key file may ask argon2id for
	maxTime    = 64
	maxThreads = 16
)

var errDamaged = fault.New(fault.KeyDenied, "the key file is damaged or cut short; put the copy of it back")

// File is an open key file: a [keys.Wrapper].
type File struct {
	id     keys.ID
	newest int
	aeads  map[int]cipher.AEAD
}

var _ keys.Wrapper = (*File)(nil)

// Create writes a new key file with one random key. It fails with fault.Exists
// where there is a file. An empty passphrase protects by the file mode alone.
func Create(path string, passphrase []byte) error {
	doc := document{Format: format, Note: note}
	var id [8]byte
	key := make([]byte, keySize)
	defer clear(key)
	rand.Read(id[:])
	rand.Read(key)
	doc.ID = "local-" + hex.EncodeToString(id[:])
	v := version{Version: 1, Created: time.Now().UTC().Truncate(time.Second), Key: key}
	if len(passphrase) > 0 {
		// RFC 9106 §4, the second recommended choice: 64 MiB.
		doc.KDF = &kdf{Time: 3, Memory: 64 << 10, Threads: 4, Salt: make([]byte, 16)}
		rand.Read(doc.KDF.Salt)
		sealed, err := doc.KDF.aead(passphrase)
		if err != nil {
			return err
		}
		nonce := make([]byte, nonceSize)
		rand.Read(nonce)
		v.Key = sealed.Seal(nonce, nonce, key, doc.bind(v.Version))
	}
	doc.Keys = []version{v}
	b, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		return fmt.Errorf("encoding a key file: %w", err)
	}
	return writeNew(path, append(b, '\n'))
}

// writeNew writes a file that must not be there, durably: its bytes before its name.
func writeNew(path string, b []byte) (err error) {
	if path, err = filepath.Abs(path); err != nil {
		return fault.Wrap(fault.Invalid, err, "cannot find the folder of the key file")
	}
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, ".strata-key-*") // mode 0600
	if err != nil {
		return fault.Wrap(fault.Invalid, err, "cannot write in the folder of the key file")
	}
	defer os.Remove(f.Name())
	_, err = f.Write(b)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return fmt.Errorf("writing a key file: %w", err)
	}
	if err := os.Link(f.Name(), path); errors.Is(err, fs.ErrExist) {
		return fault.Wrap(fault.Exists, err, "there is a key file already; it is never overwritten")
	} else if err != nil {
		return fmt.Errorf("writing a key file: %w", err)
	}
	if err := syncFolder(dir); err != nil {
		return fmt.Errorf("writing a key file: %w", err)
	}
	// The folder may be new, and those above it. Not all of them need be ours.
	for parent := filepath.Dir(dir); parent != dir; dir, parent = parent, filepath.Dir(parent) {
		_ = syncFolder(parent)
	}
	return nil
}

func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Open reads a key file. Errors say what to do about it.
func Open(path string, passphrase []byte) (*File, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.Wrap(fault.KeyDenied, err, "the key file is not there; put the copy of it back")
	} else if err != nil {
		return nil, fault.Wrap(fault.KeyDenied, err, "the key file cannot be read")
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fault.Wrap(fault.KeyDenied, err, "the key file cannot be read")
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, fault.New(fault.KeyDenied, "the key file can be read by others (mode %04o); run chmod 600 on it", mode)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fault.Wrap(fault.KeyDenied, err, "the key file cannot be read")
	}
	defer clear(b)
	return parse(b, passphrase)
}

func parse(b, passphrase []byte) (*File, error) {
	var doc document
	if len(b) > maxFile || json.Unmarshal(b, &doc) != nil {
		return nil, errDamaged
	}
	if doc.Format != format || doc.ID == "" || len(doc.Keys) == 0 {
		return nil, fault.New(fault.KeyDenied, "this is not a key file of this version of Strata")
	}
	var pass cipher.AEAD
	switch {
	case doc.KDF != nil && len(passphrase) == 0:
		return nil, fault.New(fault.KeyDenied, "the key file is protected by a passphrase; give it by key-passphrase-file")
	case doc.KDF != nil:
		var err error
		if pass, err = doc.KDF.aead(passphrase); err != nil {
			return nil, err
		}
	}
	out := &File{id: keys.ID(doc.ID), aeads: map[int]cipher.AEAD{}}
	for _, v := range doc.Keys {
		key := v.Key
		if v.Version < 1 || out.aeads[v.Version] != nil {
			return nil, errDamaged
		}
		if pass != nil {
			if len(key) < nonceSize {
				return nil, errDamaged
			}
			var err error
			if key, err = pass.Open(nil, key[:nonceSize], key[nonceSize:], doc.bind(v.Version)); err != nil {
				return nil, fault.New(fault.KeyDenied, "the passphrase does not open the key file: it is not the right one, or the file was changed")
			}
		}
		if len(key) != keySize {
			return nil, errDamaged
		}
		aead, err := newGCM(key)
		clear(key)
		if err != nil {
			return nil, err
		}
		out.aeads[v.Version], out.newest = aead, max(out.newest, v.Version)
	}
	return out, nil
}

func (d *document) bind(v int) []byte { return fmt.Appendf(nil, "%s\x00%s\x00%d", format, d.ID, v) }

func (k *kdf) aead(passphrase []byte) (cipher.AEAD, error) {
	if k.Time == 0 || k.Time > maxTime || k.Threads == 0 || k.Threads > maxThreads || k.Memory > maxMemory || len(k.Salt) < 16 {
		return nil, fault.New(fault.KeyDenied, "the key file asks for a passphrase scheme that this version does not allow")
	}
	key := argon2.IDKey(passphrase, k.Salt, k.Time, k.Memory, k.Threads, keySize)
	defer clear(key)
	return newGCM(key)
}

func newGCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("preparing a key: %w", err)
	}
	return cipher.NewGCM(block)
}

// ID returns the name of the KEK.
func (f *File) ID() keys.ID { return f.id }

// Wrap implements [keys.Wrapper].
func (f *File) Wrap(ctx context.Context, kek keys.ID, key, aad []byte) (keys.Wrapped, error) {
	if err := ctx.Err(); err != nil {
		return keys.Wrapped{}, err
	}
	w := keys.Wrapped{KEK: kek, Version: strconv.Itoa(f.newest)}
	aead, err := f.aead(w)
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
	aead, err := f.aead(w)
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

func (f *File) aead(w keys.Wrapped) (cipher.AEAD, error) {
	if w.KEK != f.id {
		return nil, fault.New(fault.KeyDenied, "the archive is sealed under another key than the one in the key file; give the right file by key-file")
	}
	n, err := strconv.Atoi(w.Version)
	aead := f.aeads[n]
	if err != nil || aead == nil {
		return nil, fault.New(fault.KeyDenied, "the key file lacks the version of the key that this was sealed under; put the newer copy of it back")
	}
	return aead, nil
}

// bind adds the KEK and its version to the associated data.
func bind(w keys.Wrapped, aad []byte) []byte {
	return append(fmt.Appendf(nil, "%s\x00%s\x00", w.KEK, w.Version), aad...)
}
