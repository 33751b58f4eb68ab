package index

import (
	"context"
	"database/sql/driver"
	"slices"
	"strings"
)

// tok keeps postings in PostgreSQL, in a table of (token, skey) with that primary key, so that each
// list is ordered by study day. A token is the tenant and 44 bits of the hash.
type tok struct{}

const tokenBits = 44

func (tok) token(tenant int64, hash uint64) token {
	return token(tenant<<tokenBits | int64(hash&(1<<tokenBits-1)))
}

// store sends one statement for all that goes and one for all that comes.
func (tok) store(c *conn, posts []posting) error {
	var gone, come struct{ tokens, skeys []int64 }
	for _, p := range posts {
		for _, k := range p.was {
			if p.old != 0 && !(p.old == p.new && has(p.terms, k)) {
				gone.tokens, gone.skeys = append(gone.tokens, int64(k)), append(gone.skeys, p.old)
			}
		}
		for _, k := range p.terms {
			if p.new != 0 && !(p.old == p.new && has(p.was, k)) {
				come.tokens, come.skeys = append(come.tokens, int64(k)), append(come.skeys, p.new)
			}
		}
	}
	if len(gone.tokens) > 0 {
		err := c.exec(`DELETE FROM tok USING unnest(?::bigint[], ?::bigint[]) AS g (token, skey)
			WHERE tok.token = g.token AND tok.skey = g.skey`, gone.tokens, gone.skeys)
		if err != nil {
			return err
		}
	}
	if len(come.tokens) == 0 {
		return nil
	}
	return c.exec(`INSERT INTO tok (token, skey) SELECT * FROM unnest(?::bigint[], ?::bigint[]) ON CONFLICT DO NOTHING`, come.tokens, come.skeys)
}

func has(sorted []token, k token) bool {
	_, found := slices.BinarySearch(sorted, k)
	return found
}

func numbers(g []token) []int64 {
	out := make([]int64, len(g))
	for i, k := range g {
		out[i] = int64(k)
	}
	return out
}

// newest selects the newest keys between ?2 and ?3 of the lists of the tokens, each list no further than the limit.
func newest(several bool, more string) string {
	if !several {
		return `SELECT skey FROM tok WHERE token = (?::bigint[])[1] AND skey BETWEEN ? AND ?` + more + ` ORDER BY skey DESC LIMIT (?+0)`
	}
	return `SELECT DISTINCT x.skey FROM unnest(?::bigint[]) AS t (token), LATERAL (SELECT skey FROM tok WHERE tok.token = t.token
		AND skey BETWEEN ? AND ?` + more + ` ORDER BY skey DESC LIMIT (?+0)) x ORDER BY x.skey DESC LIMIT (?+0)`
}

func (tok) sample(ctx context.Context, c *conn, g []token, lo, hi int64, limit int) (n int, reach int64, err error) {
	args := []driver.Value{numbers(g), lo, hi, int64(limit)}
	if len(g) > 1 {
		args = append(args, int64(limit))
	}
	err = c.query(ctx, `SELECT count(*), min(skey) FROM (`+newest(len(g) > 1, "")+`) AS k`, func(v []driver.Value) error {
		n, reach = int(integer(v[0])), integer(v[1])
		return nil
	}, args...)
	return n, reach, err
}

// find goes along the lists of the first group and looks in the others for each of its studies. LIMIT 1
// keeps the planner from reading all studies for the tenth of the list that it takes an unknown limit for.
func (tok) find(ctx context.Context, c *conn, groups [][]token, lo, hi int64, limit int, f func([]driver.Value) error) error {
	first, others := groups[0], groups[1:]
	args := []driver.Value{numbers(first), lo, hi}
	for _, g := range others {
		args = append(args, numbers(g))
	}
	args = append(args, int64(limit))
	if len(first) > 1 {
		args = append(args, int64(limit))
	}
	more := strings.Repeat(` AND EXISTS (SELECT 1 FROM tok b WHERE b.token = ANY (?::bigint[]) AND b.skey = tok.skey)`, len(others))
	return c.query(ctx, `SELECT k.skey, s.tenant, s.ref, s.sealed FROM (`+newest(len(first) > 1, more)+`) AS k
		CROSS JOIN LATERAL (SELECT tenant, ref, sealed FROM studies WHERE id = (k.skey & 68719476735) LIMIT 1) AS s ORDER BY k.skey DESC`, f, args...)
}
