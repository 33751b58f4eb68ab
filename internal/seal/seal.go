// Package seal makes and opens blobs: sealed byte strings that give nothing
// away, may be read at any offset, and may be moved between objects as they are.
//
// A blob is a clear header and segments under AES-256-GCM. Its key comes by
// HKDF from a study key (or the tenant root), the blob's random identity, the
// tenant and the kind of content, so a blob opens nowhere but in its tenant and
// as its kind. The header holds a commitment to that key and is associated data
// of every segment; a segment's nonce is its number and whether it is the last.
// A segment moved, swapped, cut off, added, or taken from another blob does not
// open, and nothing of a segment is handed out before it has been authenticated.
//
// storage/FORMAT.md specifies the bytes; storage/testdata/vectors has examples,
// good and bad.
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
	"errors"
	"math"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
)

// The numbers of blob v1.
const (
	// HeaderSize is the length of the clear header in bytes.
	HeaderSize = 84
	// TagSize is what a segment is longer than its plaintext, in bytes.
	TagSize = 16
	// DefaultSegmentBits is log2 of the segment size that writers take: 64 KiB.
	DefaultSegmentBits = 16
	// MinSegmentBits and MaxSegmentBits bound log2 of the segment size: 4 KiB to 1 MiB.
	MinSegmentBits = 12
	MaxSegmentBits = 20

	version   = 1
	algorithm = 1 // AES-256-GCM segments under HKDF-SHA256
	nonceSize = 12
	label     = "strata/1/blob"
)

// The kinds of content. They are part of the key derivation, hence of the format.
const (
	KindInstance = "instance" // a Part 10 file as received
	KindIndex    = "index"    // a fact's index record
	KindJSON     = "json"     // a fact's DICOM JSON
	KindLayout   = "layout"   // a fact's layouts
	// KindThumbnail is a small picture, which is derived and in no fact.
	KindThumbnail = "thumbnail"
)

// What can be wrong with a blob. Each is reported as a fault.Corrupt that wraps one of them.
var (
	// ErrVersion: the version or algorithm is not one this program knows.
	ErrVersion = errors.New("unknown version or algorithm")
	// ErrHeader: the header cannot be one, or is not that of the blob asked for.
	ErrHeader = errors.New("not the header of this blob")
	// ErrCommitment: the key does not belong to this header, tenant and kind.
	ErrCommitment = errors.New("header does not match its commitment")
	// ErrLength: no blob has this length, or the blob is shorter or longer than authenticated.
	ErrLength = errors.New("wrong length")
	// ErrSegment: a segment does not authenticate.
	ErrSegment = errors.New("segment does not authenticate")
)

func corrupt(reason error) error {
	return fault.Wrap(fault.Corrupt, reason, "stored bytes do not open: they were damaged or changed; check the store with strata verify")
}

// Binding is what a blob is bound to beside its identity: it opens nowhere else.
type Binding struct {
	Tenant archive.Tenant
	Kind   string        // what the content is, one of the Kind constants; at most 255 bytes
	Key    archive.KeyID // names the secret; zero for the tenant root's fact key
}

// Header is the clear header of a blob.
type Header struct {
	SegmentBits uint8 // log2 of the segment size
	Coding      archive.Coding
	Key         archive.KeyID
	Blob        archive.BlobID
	Commitment  [32]byte
}

// ParseHeader reads the header at the beginning of b. It authenticates nothing.
// Errors are fault.Corrupt.
func ParseHeader(b []byte) (Header, error) {
	var h Header
	if len(b) < HeaderSize {
		return h, corrupt(ErrLength)
	}
	if b[0] != version || b[1] != algorithm {
		return h, corrupt(ErrVersion)
	}
	h.SegmentBits, h.Coding = b[2], archive.Coding(b[3])
	if h.SegmentBits < MinSegmentBits || h.SegmentBits > MaxSegmentBits || h.Coding > archive.Deflated {
		return h, corrupt(ErrHeader)
	}
	copy(h.Key[:], b[4:20])
	copy(h.Blob[:], b[20:52])
	copy(h.Commitment[:], b[52:84])
	return h, nil
}

// sealer holds what every segment of one blob needs.
type sealer struct {
	header [HeaderSize]byte
	aead   cipher.AEAD
	nonce  [nonceSize]byte
}

