package index

import (
	"bytes"
	"context"
	"database/sql/driver"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/fault"
)

// Rules, holds and releases are sealed in a row that is named after the fact: their texts are people's.

// ordered applies a held, released or rule fact.
func (b *batch) ordered(t *tenant, f *archive.Fact) error {
	switch f.Kind {
	case archive.FactHeld:
		return b.held(t, f)
	case archive.FactReleased:
		return b.released(t, f)
	default:
		return b.rules(t, f)
	}
}

func checkOrdered(f *archive.Fact) error {
	if f.Kind == archive.FactHeld && f.Hold.Valid() || f.Kind == archive.FactReleased && f.Release.Valid() || f.Kind == archive.FactRule && f.Rules.Valid() {
		return nil
	}
	return fault.New(fault.Invalid, "a hold, release or rule that cannot be stated cannot be indexed")
}

// factRow stands for the row of a fact in what its seal is bound to.
func (t *tenant) factRow(id archive.FactID) int64 {
	return t.hash64(tokenFact, dicom.Tag(0), string(id[:]))
}

// rules applies a rule fact: of a name the one with the greatest id holds.
func (b *batch) rules(t *tenant, f *archive.Fact) error {
	var have []byte
	_, err := b.c.one(`SELECT fact FROM rule_sets WHERE tenant = ? AND name = ?`, func(v []driver.Value) error {
		have = bytes.Clone(blob(v[0]))
		return nil
	}, t.id, f.Rules.Name)
	if err != nil || bytes.Compare(f.ID[:], have) <= 0 {
		return err
	}
	sealed, err := t.seal.seal(nil, appendString(appendString(nil, f.Rules.By), f.Rules.Document), inRules, t.factRow(f.ID))
	if err != nil {
		return err
	}
	err = b.c.exec(`INSERT INTO rule_sets (tenant, name, fact, sealed) VALUES (?, ?, ?, ?)
		ON CONFLICT (tenant, name) DO UPDATE SET fact = excluded.fact, sealed = excluded.sealed`, t.id, f.Rules.Name, f.ID[:], sealed)
	if err == nil {
		err = b.allDue(t) // every study was judged by others: also until when it must be kept
	}
	return err
}

// RuleSet returns the tenant's rules of a name and the fact that states them, which is zero when none does.
func (x *Index) RuleSet(ctx context.Context, name archive.Tenant, rules string) (set archive.RuleSet, stated archive.FactID, err error) {
	err = x.read(ctx, name, func(c *conn, t *tenant) error {
		_, err := c.one(`SELECT fact, sealed FROM rule_sets WHERE tenant = ? AND name = ?`, func(v []driver.Value) error {
			copy(stated[:], blob(v[0]))
			plain, err := t.seal.open(blob(v[1]), inRules, t.factRow(stated))
			if err != nil {
				return err
			}
			d := decoder{b: plain}
			set = archive.RuleSet{Name: rules, By: d.string(), Document: d.bytes()}
			return d.err()
		}, t.id, rules)
		return err
	})
	return set, stated, err
}

