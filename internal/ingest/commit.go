package ingest

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/keys"
	"github.com/strata-pacs/strata/internal/pack"
)

// Commit makes what the request stored durable and visible. It returns the
// results in the order of the Adds, final; an instance that could not be
// committed is Refused. The commit goes on when ctx is cancelled by a client
// that went away.
func (r *Request) Commit(ctx context.Context) []Result {
	all := make([]*study, 0, len(r.studies))
	for _, st := range r.studies {
		all = append(all, st)
	}
	// In the order of arrival: of equal UIDs in two studies the later one is told of the other.
	slices.SortFunc(all, func(a, b *study) int { return cmp.Compare(a.began, b.began) })
	r.commit(ctx, all)
	return r.results
}

// Abort discards what was not committed.
func (r *Request) Abort() {
	for uid, st := range r.studies {
		st.stage.Abort()
		delete(r.studies, uid)
	}
}

// cut commits early what has grown large.
func (r *Request) cut(ctx context.Context) {
	var large []*study
	for _, st := range r.studies {
		if len(st.fact.Instances) >= maxOpenInstances || len(r.studies) > maxOpenStudies {
			large = append(large, st)
		}
	}
	r.commit(ctx, large)
}

// commit writes the facts of the studies side by side, then indexes them in one transaction.
func (r *Request) commit(ctx context.Context, studies []*study) {
	if len(studies) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitTimeout)
	defer cancel()

	entries := make([]archive.Entry, len(studies))
	errs := make([]error, len(studies))
	if len(studies) == 1 {
		entries[0], errs[0] = studies[0].commit(ctx)
	} else {
		var wg sync.WaitGroup
		for i, st := range studies {
			wg.Go(func() { entries[i], errs[i] = st.commit(ctx) })
		}
		wg.Wait()
	}
	r.index(ctx, studies, entries, errs)
	for uid, st := range r.studies {
		for _, done := range studies {
			if st == done {
				delete(r.studies, uid)
			}
		}
	}
}

// commit makes the study's key, pack and fact durable.
func (st *study) commit(ctx context.Context) (archive.Entry, error) {
	o := &st.r.s.o
	st.json.Finish()
	st.fact.Chunks = st.json.Chunks
	if len(st.fact.Instances) == 0 {
		st.stage.Abort()
		return archive.Entry{}, nil
	}
	body, err := st.stage.Finish(ctx)
	defer body.Release()
	if err != nil {
		return archive.Entry{}, err
	}
	packed := o.Now()
	if err := st.key.await(ctx); err != nil {
		return archive.Entry{}, err
	}
	if body.Object != "" {
		for i := range st.fact.Instances {
			st.fact.Instances[i].At.Object = body.Object
		}
		// For the index, which counts it; the log does not say what the store knows.
		st.fact.Packs = []archive.PackPlace{{Object: body.Object, Size: body.Length, Tier: archive.HotTier}}
		left := o.Grace/2 - o.Now().Sub(packed)
		if left <= 0 {
			return archive.Entry{}, fault.New(fault.Timeout, "storing took too long to be safe; send the instances again")
		}
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, left)
		defer cancel()
	}
	st.fact.ID = o.Log.NewFactID()
	entry, err := o.Log.Append(ctx, &st.fact, &body)
	if errors.Is(err, keys.ErrAbsent) {
		// Its key object is gone. Where the index knows no such key either, it was
		// destroyed on purpose; otherwise it is lost.
		if id, known, ierr := o.Index.StudyKey(ctx, o.Tenant, st.ref); ierr == nil && (!known || id != st.key.id) {
			st.r.s.keys.forget(st.ref, st.key) // the next attempt is not to meet it again
			err = errShredded
		}
	}
	return entry, err
}

// index applies the facts that were written and settles the results.
func (r *Request) index(ctx context.Context, studies []*study, entries []archive.Entry, errs []error) {
	var written []archive.Entry
	for i := range studies {
		if errs[i] == nil && entries[i].Fact != nil {
			written = append(written, entries[i])
		}
	}
	var applied []archive.Applied
	var err error
	if len(written) > 0 {
		applied, err = r.s.o.Index.Apply(ctx, r.s.o.Tenant, written...)
	}
	next := 0
	for i, st := range studies {
		failed := errs[i]
		var placed []archive.Placed
		if failed == nil && entries[i].Fact != nil {
			if next < len(applied) {
				failed, placed = applied[next].Err, applied[next].Instances
			} else {
				failed = err
			}
			next++
		}
		if failed == nil {
			r.s.keys.forget(st.ref, st.key)
			if slices.ContainsFunc(placed, func(p archive.Placed) bool { return p.Outcome == archive.Shredded }) {
				failed = errShredded
			}
		}
		for j, at := range st.at {
			res := &r.results[at]
			switch {
			case failed != nil:
				*res = refused(res.UIDs, res.SOPClass, reasonOf(failed), failed)
				// What came again in the request is no more durable than the first.
				for _, again := range r.repeats[at] {
					r.results[again] = *res
				}
			case j < len(placed):
				res.remark(&placed[j])
			}
		}
	}
}

// errShredded says that the key a study was being stored under was destroyed. The
// next attempt is given a new one.
var errShredded = fault.New(fault.Conflict, "the study was shredded while it was being stored; send it again")

// remark says what the index noticed. Attributes that differ within a study are
// worth a sentence, but the instance is stored as it should be: no warning reason,
// which would have clients believe that something went wrong with it.
func (res *Result) remark(a *archive.Placed) {
	switch {
	case a.Outcome == archive.HiddenVersion:
		res.Reason = WarningDataset
		res.Detail = "an instance with the same UIDs and other contents is here already; both are kept, the first one is shown"
	case a.Elsewhere:
		res.Reason = WarningDataset
		res.Detail = "an instance with the same SOP Instance UID is in another study or series; both are kept"
	case len(a.Conflicts) > 0 && res.Detail == "":
		res.Detail = "patient or study attributes differ from those of the study's first instance, which are the ones searched"
		res.Tags = a.Conflicts
	}
}

// packName returns a new pack's name.
func (s *Store) packName() string { return pack.NewName(s.o.Tenant, s.o.Now(), s.o.Rand) }
