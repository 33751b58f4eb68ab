package index

import (
	"context"
	"database/sql/driver"

	"github.com/strata-pacs/strata/internal/archive"
)

// Intend notes an intent and returns when it is committed: whoever asks for [Index.Intents] from then on sees it, on every node.
func (x *Index) Intend(ctx context.Context, name archive.Tenant, i archive.Intent) error {
	return x.update(ctx, name, func(b *batch, t *tenant) error {
		return b.c.exec(`INSERT INTO intents (tenant, study, session, n) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING`,
			t.id, i.Study[:], i.Session, int64(i.N))
	})
}

// Desist forgets an intent.
func (x *Index) Desist(ctx context.Context, name archive.Tenant, i archive.Intent) error {
	return x.update(ctx, name, func(b *batch, t *tenant) error {
		return b.c.exec(`DELETE FROM intents WHERE tenant = ? AND study = ? AND session = ? AND n = ?`, t.id, i.Study[:], i.Session, int64(i.N))
	})
}

// Intents returns the intents about a study, or with a zero reference about any.
func (x *Index) Intents(ctx context.Context, name archive.Tenant, study archive.Ref) (out []archive.Intent, err error) {
	err = x.read(ctx, name, func(c *conn, t *tenant) error {
		take := func(v []driver.Value) error {
			out = append(out, archive.Intent{Study: archive.Ref(blob(v[0])), Session: text(v[1]), N: uint64(integer(v[2]))})
			return nil
		}
		if study == (archive.Ref{}) {
			return c.query(ctx, `SELECT study, session, n FROM intents WHERE tenant = ?`, take, t.id)
		}
		return c.query(ctx, `SELECT study, session, n FROM intents WHERE tenant = ? AND study = ?`, take, t.id, study[:])
	})
	return out, err
}

// DeletedAt returns where deletions are in the log. It knows nothing of those that an older version indexed.
func (x *Index) DeletedAt(ctx context.Context, name archive.Tenant, facts ...archive.FactID) (map[archive.FactID]archive.LogPlace, error) {
	places := make(map[archive.FactID]archive.LogPlace, len(facts))
	err := x.read(ctx, name, func(c *conn, t *tenant) error {
		for _, f := range facts {
			_, err := c.one(`SELECT session, n FROM deletions WHERE tenant = ? AND fact = ?`, func(v []driver.Value) error {
				places[f] = archive.LogPlace{Session: text(v[0]), N: uint64(integer(v[1]))}
				return nil
			}, t.id, f[:])
			if err != nil {
				return err
			}
		}
		return nil
	})
	return places, err
}

// deletedAt notes where a deletion is in the log; of one that is there twice the greater place, whichever comes first.
func (b *batch) deletedAt(t *tenant, e *archive.Entry) error {
	return b.c.exec(`INSERT INTO deletions (tenant, fact, session, n) VALUES (?, ?, ?, ?)
		ON CONFLICT (tenant, fact) DO UPDATE SET session = excluded.session, n = excluded.n WHERE (excluded.session, excluded.n) > (deletions.session, deletions.n)`,
		t.id, e.Fact.ID[:], e.Session, int64(e.N))
}
