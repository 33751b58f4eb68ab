package pack

import (
	"cmp"
	"context"
	"sync"
	"sync/atomic"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/storage/driver"
)

// DefaultLimit is how many bytes of one study a stage keeps in memory: up to
// there a store is one log object.
const DefaultLimit = 16 << 20

// chunkSize is the unit in which stages hold memory.
const chunkSize = 256 << 10

var chunks = sync.Pool{New: func() any { return new([chunkSize]byte) }}

// Budget is an amount of memory that stages share.
type Budget struct{ left atomic.Int64 }

// NewBudget returns a budget of so many bytes.
func NewBudget(bytes int64) *Budget {
	b := new(Budget)
	b.left.Store(bytes)
	return b
}

// acquire takes one chunk from the budget and reports whether there was one.
func (b *Budget) acquire() bool {
	if b == nil {
		return true
	}
	if b.left.Add(-chunkSize) < 0 {
		b.left.Add(chunkSize)
		return false
	}
	return true
}

func (b *Budget) release(n int) {
	if b != nil {
		b.left.Add(int64(n) * chunkSize)
	}
}

// Creator begins objects, as storage does.
type Creator interface {
	Create(ctx context.Context, key string, o driver.CreateOptions) (driver.Writer, error)
}

// Stage receives the sealed blobs of one study, as seal.Writer makes them or as
// they are copied from where they lay. It is an io.Writer, and not safe for
// concurrent use. It ends with one of Finish and Abort.
type Stage struct {
	ctx    context.Context // of the request: what a pack is written under
	store  Creator
	name   func() string
	limit  int64
	budget *Budget

	mem   []*[chunkSize]byte // before the spill
	off   int64
	blobs []Entry
	err   error

	// After the spill:
	object string // key of the pack
	w      driver.Writer
	out    *spill // nil again when closed
	last   piece  // the chunk being filled
}

// NewPack returns a stage that is a pack from its first byte on.
func NewPack(ctx context.Context, store Creator, name func() string) *Stage {
	return &Stage{ctx: ctx, store: store, name: name, limit: 1, off: HeaderSize}
}

// NewStage returns an empty stage. name gives the key of a pack when one
// becomes necessary: past limit bytes (0 is DefaultLimit), or when the budget
// (nil for none) has no memory left. ctx must last until Finish or Abort.
func NewStage(ctx context.Context, store Creator, name func() string, limit int64, budget *Budget) *Stage {
	if limit <= 0 {
		limit = DefaultLimit
	}
	return &Stage{ctx: ctx, store: store, name: name, limit: limit, budget: budget, off: HeaderSize}
}

// Offset returns where in the object the next byte will lie.
func (s *Stage) Offset() int64 { return s.off }

// Spilled reports whether the blobs go to a pack.
func (s *Stage) Spilled() bool { return s.w != nil }

// Write appends p. Its errors are those of the store, fault.Full among them; an
// error may be told later than the write that it belongs to, by Finish at the latest.
func (s *Stage) Write(p []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	if s.w == nil && (s.off+int64(len(p)) > s.limit || !s.grow(s.off+int64(len(p)))) {
		if s.err = s.spill(); s.err != nil {
			return 0, s.err
		}
	}
	if s.w != nil {
		return s.through(p)
	}
	for rest := p; len(rest) > 0; {
		n := copy(s.mem[s.off/chunkSize][s.off%chunkSize:], rest)
		rest, s.off = rest[n:], s.off+int64(n)
	}
	return len(p), nil
}

// grow makes room in memory up to end and reports whether the budget allows it.
func (s *Stage) grow(end int64) bool {
	for int64(len(s.mem))*chunkSize < end {
		if !s.budget.acquire() {
			return false
		}
		s.mem = append(s.mem, chunks.Get().(*[chunkSize]byte))
	}
	return true
}

// spill begins the pack with what is in memory.
func (s *Stage) spill() error {
	key := s.name()
	w, err := s.store.Create(s.ctx, key, driver.CreateOptions{IfAbsent: true})
	if err != nil {
		return err
	}
	s.w, s.object, s.out = w, key, newSpill(w, s.budget)
	if s.off == HeaderSize {
		s.last = piece{chunk: chunks.Get().(*[chunkSize]byte), n: HeaderSize}
		copy(s.last.chunk[:], magic)
		s.drop(0)
		return nil
	}
	copy(s.mem[0][:], magic)
	for at := int64(0); at+chunkSize <= s.off; at += chunkSize {
		s.out.todo <- piece{s.mem[0], chunkSize, true}
		s.mem = s.mem[1:]
	}
	if n := int(s.off % chunkSize); n > 0 {
		s.last = piece{s.mem[0], n, true}
		s.mem = s.mem[1:]
	}
	s.drop(0)
	return nil
}

