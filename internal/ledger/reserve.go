package ledger

import (
	"context"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
)

// Reserve takes the session's next number for a fact that is to be written there or nowhere, with [Log.AppendAt],
// so that whoever voids the number keeps the fact out of the log. [Log.Return] ends it; until then the log does not close.
func (l *Log) Reserve() (uint64, error) {
	if err := l.enter(); err != nil {
		return 0, err
	}
	return l.take(), nil
}

// Return ends what Reserve began. A number at which nothing is known to be written is taken again.
func (l *Log) Return(n uint64, written bool) {
	if written {
		l.wrote(n)
	} else {
		l.giveBack(n)
	}
	l.active.Done()
}

// AppendAt is [Log.Append] of a fact without blobs of its own at a number that was reserved. It fails with fault.Conflict where
// the number was voided, and nothing is written then; after any other error the fact may yet come to be there, until the number is voided.
func (l *Log) AppendAt(ctx context.Context, f *archive.Fact, n uint64) (archive.Entry, error) {
	if f.Kind != archive.FactSettled && f.Kind != archive.FactKeyClosed {
		return archive.Entry{}, fault.New(fault.Internal, "writing a fact: one of kind %d needs no number of its own", f.Kind)
	}
	d, err := l.draft(ctx, f, nil)
	if err != nil {
		return archive.Entry{}, err
	}
	defer d.secret.Wipe()
	e, err := l.write(ctx, d, l.o.Session, n)
	if fault.Is(err, fault.Exists) {
		return archive.Entry{}, fault.Wrap(fault.Conflict, err, "the study is being protected; nothing of it is destroyed now: try again")
	}
	if err != nil {
		return archive.Entry{}, err
	}
	return d.written(f, e), nil
}
