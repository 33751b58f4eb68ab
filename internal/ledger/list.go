package ledger

import (
	"context"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/storage/driver"
)

// Lister is what listing the log needs of storage.
type Lister interface {
	List(ctx context.Context, prefix, after string, limit int) (driver.Page, error)
}

// listPage is how many names are asked for at a time; a store may give fewer.
const listPage = 10000

// Sessions returns the names of all sessions of a tenant's log, ascending.
func Sessions(ctx context.Context, b Lister, t archive.Tenant) ([]string, error) {
	prefix := string(t) + "/log/"
	var sessions []string
	for after := ""; ; {
		page, err := b.List(ctx, prefix, after, 1)
		if err != nil {
			return nil, fmt.Errorf("listing the sessions of the log: %w", err)
		}
		if len(page.Objects) == 0 {
			return sessions, nil
		}
		key := page.Objects[0].Key
		session, _, ok := strings.Cut(strings.TrimPrefix(key, prefix), "/")
		if after = key; !ok || !validSession(session) {
			continue // not of the log
		}
		sessions = append(sessions, session)
		after = prefix + session + "/z" // behind all of its numbers
	}
}

// Place is where a log object is, as listed.
type Place struct {
	Session  string
	N        uint64
	Size     int64     // bytes; 0 when not known
	Modified time.Time // by the store's clock
}

// Numbers yields the objects of a session after the given number, ascending.
// An error ends it.
func Numbers(ctx context.Context, b Lister, t archive.Tenant, session string, after uint64) iter.Seq2[Place, error] {
	return func(yield func(Place, error) bool) {
		if !validSession(session) {
			yield(Place{}, fault.New(fault.Invalid, "this is not the name of a session of the log"))
			return
		}
		prefix := string(t) + "/log/" + session + "/"
		from := ""
		if after > 0 {
			from = ObjectName(t, session, after)
		}
		for {
			page, err := b.List(ctx, prefix, from, listPage)
			if err != nil {
				yield(Place{}, fmt.Errorf("listing a session of the log: %w", err))
				return
			}
			for _, o := range page.Objects {
				from = o.Key
				n, err := strconv.ParseUint(strings.TrimPrefix(o.Key, prefix), 10, 64)
				if err != nil || n == 0 || o.Key != ObjectName(t, session, n) {
					continue // not of the log
				}
				if !yield(Place{session, n, o.Size, o.Modified}, nil) {
					return
				}
			}
			if !page.More || len(page.Objects) == 0 {
				return
			}
		}
	}
}
