package ledger

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/pack"
	"github.com/strata-pacs/strata/storage/driver"
)

// write puts a draft at one place. fault.Exists says that another object is
// there; after any other error this place has none that is known of.
func (l *Log) write(ctx context.Context, d *draft, session string, n uint64) (archive.Entry, error) {
	if err := l.fenced(); err != nil {
		return archive.Entry{}, err
	}
	if d.fact.Kind == archive.FactCheckpoint {
		d.fact.Sessions = l.ownEnd(d.fact.Sessions, n)
	}
	if err := d.place(l, session, n); err != nil {
		return archive.Entry{}, err
	}
	e := archive.Entry{Session: session, N: n, Object: ObjectName(l.o.Tenant, session, n)}
	e.Size = pack.HeaderSize + d.head.body + int64(len(d.tail))
	w, err := l.o.Bucket.Create(ctx, e.Object, driver.CreateOptions{
		IfAbsent: true, Size: e.Size,
		// What deletes, voids or takes stock must be sayable in a full store.
		Reserved: len(d.fact.Instances) == 0,
	})
	if err != nil {
		return e, fmt.Errorf("writing the log: %w", err)
	}
	if err := d.send(w); err != nil {
		w.Abort()
		return e, fmt.Errorf("writing the log: %w", err)
	}
	if _, err := w.Commit(ctx); err != nil {
		// The store may have done it and only the answer was lost.
		if !l.landed(ctx, d, &e) {
			return e, fmt.Errorf("writing the log: %w", err)
		}
	}
	e.Fact = &d.fact
	for i := range d.fact.Instances {
		if at := &d.fact.Instances[i].At; at.Object == "" {
			at.Object = e.Object
		}
	}
	return e, nil
}

// fenced returns why nothing may be written any more, or nil.
func (l *Log) fenced() error {
	if l.o.Fence == nil {
		return nil
	}
	return l.o.Fence()
}

// send writes the whole object.
func (d *draft) send(w io.Writer) error {
	var err error
	if d.body != nil {
		_, err = d.body.CopyTo(w, [pack.HeaderSize]byte([]byte(magic)))
	} else {
		_, err = w.Write([]byte(magic))
	}
	if err == nil {
		_, err = w.Write(d.tail)
	}
	return err
}

// landed reports whether the object at e's place is the draft's, to the byte:
// the trailer holds a digest over the random identities in the fact. It works
// under a cancelled context, for a bounded time.
func (l *Log) landed(ctx context.Context, d *draft, e *archive.Entry) bool {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.o.Settle)
	defer cancel()
	attrs, err := l.o.Bucket.Stat(ctx, e.Object)
	if err != nil || attrs.Size != e.Size {
		return false
	}
	r, err := l.o.Bucket.Open(ctx, e.Object, e.Size-trailerSize, trailerSize)
	if err != nil {
		return false
	}
	defer r.Close()
	var got [trailerSize]byte
	_, err = io.ReadFull(r, got[:])
	return err == nil && bytes.Equal(got[:], d.tail[len(d.tail)-trailerSize:])
}

// ownEnd states this session's end in a checkpoint that will have number n.
// Smaller numbers may still be on their way: they are written, or voided.
func (l *Log) ownEnd(sessions []archive.SessionEnd, n uint64) []archive.SessionEnd {
	l.mu.Lock()
	own := archive.SessionEnd{Session: l.o.Session, Last: max(l.high, n), Ended: l.closed}
	l.mu.Unlock()
	out := slices.Clone(sessions)
	for i := range out {
		if out[i].Session == own.Session {
			out[i] = own
			return out
		}
	}
	return append(out, own)
}

// Checkpoint states the end of every session the caller knows of. What it
// says of this session the log replaces by what it knows itself.
func (l *Log) Checkpoint(ctx context.Context, sessions []archive.SessionEnd) (archive.Entry, error) {
	return l.Append(ctx, &archive.Fact{Kind: archive.FactCheckpoint, Sessions: sessions}, nil)
}

// Void states that a number of a session, this one's or another's, holds
// nothing, which also keeps a late writer from using it. It fails with
// fault.Exists if there is an object by now: the caller reads and indexes it.
func (l *Log) Void(ctx context.Context, session string, n uint64) error {
	if !validSession(session) || n == 0 {
		return fault.New(fault.Internal, "voiding a number of the log: no such place")
	}
	if err := l.enter(); err != nil {
		return err
	}
	defer l.active.Done()
	return l.void(ctx, session, n)
}

func (l *Log) void(ctx context.Context, session string, n uint64) error {
	d, err := l.draft(ctx, &archive.Fact{Kind: archive.FactVoid}, nil)
	if err != nil {
		return err
	}
	defer d.secret.Wipe()
	_, err = l.write(ctx, d, session, n)
	return err
}

// Close waits for writes under way, voids numbers that were taken and not
// written, and ends the session with a checkpoint, if it has written anything.
// It may be called again after an error. A session behind its fence is left to
// those who take it for over.
func (l *Log) Close(ctx context.Context) error {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.active.Wait()
	if l.high == 0 || l.fenced() != nil {
		return nil
	}
	for len(l.free) > 0 {
		n := l.take()
		if err := l.void(ctx, l.o.Session, n); err != nil && !fault.Is(err, fault.Exists) {
			l.giveBack(n)
			return fmt.Errorf("ending the session of the log: %w", err)
		}
	}
	end, err := l.append(ctx, &archive.Fact{Kind: archive.FactCheckpoint}, nil)
	if err != nil {
		return fmt.Errorf("ending the session of the log: %w", err)
	}
	l.end = &end
	return nil
}

// End returns what Close ended the session with, for the index; false where it wrote nothing. It is for after Close.
func (l *Log) End() (archive.Entry, bool) {
	if l.end == nil {
		return archive.Entry{}, false
	}
	return *l.end, true
}
