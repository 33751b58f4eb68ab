package index

import (
	"bytes"
	"database/sql/driver"

	"github.com/strata-pacs/strata/internal/archive"
)

// The tier of a pack is what the settled or moved fact with the greatest identity says that names it. Live entries of
// the log that name it are counted: when the last one goes, the pack is gone, and the copy that counts is doomed. Its row
// stays until that is deleted, so that facts about it that come late do no harm.
//
// What a tier holds is counted with every entry: an object that is doomed counts until Undoom says that it has gone.

// tally is what a transaction adds to what a tier holds.
type tally struct{ objects, bytes int64 }

type usageKey struct {
	tenant int64
	tier   archive.TierName
}

// tally adds objects to what the tier holds.
func (b *batch) tally(t *tenant, tier archive.TierName, objects, size int64) {
	if b.usage == nil {
		b.usage = map[usageKey]tally{}
	}
	k := usageKey{t.id, tier}
	u := b.usage[k]
	b.usage[k] = tally{u.objects + objects, u.bytes + objects*size}
}

func (b *batch) storeUsage() error {
	for k, u := range b.usage {
		if u == (tally{}) {
			continue
		}
		b.c.as(k.tenant)
		err := b.c.exec(`INSERT INTO tier_usage (tenant, tier, objects, bytes) VALUES (?, ?, ?, ?)
			ON CONFLICT (tenant, tier) DO UPDATE SET objects = tier_usage.objects + excluded.objects, bytes = tier_usage.bytes + excluded.bytes`,
			k.tenant, string(k.tier), u.objects, u.bytes)
		if err != nil {
			return err
		}
	}
	return nil
}

// packRow is a pack in the writer's hands.
type packRow struct {
	id          int64
	place       archive.PackPlace // From is unset
	fact        archive.FactID    // that says the tier
	refs        int64
	found, gone bool
}

func (b *batch) pack(t *tenant, name string) (p packRow, err error) {
	p.place.Object = name
	p.found, err = b.c.one(`SELECT id, tier, fact, size, digest, refs, gone FROM packs WHERE tenant = ? AND name = ?`, func(v []driver.Value) error {
		p.id, p.place.Tier, p.place.Size, p.refs, p.gone = integer(v[0]), archive.TierName(text(v[1])), integer(v[3]), integer(v[5]), integer(v[6]) != 0
		copy(p.fact[:], blob(v[2]))
		copy(p.place.Digest[:], blob(v[4]))
		return nil
	}, t.id, name)
	return p, err
}

// placePack notes where the fact says that a pack of the study is; the zero fact is a stored one. refs is how many live
// entries more name it.
func (b *batch) placePack(t *tenant, study archive.Ref, k archive.PackPlace, fact archive.FactID, refs int64) error {
	p, err := b.pack(t, k.Object)
	if err != nil {
		return err
	}
	at := fact.Time().UnixMilli()
	if !p.found {
		p.place.Tier, p.place.Size = k.Tier, k.Size
		b.tally(t, k.Tier, 1, k.Size)
	}
	if p.refs += refs; !p.found && p.refs == 0 { // moved, and named by nothing any more, unless that is still to come
		p.gone = true
		if err := b.doom(t, k.Object, p.place.Tier, p.place.Size, at, false, false); err != nil {
			return err
		}
	}
	if p.gone && p.refs > 0 { // it is needed after all
		p.gone = false
		if err := b.spare(t, k.Object, p.place.Tier, false); err != nil {
			return err
		}
	}
	if p.place.Size < k.Size { // it was not known
		b.tally(t, p.place.Tier, 1, k.Size)
		b.tally(t, p.place.Tier, -1, p.place.Size)
		p.place.Size = k.Size
	}
	if p.place.Digest == (archive.Digest{}) {
		p.place.Digest = k.Digest
	}
	moves := false
	if bytes.Compare(fact[:], p.fact[:]) > 0 {
		p.fact = fact
		if moves = p.place.Tier != k.Tier; moves {
			if err := b.shift(t, &p, k.Tier, at); err != nil {
				return err
			}
		}
	}
	if k.From != "" && k.From != p.place.Tier {
		if err := b.doom(t, k.Object, k.From, p.place.Size, at, true, true); err != nil {
			return err
		}
	}
	return b.storePack(t, study, &p, moves)
}

// shift has the copy in another tier be the one that counts.
func (b *batch) shift(t *tenant, p *packRow, to archive.TierName, at int64) error {
	from := p.place.Tier
	p.place.Tier = to
	b.tally(t, from, -1, p.place.Size)
	b.tally(t, to, 1, p.place.Size)
	if err := b.spare(t, p.place.Object, to, true); err != nil {
		return err
	}
	if !p.gone {
		return nil
	}
	if err := b.spare(t, p.place.Object, from, false); err != nil {
		return err
	}
	return b.doom(t, p.place.Object, to, p.place.Size, at, false, false)
}