// init derives the blob's key and completes the header with the commitment.
func (s *sealer) init(secret *archive.Secret, b Binding, h Header) error {
	if len(b.Tenant) > math.MaxUint8 || len(b.Kind) > math.MaxUint8 {
		return fault.New(fault.Internal, "sealing: the tenant or kind is longer than 255 bytes")
	}
	s.header[0], s.header[1], s.header[2], s.header[3] = version, algorithm, h.SegmentBits, byte(h.Coding)
	copy(s.header[4:20], b.Key[:])
	copy(s.header[20:52], h.Blob[:])

	info := append(make([]byte, 0, 128), label...)
	info = append(info, byte(len(b.Tenant)))
	info = append(info, b.Tenant...)
	info = append(info, byte(len(b.Kind)))
	info = append(info, b.Kind...)
	// The first fields of the header too, so that a changed header is known
	// by its commitment, before any segment is read.
	info = append(info, s.header[:20]...)
	var okm [64]byte
	derive(&okm, (*[32]byte)(secret), (*[32]byte)(&h.Blob), info)
	copy(s.header[52:84], okm[32:])
	block, err := aes.NewCipher(okm[:32])
	clear(okm[:])
	if err != nil {
		return fault.Wrap(fault.Internal, err, "deriving a blob key")
	}
	if s.aead, err = cipher.NewGCM(block); err != nil {
		return fault.Wrap(fault.Internal, err, "deriving a blob key")
	}
	return nil
}

// committed reports whether the commitment is that of the derived key.
func (s *sealer) committed(h *Header) bool {
	return subtle.ConstantTimeCompare(s.header[52:84], h.Commitment[:]) == 1
}

// at sets the nonce of segment i: its number as an 88-bit big-endian integer, then the last flag.
func (s *sealer) at(i int64, last bool) []byte {
	for k := 10; k >= 3; k-- {
		s.nonce[k] = byte(i)
		i >>= 8
	}
	s.nonce[11] = 0
	if last {
		s.nonce[11] = 1
	}
	return s.nonce[:]
}

// SealedSize returns the length in bytes of a blob with so many bytes of
// plaintext; segmentBits 0 is the default. It returns -1 if there is no such blob.
func SealedSize(plain int64, segmentBits uint8) int64 {
	if segmentBits == 0 {
		segmentBits = DefaultSegmentBits
	}
	if plain < 0 || segmentBits > MaxSegmentBits || plain > math.MaxInt64/2 {
		return -1
	}
	return HeaderSize + plain + segments(plain, segmentBits)*TagSize
}

// PlainSize is the inverse of SealedSize; it returns -1 if no blob is sealed bytes long.
func PlainSize(sealed int64, segmentBits uint8) int64 {
	if segmentBits == 0 {
		segmentBits = DefaultSegmentBits
	}
	rest := sealed - HeaderSize
	if segmentBits > MaxSegmentBits || rest < TagSize {
		return -1
	}
	full := int64(1)<<segmentBits + TagSize
	n, tail := rest/full, rest%full
	switch {
	case tail == 0:
		return n << segmentBits
	case tail > TagSize, n == 0 && tail == TagSize:
		return n<<segmentBits + tail - TagSize
	}
	return -1
}

// Span returns where in a blob with so many bytes of plaintext the segments lie
// that hold n bytes of it from off, a range within it: what a Reader reads for
// that range. segmentBits 0 is the default. The length is negative where there
// is no such blob.
func Span(plain int64, segmentBits uint8, off, n int64) (from, length int64) {
	if segmentBits == 0 {
		segmentBits = DefaultSegmentBits
	}
	first := off >> segmentBits
	end := max(first+1, (off+n+int64(1)<<segmentBits-1)>>segmentBits)
	if first > 0 { // the header is read with the first segment
		from = HeaderSize + first*(1<<segmentBits+TagSize)
	}
	return from, SealedSize(min(end<<segmentBits, plain), segmentBits) - from
}

// segments returns how many segments a plaintext has: an empty one has one,
// and no other has an empty segment.
func segments(plain int64, bits uint8) int64 {
	return max(1, (plain+int64(1)<<bits-1)>>bits)
}
