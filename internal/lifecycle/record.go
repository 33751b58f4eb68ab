package lifecycle

import (
	"sync"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
)

// maxFailing bounds the studies whose failures are counted.
const maxFailing = 10_000

// Record is what a node remembers of a tenant's lifecycle while it runs, also while the archive is closed:
// which studies failed, and how the last round went. Its zero value is empty. It is safe for concurrent use.
type Record struct {
	mu      sync.Mutex
	failing map[archive.Ref]failure
	last    archive.LifecycleFailure // of a study, or of a sweep
	round   archive.LifecycleRound
	stuck   bool // the last sweep met what cannot be removed
	known   bool // whether it is paused
	paused  bool
}

// failure is what is known of a study that failed.
type failure struct {
	tries int
	until time.Time // when it is tried again
}

// failed notes that a study failed at a moment and returns after how long it is to be tried again.
func (r *Record) failed(study archive.Ref, now time.Time, err error) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	f := r.failing[study]
	after := min(firstRetry<<min(f.tries, 10), mostRetry)
	if r.failing == nil {
		r.failing = map[archive.Ref]failure{}
	}
	if f.tries > 0 || len(r.failing) < maxFailing {
		r.failing[study] = failure{f.tries + 1, now.Add(after)}
	}
	r.last = archive.LifecycleFailure{At: now, Why: fault.Message(err)}
	return after
}

// succeeded forgets that studies failed.
func (r *Record) succeeded(studies ...archive.Ref) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := 0; i < len(studies) && len(r.failing) > 0; i++ {
		delete(r.failing, studies[i])
	}
}

// swept notes how a sweep ended, and reports whether that is worth a word: the first of failures in a row is.
func (r *Record) swept(now time.Time, err error) (tell bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	tell = err != nil && !r.stuck
	r.stuck = err != nil
	if err != nil {
		r.last = archive.LifecycleFailure{At: now, Why: fault.Message(err)}
	}
	return tell
}

// saw notes whether an operator wants nothing done.
func (r *Record) saw(paused bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.known, r.paused = true, paused
}

// Paused reports whether the lifecycle was paused when this node looked last, and whether it ever did.
func (r *Record) Paused() (paused, known bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.paused, r.known
}

// ended notes how a round ended.
func (r *Record) ended(now time.Time, done archive.LifecycleDone, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.round = archive.LifecycleRound{At: now, Done: done}
	if err != nil {
		r.round.Error = fault.Message(err)
	}
}

// tell adds to a state what is remembered.
func (r *Record) tell(s *archive.LifecycleState, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for study, f := range r.failing {
		if now.Sub(f.until) > mostRetry { // it was not met again: it is not there any more
			delete(r.failing, study)
			continue
		}
		s.Failing++
		if s.Retry.IsZero() || f.until.Before(s.Retry) {
			s.Retry = f.until
		}
	}
	if s.Failing > 0 || r.stuck {
		s.Failure = r.last
	}
	s.Round = r.round
}
