package index

import (
	"database/sql/driver"
	"encoding/binary"
	"strings"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/dicom"
)

// A row of lives is what lifecycle rules look at of a study, so that they need not open what the index has of it. It is
// written in the transaction that writes the study's row. Plain are only what has to be sorted, or
// written without looking: when the study is due and the day of its last access; these two no fact says, so they
// depend on when facts came.

// life is the part of a study in the writer's hands that only its row of lives keeps.
type life struct {
	there bool // the row is there
	raw   bool // the row, or that of the study, is of an older version: what follows is to be found out

	bodies facet    // Body Part Examined of visible series
	gone   int64    // deleted blobs
	stored int64    // bytes of all sealed blobs
	tags   []string // of the newest fact
	loose  int64    // live stored entries of the log
	tiers  []string // of its packs, sorted
	moved  bool     // loose and tiers are to be found out
	due    int64    // ms, that a deletion or its end asks for
}

const (
	tagBodyPart dicom.Tag = 0x00180015

	msDay = 24 * 60 * 60 * 1000
	never = 1 << 62 // a due of studies that wait for a fact
)

// appendLife encodes what is sealed of the study's row of lives.
func (s *study) appendLife(b []byte) []byte {
	b = append(b, recVersion)
	b = appendString(b, s.uid)
	b = append(b, s.ref[:]...)
	var patient archive.Ref
	if id := s.set.get(tagPatientID); id != "" {
		patient = s.t.keys.Ref(archive.PatientRef(id))
	}
	b = append(b, patient[:]...)
	b = appendString(b, dayText(studyDay(s.set.get(tagStudyDate))))
	for _, v := range [...]int64{s.received, s.updated, s.instances, s.life.gone, s.life.stored} {
		b = binary.AppendUvarint(b, uint64(v))
	}
	b = appendStrings(b, s.modes.values)
	b = s.life.bodies.append(b)
	b = appendStrings(b, s.life.tags)
	b = binary.AppendUvarint(b, uint64(s.life.loose))
	if s.settled {
		b = append(b, 1)
	} else {
		b = append(b, 0)
	}
	return appendStrings(b, s.life.tiers)
}

// lifeRec is what is sealed of a row of lives.
type lifeRec struct {
	archive.StudyLife
	bodies facet
}

func (r *lifeRec) decode(plain []byte) error {
	d := decoder{b: plain}
	if d.uint() != recVersion {
		return errRow
	}
	r.UID = d.string()
	d.fixed(r.Study[:])
	d.fixed(r.Patient[:])
	r.StudyDate = d.string()
	r.Received, r.Changed = time.UnixMilli(d.int()).UTC(), time.UnixMilli(d.int()).UTC()
	r.Instances, r.Deleted, r.Bytes = int(d.int()), int(d.int()), d.int()
	r.Modalities = d.strings()
	r.bodies.decode(&d)
	r.BodyParts = r.bodies.values
	r.Tags = d.strings()
	r.Loose = int(d.int())
	r.Settled = d.uint() == 1 && r.Loose == 0
	for _, s := range d.strings() {
		r.Tiers = append(r.Tiers, archive.TierName(s))
	}
	return d.err()
}

// loadLife takes over what the row of lives keeps of the study; v is what it has sealed.
func (s *study) loadLife(v driver.Value) error {
	sealed := blob(v)
	s.life.there = v != nil
	if s.life.raw = len(sealed) == 0; s.life.raw {
		return nil
	}
	plain, err := s.t.seal.open(sealed, inLives, s.id)
	if err != nil {
		return err
	}
	var r lifeRec
	if err := r.decode(plain); err != nil {
		return err
	}
	s.life.bodies, s.life.gone, s.life.stored, s.life.tags, s.life.loose = r.bodies, int64(r.Deleted), r.Bytes, r.Tags, int64(r.Loose)
	for _, t := range r.Tiers {
		s.life.tiers = append(s.life.tiers, string(t))
	}
	return nil
}

// completeLife finds out what an older version did not keep of a study.
func (b *batch) completeLife(s *study) (err error) {
	s.life.raw, s.life.moved, s.dirty = false, true, true
	if s.life.tags, err = b.tagsOf(s.t, s.ref); err != nil {
		return err
	}
	all, err := b.allSeries(s)
	if err != nil {
		return err
	}
	for _, e := range all {
		err := b.rowsIn(s.t, e.id, func(r *row) error {
			s.life.stored += r.At.Length
			if r.state == StateDeleted {
				s.life.gone++
			}
			return nil
		})
		if err != nil {
			return err
		}
		e.body = "" // and is counted when the series is brought in order
		b.unsettle(e)
	}
	return nil
}

// lookAgain has it found out anew in which tiers packs of the study are, and whether it is settled.
func (b *batch) lookAgain(t *tenant, study archive.Ref) error {
	st, err := b.study(t, study, "", false)
	if err == nil && st != nil {
		st.life.moved, st.dirty = true, true
	}
	return err
}

