// Package pack gathers the sealed blobs of one study on their way into the
// store. A [Stage] keeps them in memory while they are few, so that the log can
// write them and their fact as one object; past a limit, or when memory is
// short, it becomes a pack: an object of blobs one after another, with a clear
// table of them and a BLAKE3-256 of the whole at its end, so that a region
// without keys can check its copy. See storage/FORMAT.md.
package pack

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math"

	"github.com/zeebo/blake3"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
)

// The numbers of pack v1.
const (
	// HeaderSize is where the first blob of a pack, and of a log object, begins.
	HeaderSize = 16
	// TrailerSize is the length of what ends a pack.
	TrailerSize = 56
	// MaxBlobs is the most blobs a pack may list.
	MaxBlobs = 1 << 20

	entrySize = 48
	magic     = "strata-pack v1\r\n"
	endMagic  = "packv1\r\n"
)

// What can be wrong with a pack. Each is reported as a fault.Corrupt that wraps one of them.
var (
	// ErrVersion: this is not a pack, or one of a newer format.
	ErrVersion = errors.New("not a pack of a known version")
	// ErrLength: the pack is shorter or longer than its trailer says.
	ErrLength = errors.New("wrong length")
	// ErrTable: the blob table names places outside the pack or out of order.
	ErrTable = errors.New("wrong blob table")
	// ErrDigest: the bytes are not those that were written.
	ErrDigest = errors.New("digest differs")
)

func corrupt(reason error) error {
	return fault.Wrap(fault.Corrupt, reason, "a pack is damaged; check the store with strata verify")
}

// Entry is one line of a pack's blob table.
type Entry struct {
	Blob           archive.BlobID
	Offset, Length int64 // in the pack
}

// footer returns the table and trailer of a pack whose blobs end at end, with
// room for the digest left empty.
func footer(blobs []Entry, end int64) []byte {
	b := make([]byte, 0, len(blobs)*entrySize+TrailerSize)
	for i := range blobs {
		b = append(b, blobs[i].Blob[:]...)
		b = binary.BigEndian.AppendUint64(b, uint64(blobs[i].Offset))
		b = binary.BigEndian.AppendUint64(b, uint64(blobs[i].Length))
	}
	b = binary.BigEndian.AppendUint64(b, uint64(len(blobs)))
	b = binary.BigEndian.AppendUint64(b, uint64(end))
	b = append(b, make([]byte, 32)...)
	return append(b, endMagic...)
}

// trailer reads the last TrailerSize bytes of a pack of size bytes.
func trailer(b []byte, size int64) (count, end int64, digest [32]byte, err error) {
	if size < HeaderSize+TrailerSize || len(b) != TrailerSize {
		return 0, 0, digest, corrupt(ErrLength)
	}
	if string(b[48:]) != endMagic {
		return 0, 0, digest, corrupt(ErrVersion)
	}
	n, e := binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])
	if n > MaxBlobs || e > math.MaxInt64 || e < HeaderSize || int64(e) != size-TrailerSize-int64(n)*entrySize {
		return 0, 0, digest, corrupt(ErrLength)
	}
	return int64(n), int64(e), [32]byte(b[16:48]), nil
}

// table reads count entries that lie in blobs ending at end.
func table(b []byte, end int64) ([]Entry, error) {
	blobs := make([]Entry, 0, len(b)/entrySize)
	at := int64(HeaderSize)
	for ; len(b) >= entrySize; b = b[entrySize:] {
		off, n := binary.BigEndian.Uint64(b[32:]), binary.BigEndian.Uint64(b[40:])
		if off > math.MaxInt64 || n > math.MaxInt64 || int64(off) < at || n == 0 || int64(n) > end-int64(off) {
			return nil, corrupt(ErrTable)
		}
		blobs = append(blobs, Entry{archive.BlobID(b[:32]), int64(off), int64(n)})
		at = int64(off) + int64(n)
	}
	return blobs, nil
}

// Object reads a pack at offsets, as storage does.
type Object interface {
	Open(ctx context.Context, key string, off, n int64) (io.ReadCloser, error)
}

// ReadTable reads the blob table of a pack of size bytes, in order of offset,
// without the blobs. Errors are fault.Corrupt and those of the store.
func ReadTable(ctx context.Context, o Object, key string, size int64) ([]Entry, error) {
	if size < HeaderSize+TrailerSize {
		return nil, corrupt(ErrLength)
	}
	b, err := readRange(ctx, o, key, size-TrailerSize, TrailerSize)
	if err != nil {
		return nil, err
	}
	count, end, _, err := trailer(b, size)
	if err != nil || count == 0 {
		return nil, err
	}
	if b, err = readRange(ctx, o, key, end, count*entrySize); err != nil {
		return nil, err
	}
	return table(b, end)
}

// ReadDigest returns the digest that the trailer of a pack of size bytes tells,
// which nothing vouches for. Errors are fault.Corrupt and those of the store.
func ReadDigest(ctx context.Context, o Object, key string, size int64) (archive.Digest, error) {
	if size < HeaderSize+TrailerSize {
		return archive.Digest{}, corrupt(ErrLength)
	}
	b, err := readRange(ctx, o, key, size-TrailerSize, TrailerSize)
	if err != nil {
		return archive.Digest{}, err
	}
	_, _, digest, err := trailer(b, size)
	return digest, err
}

func readRange(ctx context.Context, o Object, key string, off, n int64) ([]byte, error) {
	r, err := o.Open(ctx, key, off, n)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, ended(err)
	}
	return b, nil
}

// Verify reads a whole pack of size bytes and checks it without any key: its
// form and its digest. It returns the blob table. Errors are fault.Corrupt and
// those of the store.
func Verify(ctx context.Context, o Object, key string, size int64) ([]Entry, error) {
	if size < HeaderSize+TrailerSize {
		return nil, corrupt(ErrLength)
	}
	b, err := readRange(ctx, o, key, size-TrailerSize, TrailerSize)
	if err != nil {
		return nil, err
	}
	count, end, digest, err := trailer(b, size)
	if err != nil {
		return nil, err
	}
	r, err := o.Open(ctx, key, 0, size)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var head [HeaderSize]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, ended(err)
	}
	if string(head[:]) != magic {
		return nil, corrupt(ErrVersion)
	}
	h := blake3.New()
	h.Write(head[:])
	if _, err := io.CopyBuffer(struct{ io.Writer }{h}, io.LimitReader(r, end-HeaderSize), make([]byte, 256<<10)); err != nil {
		return nil, ended(err)
	}
	tail := make([]byte, count*entrySize+TrailerSize)
	if _, err := io.ReadFull(r, tail); err != nil {
		return nil, ended(err)
	}
	h.Write(tail[:len(tail)-TrailerSize+16])
	if [32]byte(h.Sum(nil)) != digest || !bytes.Equal(tail[len(tail)-TrailerSize:], b) {
		return nil, corrupt(ErrDigest)
	}
	return table(tail[:len(tail)-TrailerSize], end)
}

func ended(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return corrupt(ErrLength)
	}
	return err
}
