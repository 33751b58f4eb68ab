package index

import (
	"context"
	"database/sql/driver"
	"slices"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/dicom"
)

// postings are the studies of each token, newest first; each engine has its own. Tokens are a part of a
// keyed hash: two texts may share one, and candidates are matched exactly anyway.
type postings interface {
	// token makes a token of a tenant's keyed hash.
	token(tenant int64, hash uint64) token
	// store writes what a transaction changed.
	store(c *conn, posts []posting) error
	// sample counts the newest studies between the keys that have any of the tokens, up to
	// limit, and returns the key of the last of them.
	sample(ctx context.Context, c *conn, g []token, lo, hi int64, limit int) (n int, reach int64, err error)
	// find calls f with (skey, tenant, ref, sealed) of studies between the keys that have one token of
	// every group, newest first, up to limit. The first group is the rarest.
	find(ctx context.Context, c *conn, groups [][]token, lo, hi int64, limit int, f func([]driver.Value) error) error
}

type token int64

// posting is a change of a study's postings that waits for the end of the transaction.
type posting struct {
	old, new   int64 // keys; 0 is none
	was, terms []token
}

func (t *tenant) termToken(use byte, tag dicom.Tag, s string) token {
	return t.x.postings.token(t.id, uint64(t.hash64(use, tag, s)))
}

func (t *tenant) modalityToken(m string) token { return t.termToken(tokenModality, tagModality, m) }

// queryToken returns the token of a search term.
func (t *tenant) queryToken(q archive.Term) token {
	if q.Full {
		return t.termToken(tokenFull, q.Tag, archive.Cut(q.Word, archive.MaxFullBytes))
	}
	return t.termToken(tokenWord, q.Tag, archive.Cut(q.Word, archive.MaxWordBytes))
}

// terms returns all tokens of a study, ascending, each once.
func (t *tenant) terms(attrs archive.Attrs, modes []string) []token {
	out := make([]token, 0, 24)
	var buf [16]string
	for i := range attrs {
		a := &attrs[i]
		lookup := t.x.lookups[a.Tag]
		if lookup != archive.FullValue && lookup != archive.Words {
			continue
		}
		for _, s := range archive.FoldFull(buf[:0], a.VR, a.Value) {
			out = append(out, t.termToken(tokenFull, a.Tag, s))
		}
		if lookup == archive.Words {
			for _, s := range archive.FoldWords(buf[:0], a.VR, a.Value) {
				out = append(out, t.termToken(tokenWord, a.Tag, s))
			}
		}
	}
	for _, m := range modes {
		out = append(out, t.modalityToken(m))
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// postTerms returns the tokens that the study's record calls for.
func (s *study) postTerms() ([]token, error) {
	d := decoder{b: s.set.attrs}
	return s.t.terms(d.attrs(), s.modes.values), d.err()
}

// post brings the postings of a study in line: they move when its date or its terms change.
func (b *batch) post(s *study, skey int64) error {
	if b.bulk || skey == s.skey && !(s.terms && skey != 0) {
		return nil
	}
	p := posting{old: s.skey, new: skey, was: s.posted}
	s.posted = nil
	if skey != 0 {
		terms, err := s.postTerms()
		if err != nil {
			return err
		}
		p.terms, s.posted = terms, terms
		if s.inserted {
			// What only hidden versions and deleted studies had may have gone from the vocabulary with a shredded study.
			d := decoder{b: s.set.attrs}
			b.learn(s.t, d.attrs())
		}
	}
	b.posts = append(b.posts, p)
	return nil
}
