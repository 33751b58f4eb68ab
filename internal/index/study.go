package index

import (
	"context"
	"encoding/binary"
	"sort"
	"time"

	"database/sql/driver"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/dicom"
)

// studyRec is the sealed value of a study row.
type studyRec struct {
	uid       string
	key       archive.KeyID // the smallest of the study's keys: where more of it is sealed
	received  int64         // ms
	updated   int64         // ms
	series    int64         // visible
	instances int64         // visible
	bytes     int64         // visible
	settled   bool          // a settled fact restates something of it
	modes     facet
	classes   facet
	set       attrSet
}

const recVersion = 1

func (r *studyRec) append(b []byte) []byte {
	b = append(b, recVersion)
	b = appendString(b, r.uid)
	b = append(b, r.key[:]...)
	for _, v := range [...]int64{r.received, r.updated, r.series, r.instances, r.bytes} {
		b = binary.AppendUvarint(b, uint64(v))
	}
	b = r.modes.append(b)
	b = r.classes.append(b)
	b = r.set.append(b)
	if r.settled {
		b = append(b, 1)
	}
	return b
}

func (r *studyRec) decode(b []byte) error {
	d := decoder{b: b}
	if d.uint() != recVersion {
		return errRow
	}
	r.uid = d.string()
	d.fixed(r.key[:])
	for _, v := range [...]*int64{&r.received, &r.updated, &r.series, &r.instances, &r.bytes} {
		*v = d.int()
	}
	r.modes.decode(&d)
	r.classes.decode(&d)
	r.set.decode(&d)
	r.settled = len(d.b) > 0
	return d.err()
}

// openStudy turns a row (id, ref, sealed) into what callers see; ref may be nil.
func (t *tenant) openStudy(id int64, ref, sealed []byte) (*archive.StudyRow, error) {
	plain, err := t.seal.open(sealed, inStudies, id)
	if err != nil {
		return nil, err
	}
	var r studyRec
	if err := r.decode(plain); err != nil {
		return nil, err
	}
	s := &archive.StudyRow{
		ID: id, UID: r.uid, Modalities: r.modes.values, SOPClasses: r.classes.values,
		Series: int(r.series), Instances: int(r.instances), Bytes: r.bytes,
		Received: time.UnixMilli(r.received).UTC(), Updated: time.UnixMilli(r.updated).UTC(),
		Conflicts: r.set.conflicts(), Tier: archive.Online,
	}
	if copy(s.Ref[:], ref) == 0 {
		s.Ref = t.keys.Ref(r.uid)
	}
	d := decoder{b: r.set.attrs}
	s.Attrs = d.attrs()
	return s, d.err()
}

// study is a study in the writer's hands.
type study struct {
	studyRec
	t    *tenant
	id   int64
	ref  archive.Ref
	skey int64 // as the row and its postings have it; 0 is none
	mods int64

	posted []token // of its postings, where these are found by token: PostgreSQL

	life life

	inserted bool // the row is there
	dirty    bool // the row is to be written
	terms    bool // what is looked up has changed
	touched  bool // part of this transaction
	all      map[archive.Ref]*series
}

const (
	studyColumns = `id, ref, skey, mods, sealed`
)

// study returns the study, from the cache, the database, or new when make is set.
func (b *batch) study(t *tenant, ref archive.Ref, uid string, create bool) (*study, error) {
	k := studyCacheKey{t.id, ref}
	if s := b.w.studies.get(k); s != nil && s.t == t {
		return b.touch(s), nil
	}
	s := &study{t: t, ref: ref, all: map[archive.Ref]*series{}}
	found, err := false, error(nil)
	if !b.fresh.studies[ref] {
		found, err = b.c.one(`SELECT s.id, s.ref, s.skey, s.mods, s.sealed, l.sealed FROM studies s LEFT JOIN lives l ON l.tenant = s.tenant AND l.id = s.id
			WHERE s.tenant = ? AND s.ref = ?`, func(v []driver.Value) error {
			if err := s.load(v); err != nil {
				return err
			}
			return s.loadLife(v[5])
		}, t.id, ref[:])
	}
	if err != nil {
		return nil, err
	}
	if !found {
		if !create {
			return nil, nil
		}
		if s.id, err = b.id("studies"); err != nil {
			return nil, err
		}
		if s.id >= 1<<b.w.x.idBits {
			return nil, errTooMany
		}
		s.uid = uid
		s.received = int64(^uint64(0) >> 1)
		if s.life.tags, err = b.tagsOf(t, ref); err != nil {
			return nil, err
		}
		k := b.w.known[t.id]
		s.life.moved = k.closed > 0 || k.dropped > 0 // the log may have entries of it that left no row
	}
	b.w.studies.put(k, s)
	b.touch(s)
	if s.life.raw {
		err = b.completeLife(s)
	}
	return s, err
}

func (s *study) load(v []driver.Value) error {
	s.id, s.skey, s.mods, s.inserted = integer(v[0]), integer(v[2]), integer(v[3]), true
	plain, err := s.t.seal.open(blob(v[4]), inStudies, s.id)
	if err != nil {
		return err
	}
	if err := s.decode(plain); err != nil || !s.t.x.shared || s.skey == 0 {
		return err
	}
	s.posted, err = s.postTerms()
	return err
}

func (b *batch) touch(s *study) *study {
	if !s.touched {
		s.touched = true
		b.touched = append(b.touched, s)
	}
	return s
}

