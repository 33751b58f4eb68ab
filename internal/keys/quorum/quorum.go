// Package quorum makes recovery keys whose private half no machine and no one
// person holds: it is split into shares (Shamir, over GF(2^8)), any need of
// which give it back, and fewer of which say nothing about it.
//
// Keys are wrapped for the [Public] half, which is no secret, with HPKE (RFC
// 9180, base mode): KEM MLKEM768-X25519, for what is in escrow today must stay
// closed for decades, HKDF-SHA256 and AES-256-GCM; the additional data is bound
// as the info. Who gathers shares has a [Private], which opens them.
package quorum

import (
	"bytes"
	"context"
	"crypto/hpke"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/keys"
)

// Sizes in bytes.
const (
	PublicSize  = 1216
	PrivateSize = 32
)

// MaxShares bounds how many shares a key has.
const MaxShares = 32

// version of keys wrapped for a recovery key: how they are wrapped.
const version = "hpke-1"

func kem() hpke.KEM { return hpke.MLKEM768X25519() }

// Public is the half of a recovery key that wraps. It implements
// [keys.Wrapper], and refuses to unwrap.
type Public struct{ key hpke.PublicKey }

// ParsePublic reads a public key; fault.Invalid.
func ParsePublic(b []byte) (*Public, error) {
	k, err := kem().NewPublicKey(b)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "this is not the public key of a recovery key")
	}
	return &Public{k}, nil
}

// Bytes returns the key as [ParsePublic] reads it.
func (p *Public) Bytes() []byte { return p.key.Bytes() }

// fingerprint is the start of the public key's SHA-256.
func (p *Public) fingerprint() (f [8]byte) {
	sum := sha256.Sum256(p.key.Bytes())
	copy(f[:], sum[:])
	return f
}

// Fingerprint names the key for people: 16 hexadecimal digits.
func (p *Public) Fingerprint() string {
	f := p.fingerprint()
	return hex.EncodeToString(f[:])
}

// ID names the key as a KEK: "quorum/" and its fingerprint.
func (p *Public) ID() keys.ID { return keys.ID("quorum/" + p.Fingerprint()) }

// Wrap implements [keys.Wrapper].
func (p *Public) Wrap(ctx context.Context, kek keys.ID, key, aad []byte) (keys.Wrapped, error) {
	if err := ctx.Err(); err != nil {
		return keys.Wrapped{}, fmt.Errorf("wrapping for a recovery key: %w", err)
	}
	if kek != p.ID() {
		return keys.Wrapped{}, fault.New(fault.KeyDenied, "wrapping for a recovery key: it is another one")
	}
	b, err := hpke.Seal(p.key, hpke.HKDFSHA256(), hpke.AES256GCM(), aad, key)
	if err != nil {
		return keys.Wrapped{}, fmt.Errorf("wrapping for a recovery key: %w", err)
	}
	return keys.Wrapped{KEK: kek, Version: version, Bytes: b}, nil
}

// Unwrap implements [keys.Wrapper]: fault.KeyDenied.
func (p *Public) Unwrap(context.Context, keys.Wrapped, []byte) ([]byte, error) {
	return nil, fault.New(fault.KeyDenied, "this key is opened by a quorum of its shares alone")
}

// Private is a whole recovery key. It implements [keys.Wrapper].
type Private struct {
	Public
	key hpke.PrivateKey
}

// ParsePrivate reads a private key; fault.Invalid.
func ParsePrivate(b []byte) (*Private, error) {
	k, err := kem().NewPrivateKey(b)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "this is not the private key of a recovery key")
	}
	return &Private{Public{k.PublicKey()}, k}, nil
}

// Bytes returns the key as [ParsePrivate] reads it, for the caller to wipe.
func (p *Private) Bytes() ([]byte, error) {
	b, err := p.key.Bytes()
	if err != nil {
		return nil, fmt.Errorf("writing a recovery key: %w", err)
	}
	return bytes.Clone(b), nil // b is the key's own
}

// Wipe overwrites the private half; the key is of no use afterwards. What HPKE has
// made of it stays in memory until that is used anew.
func (p *Private) Wipe() {
	if b, err := p.key.Bytes(); err == nil {
		clear(b)
	}
}

