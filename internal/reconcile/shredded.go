package reconcile

import (
	"context"
	"fmt"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/ledger"
)

// suspect is something that cannot be read, and is a gap unless its key was
// destroyed or a settled fact superseded it, which the last fact of the log may say.
type suspect struct {
	key    archive.KeyID
	place  ledger.Place
	entry  *archive.Entry // what is left of a fact, for the index to know its number
	whole  *archive.Entry // the fact, where it could be read and a pack of it is missing
	what   string         // of the gap
	object string
}

func (v *check) suspect(key archive.KeyID, p ledger.Place, e, whole *archive.Entry, what, object string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.suspects = append(v.suspects, suspect{key, p, e, whole, what, object})
}

// close notes which keys a fact destroys.
func (v *check) close(f *archive.Fact) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, id := range f.Closed {
		v.closed[id] = true
	}
}

// judge decides on the suspects when every fact has been read.
func (v *check) judge(ctx context.Context, use func(archive.Entry) error) error {
	v.judging = true
	// What settled facts supersede that nobody can read any more is explained too.
	for i := range v.suspects {
		if e := v.suspects[i].entry; e != nil && e.Fact.Kind == archive.FactSettled && e.Fact.Instances == nil && v.closed[e.Fact.Key] {
			v.supersede(e.Fact)
		}
	}
	for _, s := range v.suspects {
		closed := v.closed[s.key]
		superseded := v.isSuperseded(s.place)
		if !closed && !superseded {
			// It may have been destroyed since the log was listed.
			var err error
			if closed, err = v.r.o.Index.Closed(ctx, v.r.o.Tenant, s.key); err != nil {
				return fmt.Errorf("asking whether a key was destroyed: %w", err)
			}
		}
		switch {
		case !closed && !superseded:
			v.gap(s.what, s.object)
		case s.entry != nil:
			if s.whole == nil {
				v.report.Facts++
			}
			if closed {
				v.report.Shredded++
			}
			e := s.entry
			if !closed && s.whole != nil {
				e = s.whole
			}
			if err := use(*e); err != nil {
				return err
			}
		}
	}
	return nil
}
