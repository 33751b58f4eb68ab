package thumbnail

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
)

// Feed is what following asks of the index.
type Feed interface {
	// Touched returns the studies that entries of the change feed after a
	// sequence number are about, and up to which number it read.
	Touched(ctx context.Context, t archive.Tenant, after int64, limit int) ([]archive.Touched, int64, error)
	// Changes reads the change feed.
	Changes(ctx context.Context, t archive.Tenant, q archive.ChangeQuery) ([]archive.Change, error)
	// Last returns the highest sequence number, 0 when there is none.
	Last(ctx context.Context, t archive.Tenant) (int64, error)
	// Watch returns a channel that is closed when the feed grows.
	Watch(t archive.Tenant) <-chan struct{}
}

// FollowOptions say whom to follow. All are required but Every.
type FollowOptions struct {
	Tenant archive.Tenant
	Feed   Feed
	// After is how long nothing of a study has to change before its thumbnails are made.
	After time.Duration
	// Cursor is the file that remembers how far the feed has been followed.
	// Without it, or with that of another index, following begins at the feed's end.
	Cursor string
	// Every is how often to look whether a study has gone quiet; 0 is a fourth
	// of After, at least 50 ms and at most 15 s.
	Every time.Duration
}

// Bounds of following.
const (
	maxPending = 4096 // studies waiting to go quiet
	maxSeries  = 256  // series of a study whose thumbnails are made
)

// Follow makes the thumbnails of studies that have gone quiet, one after
// another, and removes those of what is gone, until ctx ends. It takes at most half
// of one core. Failures are told to the log and met again with the next change of the study.
func (m *Maker) Follow(ctx context.Context, o FollowOptions) {
	if o.Every <= 0 {
		o.Every = min(max(o.After/4, 50*time.Millisecond), 15*time.Second)
	}
	f := &follower{m: m, o: o, pending: map[string]*archive.Touched{}}
	tick := time.NewTicker(o.Every)
	defer tick.Stop()
	var told time.Time
	for {
		// Taken before the feed is read, so that nothing is missed.
		grew := o.Feed.Watch(o.Tenant)
		if err := f.step(ctx); err != nil && ctx.Err() == nil {
			if now := m.o.Now(); now.Sub(told) > time.Minute {
				m.o.Log.Warn("making thumbnails in advance failed; it is tried again", "error", err)
				told = now
			}
		}
		// A feed at rest with nothing waiting needs no clock.
		if len(f.pending) == 0 && f.begun {
			select {
			case <-ctx.Done():
				return
			case <-grew:
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// follower is Follow's state.
type follower struct {
	m       *Maker
	o       FollowOptions
	begun   bool
	at      int64                       // the feed is read up to here
	saved   int64                       // what the cursor says
	pending map[string]*archive.Touched // by study
}

// step reads what is new and serves the studies that have gone quiet.
func (f *follower) step(ctx context.Context) error {
	if !f.begun {
		if err := f.begin(ctx); err != nil {
			return err
		}
		f.begun = true
	}
	for len(f.pending) < maxPending {
		list, upTo, err := f.o.Feed.Touched(ctx, f.o.Tenant, f.at, 0)
		if err != nil {
			return fmt.Errorf("reading the change feed: %w", err)
		}
		for _, d := range list {
			f.note(d)
		}
		if upTo == f.at {
			break
		}
		f.at = upTo
	}
	for _, d := range f.due() {
		if err := f.serve(ctx, d); err != nil {
			return err
		}
		delete(f.pending, d.Study)
		if err := f.save(ctx); err != nil {
			return err
		}
	}
	return f.save(ctx)
}

func (f *follower) note(d archive.Touched) {
	p := f.pending[d.Study]
	if p == nil {
		f.pending[d.Study] = &d
		return
	}
	p.Last, p.Time, p.Lost = d.Last, d.Time, p.Lost || d.Lost
}

// due returns the studies that have been quiet long enough, in the order of the feed.
func (f *follower) due() (list []archive.Touched) {
	now := f.m.o.Now()
	for _, d := range f.pending {
		if now.Sub(d.Time) >= f.o.After {
			list = append(list, *d)
		}
	}
	slices.SortFunc(list, func(a, b archive.Touched) int { return int(a.First - b.First) })
	return list
}

// serve removes and makes what one study needs.
func (f *follower) serve(ctx context.Context, d archive.Touched) error {
	if d.Lost {
		// Names do not tell which picture was of what is gone.
		if _, err := f.m.Sweep(ctx, f.o.Tenant, d.Study); err != nil {
			return err
		}
	}
	return f.m.Make(ctx, f.o.Tenant, d.Study)
}

// Make makes the thumbnails of a study and of its series that are not there yet, and takes at most half of one
// core. What cannot be drawn, or lies in an archive already, is passed over; where thumbnails
// are not kept nothing is made. Errors are those of the keys and the stores.
func (m *Maker) Make(ctx context.Context, t archive.Tenant, study string) error {
	if m.o.MemoryOnly {
		return nil
	}
	sel := archive.UIDs{Study: study}
	revision, err := m.o.Index.Revision(ctx, t, sel)
	if err != nil || revision == 0 {
		return err
	}
	s, err := m.study(ctx, t, study, revision)
	if err != nil {
		return err
	}
	for i := -1; i < min(len(s.order), maxSeries); i++ {
		if i >= 0 {
			sel.Series = s.order[i]
		}
		start := time.Now()
		_, err := m.Thumbnail(ctx, t, sel, 0, Viewport{})
		switch {
		case fault.Is(err, fault.NotFound), fault.Is(err, fault.NotAcceptable), fault.Is(err, fault.Corrupt), fault.Is(err, fault.Archived):
			// Nothing to be made of it. Damage is for verify to tell.
		case err != nil:
			return err
		}
		if err := rest(ctx, time.Since(start)); err != nil {
			return err
		}
	}
	return nil
}

// rest leaves the processor to requests for as long as the work before took.
func rest(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(min(d, time.Second))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// done returns the sequence number up to which nothing is left to do.
func (f *follower) done() int64 {
	n := f.at
	for _, d := range f.pending {
		n = min(n, d.First-1)
	}
	return n
}
