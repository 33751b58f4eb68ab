package s3protocol

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"sync"
)

// chunkSize is the unit in which buffers grow, so that a small object takes little.
const chunkSize = 256 << 10

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var chunks = sync.Pool{New: func() any { return new([chunkSize]byte) }}

// Body is an object, or a part of one, on its way to the store.
type Body struct {
	chunks []*[chunkSize]byte
	n      int64
	crc    uint32
}

// write appends p, at most until there are limit bytes, and returns how many.
func (b *Body) write(p []byte, limit int64) int {
	p = p[:min(int64(len(p)), limit-b.n)]
	for rest := p; len(rest) > 0; {
		at := b.n % chunkSize
		if at == 0 {
			b.chunks = append(b.chunks, chunks.Get().(*[chunkSize]byte))
		}
		n := copy(b.chunks[len(b.chunks)-1][at:], rest)
		rest, b.n = rest[n:], b.n+int64(n)
	}
	b.crc = crc32.Update(b.crc, castagnoli, p)
	return len(p)
}

// recycle gives the memory back. It must not be called while, after an error,
// an HTTP transport may still be reading.
func (b *Body) recycle() {
	for _, c := range b.chunks {
		chunks.Put(c)
	}
	b.chunks, b.n = nil, 0
}

// Len returns its size in bytes.
func (b *Body) Len() int64 { return b.n }

// CRC32C returns its checksum as the protocol writes it.
func (b *Body) CRC32C() string { return encodeCRC(b.crc) }

// Reader returns a new reader of it all.
func (b *Body) Reader() io.ReadSeeker { return &bufferReader{chunks: b.chunks, n: b.n} }

func encodeCRC(crc uint32) string {
	return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, crc))
}

type bufferReader struct {
	chunks []*[chunkSize]byte
	n, off int64
}

func (r *bufferReader) Read(p []byte) (int, error) {
	if r.off >= r.n {
		return 0, io.EOF
	}
	at := r.off % chunkSize
	n := copy(p, r.chunks[r.off/chunkSize][at:min(chunkSize, at+r.n-r.off)])
	r.off += int64(n)
	return n, nil
}

func (r *bufferReader) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += r.off
	case io.SeekEnd:
		offset += r.n
	}
	if offset < 0 || offset > r.n {
		return 0, errors.New("s3protocol: seeking outside of a part")
	}
	r.off = offset
	return offset, nil
}
