package index

import (
	"context"
	"database/sql/driver"
	"fmt"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
)

// session is a session in the writer's hands.
type session struct {
	id    int64
	high  int64          // 1 to high are applied
	ahead map[int64]bool // numbers above high+1 that are applied too; nil where they are many, and looked up
	dirty bool
}

type sessionKey struct {
	tenant int64
	name   string
}

// session returns the session, making its row when it is new.
func (b *batch) session(t *tenant, name string) (*session, error) {
	k := sessionKey{t.id, name}
	if s := b.w.sessions[k]; s != nil {
		return s, nil
	}
	s := &session{ahead: map[int64]bool{}}
	err := b.c.query(context.Background(), `SELECT s.id, s.high, a.n FROM sessions s LEFT JOIN ahead a ON a.session = s.id
		WHERE s.tenant = ? AND s.name = ? LIMIT (?+0)`, func(v []driver.Value) error {
		s.id, s.high = integer(v[0]), integer(v[1])
		if n := integer(v[2]); n != 0 {
			s.ahead[n] = true
		}
		return nil
	}, t.id, name, int64(maxAhead))
	if err != nil {
		return nil, err
	}
	if s.bound(); s.id == 0 {
		s.id, err = b.c.integer(`INSERT INTO sessions (tenant, name, high, last, ended) VALUES (?, ?, 0, 0, FALSE) RETURNING id`, t.id, name)
		if err != nil {
			return nil, fmt.Errorf("adding a session: %w", err)
		}
	}
	if len(b.w.sessions) > 1024 {
		b.w.dropSessions()
	}
	b.w.sessions[k] = s
	return s, nil
}

// mark notes that the number is applied and reports whether it was already.
func (b *batch) mark(s *session, number uint64) (known bool, err error) {
	n := int64(number)
	if n <= s.high {
		return true, nil
	}
	if n > s.high+1 {
		if known, err := b.isAhead(s, n); err != nil || known {
			return known, err
		}
		if s.ahead != nil {
			s.ahead[n] = true
			s.bound()
		}
		return false, b.c.exec(`INSERT INTO ahead (session, n) VALUES (?, ?)`, s.id, n)
	}
	s.high, s.dirty = n, true
	for {
		if next, err := b.isAhead(s, s.high+1); err != nil || !next {
			return false, err
		}
		if err := b.c.exec(`DELETE FROM ahead WHERE session = ? AND n = ?`, s.id, s.high+1); err != nil {
			return false, err
		}
		s.high++
		delete(s.ahead, s.high)
	}
}

// maxAhead is how many numbers out of order memory holds of a session.
const maxAhead = 1000

func (s *session) bound() {
	if len(s.ahead) >= maxAhead {
		s.ahead = nil
	}
}

func (b *batch) isAhead(s *session, n int64) (bool, error) {
	if s.ahead != nil {
		return s.ahead[n], nil
	}
	v, err := b.c.integer(`SELECT 1 FROM ahead WHERE session = ? AND n = ?`, s.id, n)
	return v != 0, err
}

func (b *batch) storeSessions() error {
	for _, s := range b.w.sessions {
		if s.dirty {
			if err := b.c.exec(`UPDATE sessions SET high = ? WHERE id = ?`, s.high, s.id); err != nil {
				return err
			}
			s.dirty = false
		}
	}
	return nil
}

// checkpoint notes what a checkpoint says about sessions.
func (b *batch) checkpoint(t *tenant, f *archive.Fact) error {
	for _, e := range f.Sessions {
		if e.Session == "" || e.Last > 1<<62 {
			return fault.New(fault.Invalid, "a checkpoint with a malformed session cannot be indexed")
		}
		s, err := b.session(t, e.Session)
		if err != nil {
			return err
		}
		err = b.c.exec(`UPDATE sessions SET last = CASE WHEN last < ? THEN ? ELSE last END, ended = (ended OR ?) WHERE id = ?`,
			int64(e.Last), int64(e.Last), e.Ended, s.id)
		if err != nil {
			return err
		}
	}
	return nil
}

// Progress returns the progress of every session of the tenant that the index has heard of. It needs no key of the tenant.
func (x *Index) Progress(ctx context.Context, name archive.Tenant) (map[string]Progress, error) {
	out := map[string]Progress{}
	err := x.keyless(ctx, name, func(c *conn, id int64) error {
		// One statement, so that it is one moment.
		return c.query(ctx, `SELECT s.name, s.high, s.last, s.ended, a.n FROM sessions s LEFT JOIN ahead a ON a.session = s.id
			WHERE s.tenant = ? ORDER BY s.id, a.n`, func(v []driver.Value) error {
			p, ok := out[text(v[0])]
			if !ok {
				p.Last, p.Ended = uint64(integer(v[2])), integer(v[3]) != 0
				if high := integer(v[1]); high > 0 {
					p.Applied = append(p.Applied, Range{From: 1, To: uint64(high)})
				}
			}
			if n := uint64(integer(v[4])); n > 0 {
				if k := len(p.Applied); k > 0 && p.Applied[k-1].To+1 == n {
					p.Applied[k-1].To = n
				} else {
					p.Applied = append(p.Applied, Range{From: n, To: n})
				}
			}
			out[text(v[0])] = p
			return nil
		}, id)
	})
	return out, err
}
