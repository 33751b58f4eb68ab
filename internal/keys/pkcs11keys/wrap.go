//go:build cgo

package pkcs11keys

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"

	"github.com/miekg/pkcs11"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/keys"
)

// layouts are how wrapped bytes are made: a first byte that tells the mechanism,
// and what the mechanism makes.
//
//	1  nonce (12) ‖ AES-GCM ciphertext and tag (16)
//	2  AES-KEY-WRAP-PAD of a box
//	3  AES-KEY-WRAP of a box
//
// A box is nonce (16) ‖ MAC (32) ‖ length of the key (2) ‖ key ‖ zeros to a
// multiple of 8; the MAC is HMAC-SHA-256 with the key over nonce ‖ associated data.
var layouts = map[Mechanism]struct {
	first     byte
	mechanism uint
}{
	GCM:        {1, pkcs11.CKM_AES_GCM},
	KeyWrapPad: {2, pkcs11.CKM_AES_KEY_WRAP_PAD},
	KeyWrap:    {3, pkcs11.CKM_AES_KEY_WRAP},
}

const (
	gcmNonce = 12
	tagBits  = 128
	boxNonce = 16
	boxHead  = boxNonce + sha256.Size + 2
	maxKey   = 4 << 10 // bytes; a key, or what another provider made of it
)

// Wrap implements [keys.Wrapper].
func (h *HSM) Wrap(ctx context.Context, kek keys.ID, key, aad []byte) (keys.Wrapped, error) {
	if len(key) == 0 || len(key) > maxKey {
		return keys.Wrapped{}, fault.New(fault.Invalid, "a key to wrap has 1 to %d bytes", maxKey)
	}
	return do(ctx, h, "wrapping a key", fault.KeyDenied, false, func(s session) (keys.Wrapped, error) {
		k, err := s.newest(kek)
		if err != nil {
			return keys.Wrapped{}, err
		}
		b, err := s.wrap(k.handle, key, aad)
		return keys.Wrapped{KEK: kek, Version: k.version, Bytes: b}, err
	})
}

// Unwrap implements [keys.Wrapper].
func (h *HSM) Unwrap(ctx context.Context, w keys.Wrapped, aad []byte) ([]byte, error) {
	return do(ctx, h, "unwrapping a key", fault.Corrupt, false, func(s session) ([]byte, error) {
		k, err := s.version(w.KEK, w.Version)
		if err != nil {
			return nil, err
		}
		return s.unwrap(k.handle, w.Bytes, aad)
	})
}

var errDamaged = fault.New(fault.Corrupt, "a wrapped key is damaged, or belongs to another place; restore its object from a copy")

func (s session) wrap(kek pkcs11.ObjectHandle, key, aad []byte) ([]byte, error) {
	l := layouts[s.mech]
	if s.mech == GCM {
		nonce := make([]byte, gcmNonce)
		rand.Read(nonce)
		params := pkcs11.NewGCMParams(nonce, aad, tagBits)
		defer params.Free()
		if err := s.lib.EncryptInit(s.handle, []*pkcs11.Mechanism{pkcs11.NewMechanism(l.mechanism, params)}, kek); err != nil {
			return nil, err
		}
		sealed, err := s.lib.Encrypt(s.handle, key)
		if err != nil {
			return nil, err
		}
		return append(append([]byte{l.first}, nonce...), sealed...), nil
	}
	box := pack(key, aad)
	defer clear(box)
	// Only keys can be wrapped: the box becomes one, for as long as that takes.
	object, err := s.lib.CreateObject(s.handle, append(secretKey(),
		pkcs11.NewAttribute(pkcs11.CKA_VALUE, box)))
	if err != nil {
		return nil, err
	}
	defer s.lib.DestroyObject(s.handle, object)
	sealed, err := s.lib.WrapKey(s.handle, []*pkcs11.Mechanism{pkcs11.NewMechanism(l.mechanism, nil)}, kek, object)
	if err != nil {
		return nil, err
	}
	return append([]byte{l.first}, sealed...), nil
}

