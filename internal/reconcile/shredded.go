package reconcile

import (
	"context"
	"fmt"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/ledger"
)

// suspect is something that cannot be read, and is a gap unless its key was
// destroyed or another fact stands for the one that names it, which the last fact of the log may say.
type suspect struct {
	key    archive.KeyID
	place  ledger.Place   // of the fact that names it
	entry  *archive.Entry // what is left of a fact, for the index to know its number
	what   string         // of the gap
	object string
}

func (v *check) suspect(s suspect) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.suspects = append(v.suspects, s)
}

// note remembers which keys a fact destroys, and which others it stands for.
func (v *check) note(f *archive.Fact) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.settled.add(f.Supersedes)
	for _, id := range f.Closed {
		v.closed[id] = true
	}
}

// judge decides on the suspects when every fact has been read.
func (v *check) judge(ctx context.Context, use func(archive.Entry) error) error {
	v.settled.merge()
	for _, s := range v.suspects {
		if v.settled.has(s.place.Session, s.place.N) {
			continue
		}
		closed := v.closed[s.key]
		if !closed && s.key != (archive.KeyID{}) {
			// It may have been destroyed since the log was listed.
			var err error
			if closed, err = v.r.o.Index.Closed(ctx, v.r.o.Tenant, s.key); err != nil {
				return fmt.Errorf("asking whether a key was destroyed: %w", err)
			}
		}
		switch {
		case !closed:
			v.gap(s.what, s.object)
		case s.entry != nil:
			v.report.Facts++
			v.report.Shredded++
			if err := use(*s.entry); err != nil {
				return err
			}
		}
	}
	return nil
}
