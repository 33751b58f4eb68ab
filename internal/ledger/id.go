package ledger

import (
	"crypto/rand"
	"io"
	"sync"

	"github.com/strata-pacs/strata/internal/archive"
)

// lockedReader makes any source of randomness safe for concurrent use.
type lockedReader struct {
	mu sync.Mutex
	r  io.Reader
}

func (l *lockedReader) Read(p []byte) (int, error) {
	if l.r == nil {
		return rand.Read(p)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return io.ReadFull(l.r, p)
}

// NewFactID returns a ULID that is larger than every one returned before, also
// when the clock stands still or goes back.
func (l *Log) NewFactID() archive.FactID {
	var id archive.FactID
	ms := uint64(l.o.Now().UnixMilli())
	for i := range 6 {
		id[i] = byte(ms >> (40 - 8*i))
	}
	if _, err := l.rand.Read(id[6:]); err != nil {
		// Without randomness the order still holds; crypto/rand never gets here.
		clear(id[6:])
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if last := l.lastID; [6]byte(id[:6]) == [6]byte(last[:6]) || before(id, last) {
		id = last
		for i := len(id) - 1; i >= 0; i-- { // one more, carrying into the time
			if id[i]++; id[i] != 0 {
				break
			}
		}
	}
	l.lastID = id
	return id
}

// NewFactIDAfter returns an identity for a fact that is to hold in the place of another one, of which the larger
// identity holds: it is larger than that of the other one also when the clock of the node that stated it is ahead. Those
// that follow are by this node's own clock again. Two nodes that ask at once get two.
func (l *Log) NewFactIDAfter(other archive.FactID) archive.FactID {
	id := l.NewFactID()
	if before(other, id) {
		return id
	}
	for i := 5; i >= 0; i-- { // a millisecond more, and what is random of its own
		if other[i]++; other[i] != 0 {
			break
		}
	}
	copy(other[6:], id[6:])
	return other
}

func before(a, b archive.FactID) bool { return string(a[:]) < string(b[:]) }
