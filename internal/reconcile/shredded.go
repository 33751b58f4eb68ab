package reconcile

import (
	"context"
	"fmt"

	"github.com/strata-pacs/strata/internal/archive"
)

// suspect is something that cannot be read, and is a gap unless its key was
// destroyed, which the last fact of the log may say.
type suspect struct {
	key    archive.KeyID
	entry  *archive.Entry // what is left of a fact, for the index to know its number
	what   string         // of the gap
	object string
}

func (v *check) suspect(key archive.KeyID, e *archive.Entry, what, object string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.suspects = append(v.suspects, suspect{key, e, what, object})
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
	for _, s := range v.suspects {
		closed := v.closed[s.key]
		if !closed {
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