// counts notes when a row that is there was stated, and under which key.
func (s *study) counts(r *row) {
	if s.key == (archive.KeyID{}) || compareKeys(r.Key, s.key) < 0 {
		s.key = r.Key
	}
	s.received = min(s.received, r.Source.Fact.Time().UnixMilli())
	s.settled = s.settled || r.placed != (archive.FactID{})
	s.saw(r.Source.Fact)
}

// saw notes that a fact about the study was stated.
func (s *study) saw(f archive.FactID) {
	s.updated = max(s.updated, f.Time().UnixMilli())
	s.dirty = true
}

// storeStudy writes the row where it changed.
func (b *batch) storeStudy(s *study) error {
	if !s.dirty {
		return nil
	}
	skey := int64(0)
	if s.instances > 0 {
		skey = studyDay(s.set.get(tagStudyDate))<<b.w.x.idBits | s.id
	}
	b.countStudy(s.t, s.skey, skey)
	mods := modalityMask(s.modes.values)
	err := b.post(s, skey)
	if err != nil {
		return err
	}
	b.plain = s.append(b.plain[:0])
	if b.sealed, err = s.t.seal.seal(b.sealed[:0], b.plain, inStudies, s.id); err != nil {
		return err
	}
	var key driver.Value
	if skey != 0 {
		key = skey
	}
	switch {
	case !s.inserted:
		err = b.c.exec(`INSERT INTO studies (id, tenant, ref, skey, mods, sealed) VALUES (?, ?, ?, ?, ?, ?)`,
			s.id, s.t.id, s.ref[:], key, mods, b.sealed)
	case skey == s.skey && mods == s.mods:
		err = b.c.exec(`UPDATE studies SET sealed = ? WHERE id = ?`, b.sealed, s.id)
	default:
		err = b.c.exec(`UPDATE studies SET skey = ?, mods = ?, sealed = ? WHERE id = ?`, key, mods, b.sealed, s.id)
	}
	s.inserted, s.dirty, s.terms, s.skey, s.mods = true, false, false, skey, mods
	if err != nil {
		return err
	}
	return b.storeLife(s)
}

const (
	tagStudyDate dicom.Tag = 0x00080020
	tagModality  dicom.Tag = 0x00080060
)

// studyDay returns the day of a Study Date (DA, PS3.5 §6.2), counted so that it
// sorts: year*372+month*31+day. An absent or malformed date is day 1, the
// oldest, so that a key is never 0.
func studyDay(v string) int64 {
	if len(v) == 10 && v[4] == '.' && v[7] == '.' { // the form of ACR-NEMA
		v = v[:4] + v[5:7] + v[8:]
	}
	if len(v) != 8 {
		return 1
	}
	n := int64(0)
	for _, c := range []byte(v) {
		if c < '0' || c > '9' {
			return 1
		}
		n = n*10 + int64(c-'0')
	}
	y, m, d := n/10000, n/100%100, n%100
	if m < 1 || m > 12 || d < 1 || d > 31 {
		return 1
	}
	return y*372 + (m-1)*31 + d + 1
}

// knownModalities have a bit each in studies.mods; all others share the last
// (PS3.3 C.7.3.1.1.1). The order is part of the database.
var knownModalities = [...]string{
	"AR", "ASMT", "AU", "BDUS", "BI", "BMD", "CR", "CT", "CTPROTOCOL", "DG", "DOC", "DX", "ECG", "EEG", "EMG", "EOG",
	"EPS", "ES", "FID", "GM", "HC", "HD", "IO", "IOL", "IVOCT", "IVUS", "KER", "KO", "LEN", "LS", "MG", "MR",
	"M3D", "NM", "OAM", "OCT", "OP", "OPM", "OPT", "OPV", "OSS", "OT", "PA", "PLAN", "PR", "PT", "PX", "REG",
	"RESP", "RF", "RG", "RTDOSE", "RTIMAGE", "RTPLAN", "RTSTRUCT", "SEG", "SM", "SR", "US", "VA", "XA", "XC",
}

const otherModality = 62

func modalityMask(values []string) (mask int64) {
	for _, v := range values {
		bit := otherModality
		for i, k := range knownModalities {
			if k == v {
				bit = i
				break
			}
		}
		mask |= 1 << bit
	}
	return mask
}

// owned says whether the row identity of a study belongs to the tenant.
func (t *tenant) ownsStudy(c *conn, id int64) (bool, error) {
	n, err := c.integer(`SELECT tenant FROM studies WHERE id = ?`, id)
	return n == t.id, err
}

// StudyKey returns the key under which more of the study is to be sealed.
func (x *Index) StudyKey(ctx context.Context, name archive.Tenant, ref archive.Ref) (key archive.KeyID, ok bool, err error) {
	err = x.read(ctx, name, func(c *conn, t *tenant) error {
		ok, err = c.one(`SELECT `+studyColumns+` FROM studies WHERE tenant = ? AND ref = ?`, func(v []driver.Value) error {
			s := study{t: t}
			if err := s.load(v); err != nil {
				return err
			}
			key = s.key
			return nil
		}, t.id, ref[:])
		return err
	})
	return key, ok, err
}

func sortedInsert(ss []string, s string, limit int) []string {
	i := sort.SearchStrings(ss, s)
	out := make([]string, 0, len(ss)+1)
	out = append(append(append(out, ss[:i]...), s), ss[i:]...)
	return out[:min(len(out), limit)]
}
