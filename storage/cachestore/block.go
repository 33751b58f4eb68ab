package cachestore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// A block's file: the magic, the object's hash, the block's number (u64), the
// size of blocks and the length of this one (u32 each), CRC-32C of each piece
// (u32; zero where there is none), CRC-32C of all that; then the bytes.
const (
	magic = "strata-cache v1\n"
	piece = 64 << 10 // what is checked at once, in bytes
	fixed = len(magic) + 16 + 8 + 4 + 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func headBytes(block int64) int64 { return int64(fixed) + 4*(block/piece) + 4 }

// fileBytes is about what a block of n bytes takes on disk.
func fileBytes(block int64, n int) int64 { return (headBytes(block) + int64(n) + 4095) &^ 4095 }

// head makes the head of a block's file; the checksums are those of data.
func head(b id, block int64, data []byte) []byte {
	h := make([]byte, 0, headBytes(block))
	h = append(h, magic...)
	h = append(h, b.object[:]...)
	h = binary.BigEndian.AppendUint64(h, uint64(b.n))
	h = binary.BigEndian.AppendUint32(h, uint32(block))
	h = binary.BigEndian.AppendUint32(h, uint32(len(data)))
	for range block / piece {
		n := min(len(data), piece)
		h = binary.BigEndian.AppendUint32(h, crc32.Checksum(data[:n], castagnoli))
		data = data[n:]
	}
	return binary.BigEndian.AppendUint32(h, crc32.Checksum(h, castagnoli))
}

// write writes a block beside its place and returns where. The file's time is that
// of its last use.
func (c *cache) write(b id, data []byte, now time.Time) (path string, err error) {
	path = filepath.Join(c.o.Folder, tempFolder, strconv.FormatInt(c.temp.Add(1), 36))
	w, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return "", err
	}
	_, err = w.Write(head(b, c.block, data))
	if err == nil {
		_, err = w.Write(data)
	}
	if err = errors.Join(err, w.Close(), os.Chtimes(path, now, now)); err != nil {
		_ = os.Remove(path) // or it goes at the next start
		return "", err
	}
	return path, nil
}

// errDamaged means that a block's file is not what was written, or gone.
var errDamaged = errors.New("cachestore: a block is damaged")

// block is an open file.
type block struct {
	f    *os.File
	at   int64 // of its bytes in the file
	size int64 // of its bytes
	sums []byte
}

// openBlock opens the file of a block and checks its head. os.ErrNotExist when
// it is gone, errDamaged when it is another's or damaged.
func (c *cache) openBlock(b id) (*block, error) {
	f, err := os.Open(c.path(b))
	if err != nil {
		return nil, err
	}
	h := make([]byte, headBytes(c.block))
	if _, err := f.ReadAt(h, 0); err != nil {
		f.Close()
		return nil, errDamaged
	}
	own, sum := h[:len(h)-4], binary.BigEndian.Uint32(h[len(h)-4:])
	o := &block{f: f, at: int64(len(h)), size: int64(binary.BigEndian.Uint32(h[fixed-4:])), sums: own[fixed:]}
	if crc32.Checksum(own, castagnoli) != sum || string(own[:len(magic)]) != magic || !bytes.Equal(own[len(magic):][:16], b.object[:]) ||
		int64(binary.BigEndian.Uint64(own[len(magic)+16:])) != b.n || int64(binary.BigEndian.Uint32(own[fixed-8:])) != c.block || o.size > c.block {
		f.Close()
		return nil, errDamaged
	}
	return o, nil
}

// pieceAt returns where the piece that holds a byte begins, and its length.
func (o *block) pieceAt(off int64) (from, n int64) {
	from = off &^ (piece - 1)
	return from, min(piece, o.size-from)
}

// read fills p, which are whole pieces from a piece's beginning, and checks them.
func (o *block) read(p []byte, from int64) error {
	if n, err := o.f.ReadAt(p, o.at+from); n < len(p) {
		if err == io.EOF {
			err = errDamaged
		}
		return err
	}
	for i := from / piece; len(p) > 0; i++ {
		n := min(len(p), piece)
		if crc32.Checksum(p[:n], castagnoli) != binary.BigEndian.Uint32(o.sums[4*i:]) {
			return errDamaged
		}
		p = p[n:]
	}
	return nil
}

func (o *block) close() { _ = o.f.Close() } // only read