// Unwrap implements [keys.Wrapper].
func (p *Private) Unwrap(ctx context.Context, w keys.Wrapped, aad []byte) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("opening an escrowed key: %w", err)
	}
	if w.KEK != p.ID() || w.Version != version {
		return nil, fault.New(fault.KeyDenied, "opening an escrowed key: it is wrapped for another recovery key")
	}
	b, err := hpke.Open(p.key, hpke.HKDFSHA256(), hpke.AES256GCM(), aad, w.Bytes)
	if err != nil {
		return nil, fault.Wrap(fault.Corrupt, err, "an escrowed key is damaged or of another place")
	}
	return b, nil
}

// New makes a recovery key and splits its private half into n shares, need of
// which give it back. The private half is kept nowhere.
func New(n, need int) (*Public, []Share, error) {
	if need < 2 || n < need || n > MaxShares {
		return nil, nil, fault.New(fault.Invalid, "a quorum is at least 2, at most as many as there are shares, of which there are at most %d", MaxShares)
	}
	k, err := kem().GenerateKey()
	if err != nil {
		return nil, nil, fmt.Errorf("making a recovery key: %w", err)
	}
	secret, err := k.Bytes()
	if err != nil {
		return nil, nil, fmt.Errorf("making a recovery key: %w", err)
	}
	defer clear(secret)
	p := &Public{k.PublicKey()}
	return p, split(secret, p.fingerprint(), n, need), nil
}

// Combine puts shares together. fault.Invalid, saying what is wrong, when they
// are too few, of different keys, or one of them twice.
func Combine(shares []Share) (*Private, error) {
	if len(shares) == 0 {
		return nil, fault.New(fault.Invalid, "no shares were given")
	}
	first := shares[0]
	seen := [256]bool{}
	for _, s := range shares {
		switch {
		case s.key != first.key || s.need != first.need:
			return nil, fault.New(fault.Invalid, "the shares are of different recovery keys")
		case seen[s.x]:
			return nil, fault.New(fault.Invalid, "share %d was given twice", s.x)
		}
		seen[s.x] = true
	}
	if len(shares) < int(first.need) {
		return nil, fault.New(fault.Invalid, "%d shares were given; %d are needed", len(shares), first.need)
	}
	secret := join(shares[:first.need])
	defer clear(secret)
	p, err := ParsePrivate(secret)
	if err != nil || p.fingerprint() != first.key {
		return nil, fault.New(fault.Invalid, "the shares do not give the key that they are of; one of them is false")
	}
	return p, nil
}

// split shares out a secret: of each byte a polynomial of degree need-1 whose
// constant is the byte, at the points 1 to n.
func split(secret []byte, key [8]byte, n, need int) []Share {
	coefficients := make([]byte, need-1)
	defer clear(coefficients)
	shares := make([]Share, n)
	for i := range shares {
		shares[i] = Share{key: key, need: byte(need), x: byte(i + 1)}
	}
	for at, constant := range secret {
		rand.Read(coefficients) // never fails
		for i := range shares {
			s := &shares[i]
			y := byte(0)
			for k := len(coefficients) - 1; k >= 0; k-- {
				y = multiply(y, s.x) ^ coefficients[k]
			}
			s.y[at] = multiply(y, s.x) ^ constant
		}
	}
	return shares
}

// join is the value of the polynomials at 0 (Lagrange).
func join(shares []Share) []byte {
	secret := make([]byte, PrivateSize)
	for _, s := range shares {
		weight := byte(1)
		for _, o := range shares {
			if o.x != s.x {
				weight = multiply(weight, multiply(o.x, inverse(o.x^s.x)))
			}
		}
		for at := range secret {
			secret[at] ^= multiply(weight, s.y[at])
		}
	}
	return secret
}

// multiply is that of GF(2^8) with the polynomial of AES (FIPS 197 §4.2). It
// takes the same time whatever the factors.
func multiply(a, b byte) (product byte) {
	for range 8 {
		product ^= a & -(b & 1)
		a = a<<1 ^ 0x1b&-(a>>7)
		b >>= 1
	}
	return product
}

// inverse is a^254; that of 0 is 0.
func inverse(a byte) byte {
	product := byte(1)
	for range 7 {
		a = multiply(a, a)
		product = multiply(product, a)
	}
	return product
}
