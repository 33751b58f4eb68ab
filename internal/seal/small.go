package seal

import (
	"crypto/rand"
	"io"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
)

// Options qualify the making of a blob. The zero value is useful.
type Options struct {
	Coding      archive.Coding
	SegmentBits uint8     // log2 of the segment size; 0 is DefaultSegmentBits
	Rand        io.Reader // of blob identities; nil is crypto/rand
}

// start draws the identity of a new blob and prepares its sealer.
func (s *sealer) start(secret *archive.Secret, b Binding, o Options) (Header, error) {
	h := Header{SegmentBits: o.SegmentBits, Coding: o.Coding, Key: b.Key}
	if h.SegmentBits == 0 {
		h.SegmentBits = DefaultSegmentBits
	}
	if h.SegmentBits < MinSegmentBits || h.SegmentBits > MaxSegmentBits || h.Coding > archive.Deflated {
		return h, fault.New(fault.Internal, "sealing: segment size or coding out of range")
	}
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
	if _, err := io.ReadFull(o.Rand, h.Blob[:]); err != nil {
		return h, fault.Wrap(fault.Internal, err, "drawing a blob id")
	}
	return h, s.init(secret, b, h)
}

// Seal appends to dst a blob of plain, in one call, and returns its identity.
// plain must not overlap the spare capacity of dst.
func Seal(dst, plain []byte, secret archive.Secret, b Binding, o Options) ([]byte, archive.BlobID, error) {
	var s sealer
	h, err := s.start(&secret, b, o)
	if err != nil {
		return dst, h.Blob, err
	}
	if need := len(dst) + int(SealedSize(int64(len(plain)), h.SegmentBits)); need > cap(dst) {
		dst = append(make([]byte, 0, need), dst...)
	}
	dst = append(dst, s.header[:]...)
	size := 1 << h.SegmentBits
	for i := int64(0); ; i++ {
		n := min(len(plain), size)
		last := n == len(plain)
		dst = s.aead.Seal(dst, s.at(i, last), plain[:n], s.header[:])
		if plain = plain[n:]; last {
			return dst, h.Blob, nil
		}
	}
}

// Open appends to dst the plaintext of sealed, which is a whole blob. sealed
// must not overlap the spare capacity of dst. Errors are fault.Corrupt; what
// dst's spare capacity holds is then undefined, and dst is returned unchanged.
func Open(dst, sealed []byte, secret archive.Secret, b Binding) ([]byte, error) {
	h, err := ParseHeader(sealed)
	if err != nil {
		return dst, err
	}
	if h.Key != b.Key {
		return dst, corrupt(ErrHeader)
	}
	plain := PlainSize(int64(len(sealed)), h.SegmentBits)
	if plain < 0 {
		return dst, corrupt(ErrLength)
	}
	var s sealer
	if err := s.init(&secret, b, h); err != nil {
		return dst, err
	}
	if !s.committed(&h) {
		return dst, corrupt(ErrCommitment)
	}
	out := dst
	if need := len(dst) + int(plain); need > cap(dst) {
		out = append(make([]byte, 0, need), dst...)
	}
	rest := sealed[HeaderSize:]
	full := 1<<h.SegmentBits + TagSize
	for i := int64(0); ; i++ {
		n := min(len(rest), full)
		last := n == len(rest)
		if out, err = s.aead.Open(out, s.at(i, last), rest[:n], s.header[:]); err != nil {
			return dst, corrupt(ErrSegment)
		}
		if rest = rest[n:]; last {
			return out, nil
		}
	}
}
