package index

import (
	"bytes"
	"context"
	"database/sql/driver"
	"encoding/binary"

	"github.com/strata-pacs/strata/internal/archive"
)

// Tags have a table of their own, since a tagged fact may come before anything of its study. While there is a
// study, its row of lives repeats them.

// tagged applies a tagged fact: the one with the greatest id holds.
func (b *batch) tagged(t *tenant, f *archive.Fact) error {
	older := false
	_, err := b.c.one(`SELECT fact FROM tags WHERE tenant = ? AND study = ?`, func(v []driver.Value) error {
		older = bytes.Compare(f.ID[:], blob(v[0])) <= 0
		return nil
	}, t.id, f.Study[:])
	if err != nil || older {
		return err
	}
	sealed, err := t.seal.seal(nil, appendStrings(nil, f.Tags), inTags, tagsRow(f.Study))
	if err != nil {
		return err
	}
	err = b.c.exec(`INSERT INTO tags (tenant, study, fact, sealed) VALUES (?, ?, ?, ?)
		ON CONFLICT (tenant, study) DO UPDATE SET fact = excluded.fact, sealed = excluded.sealed`, t.id, f.Study[:], f.ID[:], sealed)
	if err != nil {
		return err
	}
	b.w.known[t.id].tags = true
	st, err := b.study(t, f.Study, "", false)
	if err == nil && st != nil {
		st.life.tags, st.dirty = f.Tags, true
	}
	return err
}

// tagsOf returns what the newest fact says, nil when there is none.
func (b *batch) tagsOf(t *tenant, study archive.Ref) (tags []string, err error) {
	if !b.w.known[t.id].tags {
		return nil, nil
	}
	tags, _, err = t.tagsOf(b.c, study)
	return tags, err
}

// TagsOf returns the tags of a study and the fact that states them, which is zero when none does.
func (x *Index) TagsOf(ctx context.Context, name archive.Tenant, study archive.Ref) (tags []string, stated archive.FactID, err error) {
	err = x.read(ctx, name, func(c *conn, t *tenant) error {
		tags, stated, err = t.tagsOf(c, study)
		return err
	})
	return tags, stated, err
}

// tagsOf is TagsOf over a connection.
func (t *tenant) tagsOf(c *conn, study archive.Ref) (tags []string, stated archive.FactID, err error) {
	_, err = c.one(`SELECT fact, sealed FROM tags WHERE tenant = ? AND study = ?`, func(v []driver.Value) error {
		copy(stated[:], blob(v[0]))
		plain, err := t.seal.open(blob(v[1]), inTags, tagsRow(study))
		if err != nil {
			return err
		}
		d := decoder{b: plain}
		tags = d.strings()
		return d.err()
	}, t.id, study[:])
	return tags, stated, err
}

// tagsRow stands for a row identity in the associated data.
func tagsRow(study archive.Ref) int64 { return int64(binary.BigEndian.Uint64(study[:8])) }