func (b *batch) held(t *tenant, f *archive.Fact) error {
	h := f.Hold
	sealed, err := t.seal.seal(nil, appendString(appendString(nil, h.Reason), h.By), inHolds, t.factRow(f.ID))
	if err != nil {
		return err
	}
	releases, err := releasesOf(context.Background(), b.c, t, f.ID)
	if err != nil {
		return err
	}
	return b.c.exec(`INSERT INTO holds (tenant, fact, study, patient, lifted, sealed) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
		t.id, f.ID[:], h.Study[:], h.Patient[:], archive.Lifted(releases), sealed)
}

func (b *batch) released(t *tenant, f *archive.Fact) error {
	r := f.Release
	sealed, err := t.seal.seal(nil, appendString(appendString(nil, r.Reason), r.By), inReleases, t.factRow(f.ID))
	if err != nil {
		return err
	}
	err = b.c.exec(`INSERT INTO releases (tenant, hold, fact, sealed) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING`, t.id, r.Hold[:], f.ID[:], sealed)
	if err != nil {
		return err
	}
	releases, err := releasesOf(context.Background(), b.c, t, r.Hold)
	if err != nil || !archive.Lifted(releases) {
		return err
	}
	return b.c.exec(`UPDATE holds SET lifted = TRUE WHERE tenant = ? AND fact = ?`, t.id, r.Hold[:])
}

// releasesOf reads who released a hold.
func releasesOf(ctx context.Context, c *conn, t *tenant, hold archive.FactID) (out []archive.Released, err error) {
	err = c.query(ctx, `SELECT fact, sealed FROM releases WHERE tenant = ? AND hold = ? ORDER BY fact`, func(v []driver.Value) error {
		r := archive.Released{Release: archive.Release{Hold: hold}}
		copy(r.Fact[:], blob(v[0]))
		plain, err := t.seal.open(blob(v[1]), inReleases, t.factRow(r.Fact))
		if err != nil {
			return err
		}
		d := decoder{b: plain}
		r.Reason, r.By = d.string(), d.string()
		out = append(out, r)
		return d.err()
	}, t.id, hold[:])
	return out, err
}

const selectHolds = `SELECT fact, study, patient, lifted, sealed FROM holds WHERE tenant = ? AND `

func listHolds(ctx context.Context, c *conn, t *tenant, where string, args ...driver.Value) (out []archive.Held, err error) {
	err = c.query(ctx, selectHolds+where, func(v []driver.Value) error {
		h := archive.Held{Lifted: integer(v[3]) != 0}
		copy(h.ID[:], blob(v[0]))
		copy(h.Study[:], blob(v[1]))
		copy(h.Patient[:], blob(v[2]))
		plain, err := t.seal.open(blob(v[4]), inHolds, t.factRow(h.ID))
		if err != nil {
			return err
		}
		d := decoder{b: plain}
		h.Reason, h.By = d.string(), d.string()
		out = append(out, h)
		return d.err()
	}, append([]driver.Value{t.id}, args...)...)
	for i := range out {
		if err == nil {
			out[i].Releases, err = releasesOf(ctx, c, t, out[i].ID)
		}
	}
	return out, err
}

// Holds returns up to limit holds that were stated after one, lifted ones too, ascending.
func (x *Index) Holds(ctx context.Context, name archive.Tenant, after archive.FactID, limit int) (out []archive.Held, err error) {
	err = x.read(ctx, name, func(c *conn, t *tenant) error {
		out, err = listHolds(ctx, c, t, `fact > ? ORDER BY fact LIMIT (?+0)`, after[:], int64(limit))
		return err
	})
	return out, err
}

// HoldOf returns a hold; fault.NotFound when there is none.
func (x *Index) HoldOf(ctx context.Context, name archive.Tenant, id archive.FactID) (h archive.Held, err error) {
	found := false
	err = x.read(ctx, name, func(c *conn, t *tenant) error {
		list, err := listHolds(ctx, c, t, `fact = ?`, id[:])
		if found = len(list) > 0; found {
			h = list[0]
		}
		return err
	})
	if err == nil && !found {
		err = fault.New(fault.NotFound, "there is no such hold")
	}
	return h, err
}

// HeldBy returns the holds that stand on a study or on one of the patients, which are keyed hashes of
// [archive.PatientRef] and [archive.IssuedRef]; references that are zero name nothing.
func (x *Index) HeldBy(ctx context.Context, name archive.Tenant, study archive.Ref, patients ...archive.Ref) (out []archive.Held, err error) {
	var none archive.Ref
	err = x.read(ctx, name, func(c *conn, t *tenant) error {
		look := func(where string, ref archive.Ref) error {
			if ref == none {
				return nil
			}
			list, err := listHolds(ctx, c, t, where, ref[:])
			out = append(out, list...)
			return err
		}
		if err := look(`study = ? AND NOT lifted ORDER BY fact`, study); err != nil {
			return err
		}
		for _, p := range patients {
			if err := look(`patient = ? AND NOT lifted ORDER BY fact`, p); err != nil {
				return err
			}
		}
		return nil
	})
	return out, err
}
