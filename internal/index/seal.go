package index

import (
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"io"
	"sync"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
)

// table says which table a sealed value belongs to: it opens in no other.
type table byte

const (
	inStudies   table = 1
	inSeries    table = 2
	inInstances table = 3
	inChunks    table = 4
	inVariants  table = 5
	inFacets    table = 6
	inWords     table = 7
	inLives     table = 10
	inTags      table = 11
	inRules     table = 16
	inHolds     table = 17
	inReleases  table = 18
	inJobs      table = 19
)

// sealer seals row values with XChaCha20-Poly1305. Its nonces are random 192
// bits, so that rows may be sealed again without end under one key. The
// associated data is tenant, table and row. It is safe for concurrent use.
type sealer struct {
	aead   cipher.AEAD
	tenant string
	nonces *nonces
}

func newSealer(s archive.Secret, t archive.Tenant, n *nonces) (*sealer, error) {
	aead, err := chacha20poly1305.NewX(s[:])
	if err != nil {
		return nil, fault.Wrap(fault.Internal, err, "preparing the index key")
	}
	return &sealer{aead: aead, tenant: string(t), nonces: n}, nil
}

func (s *sealer) aad(b []byte, t table, row int64) []byte {
	b = append(b, s.tenant...)
	b = append(b, 0, byte(t))
	return binary.BigEndian.AppendUint64(b, uint64(row))
}

// seal returns the sealed form of plain, appended to dst.
func (s *sealer) seal(dst, plain []byte, t table, row int64) ([]byte, error) {
	var buf [80]byte
	at := len(dst)
	dst = append(dst, make([]byte, chacha20poly1305.NonceSizeX)...)
	if err := s.nonces.read(dst[at:]); err != nil {
		return nil, err
	}
	return s.aead.Seal(dst, dst[at:], plain, s.aad(buf[:0], t, row)), nil
}

// open returns what was sealed, in memory of its own.
func (s *sealer) open(sealed []byte, t table, row int64) ([]byte, error) {
	var buf [80]byte
	const n = chacha20poly1305.NonceSizeX
	if len(sealed) < n+chacha20poly1305.Overhead {
		return nil, errRow
	}
	plain, err := s.aead.Open(make([]byte, 0, len(sealed)-n-chacha20poly1305.Overhead), sealed[:n], sealed[n:], s.aad(buf[:0], t, row))
	if err != nil {
		return nil, fault.Wrap(fault.Corrupt, err, "a row of the index fails authentication; rebuild the index (strata rebuild)")
	}
	return plain, nil
}

// nonces hands out random bytes, read many at a time. It is safe for concurrent use.
type nonces struct {
	mu   sync.Mutex
	r    io.Reader
	buf  [4096]byte
	left []byte
}

func newNonces(r io.Reader) *nonces {
	if r == nil {
		r = rand.Reader
	}
	return &nonces{r: r}
}

func (n *nonces) read(b []byte) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.left) < len(b) {
		if _, err := io.ReadFull(n.r, n.buf[:]); err != nil {
			return fault.Wrap(fault.Unavailable, err, "reading random bytes")
		}
		n.left = n.buf[:]
	}
	n.left = n.left[copy(b, n.left):]
	return nil
}
