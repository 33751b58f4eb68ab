package settle

import (
	"context"
	"slices"

	"github.com/klauspost/compress/zstd"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/ledger"
)

// Bounds of the metadata that is held decompressed.
const (
	textBytes  = 4 << 20  // of the instances in hand
	textChunks = 128      // that they lie in
	maxText    = 64 << 20 // of one chunk
)

// text says in which chunk of the index an instance's DICOM JSON is.
type text struct {
	chunk int64
	at    archive.JSONRef // Chunk is unset
}

// Chunks is where the index keeps DICOM JSON.
type Chunks interface {
	Chunks(ctx context.Context, t archive.Tenant, ids []int64, yield func(id int64, c archive.Chunk) bool) error
}

// regroup packs the texts, in order, into chunks as a store of all of them at
// once would have made them. Memory holds those of some neighbours beside what it makes.
func regroup(ctx context.Context, from Chunks, t archive.Tenant, texts []text, z codec) (refs []archive.JSONRef, chunks []archive.Chunk, err error) {
	held := map[int64][]byte{}
	out := ledger.Chunker{Encoder: z.enc}
	for len(texts) > 0 {
		n, size := 0, 0
		needed := map[int64]bool{}
		for n < len(texts) && (n == 0 || size+texts[n].at.Length <= textBytes && len(needed) < textChunks) {
			size += texts[n].at.Length
			needed[texts[n].chunk] = true
			n++
		}
		if err := load(ctx, from, t, held, needed, z.dec); err != nil {
			return nil, nil, err
		}
		for _, x := range texts[:n] {
			b := held[x.chunk]
			if x.at.Offset < 0 || x.at.Length < 0 || x.at.Offset > len(b)-x.at.Length {
				return nil, nil, errMetadata
			}
			refs = append(refs, out.Add(func(dst []byte) []byte { return append(dst, b[x.at.Offset:][:x.at.Length]...) }))
		}
		texts = texts[n:]
	}
	out.Finish()
	return refs, out.Chunks, nil
}

// codec compresses and decompresses chunks.
type codec struct {
	enc *zstd.Encoder
	dec *zstd.Decoder
}

func newCodec() (z codec, err error) {
	if z.enc, err = ledger.NewChunkEncoder(); err != nil {
		return z, err
	}
	z.dec, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxText), zstd.WithDecoderLowmem(true))
	return z, err
}

// load brings the needed chunks to held and drops the others.
func load(ctx context.Context, from Chunks, t archive.Tenant, held map[int64][]byte, needed map[int64]bool, dec *zstd.Decoder) error {
	for id := range held {
		if !needed[id] {
			delete(held, id)
		}
	}
	var missing []int64
	for id := range needed {
		if held[id] == nil {
			missing = append(missing, id)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	slices.Sort(missing)
	var bad error
	err := from.Chunks(ctx, t, missing, func(id int64, c archive.Chunk) bool {
		if c.Size < 0 || c.Size > maxText {
			bad = errMetadata
			return false
		}
		b, err := dec.DecodeAll(c.Data, make([]byte, 0, c.Size))
		if err != nil || len(b) != c.Size {
			bad = errMetadata
			return false
		}
		held[id] = b
		return true
	})
	if err != nil {
		return err
	}
	if bad != nil {
		return bad
	}
	for _, id := range missing {
		if held[id] == nil {
			return errMetadata
		}
	}
	return nil
}

var errMetadata = fault.New(fault.Corrupt, "the index's copy of this study's metadata is damaged; run 'strata rebuild'")
