package index

import (
	"context"
	"database/sql/driver"
	"encoding/binary"
	"encoding/hex"
	"math"
	"slices"
	"strings"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/fault"
)

// The words of a study that was shredded leave the vocabulary, but for those that another study shows: its
// postings say so. What only a hidden version or a deleted study has as well goes too, and is learnt again when it is shown.

// lost is a word of a study that was taken out.
type lost struct {
	t    *tenant
	word word
}

// loseWords removes the words of what was taken out that nobody else shows. The transaction's postings have been stored.
func (b *batch) loseWords() error {
	byTenant := map[*tenant]map[word]bool{}
	for _, l := range b.lost {
		if byTenant[l.t] == nil {
			byTenant[l.t] = map[word]bool{}
		}
		byTenant[l.t][l.word] = true
	}
	for t, words := range byTenant {
		b.c.as(t.id)
		if b.bulk { // there are no postings yet
			if err := b.loseLater(t, words); err != nil {
				return err
			}
			continue
		}
		if err := b.loseOf(t, words); err != nil {
			return err
		}
	}
	return nil
}

func (b *batch) loseOf(t *tenant, words map[word]bool) error {
	for w := range words {
		shown, err := b.isShown(t, w)
		if err != nil {
			return err
		}
		if shown {
			delete(words, w)
		}
	}
	if len(words) == 0 {
		return nil
	}
	for w := range words {
		b.w.recent.drop(t.id, w.tag, w.text)
	}
	if err := b.strike(t, words); err != nil {
		return err
	}
	b.struck = append(b.struck, t)
	return nil
}

// isShown reports whether a study that can be found shows the word.
func (b *batch) isShown(t *tenant, w word) (bool, error) {
	use := byte(tokenWord)
	if t.x.lookups[w.tag] == archive.FullValue {
		use = tokenFull
	}
	groups := [][]token{{t.termToken(use, w.tag, w.text)}}
	const page = 64
	for hi, n := int64(math.MaxInt64), page; n == page; {
		n = 0
		shown := false
		err := t.x.postings.find(context.Background(), b.c, groups, 1, hi, page, func(v []driver.Value) error {
			n++
			hi = integer(v[0]) - 1
			if shown || integer(v[1]) != t.id {
				return nil
			}
			s, err := t.openStudy(integer(v[0])&(1<<t.x.idBits-1), blob(v[2]), blob(v[3]))
			if err != nil {
				return err
			}
			t.eachLearnt(s.Attrs, func(has word) { shown = shown || has == w })
			return nil
		})
		if err != nil || shown {
			return shown, err
		}
	}
	return false, nil
}

// strike writes the pages that have any of the words anew without them.
func (b *batch) strike(t *tenant, words map[word]bool) error {
	tags := map[dicom.Tag]bool{0: true}
	for w := range words {
		tags[w.tag] = true
	}
	type changed struct {
		id    int64
		tag   dicom.Tag
		plain []byte
	}
	var pages []changed
	for tag := range tags {
		err := b.c.query(context.Background(), `SELECT id, sealed FROM words WHERE tenant = ? AND tag = ?`, func(v []driver.Value) error {
			p := changed{id: integer(v[0]), tag: tag}
			plain, err := t.seal.open(blob(v[1]), inWords, p.id)
			if err != nil {
				return err
			}
			hit := false
			err = eachWord(plain, tag, func(of dicom.Tag, s string) {
				if words[word{of, s}] {
					hit = true
					return
				}
				if tag == 0 {
					p.plain = binary.BigEndian.AppendUint32(p.plain, uint32(of))
				}
				p.plain = appendString(p.plain, s)
			})
			if hit {
				pages = append(pages, p)
			}
			return err
		}, t.id, int64(tag))
		if err != nil {
			return err
		}
	}
	for _, p := range pages {
		if err := b.c.exec(`DELETE FROM words WHERE id = ?`, p.id); err != nil {
			return err
		}
		if len(p.plain) == 0 {
			if p.tag == 0 {
				b.w.known[t.id].loose--
			}
			continue
		}
		if err := b.putWords(t, p.tag, p.plain); err != nil {
			return err
		}
	}
	return nil
}

// loseLater notes the words, sealed, for the end of a rebuild on SQLite.
func (b *batch) loseLater(t *tenant, words map[word]bool) error {
	var p []byte
	for w := range words {
		p = binary.BigEndian.AppendUint32(p, uint32(w.tag))
		p = appendString(p, w.text)
	}
	id, err := b.id("words") // binds it, and is no page's
	if err != nil {
		return err
	}
	if b.sealed, err = t.seal.seal(b.sealed[:0], p, inWords, id); err != nil {
		return err
	}
	return b.c.exec(`INSERT OR REPLACE INTO settings (name, value) VALUES (?, ?)`, laterName(t.name, id), hex.EncodeToString(b.sealed))
}

const laterPrefix = "lost/"

func laterName(t archive.Tenant, id int64) string {
	return laterPrefix + string(t) + "/" + hex.EncodeToString(binary.BigEndian.AppendUint64(nil, uint64(id)))
}

// allLost does what loseLater left, when the postings are there.
func (w *writer) allLost(ctx context.Context) error {
	type later struct{ name, value string }
	var all []later
	err := w.c.query(ctx, `SELECT name, value FROM settings WHERE name >= 'lost/' AND name < 'lost0' ORDER BY name`, func(v []driver.Value) error {
		all = append(all, later{strings.Clone(text(v[0])), strings.Clone(text(v[1]))})
		return nil
	})
	if err != nil {
		return err
	}
	for _, l := range all {
		name, row, _ := strings.Cut(strings.TrimPrefix(l.name, laterPrefix), "/")
		id, err1 := hex.DecodeString(row)
		sealed, err2 := hex.DecodeString(l.value)
		if err1 != nil || err2 != nil || len(id) != 8 {
			return errRow
		}
		t, err := w.x.tenants.get(ctx, archive.Tenant(name))
		if err != nil {
			return err
		}
		if t == nil {
			return fault.New(fault.Internal, "a tenant of the index is not there")
		}
		plain, err := t.seal.open(sealed, inWords, int64(binary.BigEndian.Uint64(id)))
		if err != nil {
			return err
		}
		words := map[word]bool{}
		if err := eachWord(plain, 0, func(tag dicom.Tag, s string) { words[word{tag, s}] = true }); err != nil {
			return err
		}
		err = w.step(func(b *batch) error {
			b.cuts = true
			if err := b.enter(t); err != nil {
				return err
			}
			if err := b.loseOf(t, words); err != nil {
				return err
			}
			return b.c.exec(`DELETE FROM settings WHERE name = ?`, l.name)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// forgetPages drops pages of words of this process that have been struck.
func (b *batch) forgetPages() {
	for _, t := range slices.Compact(b.struck) {
		b.w.x.pages.drop(t.id)
	}
}
