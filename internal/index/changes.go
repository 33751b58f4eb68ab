package index

import (
	"cmp"
	"context"
	"database/sql/driver"
	"slices"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
)

// action is what an entry of the change feed says. Numbers are part of the database.
type action int64

const (
	actionCreate   action = 1 // the index of rare ones leaves this one out
	actionReplace  action = 2
	actionDelete   action = 3
	actionUndelete action = 4
)

var actionNames = [...]string{actionCreate: "create", actionReplace: "replace", actionDelete: "delete", actionUndelete: "undelete"}

// change appends to the tenant's feed. Sequence numbers ascend in the order in
// which transactions commit, since only one at a time writes for a tenant, so no reader skips one.
func (b *batch) change(t *tenant, a action, instance int64) error {
	k := b.w.known[t.id]
	b.grew[t] = true
	k.feedTime = max(k.feedTime, b.at) // never back, so that a time can be searched for
	k.sequence++
	return b.c.many(&intoChanges, t.id<<sequenceBits|k.sequence, k.feedTime, int64(a), instance)
}

// lastChange asks for the number and the time, in ms, of a feed's last entry; both stay as they are when there is none.
func lastChange(tenant int64, sequence, ms *int64) question {
	return question{`SELECT id, time FROM changes WHERE id BETWEEN ? AND ? ORDER BY id DESC LIMIT 1`,
		[]driver.Value{tenant << sequenceBits, tenant<<sequenceBits | sequenceMask}, func(v []driver.Value) error {
			*sequence, *ms = integer(v[0])&sequenceMask, integer(v[1])
			return nil
		}}
}

const maxChanges = 10000 // that one query returns

// Changes reads the change feed: at most q.Limit entries, 100 when it is 0, From included, To not.
func (x *Index) Changes(ctx context.Context, name archive.Tenant, q ChangeQuery) ([]archive.Change, error) {
	if q.Limit <= 0 {
		q.Limit = 100
	}
	q.Limit = min(q.Limit, maxChanges)
	want := map[action]bool{}
	for _, s := range q.Actions {
		a := slices.Index(actionNames[:], s)
		if a < 1 {
			return nil, fault.New(fault.Invalid, "the actions of the change feed are create, replace, delete and undelete")
		}
		want[action(a)] = true
	}
	var out []archive.Change
	err := x.read(ctx, name, func(c *conn, t *tenant) error {
		var last, at int64
		if err := c.together(lastChange(t.id, &last, &at)); err != nil {
			return err
		}
		lo, hi := max(q.After, 0), last // lo is not included
		if !q.From.IsZero() {
			n, err := before(c, t, last, q.From.UnixMilli())
			if err != nil {
				return err
			}
			lo = max(lo, n)
		}
		if !q.To.IsZero() {
			n, err := before(c, t, last, q.To.UnixMilli())
			if err != nil {
				return err
			}
			hi = min(hi, n)
		}
		if lo >= hi {
			return nil
		}
		base := t.id << sequenceBits
		// Entries of what was shredded lead nowhere; as many more are read instead.
		for ask := q; ; {
			found, err := selectChanges(ctx, c, base|lo, base|hi, ask, want)
			if err != nil {
				return err
			}
			filled, err := x.fillChanges(c, t, found)
			if err != nil {
				return err
			}
			out = append(out, filled...)
			if len(found) < ask.Limit || len(out) == q.Limit {
				return nil
			}
			last := found[len(found)-1].id & sequenceMask
			if q.Newest {
				hi = last - 1
			} else {
				lo = last
			}
			if ask.Limit = q.Limit - len(out); lo >= hi {
				return nil
			}
		}
	})
	return out, err
}

// before returns the highest sequence number whose time is before ms, by bisection: times never descend.
func before(c *conn, t *tenant, last, ms int64) (int64, error) {
	lo, hi := int64(0), last
	for lo < hi {
		mid := lo + (hi-lo+1)/2
		at, err := c.integer(`SELECT time FROM changes WHERE id = ?`, t.id<<sequenceBits|mid)
		if err != nil {
			return 0, err
		}
		if at < ms {
			lo = mid
		} else {
			hi = mid - 1
		}
	}
	return lo, nil
}

