package index

import (
	"cmp"
	"context"
	"database/sql/driver"
	"slices"
	"strings"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/dicom"
)

// Postings are the studies of each token, newest first. On SQLite they are an FTS5 table that
// keeps no text; this file is all that knows. Each token is 50 bits of a keyed hash, written in ten
// letters: two texts may share one, and candidates are matched exactly anyway.

type token [10]byte

const tokenLetters = "abcdefghijklmnopqrstuvwxyz234567"

func (t *tenant) termToken(use byte, tag dicom.Tag, s string) (out token) {
	v := uint64(t.hash64(use, tag, s))
	for i := range out {
		out[i] = tokenLetters[v&31]
		v >>= 5
	}
	return out
}

func (t *tenant) modalityToken(m string) token { return t.termToken(tokenModality, tagModality, m) }

// queryToken returns the token of a search term.
func (t *tenant) queryToken(q archive.Term) token {
	if q.Full {
		return t.termToken(tokenFull, q.Tag, archive.Cut(q.Word, archive.MaxFullBytes))
	}
	return t.termToken(tokenWord, q.Tag, archive.Cut(q.Word, archive.MaxWordBytes))
}

// terms returns all tokens of a study, separated by spaces.
func (b *batch) terms(t *tenant, attrs archive.Attrs, modes []string) string {
	var out strings.Builder
	out.Grow(256)
	add := func(k token) {
		if out.Len() > 0 {
			out.WriteByte(' ')
		}
		out.Write(k[:])
	}
	var buf [16]string
	for i := range attrs {
		a := &attrs[i]
		lookup := b.w.x.lookups[a.Tag]
		if lookup != archive.FullValue && lookup != archive.Words {
			continue
		}
		for _, s := range archive.FoldFull(buf[:0], a.VR, a.Value) {
			add(t.termToken(tokenFull, a.Tag, s))
		}
		if lookup == archive.Words {
			for _, s := range archive.FoldWords(buf[:0], a.VR, a.Value) {
				add(t.termToken(tokenWord, a.Tag, s))
			}
		}
	}
	for _, m := range modes {
		add(t.modalityToken(m))
	}
	return out.String()
}

// posting is a change of a study's postings that waits for the end of the transaction.
type posting struct {
	old, new int64 // keys; 0 is none
	terms    string
}

// post brings the postings of a study in line: they move when its date or its terms change.
func (b *batch) post(s *study, skey int64) error {
	if b.bulk || skey == s.skey && !(s.terms && skey != 0) {
		return nil
	}
	p := posting{old: s.skey, new: skey}
	if skey != 0 {
		d := decoder{b: s.set.attrs}
		p.terms = b.terms(s.t, d.attrs(), s.modes.values)
		if err := d.err(); err != nil {
			return err
		}
	}
	b.posts = append(b.posts, p)
	return nil
}

// storePostings writes what post collected, by ascending keys: FTS5 writes a segment
// of its own whenever one descends.
func (b *batch) storePostings() error {
	slices.SortFunc(b.posts, func(p, q posting) int { return cmp.Compare(p.old, q.old) })
	for _, p := range b.posts {
		if p.old != 0 {
			if err := b.c.exec(`DELETE FROM postings WHERE rowid = ?`, p.old); err != nil {
				return err
			}
		}
	}
	slices.SortFunc(b.posts, func(p, q posting) int { return cmp.Compare(p.new, q.new) })
	for _, p := range b.posts {
		if p.new != 0 {
			if err := b.putPostings(p.new, p.terms); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *batch) putPostings(skey int64, terms string) error {
	return b.c.exec(`INSERT INTO postings (rowid, terms) VALUES (?, ?)`, skey, terms)
}

func (b *batch) clearPostings() error {
	return b.c.exec(`INSERT INTO postings (postings) VALUES ('delete-all')`)
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
			out.Write(k[:])
		}
		out.WriteByte(')')
	}
	return out.String()
}

// samplePostings counts the newest studies between the keys that have any of the tokens, up
// to limit, and returns the key of the last of them.
func samplePostings(ctx context.Context, c *conn, g []token, lo, hi int64, limit int) (n int, reach int64, err error) {
	err = c.query(ctx, `SELECT count(*), min(k) FROM (SELECT rowid AS k FROM postings WHERE postings MATCH ? AND rowid BETWEEN ? AND ?
		ORDER BY rowid DESC LIMIT (?+0))`, func(v []driver.Value) error {
		n, reach = int(integer(v[0])), integer(v[1])
		return nil
	}, expression([][]token{g}), lo, hi, int64(limit))
	return n, reach, err
}

// findPostings calls f with (skey, tenant, ref, sealed) of studies between the keys that match, newest first, up to limit.
func findPostings(ctx context.Context, c *conn, groups [][]token, lo, hi int64, limit int, f func([]driver.Value) error) error {
	return c.query(ctx, `SELECT p.rowid, s.tenant, s.ref, s.sealed FROM postings p CROSS JOIN studies s
		WHERE p.postings MATCH ? AND p.rowid BETWEEN ? AND ? AND s.id = (p.rowid & 268435455)
		ORDER BY p.rowid DESC LIMIT (?+0)`, f, expression(groups), lo, hi, int64(limit))
}
