// Package access remembers on which day studies were last looked at, for lifecycle rules.
//
// Note is for every request of pixels: it looks into a map, and takes no memory for a study that was noted on
// the same day already. What is new goes to the index in batches, once a minute and at the end. A crash
// loses the notes of its last minute, which an access on a later day makes good; rules count in
// days, so what it costs is that a study may be moved as if its last visit had not been.
package access

import (
	"context"
	"errors"
	"hash/maphash"
	"sync"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
)

// Index is where last accesses are kept; *index.Index satisfies it.
type Index interface {
	// Accessed notes the day, where it is newer than the one known of each study.
	Accessed(ctx context.Context, t archive.Tenant, day time.Time, studies ...archive.Ref) error
}

// Options make a recorder.
type Options struct {
	Index Index
	// Now is the clock; time.Now when nil.
	Now func() time.Time
	// Every is how often notes go to the index; a minute when 0.
	Every time.Duration
	// Failed is told that notes could not be written and wait for the next time; nil tells nobody.
	Failed func(error)
}

const (
	shards = 16
	// mostNoted bounds the studies that a shard remembers as noted today, and mostPending those among
	// them that wait for the index: about 5 MiB and 3 MiB in all. When more are noted between two flushes, the
	// rest is passed over until their next access.
	mostNoted   = 8192
	mostPending = 4096

	lastWords = 5 * time.Second // for the flush at the end
)

// Recorder notes accesses. It is safe for concurrent use.
type Recorder struct {
	o      Options
	seed   maphash.Seed
	wake   chan struct{} // much is pending
	flush  sync.Mutex    // one flush at a time
	shards [shards]shard
}

type study struct {
	tenant archive.Tenant
	ref    archive.Ref
}

type shard struct {
	mu      sync.Mutex
	day     int64              // that noted is about
	noted   map[study]struct{} // today, pending or written
	pending []note
}

type note struct {
	study
	day int64
}

// New returns a recorder. Run has to be running for its notes to get anywhere.
func New(o Options) *Recorder {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Every <= 0 {
		o.Every = time.Minute
	}
	if o.Failed == nil {
		o.Failed = func(error) {}
	}
	r := &Recorder{o: o, seed: maphash.MakeSeed(), wake: make(chan struct{}, 1)}
	for i := range r.shards {
		r.shards[i].noted = map[study]struct{}{}
	}
	return r
}

const secondsOfDay = 24 * 60 * 60

// Note notes that pixels of the study are asked for now.
func (r *Recorder) Note(t archive.Tenant, ref archive.Ref) {
	day := r.o.Now().Unix() / secondsOfDay
	k := study{t, ref}
	s := &r.shards[maphash.Comparable(r.seed, ref)%shards]
	if s.note(k, day) {
		select {
		case r.wake <- struct{}{}:
		default:
		}
	}
}

// note reports whether so much is pending that it should go before its time.
func (s *shard) note(k study, day int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if day > s.day {
		s.day = day
		clear(s.noted)
	}
	if _, known := s.noted[k]; known || len(s.pending) >= mostPending {
		return false
	}
	if len(s.noted) >= mostNoted {
		clear(s.noted) // they are noted once more; the index does not mind
	}
	s.noted[k] = struct{}{}
	s.pending = append(s.pending, note{k, s.day})
	return len(s.pending) == mostPending/2
}

// Run writes notes to the index until ctx ends, and then what is left, for 5 s at most.
func (r *Recorder) Run(ctx context.Context) {
	tick := time.NewTicker(r.o.Every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-r.wake:
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
			defer cancel()
			if err := r.Flush(last); err != nil {
				r.o.Failed(err)
			}
			return
		}
		if err := r.Flush(ctx); err != nil {
			r.o.Failed(err)
		}
	}
}

// Flush writes what was noted so far. What fails stays noted for the next time, tenant by tenant, so that one
// whose key is withdrawn holds up no other.
func (r *Recorder) Flush(ctx context.Context) error {
	r.flush.Lock()
	defer r.flush.Unlock()
	type batch struct {
		tenant archive.Tenant
		day    int64
	}
	batches := map[batch][]archive.Ref{}
	for i := range r.shards {
		for _, n := range r.shards[i].take() {
			b := batch{n.tenant, n.day}
			batches[b] = append(batches[b], n.ref)
		}
	}
	var errs []error
	for b, refs := range batches {
		err := r.o.Index.Accessed(ctx, b.tenant, time.Unix(b.day*secondsOfDay, 0).UTC(), refs...)
		if err == nil {
			continue
		}
		errs = append(errs, err)
		for _, ref := range refs {
			r.shards[maphash.Comparable(r.seed, ref)%shards].giveBack(note{study{b.tenant, ref}, b.day})
		}
	}
	return errors.Join(errs...)
}

func (s *shard) take() []note {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.pending
	s.pending = nil
	return p
}

// giveBack has a note wait again, where there is room; else its study counts as not noted.
func (s *shard) giveBack(n note) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.pending) < mostPending {
		s.pending = append(s.pending, n)
	} else if s.day == n.day {
		delete(s.noted, n.study)
	}
}