func (s session) unwrap(kek pkcs11.ObjectHandle, b, aad []byte) ([]byte, error) {
	if len(b) < 1+gcmNonce+tagBits/8 || len(b) > 2*maxKey {
		return nil, errDamaged
	}
	switch first, rest := b[0], b[1:]; first {
	case layouts[GCM].first:
		params := pkcs11.NewGCMParams(rest[:gcmNonce], aad, tagBits)
		defer params.Free()
		if err := s.lib.DecryptInit(s.handle, []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_AES_GCM, params)}, kek); err != nil {
			return nil, err
		}
		key, err := s.lib.Decrypt(s.handle, rest[gcmNonce:])
		return key, s.damaged(err, kek)
	case layouts[KeyWrapPad].first:
		return s.unwrapBox(pkcs11.CKM_AES_KEY_WRAP_PAD, kek, rest, aad)
	case layouts[KeyWrap].first:
		return s.unwrapBox(pkcs11.CKM_AES_KEY_WRAP, kek, rest, aad)
	}
	return nil, errDamaged
}

func (s session) unwrapBox(mechanism uint, kek pkcs11.ObjectHandle, b, aad []byte) ([]byte, error) {
	object, err := s.lib.UnwrapKey(s.handle, []*pkcs11.Mechanism{pkcs11.NewMechanism(mechanism, nil)}, kek, b, secretKey())
	if err != nil {
		return nil, s.damaged(err, kek)
	}
	defer s.lib.DestroyObject(s.handle, object)
	value, err := s.lib.GetAttributeValue(s.handle, object, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_VALUE, nil)})
	if err != nil {
		return nil, err
	}
	defer clear(value[0].Value)
	key, ok := unpack(value[0].Value, aad)
	if !ok {
		return nil, errDamaged
	}
	return key, nil
}

// damaged tells bytes that the key did not make from a token that fails: some
// tokens answer with a general error to either. A token that wraps, and unwraps
// what it wrapped, works.
func (s session) damaged(err error, kek pkcs11.ObjectHandle) error {
	if !is(err, pkcs11.CKR_GENERAL_ERROR, pkcs11.CKR_FUNCTION_FAILED) {
		return err
	}
	probe := []byte("does it work?")
	b, failed := s.wrap(kek, probe, nil)
	if failed == nil && b[0] == layouts[GCM].first {
		params := pkcs11.NewGCMParams(b[1:1+gcmNonce], nil, tagBits)
		defer params.Free()
		if failed = s.lib.DecryptInit(s.handle, []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_AES_GCM, params)}, kek); failed == nil {
			_, failed = s.lib.Decrypt(s.handle, b[1+gcmNonce:])
		}
	}
	if failed != nil {
		return err
	}
	return errDamaged
}

// secretKey is the template of a box in the token: of this session, and readable.
func secretKey() []*pkcs11.Attribute {
	return []*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY),
		pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_GENERIC_SECRET),
		pkcs11.NewAttribute(pkcs11.CKA_TOKEN, false),
		pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, true),
		pkcs11.NewAttribute(pkcs11.CKA_SENSITIVE, false),
		pkcs11.NewAttribute(pkcs11.CKA_EXTRACTABLE, true),
	}
}

// pack makes a box.
func pack(key, aad []byte) []byte {
	b := make([]byte, (boxHead+len(key)+7)/8*8)
	rand.Read(b[:boxNonce])
	copy(b[boxNonce:], mac(key, b[:boxNonce], aad))
	binary.BigEndian.PutUint16(b[boxNonce+sha256.Size:], uint16(len(key)))
	copy(b[boxHead:], key)
	return b
}

// unpack returns the key of a box that was packed with the same associated data.
func unpack(b, aad []byte) ([]byte, bool) {
	if len(b) < boxHead {
		return nil, false
	}
	n := int(binary.BigEndian.Uint16(b[boxNonce+sha256.Size:]))
	if n == 0 || len(b) != (boxHead+n+7)/8*8 {
		return nil, false
	}
	key := b[boxHead : boxHead+n]
	if !hmac.Equal(b[boxNonce:boxNonce+sha256.Size], mac(key, b[:boxNonce], aad)) {
		return nil, false
	}
	return append([]byte(nil), key...), true
}

func mac(key, nonce, aad []byte) []byte {
	m := hmac.New(sha256.New, key)
	m.Write(nonce)
	m.Write(aad)
	return m.Sum(nil)
}
