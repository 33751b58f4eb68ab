package ledger_test

import (
	"context"
	"errors"
	"testing"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/ledger"
	"github.com/strata-pacs/strata/internal/pack"
)

// book is a log and an index that note what they are given.
type book struct {
	written, applied []archive.FactID
	append           func() error
	apply            func(archive.FactID) error // one entry
	broken           error                      // all
}

func (b *book) Append(_ context.Context, f *archive.Fact, body *pack.Body) (archive.Entry, error) {
	if err := b.append(); err != nil || body != nil {
		return archive.Entry{}, err
	}
	b.written = append(b.written, f.ID)
	return archive.Entry{Fact: f}, nil
}

func (b *book) Apply(ctx context.Context, _ archive.Tenant, entries ...archive.Entry) ([]archive.Applied, error) {
	if ctx.Err() != nil || b.broken != nil {
		return nil, errors.Join(ctx.Err(), b.broken)
	}
	out := make([]archive.Applied, len(entries))
	for i, e := range entries {
		if out[i].Err = b.apply(e.Fact.ID); out[i].Err == nil {
			b.applied = append(b.applied, e.Fact.ID)
		}
	}
	return out, nil
}

// TestState: a fact is indexed when it is in the log and not otherwise, whatever becomes of the request, and no error is lost.
func TestState(t *testing.T) {
	failure := errors.New("failure")
	for _, c := range []struct {
		name             string
		given            func(b *book, cancel func())
		fails            bool
		written, applied int
	}{
		{"well", func(*book, func()) {}, false, 1, 1},
		{"the log fails", func(b *book, _ func()) { b.append = func() error { return failure } }, true, 0, 0},
		{"the request ends meanwhile", func(b *book, cancel func()) { b.append = func() error { cancel(); return nil } }, false, 1, 1},
		{"the index fails", func(b *book, _ func()) { b.broken = failure }, true, 1, 0},
		{"the index cannot take it", func(b *book, _ func()) { b.apply = func(archive.FactID) error { return failure } }, true, 1, 0},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		b := &book{append: func() error { return nil }, apply: func(archive.FactID) error { return nil }}
		c.given(b, cancel)
		err := ledger.State(ctx, b, b, "t", &archive.Fact{ID: archive.FactID{1}})
		if errors.Is(err, failure) != c.fails || !c.fails && err != nil || len(b.written) != c.written || len(b.applied) != c.applied {
			t.Errorf("%s: %v, %d written, %d applied", c.name, err, len(b.written), len(b.applied))
		}
		cancel()
	}
	// Of several, one that cannot be taken keeps the others from nothing, and is told.
	b := &book{apply: func(id archive.FactID) error {
		if id[0] == 2 {
			return failure
		}
		return nil
	}}
	var entries []archive.Entry
	for i := range byte(4) {
		entries = append(entries, archive.Entry{Fact: &archive.Fact{ID: archive.FactID{i}}})
	}
	if err := ledger.Apply(t.Context(), b, "t", entries...); !errors.Is(err, failure) || len(b.applied) != 3 {
		t.Errorf("%v, %d applied", err, len(b.applied))
	}
}
