// Package keys holds a tenant's keys: the tenant root, from which the keys of
// index, tokens, digests and references come, and the study keys that seal
// everything about a study. Each lies in the store wrapped by the tenant's
// key-encryption key (KEK), which never leaves its home: a file, a vault, an HSM.
//
// A [Wrapper] is such a home; keystest is the exam that each sits. A [Ring] is
// one tenant's keys in use. Unwrapped keys live in memory alone, in a bounded
// cache, and are wiped when they leave it.
package keys

import (
	"context"
	"encoding/binary"
	"errors"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
)

// ID names a key-encryption key at its provider.
type ID string

// Wrapped is a key under a KEK.
type Wrapped struct {
	KEK     ID
	Version string // of the KEK, in the provider's words
	Bytes   []byte // the provider's ciphertext
}

// Wrapper wraps and unwraps keys under KEKs it does not give out.
//
// An implementation MUST bind aad: Unwrap with another aad fails with
// fault.Corrupt. It MUST tell a refusal (the KEK is disabled, deleted, or the
// caller may not use it: fault.KeyDenied) from silence (fault.KeyUnreachable).
// It MUST honour the context and be safe for concurrent use.
type Wrapper interface {
	// Wrap returns the key under the newest version of the KEK.
	Wrap(ctx context.Context, kek ID, key, aad []byte) (Wrapped, error)
	// Unwrap returns the key, for the caller to wipe.
	Unwrap(ctx context.Context, w Wrapped, aad []byte) ([]byte, error)
}

// ErrAbsent is wrapped by the fault.Corrupt of a key object that is not in the store.
var ErrAbsent = errors.New("no such key object")

// What can be wrong with a key object. Each is reported as a fault.Corrupt that wraps one of them.
var (
	// ErrVersion: this is not a key object, or one of a newer format.
	ErrVersion = errors.New("not a key object of a known version")
	// ErrLength: the object is shorter or longer than its fields say.
	ErrLength = errors.New("wrong length")
	// ErrPlace: the object belongs under another name.
	ErrPlace = errors.New("key object of another place")
)

func corrupt(reason error) error {
	return fault.Wrap(fault.Corrupt, reason, "a key object is missing or damaged; restore it from a copy of the store")
}

// Key objects (storage/FORMAT.md): magic, key id, study reference, then the
// wrapped key as three strings, each after its length as a uvarint. The root's
// key id and study reference are zero.
const (
	keyMagic  = "strata-keys v1\r\n"
	rootMagic = "strata-root v1\r\n"
	maxObject = 64 << 10 // bytes of a key object
)

func encode(magic string, id archive.KeyID, study archive.Ref, w Wrapped) []byte {
	b := append([]byte(magic), id[:]...)
	b = append(b, study[:]...)
	for _, s := range []string{string(w.KEK), w.Version, string(w.Bytes)} {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	return b
}

func decode(magic string, b []byte) (id archive.KeyID, study archive.Ref, w Wrapped, err error) {
	if len(b) < len(magic) || string(b[:len(magic)]) != magic {
		return id, study, w, corrupt(ErrVersion)
	}
	b = b[len(magic):]
	if len(b) < len(id)+len(study) {
		return id, study, w, corrupt(ErrLength)
	}
	b = b[copy(id[:], b):]
	b = b[copy(study[:], b):]
	var fields [3]string
	for i := range fields {
		n, k := binary.Uvarint(b)
		if k <= 0 || n > uint64(len(b)-k) {
			return id, study, w, corrupt(ErrLength)
		}
		fields[i], b = string(b[k:k+int(n)]), b[k+int(n):]
	}
	if len(b) != 0 {
		return id, study, w, corrupt(ErrLength)
	}
	return id, study, Wrapped{ID(fields[0]), fields[1], []byte(fields[2])}, nil
}

// aad binds a wrapped key to its tenant, its name and its study.
func aad(magic string, t archive.Tenant, id archive.KeyID, study archive.Ref) []byte {
	b := append([]byte(magic), t...)
	b = append(b, 0)
	b = append(b, id[:]...)
	return append(b, study[:]...)
}
