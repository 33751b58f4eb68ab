// Package retrieve opens what the index names: instances and frames as stored
// or in another transfer syntax, headers, bulk values and metadata
// (WADO-RS, PS3.18 §10.4). It streams in constant memory and lets nothing out
// that has not been authenticated. It knows nothing of HTTP.
//
// A [Body] is what can be sent. An error of its Write methods after the first
// byte means that what was written is incomplete: the caller has to break the
// connection.
package retrieve

import (
	"context"
	"io"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sync/semaphore"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/held"
	"github.com/strata-pacs/strata/internal/pixel"
)

// Index is what retrieval asks of the index.
type Index interface {
	// Instances yields the visible instances of the selection, ordered by
	// series and instance number; none when there is no such thing.
	Instances(ctx context.Context, t archive.Tenant, sel archive.UIDs, yield func(*archive.InstanceRow) bool) error
	// Chunks yields the compressed metadata chunks of the ids.
	Chunks(ctx context.Context, t archive.Tenant, ids []int64, yield func(id int64, c archive.Chunk) bool) error
}

// Objects is where sealed bytes lie.
type Objects interface {
	// Open reads n bytes of the object from off.
	Open(ctx context.Context, key string, off, n int64) (io.ReadCloser, error)
}

// Secrets gives the keys that blobs are sealed under.
type Secrets interface {
	Secret(ctx context.Context, id archive.KeyID) (archive.Secret, error)
}

// Warmer brings bytes near that will be read soon.
type Warmer interface {
	// Warm fetches n bytes of the object from off and returns when that has
	// ended; an Open of them meanwhile waits for the same fetch.
	Warm(ctx context.Context, key string, off, n int64) error
}

// Options are the parts of a Reader. Index, Objects and Secrets are required.
type Options struct {
	Index   Index
	Objects Objects
	Secrets Secrets
	// Ahead, when set, is told what will be read next. It is what Objects reads
	// through; nil where nothing keeps near what was read.
	Ahead Warmer
	// Far, when set, reports whether an object is far away. Without Ahead, what comes next
	// of an answer is then read into memory before it is sent; nil: all objects are near.
	Far func(ctx context.Context, object string) bool
	// CacheBytes bounds the decoded metadata held in memory; 0 is 48 MiB, less
	// than 0 keeps none.
	CacheBytes int64
	// Shares are those of several Readers; nil: of this one.
	Shares *Shares
	// Together, when set, bounds what several Readers and others remember together.
	Together *held.Budget
	// Codecs decode and encode pixels; nil are those that need no sandbox.
	Codecs *pixel.Codecs
}

// Reader retrieves. It is safe for concurrent use.
type Reader struct {
	o         Options
	revisions Revisions // nil when the index has none
	cache     *cache
	headers   *headers
	// Memory of what is transcoded: in flight, and ahead of being sent.
	flight, ahead *semaphore.Weighted
	work          *semaphore.Weighted // frames that are transcoded at once
	rendering     *rendering
	warming       *warming
	reports       chan struct{} // holds one for each report that is being read
	zstd          *zstd.Decoder
}

// New returns a Reader. Close wipes what it holds.
func New(o Options) *Reader {
	if o.Codecs == nil {
		o.Codecs = pixel.New(nil)
	}
	if o.Shares == nil {
		o.Shares = NewShares()
	}
	r := &Reader{o: o, cache: newCache(o.CacheBytes, o.Together), headers: newHeaders(o.Together), rendering: newRendering(o.Shares.turns, o.Together)}
	r.flight, r.ahead, r.work, r.reports = o.Shares.flight, o.Shares.ahead, o.Shares.work, o.Shares.reports
	r.warming = newWarming(r)
	r.revisions, _ = o.Index.(Revisions)
	// These options cannot fail. Two decoders: as many as chunks are worth decoding at once.
	r.zstd, _ = zstd.NewReader(nil, zstd.WithDecoderConcurrency(2), zstd.WithDecoderMaxMemory(maxChunk), zstd.WithDecoderLowmem(true))
	return r
}

// Forget drops the metadata and headers held in memory; whoever has some of them
// in hand finishes with it.
func (r *Reader) Forget() {
	r.cache.wipe()
	r.rendering.wipe()
	r.headers.forget()
}

// Close ends what is fetched ahead, and wipes the metadata and headers held in
// memory. The Reader is not used after it.
func (r *Reader) Close() {
	r.warming.close()
	r.cache.wipe()
	r.rendering.wipe()
	r.headers.wipe()
	r.zstd.Close()
}
