package quorum

import (
	"bytes"
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"strings"

	"github.com/strata-pacs/strata/internal/fault"
)

// Share is one part of a recovery key's private half.
type Share struct {
	key  [8]byte // the start of the public key's SHA-256
	need byte
	x    byte // from 1
	y    [PrivateSize]byte
}

// Number counts the shares of a key from 1.
func (s Share) Number() int { return int(s.x) }

// Need is how many shares give the key back.
func (s Share) Need() int { return int(s.need) }

// Fingerprint names the key that it is a share of, as [Public.Fingerprint] does.
func (s Share) Fingerprint() string { return hex.EncodeToString(s.key[:]) }

// A share as text: prefix, then base32 of fingerprint, need, number, value and
// the first 4 bytes of the SHA-256 of all these, in groups of 5. Case, hyphens
// and white space do not matter, so that it may be typed from paper.
const (
	prefix   = "strata-share-1"
	group    = 5
	checksum = 4
	size     = 8 + 1 + 1 + PrivateSize + checksum
)

var encoding = base32.StdEncoding.WithPadding(base32.NoPadding)

func sum(b []byte) []byte {
	h := sha256.Sum256(append([]byte(prefix), b...))
	return h[:checksum]
}

// Text returns the share for a person to keep. It is a secret.
func (s Share) Text() string {
	b := append(append(s.key[:], s.need, s.x), s.y[:]...)
	b = append(b, sum(b)...)
	var out strings.Builder
	out.WriteString(prefix)
	for i, c := range []byte(strings.ToLower(encoding.EncodeToString(b))) {
		if i%group == 0 {
			out.WriteByte('-')
		}
		out.WriteByte(c)
	}
	return out.String()
}

// ParseShare reads what [Share.Text] wrote; fault.Invalid.
func ParseShare(text string) (Share, error) {
	plain := strings.ToUpper(strings.Map(func(r rune) rune {
		if r == '-' || r == ' ' || r == '\t' || r == '\r' || r == '\n' {
			return -1
		}
		return r
	}, text))
	body, ours := strings.CutPrefix(plain, strings.ToUpper(strings.ReplaceAll(prefix, "-", "")))
	if !ours {
		return Share{}, fault.New(fault.Invalid, "this is not a share of a recovery key: those begin with %s", prefix)
	}
	b, err := encoding.DecodeString(body)
	if err != nil || len(b) != size || !bytes.Equal(sum(b[:size-checksum]), b[size-checksum:]) {
		return Share{}, fault.New(fault.Invalid, "the share of a recovery key is mistyped or incomplete")
	}
	s := Share{need: b[8], x: b[9]}
	copy(s.key[:], b)
	copy(s.y[:], b[10:])
	if s.x == 0 || s.need < 2 {
		return Share{}, fault.New(fault.Invalid, "the share of a recovery key is not one that Strata made")
	}
	return s, nil
}