// findPlaces finds that out.
func (b *batch) findPlaces(s *study) error {
	s.life.moved, s.life.loose, s.life.tiers = false, 0, nil
	const tiers = `SELECT DISTINCT tier FROM packs WHERE tenant = ? AND study = ? AND refs > 0 ORDER BY tier`
	return b.c.together(
		numberOf(&s.life.loose, `SELECT count(*) FROM entries WHERE tenant = ? AND study = ? AND kind = ? AND NOT closed`, s.t.id, s.ref[:], int64(archive.FactStored)),
		question{tiers, []driver.Value{s.t.id, s.ref[:]}, func(v []driver.Value) error {
			s.life.tiers = append(s.life.tiers, strings.Clone(text(v[0])))
			return nil
		}})
}

// lookAt has the study looked at when it has been quiet after the fact.
func (s *study) lookAt(f archive.FactID) {
	s.life.due = max(s.life.due, f.Time().UnixMilli()+s.t.x.quiet)
	s.dirty = true
}

// storeLife writes the row. The study is due when it has been quiet, at once if it has been already.
func (b *batch) storeLife(s *study) error {
	if s.life.moved {
		if err := b.findPlaces(s); err != nil {
			return err
		}
	}
	due := max(1, s.updated+s.t.x.quiet, s.life.due)
	b.plain = s.appendLife(b.plain[:0])
	var err error
	if b.sealed, err = s.t.seal.seal(b.sealed[:0], b.plain, inLives, s.id); err != nil {
		return err
	}
	if s.life.there {
		err = b.c.exec(`UPDATE lives SET judged = 0, due = ?, sealed = ? WHERE tenant = ? AND id = ?`, due, b.sealed, s.t.id, s.id)
	} else {
		err = b.c.exec(`INSERT INTO lives (tenant, id, judged, due, accessed, sealed) VALUES (?, ?, 0, ?, ?, ?)`,
			s.t.id, s.id, due, b.now/msDay, b.sealed)
	}
	s.life.there, s.life.due = true, 0
	return err
}

// bodyPart is the value with which a series counts for its study.
func (e *series) bodyPart() string {
	if e.instances == 0 {
		return ""
	}
	return strings.Trim(e.set.get(tagBodyPart), " ")
}

// dayText is the date of a studyDay as YYYYMMDD, empty for a study without one.
func dayText(day int64) string {
	if day <= 1 {
		return ""
	}
	day -= 2 // 1 January of year 0
	y, m, d := day/372, day%372/31+1, day%31+1
	n := y*10000 + m*100 + d
	var text [8]byte
	for i := 7; i >= 0; i-- {
		text[i], n = byte('0'+n%10), n/10
	}
	return string(text[:])
}

const lifeColumns = `id, judged, due, accessed, sealed`

// openLife turns a row of lives into what callers see.
func (t *tenant) openLife(v []driver.Value, g generation) (archive.StudyLife, error) {
	id, sealed := integer(v[0]), blob(v[4])
	plain, err := t.seal.open(sealed, inLives, id)
	if err != nil {
		return archive.StudyLife{}, err
	}
	var r lifeRec
	if err := r.decode(plain); err != nil {
		return archive.StudyLife{}, err
	}
	r.ID = id
	r.Mark = archive.LifeMark{Judged: integer(v[1]), Generation: g.number}
	copy(r.Mark.Seen[:], sealed) // the beginning of a nonce: facts write the row under a new one
	r.Outdated = r.Mark.Judged != 0 && r.Mark.Judged < g.number && id > g.swept
	if due := integer(v[2]); due < never {
		r.Due = time.UnixMilli(due).UTC()
	}
	r.Accessed = time.UnixMilli(integer(v[3]) * msDay).UTC()
	return r.StudyLife, nil
}

// dueNumber is a time in lives.due.
func dueNumber(at time.Time) int64 {
	if at.IsZero() {
		return never
	}
	return max(1, min(at.UnixMilli(), never))
}

// countStudy notes a study that is visible now, or no longer.
func (b *batch) countStudy(t *tenant, before, after int64) {
	switch {
	case before == 0 && after != 0:
		b.studies[t]++
	case before != 0 && after == 0:
		b.studies[t]--
	}
}

// storeCounts writes how many studies are visible more, or less.
func (b *batch) storeCounts() error {
	for t, n := range b.studies {
		if n == 0 {
			continue
		}
		err := b.c.exec(`INSERT INTO generations (tenant, generation, studies) VALUES (?, 1, ?)
			ON CONFLICT (tenant) DO UPDATE SET studies = generations.studies + excluded.studies`, t.id, n)
		if err != nil {
			return err
		}
	}
	return nil
}

// allDue has every study of the tenant looked at anew.
func (b *batch) allDue(t *tenant) error {
	return b.c.exec(`INSERT INTO generations (tenant, generation, studies) VALUES (?, 2, 0)
		ON CONFLICT (tenant) DO UPDATE SET generation = generations.generation + 1, swept = 0`, t.id)
}

// generation is that of a tenant's rules, and up to which row all studies are judged by it.
type generation struct{ number, swept int64 }

// whole reports whether there is nothing to look at because of the rules.
func (g generation) whole() bool { return g.number <= 1 || g.swept >= never }

func generationOf(c *conn, tenant int64) (g generation, err error) {
	_, err = c.one(`SELECT generation, swept FROM generations WHERE tenant = ?`, func(v []driver.Value) error {
		g = generation{integer(v[0]), integer(v[1])}
		return nil
	}, tenant)
	g.number = max(g.number, 1)
	return g, err
}
