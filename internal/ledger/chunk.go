package ledger

import (
	"github.com/klauspost/compress/zstd"

	"github.com/strata-pacs/strata/internal/archive"
)

// ChunkBytes is how much DICOM JSON writers compress together: enough that the
// repetition within a series pays, little enough that one instance's metadata is cheap.
const ChunkBytes = 128 << 10

// NewChunkEncoder returns the encoder of chunks. It is safe for concurrent use.
func NewChunkEncoder() (*zstd.Encoder, error) {
	// Small windows: a chunk is a few hundred KiB at most.
	return zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(2),
		zstd.WithWindowSize(256<<10), zstd.WithLowerEncoderMem(true))
}

// Chunker groups the DICOM JSON of a fact's instances into chunks.
type Chunker struct {
	Encoder *zstd.Encoder
	Chunks  []archive.Chunk // finished

	text []byte // of the one that is being filled
}

// Add has write append an instance's text, and returns where it is.
func (c *Chunker) Add(write func(dst []byte) []byte) archive.JSONRef {
	from := len(c.text)
	c.text = write(c.text)
	at := archive.JSONRef{Chunk: len(c.Chunks), Offset: from, Length: len(c.text) - from}
	if len(c.text) >= ChunkBytes {
		c.Finish()
	}
	return at
}

// Finish ends the chunk that is being filled, if there is one.
func (c *Chunker) Finish() {
	if len(c.text) == 0 {
		return
	}
	c.Chunks = append(c.Chunks, archive.Chunk{Data: c.Encoder.EncodeAll(c.text, nil), Size: len(c.text)})
	c.text = c.text[:0]
}
