package ledger

import (
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
)

func closing(i int) *archive.Fact {
	return &archive.Fact{Kind: archive.FactKeyClosed, Study: archive.Ref{byte(i)}, Closed: []archive.KeyID{{byte(i)}}, Until: time.UnixMilli(1)}
}

// TestReserve: a fact is written at its number or nowhere, and a log that ends has no holes.
func TestReserve(t *testing.T) {
	s := newStore()
	l, other := newLog(t, s), newLog(t, s)
	reserve := func(want uint64) uint64 {
		t.Helper()
		n, err := l.Reserve()
		if err != nil || n != want {
			t.Fatalf("number %d is reserved, not %d: %v", n, want, err)
		}
		return n
	}
	n := reserve(1)
	f := closing(1)
	e, err := l.AppendAt(t.Context(), f, n)
	if err != nil || e.N != n || e.Fact != f || f.ID == (archive.FactID{}) {
		t.Fatalf("%+v, %v", e, err)
	}
	l.Return(n, true)

	n = reserve(2)
	if err := other.Void(t.Context(), l.Session(), n); err != nil {
		t.Fatal(err)
	}
	if _, err := l.AppendAt(t.Context(), closing(2), n); !fault.Is(err, fault.Conflict) {
		t.Errorf("written where a void is: %v", err)
	}
	l.Return(n, false)

	n = reserve(2) // it is taken again
	l.Return(n, false)
	if e, err := l.Append(t.Context(), deletion(1), nil); err != nil || e.N != 3 {
		t.Errorf("behind the void: %d, %v", e.N, err)
	}
	if _, err := l.AppendAt(t.Context(), deletion(2), 9); !fault.Is(err, fault.Internal) {
		t.Errorf("a fact that destroys nothing: %v", err)
	}

	n = reserve(4)
	closed := make(chan error)
	go func() { closed <- l.Close(t.Context()) }()
	select {
	case <-closed:
		t.Fatal("the log is closed while a number is reserved")
	case <-time.After(20 * time.Millisecond):
	}
	l.Return(n, false)
	if err := <-closed; err != nil {
		t.Fatal(err)
	}
	if _, err := l.Reserve(); !fault.Is(err, fault.Unavailable) {
		t.Errorf("of a log that is closed: %v", err)
	}
	if got := numbers(t, s); len(got) != 5 {
		t.Errorf("numbers %v", got)
	}
}
