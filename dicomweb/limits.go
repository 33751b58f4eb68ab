package dicomweb

import (
	"context"
	"net/http"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/fault/problem"
)

// Limits bound what one client can ask of the server. A zero field has the
// default, which is meant never to get in a hospital's way.
type Limits struct {
	RequestBytes int64 // body of a request; default 1 TiB
	Parts        int   // of a store request; default 100,000
	PartHeaders  int   // bytes of one part's headers; default 16 KiB
	QueryBytes   int   // of a URL; default 64 KiB, for long lists of UIDs
	// MetadataBytes is how much metadata (JSON or XML) one store request may hold
	// beside its bulk data; default 16 MiB.
	MetadataBytes int64
	// BulkMemory is how much bulk data of a metadata store is kept in memory
	// before it is spooled, sealed, to a temporary file; default 4 MiB.
	BulkMemory int64
	// Results is the most matches a search returns in one answer; default 10,000.
	Results int

	// StoreMemory bounds the memory of concurrent stores, StoreWait how long one
	// waits for its share before it is told to come back (503). Defaults 64 MiB and 30 s.
	StoreMemory int64
	StoreWait   time.Duration

	// Stall ends a connection over which less than StallBytes were read or
	// written in this time, however long the whole takes. Defaults 60 s and 8 KiB.
	Stall      time.Duration
	StallBytes int
	// Streams is how many event streams may be open; default 256.
	Streams int
}

func (l Limits) withDefaults() Limits {
	def(&l.RequestBytes, 1<<40)
	def(&l.Parts, 100_000)
	def(&l.PartHeaders, 16<<10)
	def(&l.QueryBytes, 64<<10)
	def(&l.MetadataBytes, 16<<20)
	def(&l.BulkMemory, 4<<20)
	def(&l.Results, 10_000)
	def(&l.StoreMemory, 64<<20)
	def(&l.StoreWait, 30*time.Second)
	def(&l.Stall, 60*time.Second)
	def(&l.StallBytes, 8<<10)
	def(&l.Streams, 256)
	return l
}

func def[T int | int64 | time.Duration](v *T, d T) {
	if *v <= 0 {
		*v = d
	}
}

// Shares are what the servers of a process take from together, however many
// there are: memory for stores, and places for event streams.
type Shares struct {
	budget *storeBudget
	// streams counts event streams, texts the stores that hold metadata in memory.
	streams, texts *semaphore.Weighted
}

// NewShares returns what StoreMemory, StoreWait and Streams of the limits say.
func NewShares(l Limits) *Shares {
	l = l.withDefaults()
	return &Shares{newStoreBudget(l), semaphore.NewWeighted(int64(l.Streams)), semaphore.NewWeighted(maxTexts)}
}

// storeBudget shares the memory of concurrent stores out, first come, first served.
type storeBudget struct {
	sem   *semaphore.Weighted
	total int64
	wait  time.Duration
}

// Memory that a store request takes here: its read buffer and the head of the
// instance in hand at least, and of a large one no more than so much, as the rest streams.
const (
	minStoreMemory = 512 << 10
	maxStoreMemory = 2 << 20
)

var errBusy = fault.New(fault.Busy, "the server is busy with other stores; try again in a moment")

func newStoreBudget(l Limits) *storeBudget {
	total := max(l.StoreMemory, maxStoreMemory)
	return &storeBudget{semaphore.NewWeighted(total), total, l.StoreWait}
}

// acquire takes the share of a request whose body has so many bytes (-1 when
// unknown). The function it returns gives the share back.
func (b *storeBudget) acquire(ctx context.Context, size int64) (func(), error) {
	n := int64(maxStoreMemory)
	if size >= 0 {
		n = min(max(size, minStoreMemory), maxStoreMemory)
	}
	if !b.sem.TryAcquire(n) {
		wait, cancel := context.WithTimeout(ctx, b.wait)
		defer cancel()
		if b.sem.Acquire(wait, n) != nil {
			if err := ctx.Err(); err != nil {
				return nil, fault.Wrap(fault.Canceled, err, "waiting to store")
			}
			return nil, errBusy
		}
	}
	return func() { b.sem.Release(n) }, nil
}

// checkRequest applies the limits that the request line and headers show.
func (l *Limits) checkRequest(r *http.Request) error {
	if n := len(r.URL.RawQuery) + len(r.URL.Path); n > l.QueryBytes {
		return problem.WithStatus(http.StatusRequestURITooLong, "uri-too-long",
			fault.New(fault.TooLarge, "the URL has %d bytes; the limit is %d: ask for fewer identifiers at a time", n, l.QueryBytes))
	}
	if r.ContentLength > l.RequestBytes {
		return tooLarge(l.RequestBytes)
	}
	return nil
}

func tooLarge(limit int64) error {
	return fault.New(fault.TooLarge, "the request is larger than the limit of %d bytes; send fewer instances at a time", limit)
}
