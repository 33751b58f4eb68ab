package index

import (
	"context"
	"database/sql/driver"
	"encoding/binary"

	"github.com/strata-pacs/strata/internal/archive"
)

// putChunk keeps a chunk of DICOM JSON, sealed, so that the metadata of a study
// that came one instance at a time is one query. Its identity is that of its first instance, or one that no row has.
func (b *batch) putChunk(t *tenant, id int64, c *archive.Chunk) (err error) {
	b.plain = binary.AppendUvarint(b.plain[:0], uint64(c.Size))
	b.plain = append(b.plain, c.Data...)
	if b.sealed, err = t.seal.seal(b.sealed[:0], b.plain, inChunks, id); err != nil {
		return err
	}
	return b.c.many(&intoChunks, id, b.sealed)
}

// Chunks yields the metadata chunks of the given identities (InstanceRow.ChunkID)
// in their order, one that repeats the one before it once; one that is not there is left out. Yield may call the index.
func (x *Index) Chunks(ctx context.Context, name archive.Tenant, ids []int64, yield func(id int64, c archive.Chunk) bool) error {
	const page, most, together = 64, 4 << 20, 16 // chunks and bytes held at a time, and those asked for at once
	type one struct {
		id    int64
		chunk archive.Chunk
	}
	last := int64(0)
	for len(ids) > 0 {
		var got []one
		there := false
		err := x.read(ctx, name, func(c *conn, t *tenant) error {
			there = true
			for size := 0; len(ids) > 0 && len(got) < page && size < most; {
				var some []int64
				for ; len(ids) > 0 && len(some) < together; ids = ids[1:] {
					if ids[0] != last {
						last = ids[0]
						some = append(some, last)
					}
				}
				err := c.each(ctx, `SELECT id, sealed FROM chunks WHERE id = ?`, func(v []driver.Value) error {
					id := integer(v[0])
					plain, err := t.seal.open(blob(v[1]), inChunks, id)
					if err != nil {
						return err
					}
					d := decoder{b: plain}
					n := d.int()
					size += len(d.b)
					got = append(got, one{id, archive.Chunk{Data: d.b, Size: int(n)}})
					return d.err()
				}, some)
				if err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil || !there {
			return err
		}
		for _, o := range got {
			if !yield(o.id, o.chunk) {
				return nil
			}
		}
	}
	return nil
}
