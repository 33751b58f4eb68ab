package index

import (
	"context"
	"database/sql/driver"
	"encoding/binary"
	"slices"
	"strings"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/dicom"
)

// The vocabulary of a tenant is the distinct words (and, for attributes looked
// up by full values, those) of each attribute, for wildcards to run over. Pages of
// words are sealed whole, so that a million words open in some 20 ms. A
// transaction adds its new words as one small page of any attributes (tag 0);
// now and then these are folded into the attributes' own. Pages are never
// changed: a page folded away is deleted, its words are in one of a higher id. A word that is
// already there is recognised from memory, so a rare one may be there twice.

type word struct {
	tag  dicom.Tag
	text string
}

const (
	wordPage   = 32 << 10 // bytes at which a page is full
	looseWords = 256      // more new words than this are folded at once
	loosePages = 64       // as are so many small pages
	warmPages  = 128      // more than hold the words that are remembered
)

// learn adds the words of study attributes to the vocabulary.
func (b *batch) learn(t *tenant, attrs archive.Attrs) {
	t.eachLearnt(attrs, func(w word) {
		if b.w.recent.add(t.id, w.tag, w.text) {
			b.words[t] = append(b.words[t], w)
		}
	})
}

// eachLearnt calls f with what of study attributes belongs in the vocabulary.
func (t *tenant) eachLearnt(attrs archive.Attrs, f func(word)) {
	var buf [16]string
	for i := range attrs {
		a := &attrs[i]
		var words []string
		switch t.x.lookups[a.Tag] {
		case archive.FullValue:
			words = archive.FoldFull(buf[:0], a.VR, a.Value)
		case archive.Words:
			words = archive.FoldWords(buf[:0], a.VR, a.Value)
		}
		for _, s := range words {
			f(word{a.Tag, s})
		}
	}
}

