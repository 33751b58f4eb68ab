package localkeys

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/json"
	"fmt"
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

// contents are a key file read.
type contents struct {
	id       keys.ID
	newest   int
	aeads    map[int]cipher.AEAD
	versions []keys.VersionInfo
}

// parse reads a key file; unlock returns what its keys are sealed under.
func parse(b []byte, unlock func(*kdf) (cipher.AEAD, error)) (*contents, error) {
	var doc document
	if len(b) > maxFile || json.Unmarshal(b, &doc) != nil {
		return nil, errDamaged
	}
	if doc.Format != format || doc.ID == "" || len(doc.Keys) == 0 {
		return nil, fault.New(fault.KeyDenied, "this is not a key file of this version of Strata")
	}
	var pass cipher.AEAD
	if doc.KDF != nil {
		var err error
		if pass, err = unlock(doc.KDF); err != nil {
			return nil, err
		}
	}
	out := &contents{id: keys.ID(doc.ID), aeads: map[int]cipher.AEAD{}}
	for _, v := range doc.Keys {
		if v.Version < 1 || out.aeads[v.Version] != nil {
			return nil, errDamaged
		}
		key, err := doc.open(v, pass)
		if err != nil {
			return nil, err
		}
		aead, err := newGCM(key)
		clear(key)
		if err != nil {
			return nil, err
		}
		out.aeads[v.Version], out.newest = aead, max(out.newest, v.Version)
		out.versions = append(out.versions, keys.VersionInfo{Version: strconv.Itoa(v.Version), Created: v.Created})
	}
	return out, nil
}

// open returns the key of a version, for the caller to wipe; pass is nil without a passphrase.
func (d *document) open(v version, pass cipher.AEAD) ([]byte, error) {
	key := v.Key
	if pass != nil {
		if len(key) < nonceSize {
			return nil, errDamaged
		}
		var err error
		if key, err = pass.Open(nil, key[:nonceSize], key[nonceSize:], d.bind(v.Version)); err != nil {
			return nil, fault.New(fault.KeyDenied, "the passphrase does not open the key file: it is not the right one, or the file was changed")
		}
	}
	if len(key) != keySize {
		return nil, errDamaged
	}
	return key, nil
}

// add makes a new version of the key.
func (d *document) add(n int, now time.Time, pass cipher.AEAD) {
	key := make([]byte, keySize)
	rand.Read(key)
	v := version{Version: n, Created: now.UTC().Truncate(time.Second), Key: key}
	if pass != nil {
		nonce := make([]byte, nonceSize)
		rand.Read(nonce)
		v.Key = pass.Seal(nonce, nonce, key, d.bind(n))
		clear(key)
	}
	d.Keys = append(d.Keys, v)
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

// protection is the key that a passphrase gives under a kdf. The passphrase
// itself is not kept, and argon2id runs once.
type protection struct {
	kdf  kdf
	aead cipher.AEAD
}

// unlock returns how a key file is opened by a passphrase for the first time.
func (p *protection) unlock(passphrase []byte) func(*kdf) (cipher.AEAD, error) {
	return func(k *kdf) (_ cipher.AEAD, err error) {
		if len(passphrase) == 0 {
			return nil, fault.New(fault.KeyDenied, "the key file is protected by a passphrase; give it by key-passphrase-file")
		}
		if p.aead, err = k.aead(passphrase); err == nil {
			p.kdf = *k
		}
		return p.aead, err
	}
}

// again is how it is opened from then on.
func (p *protection) again(k *kdf) (cipher.AEAD, error) {
	if p.aead == nil || !bytes.Equal(k.Salt, p.kdf.Salt) || k.Time != p.kdf.Time || k.Memory != p.kdf.Memory || k.Threads != p.kdf.Threads {
		return nil, fault.New(fault.KeyDenied, "the key file was protected by another passphrase; start Strata again with it")
	}
	return p.aead, nil
}

func newGCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("preparing a key: %w", err)
	}
	return cipher.NewGCM(block)
}
