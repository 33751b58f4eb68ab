package pack

import (
	"io"

	"github.com/strata-pacs/strata/internal/archive"
)

// Body is what a finished stage holds: the name of a pack, or blobs in memory
// for a log object.
type Body struct {
	Object string         // key of the pack; "" when the blobs are in memory
	ETag   string         // of the pack
	Length int64          // bytes of the pack, all of it
	Digest archive.Digest // of the pack, as its trailer has it: plain, not the tenant's
	Size   int64          // bytes of blobs, without the header that stands before them
	Blobs  []Entry        // offsets in the object; the first is at HeaderSize or behind

	mem    []*[chunkSize]byte
	budget *Budget
}

// Find returns the place of a blob in the body.
func (b *Body) Find(id archive.BlobID) (Entry, bool) {
	for _, e := range b.Blobs {
		if e.Blob == id {
			return e, true
		}
	}
	return Entry{}, false
}

// CopyTo writes header, which stands for the first HeaderSize bytes, and the
// blobs that are in memory. It may be called again.
func (b *Body) CopyTo(w io.Writer, header [HeaderSize]byte) (int64, error) {
	if len(b.mem) == 0 || b.Object != "" {
		n, err := w.Write(header[:])
		return int64(n), err
	}
	copy(b.mem[0][:], header[:])
	var done int64
	for _, c := range b.mem {
		n, err := w.Write(c[:min(chunkSize, HeaderSize+b.Size-done)])
		done += int64(n)
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

// Release gives the memory of the body back.
func (b *Body) Release() {
	release(b.mem, b.budget)
	b.mem = nil
}