// storeWords writes the transaction's new words.
func (b *batch) storeWords() error {
	for t, words := range b.words {
		var err error
		k := b.w.known[t.id]
		if len(words) > looseWords || k.loose >= loosePages {
			err = b.foldWords(t, words)
			k.loose = 0
		} else {
			var p []byte
			for _, w := range words {
				p = binary.BigEndian.AppendUint32(p, uint32(w.tag))
				p = appendString(p, w.text)
			}
			err = b.putWords(t, 0, p)
			k.loose++
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (b *batch) putWords(t *tenant, tag dicom.Tag, plain []byte) error {
	id, err := b.id("words")
	if err != nil {
		return err
	}
	if b.sealed, err = t.seal.seal(b.sealed[:0], plain, inWords, id); err != nil {
		return err
	}
	return b.c.exec(`INSERT INTO words (id, tenant, tag, sealed) VALUES (?, ?, ?, ?)`, id, t.id, int64(tag), b.sealed)
}

// foldWords moves loose words and those given to the pages of their attributes.
func (b *batch) foldWords(t *tenant, words []word) error {
	byTag := map[dicom.Tag][]string{}
	for _, w := range words {
		byTag[w.tag] = append(byTag[w.tag], w.text)
	}
	err := b.c.query(context.Background(), `SELECT id, sealed FROM words WHERE tenant = ? AND tag = 0`, func(v []driver.Value) error {
		plain, err := t.seal.open(blob(v[1]), inWords, integer(v[0]))
		if err != nil {
			return err
		}
		return eachWord(plain, 0, func(tag dicom.Tag, s string) { byTag[tag] = append(byTag[tag], s) })
	}, t.id)
	if err != nil {
		return err
	}
	if err := b.c.exec(`DELETE FROM words WHERE tenant = ? AND tag = 0`, t.id); err != nil {
		return err
	}
	for tag, words := range byTag {
		slices.Sort(words)
		var last int64
		var have []string // ascending
		_, err := b.c.one(`SELECT id, sealed FROM words WHERE tenant = ? AND tag = ? ORDER BY id DESC LIMIT 1`, func(v []driver.Value) error {
			if len(blob(v[1])) >= wordPage {
				return nil
			}
			last = integer(v[0])
			plain, err := t.seal.open(blob(v[1]), inWords, last)
			if err != nil {
				return err
			}
			return eachWord(plain, tag, func(_ dicom.Tag, s string) { have = append(have, s) })
		}, t.id, int64(tag))
		if err != nil {
			return err
		}
		if last != 0 {
			if err := b.c.exec(`DELETE FROM words WHERE id = ?`, last); err != nil {
				return err
			}
		}
		var p []byte
		for _, s := range slices.Compact(merge(have, words)) {
			if p = appendString(p, s); len(p) >= wordPage {
				if err := b.putWords(t, tag, p); err != nil {
					return err
				}
				p = p[:0]
			}
		}
		if len(p) > 0 {
			if err := b.putWords(t, tag, p); err != nil {
				return err
			}
		}
	}
	return nil
}

// merge merges two ascending lists.
func merge(a, b []string) []string {
	out := make([]string, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		if a[0] <= b[0] {
			out, a = append(out, a[0]), a[1:]
		} else {
			out, b = append(out, b[0]), b[1:]
		}
	}
	return append(append(out, a...), b...)
}

// eachWord calls f with the words of a page; of is the page's tag.
func eachWord(plain []byte, of dicom.Tag, f func(dicom.Tag, string)) error {
	d := decoder{b: plain}
	for len(d.b) > 0 {
		tag := of
		if of == 0 {
			if h := d.take(4); h != nil {
				tag = dicom.Tag(binary.BigEndian.Uint32(h))
			}
		}
		s := d.string()
		if d.bad {
			return errRow
		}
		f(tag, s)
	}
	return nil
}

// Words returns up to max distinct words of the attribute's vocabulary that
// match, and whether there are more: folded full values for an attribute of
// lookup FullValue, folded words for Words. Words of studies that are gone may be among them.
func (x *Index) Words(ctx context.Context, name archive.Tenant, tag dicom.Tag, match func(word string) bool, max int) (words []string, more bool, err error) {
	seen, done := map[string]bool{}, map[int64]bool{}
	for complete := false; !complete; {
		var ids []int64
		list := func(v []driver.Value) error {
			if id := integer(v[0]); !done[id] {
				ids = append(ids, id)
			}
			return nil
		}
		var t *tenant // asked for again each time: it may have been forgotten
		err := x.read(ctx, name, func(c *conn, tn *tenant) error {
			t = tn
			const query = `SELECT id FROM words WHERE tenant = ? AND tag IN (0, ?)`
			return c.query(ctx, query, list, t.id, int64(tag))
		})
		if err != nil {
			return nil, false, err
		}
		complete = true
		for _, id := range ids {
			there, err := x.wordPage(ctx, t, id, func(got dicom.Tag, s string) {
				if got == tag && !more && match(s) && !seen[s] {
					if more = len(words) >= max; !more {
						s = strings.Clone(s) // the page may be wiped
						seen[s] = true
						words = append(words, s)
					}
				}
			})
			if err == nil && !there {
				complete = false // folded meanwhile: its words are in a newer page
				continue
			}
			done[id] = true
			if err != nil || more {
				return words, more, err
			}
		}
	}
	return words, false, nil
}

// wordPage calls f with the words of a page, from memory or the database, and reports whether it is there. f
// must not keep the words.
func (x *Index) wordPage(ctx context.Context, t *tenant, id int64, f func(dicom.Tag, string)) (there bool, err error) {
	key := pageKey{t.id, id}
	if there, err = x.pages.each(key, f); there {
		return true, err
	}
	var p page
	err = x.readers.with(ctx, t, func(c *conn) error {
		_, err := c.one(`SELECT tag, sealed FROM words WHERE id = ?`, func(v []driver.Value) error {
			p.tag = dicom.Tag(integer(v[0]))
			p.plain, err = t.seal.open(blob(v[1]), inWords, id)
			return err
		}, id)
		return err
	})
	if err != nil || p.plain == nil {
		return false, err
	}
	if err := eachWord(p.plain, p.tag, f); err != nil {
		return true, err
	}
	x.pages.put(t, key, p)
	return true, nil
}

// warmWords remembers the newest words of a tenant, so that starting again does not add them again.
func (w *writer) warmWords(t *tenant) error {
	if w.warm[t.id] {
		return nil
	}
	var now losses
	err := w.c.together(numberOf(&now.closed, `SELECT max(seq) FROM closed_keys WHERE tenant = ?`, t.id),
		numberOf(&now.dropped, `SELECT max(seq) FROM dropped WHERE tenant = ?`, t.id))
	if err != nil {
		return err
	}
	w.closings[t.id] = now // before the words are read: what goes meanwhile is noticed
	var n int
	err = w.c.query(context.Background(), `SELECT id, tag, sealed FROM words WHERE tenant = ? ORDER BY id DESC LIMIT (?+0)`, func(v []driver.Value) error {
		plain, err := t.seal.open(blob(v[2]), inWords, integer(v[0]))
		if err != nil {
			return err
		}
		err = eachWord(plain, dicom.Tag(integer(v[1])), func(tag dicom.Tag, s string) {
			w.recent.add(t.id, tag, s)
			n++
		})
		if err == nil && n > recentMax {
			return errStop
		}
		return err
	}, t.id, int64(warmPages))
	w.warm[t.id] = err == nil
	return err
}
