package index

import (
	"cmp"
	"context"
	"database/sql/driver"
	"slices"
	"strings"
)

// fts keeps postings in SQLite, in an FTS5 table that has no text. Each token is 50 bits, written in ten letters.
type fts struct{}

const tokenLetters = "abcdefghijklmnopqrstuvwxyz234567"

func (fts) token(_ int64, hash uint64) token { return token(hash & (1<<50 - 1)) }

func (k token) write(out *strings.Builder) {
	for range 10 {
		out.WriteByte(tokenLetters[k&31])
		k >>= 5
	}
}

// store writes by ascending keys: FTS5 writes a segment of its own whenever one descends.
func (fts) store(c *conn, posts []posting) error {
	slices.SortFunc(posts, func(p, q posting) int { return cmp.Compare(p.old, q.old) })
	for _, p := range posts {
		if p.old != 0 {
			if err := c.exec(`DELETE FROM postings WHERE rowid = ?`, p.old); err != nil {
				return err
			}
		}
	}
	slices.SortFunc(posts, func(p, q posting) int { return cmp.Compare(p.new, q.new) })
	for _, p := range posts {
		if p.new != 0 {
			if err := putFTS(c, p.new, p.terms); err != nil {
				return err
			}
		}
	}
	return nil
}

func putFTS(c *conn, skey int64, terms []token) error {
	var out strings.Builder
	out.Grow(11 * len(terms))
	for i, k := range terms {
		if i > 0 {
			out.WriteByte(' ')
		}
		k.write(&out)
	}
	return c.exec(`INSERT INTO postings (rowid, terms) VALUES (?, ?)`, skey, out.String())
}

// expression is an FTS5 query: all of the groups, any of a group's tokens.
func expression(groups [][]token) string {
	var out strings.Builder
	for i, g := range groups {
		if i > 0 {
			out.WriteString(" AND ")
		}
		out.WriteByte('(')
		for j, k := range g {
			if j > 0 {
				out.WriteString(" OR ")
			}
			k.write(&out)
		}
		out.WriteByte(')')
	}
	return out.String()
}

func (fts) sample(ctx context.Context, c *conn, g []token, lo, hi int64, limit int) (n int, reach int64, err error) {
	err = c.query(ctx, `SELECT count(*), min(k) FROM (SELECT rowid AS k FROM postings WHERE postings MATCH ? AND rowid BETWEEN ? AND ?
		ORDER BY rowid DESC LIMIT (?+0))`, func(v []driver.Value) error {
		n, reach = int(integer(v[0])), integer(v[1])
		return nil
	}, expression([][]token{g}), lo, hi, int64(limit))
	return n, reach, err
}

func (fts) find(ctx context.Context, c *conn, groups [][]token, lo, hi int64, limit int, f func([]driver.Value) error) error {
	return c.query(ctx, `SELECT p.rowid, s.tenant, s.ref, s.sealed FROM postings p CROSS JOIN studies s
		WHERE p.postings MATCH ? AND p.rowid BETWEEN ? AND ? AND s.id = (p.rowid & 268435455)
		ORDER BY p.rowid DESC LIMIT (?+0)`, f, expression(groups), lo, hi, int64(limit))
}
