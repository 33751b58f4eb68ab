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

// sessionsPage is how many names are asked for at most to find sessions.
const sessionsPage = 1000

// Sessions returns the names of all sessions of a tenant's log, ascending as their objects do. It asks for
// ever more names at a time while sessions are short, and for few where they are long.
func Sessions(ctx context.Context, b Lister, t archive.Tenant) ([]string, error) {
	prefix := string(t) + "/log/"
	var sessions []string
	limit := 2
	for after := ""; ; {
		page, err := b.List(ctx, prefix, after, limit)
		if err != nil {
			return nil, fmt.Errorf("listing the sessions of the log: %w", err)
		}
		if len(page.Objects) == 0 {
			return sessions, nil
		}
		found, last := 0, ""
		for _, o := range page.Objects {
			after = o.Key
			session, _, ok := strings.Cut(strings.TrimPrefix(o.Key, prefix), "/")
			if !ok || !validSession(session) || session == last {
				continue // not of the log, or seen
			}
			sessions = append(sessions, session)
			found, last = found+1, session
		}
		if !page.More {
			return sessions, nil
		}
		if last != "" {
			after = max(after, driver.AfterFolder(prefix+last)) // behind all of its numbers
		}
		if limit = max(limit/4, 2); found > 1 {
			limit = min(limit*16, sessionsPage)
		}
	}
}

// Folderer is what listing the names of sessions alone needs of storage.
type Folderer interface {
	Folders(ctx context.Context, folder, after string, limit int) (names []string, more bool, err error)
}

// SessionNames is Sessions by the store's folders: one request for a thousand where the store tells folders. A
// session may be named of which nothing is left. What must miss nothing, whatever the store's folders are worth, asks Sessions.
func SessionNames(ctx context.Context, b Folderer, t archive.Tenant) ([]string, error) {
	var sessions []string
	for after, more := "", true; more; {
		names, goesOn, err := b.Folders(ctx, string(t)+"/log/", after, sessionsPage)
		if err != nil {
			return nil, fmt.Errorf("listing the sessions of the log: %w", err)
		}
		for _, name := range names {
			if validSession(name) {
				sessions = append(sessions, name)
			}
			after = name
		}
		more = goesOn && len(names) > 0
	}
	return sessions, nil
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