// through gives p to the pack.
func (s *Stage) through(p []byte) (int, error) {
	if s.err = s.out.failed(); s.err != nil {
		return 0, s.err
	}
	for rest := p; len(rest) > 0; {
		if s.last.chunk == nil {
			s.last = piece{chunk: chunks.Get().(*[chunkSize]byte)}
		}
		n := copy(s.last.chunk[s.last.n:], rest)
		rest, s.off, s.last.n = rest[n:], s.off+int64(n), s.last.n+n
		if s.last.n == chunkSize {
			s.out.todo <- s.last
			s.last = piece{}
		}
	}
	return len(p), nil
}

// close ends the spill when everything before is written.
func (s *Stage) close() error {
	if s.last.chunk != nil {
		s.out.todo <- s.last
		s.last = piece{}
	}
	out := s.out
	s.out = nil
	return out.close()
}

// drop gives memory back but for the first keep chunks.
func (s *Stage) drop(keep int) {
	release(s.mem[keep:], s.budget)
	s.mem = s.mem[:keep]
}

func release(mem []*[chunkSize]byte, budget *Budget) {
	for i, c := range mem {
		chunks.Put(c)
		mem[i] = nil
	}
	budget.release(len(mem))
}

// Keep records that a blob lies between off and the end, and returns its
// location. The location names no object: Finish says which it is.
func (s *Stage) Keep(id archive.BlobID, off int64) archive.Location {
	s.blobs = append(s.blobs, Entry{id, off, s.off - off})
	return archive.Location{Offset: off, Length: s.off - off}
}

// Truncate takes back what was written from off on, blobs kept there included.
// What has gone to a pack already stays in it, as bytes that no table names.
func (s *Stage) Truncate(off int64) {
	for n := len(s.blobs); n > 0 && s.blobs[n-1].Offset >= off; n-- {
		s.blobs = s.blobs[:n-1]
	}
	if s.w == nil && off >= HeaderSize && off < s.off {
		s.off = off
		s.drop(int((off + chunkSize - 1) / chunkSize))
	}
}

// Finish completes the stage. A pack is durable when Finish returns nil. The
// body is to be released when it is no longer needed, after an error too.
func (s *Stage) Finish(ctx context.Context) (Body, error) {
	body := Body{Object: s.object, Size: s.off - HeaderSize, Blobs: s.blobs, mem: s.mem, budget: s.budget}
	s.mem = nil
	if s.w == nil || s.out == nil {
		err := s.err
		s.err = errFinished
		return body, err
	}
	if s.err == nil && len(s.blobs) > MaxBlobs {
		s.err = fault.New(fault.TooLarge, "more than %d instances of one study in one request; send fewer at a time", MaxBlobs)
	}
	hash := s.out.hash
	err := s.close()
	if s.err == nil && err == nil {
		foot := footer(s.blobs, s.off)
		hash.Write(foot[:len(foot)-TrailerSize+16])
		hash.Sum(foot[:len(foot)-TrailerSize+16])
		body.Length, body.Digest = s.off+int64(len(foot)), archive.Digest(foot[len(foot)-TrailerSize+16:])
		err = writeAll(s.w, foot)
	}
	if s.err = cmp.Or(s.err, err); s.err != nil {
		s.w.Abort()
		return body, s.err
	}
	s.err = errFinished
	attrs, err := s.w.Commit(ctx)
	body.ETag = attrs.ETag
	return body, err
}

var errFinished = fault.New(fault.Internal, "staging: the stage is finished")

// Abort discards everything. It works under a cancelled context, and does
// nothing after Finish.
func (s *Stage) Abort() {
	s.drop(0)
	if s.out != nil {
		s.out.abandon()
		// What the store said of the last bytes no longer matters.
		_ = s.close()
		s.w.Abort()
	}
	if s.err == nil {
		s.err = errFinished
	}
}