const changeColumns = `SELECT id, time, action, instance FROM changes `

type changeRow struct{ id, time, action, instance int64 }

func selectChanges(ctx context.Context, c *conn, lo, hi int64, q ChangeQuery, want map[action]bool) (out []changeRow, err error) {
	add := func(v []driver.Value) error {
		r := changeRow{integer(v[0]), integer(v[1]), integer(v[2]), integer(v[3])}
		if len(want) > 0 && !want[action(r.action)] {
			return nil
		}
		out = append(out, r)
		return nil
	}
	limited := func(v []driver.Value) error {
		if err := add(v); err != nil {
			return err
		}
		if len(out) == q.Limit {
			return errStop
		}
		return nil
	}
	switch {
	case len(want) == 0 || want[actionCreate]:
		return out, everyChange(ctx, c, lo, hi, q, limited)
	default:
		// Rare ones have an index; a few lists are merged.
		query := changeColumns + `WHERE action = ? AND action <> 1 AND id > ? AND id <= ? ORDER BY id LIMIT (?+0)`
		if q.Newest {
			query = changeColumns + `WHERE action = ? AND action <> 1 AND id > ? AND id <= ? ORDER BY id DESC LIMIT (?+0)`
		}
		for a := range want {
			if err := c.query(ctx, query, add, int64(a), lo, hi, int64(q.Limit)); err != nil {
				return nil, err
			}
		}
		slices.SortFunc(out, func(a, b changeRow) int {
			if q.Newest {
				a, b = b, a
			}
			return cmp.Compare(a.id, b.id)
		})
		return out[:min(len(out), q.Limit)], nil
	}
}

// everyChange goes along the feed until row has enough, a page at a time: PostgreSQL sends all that was asked for.
func everyChange(ctx context.Context, c *conn, lo, hi int64, q ChangeQuery, row func([]driver.Value) error) error {
	query := changeColumns + `WHERE id > ? AND id <= ? ORDER BY id LIMIT (?+0)`
	if q.Newest {
		query = changeColumns + `WHERE id > ? AND id <= ? ORDER BY id DESC LIMIT (?+0)`
	}
	for n := q.Limit; n == q.Limit && lo < hi; {
		n = 0
		enough := false
		err := c.query(ctx, query, func(v []driver.Value) error {
			n++
			if q.Newest {
				hi = integer(v[0]) - 1
			} else {
				lo = integer(v[0])
			}
			err := row(v)
			enough = err == errStop
			return err
		}, lo, hi, int64(q.Limit))
		if err != nil || enough {
			return err
		}
	}
	return nil
}

func (x *Index) fillChanges(c *conn, t *tenant, rows []changeRow) ([]archive.Change, error) {
	u := newParents(t)
	out := make([]archive.Change, 0, len(rows))
	ids := make([]int64, len(rows))
	for i, r := range rows {
		ids[i] = r.instance
	}
	instances, err := x.instancesByID(c, u, ids)
	if err != nil {
		return nil, err
	}
	for i, r := range rows {
		in := instances[i]
		if in == nil {
			continue // shredded
		}
		out = append(out, archive.Change{
			Sequence: r.id & sequenceMask, Time: time.UnixMilli(r.time).UTC(), Action: actionNames[r.action],
			UIDs: in.UIDs, Blob: in.Blob,
		})
	}
	return out, nil
}

// Last returns the highest sequence number of the tenant's feed, 0 when it is empty.
func (x *Index) Last(ctx context.Context, name archive.Tenant) (last int64, err error) {
	err = x.read(ctx, name, func(c *conn, t *tenant) error {
		var at int64
		return c.together(lastChange(t.id, &last, &at))
	})
	return last, err
}