// storePack writes the row. A readable copy is one of the tier that the pack was in.
func (b *batch) storePack(t *tenant, study archive.Ref, p *packRow, moved bool) error {
	fact, digest := p.fact[:], p.place.Digest[:]
	if p.fact == (archive.FactID{}) {
		fact = nil
	}
	if p.place.Digest == (archive.Digest{}) {
		digest = nil
	}
	if !p.found {
		return b.c.exec(`INSERT INTO packs (tenant, name, study, tier, fact, size, digest, refs, gone, restored) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0)`,
			t.id, p.place.Object, study[:], string(p.place.Tier), nonNil(fact), p.place.Size, nonNil(digest), p.refs, p.gone)
	}
	forget := int64(0)
	if moved {
		forget = 1
	}
	return b.c.exec(`UPDATE packs SET study = ?, tier = ?, fact = ?, size = ?, digest = ?, refs = ?, gone = ?, restored = CASE WHEN ? = 1 THEN 0 ELSE restored END WHERE id = ?`,
		study[:], string(p.place.Tier), nonNil(fact), p.place.Size, nonNil(digest), p.refs, p.gone, forget, p.id)
}

func nonNil(b []byte) []byte { return append(make([]byte, 0, len(b)), b...) }

// unrefPack notes that a live entry that named the pack is gone. The last one takes the pack with it.
func (b *batch) unrefPack(t *tenant, name string, since int64) error {
	p, err := b.pack(t, name)
	if err != nil || !p.found || p.refs == 0 {
		return err
	}
	p.refs--
	if err := b.c.exec(`UPDATE packs SET refs = ?, gone = ? WHERE id = ?`, p.refs, p.refs == 0, p.id); err != nil || p.refs > 0 {
		return err
	}
	return b.doom(t, name, p.place.Tier, p.place.Size, since, false, false)
}

// doom has the copy of an object in a tier deleted some time after a fact let go of it: since. Whoever reads it learnt of it
// from this index, though, which may hear of the fact long after that: then it is now, unless the index is only being made.
// count: it was not counted for the tier until now.
func (b *batch) doom(t *tenant, object string, tier archive.TierName, size, since int64, moved, count bool) error {
	if since = min(since, b.now); !b.late {
		since = b.now
	}
	if !count {
		return b.c.exec(`INSERT INTO doomed (tenant, object, tier, size, since, moved) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (tenant, object, tier) DO UPDATE
			SET moved = (doomed.moved OR excluded.moved), since = CASE WHEN doomed.since < excluded.since THEN excluded.since ELSE doomed.since END`,
			t.id, object, string(tier), size, since, moved)
	}
	var was int64
	found, err := b.c.one(`SELECT id, moved FROM doomed WHERE tenant = ? AND object = ? AND tier = ?`, func(v []driver.Value) error {
		was = integer(v[1])
		return nil
	}, t.id, object, string(tier))
	if err != nil {
		return err
	}
	if found {
		return b.c.exec(`UPDATE doomed SET moved = ?, since = CASE WHEN since < ? THEN ? ELSE since END WHERE tenant = ? AND object = ? AND tier = ?`,
			moved || was != 0, since, since, t.id, object, string(tier))
	}
	b.tally(t, tier, 1, size)
	return b.c.exec(`INSERT INTO doomed (tenant, object, tier, size, since, moved) VALUES (?, ?, ?, ?, ?, ?)`, t.id, object, string(tier), size, since, moved)
}

// spare takes back that a copy is doomed. count: it is counted twice until now.
func (b *batch) spare(t *tenant, object string, tier archive.TierName, count bool) error {
	var size int64
	found, err := b.c.one(`SELECT size FROM doomed WHERE tenant = ? AND object = ? AND tier = ?`, func(v []driver.Value) error {
		size = integer(v[0])
		return nil
	}, t.id, object, string(tier))
	if err != nil || !found {
		return err
	}
	if count {
		b.tally(t, tier, -1, size)
	}
	return b.c.exec(`DELETE FROM doomed WHERE tenant = ? AND object = ? AND tier = ?`, t.id, object, string(tier))
}

// moved applies a moved fact.
func (b *batch) moved(t *tenant, f *archive.Fact) error {
	for _, k := range f.Packs {
		if err := b.placePack(t, f.Study, k, f.ID, 0); err != nil {
			return err
		}
	}
	return b.lookAgain(t, f.Study)
}

// packsOf are the packs that a stored or settled fact names. Of a stored one whoever wrote or read it
// adds their sizes, which are not in the fact.
func packsOf(e *archive.Entry) []archive.PackPlace {
	f := e.Fact
	if f.Kind != archive.FactStored || len(f.Packs) > 0 {
		return f.Packs
	}
	var out []archive.PackPlace
	seen := map[string]bool{"": true, e.Object: true}
	for i := range f.Instances {
		if name := f.Instances[i].At.Object; !seen[name] {
			seen[name] = true
			out = append(out, archive.PackPlace{Object: name, Tier: archive.HotTier})
		}
	}
	return out
}
