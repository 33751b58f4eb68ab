package index

import (
	"context"
	"database/sql/driver"
	"slices"
	"strings"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/dicom"
)

const tagBirthDate dicom.Tag = 0x00100030

// Kept returns what decides how long a study must be kept, whatever is visible of it, and whether the index has any of it.
func (x *Index) Kept(ctx context.Context, name archive.Tenant, ref archive.Ref) (k archive.KeptStudy, ok bool, err error) {
	err = x.read(ctx, name, func(c *conn, t *tenant) error {
		list, err := keptStudies(ctx, c, t, `SELECT `+studyColumns+` FROM studies WHERE tenant = ? AND ref = ?`, ref[:])
		if len(list) > 0 {
			k, ok = list[0], true
		}
		return err
	})
	return k, ok, err
}

// KeptAfter returns up to limit studies whose references follow one, ascending, as Kept does each.
func (x *Index) KeptAfter(ctx context.Context, name archive.Tenant, after archive.Ref, limit int) (list []archive.KeptStudy, err error) {
	err = x.read(ctx, name, func(c *conn, t *tenant) error {
		list, err = keptStudies(ctx, c, t, `SELECT `+studyColumns+` FROM studies WHERE tenant = ? AND ref > ? ORDER BY ref LIMIT (?+0)`, after[:], int64(limit))
		return err
	})
	return list, err
}

// PersonsAfter returns them as KeptAfter does, but for their modalities, which take longer to find out.
func (x *Index) PersonsAfter(ctx context.Context, name archive.Tenant, after archive.Ref, limit int) (list []archive.KeptStudy, err error) {
	err = x.read(ctx, name, func(c *conn, t *tenant) error {
		found, err := studiesIn(ctx, c, t, `SELECT `+studyColumns+` FROM studies WHERE tenant = ? AND ref > ? ORDER BY ref LIMIT (?+0)`, after[:], int64(limit))
		for _, st := range found {
			k, err := statedOf(ctx, c, t, st)
			if err != nil {
				return err
			}
			list = append(list, k)
		}
		return err
	})
	return list, err
}

func studiesIn(ctx context.Context, c *conn, t *tenant, query string, args ...driver.Value) (found []*study, err error) {
	err = c.query(ctx, query, func(v []driver.Value) error {
		st := &study{t: t, ref: archive.Ref(blob(v[1]))}
		found = append(found, st)
		return st.load(v)
	}, append([]driver.Value{t.id}, args...)...)
	return found, err
}

func keptStudies(ctx context.Context, c *conn, t *tenant, query string, args ...driver.Value) (out []archive.KeptStudy, err error) {
	found, err := studiesIn(ctx, c, t, query, args...)
	if err != nil {
		return nil, err
	}
	for _, st := range found {
		k, err := keptStudy(ctx, c, t, st)
		if err != nil {
			return nil, err
		}
		out = append(out, k)
	}
	return out, nil
}

// statedOf is what the row of a study says of it, and its instances of patient and day.
func statedOf(ctx context.Context, c *conn, t *tenant, st *study) (archive.KeptStudy, error) {
	k := archive.KeptStudy{Study: st.ref, UID: st.uid, Received: time.UnixMilli(st.received).UTC(), Instances: int(st.instances), Bytes: st.bytes}
	sets, err := attrSets(ctx, c, t, st.owner(), &st.set)
	if err != nil {
		return k, err
	}
	for _, as := range sets {
		p := archive.KeptPerson{PatientID: stated(as, tagPatientID), Issuer: stated(as, tagIssuer), StudyDate: stated(as, tagStudyDate), BirthDate: stated(as, tagBirthDate)}
		if !slices.Contains(k.Persons, p) {
			k.Persons = append(k.Persons, p)
		}
	}
	return k, nil
}

func stated(as archive.Attrs, tag dicom.Tag) string {
	v, _ := as.Get(tag)
	return v
}

func keptStudy(ctx context.Context, c *conn, t *tenant, st *study) (archive.KeptStudy, error) {
	k, err := statedOf(ctx, c, t, st)
	if err != nil {
		return k, err
	}
	var series []seriesRow
	err = c.query(ctx, `SELECT `+seriesColumns+` FROM series WHERE study = ?`, func(v []driver.Value) error {
		s := seriesRow{id: integer(v[0])}
		plain, err := t.seal.open(blob(v[3]), inSeries, s.id)
		if err == nil {
			err = s.decode(plain)
		}
		series = append(series, s)
		return err
	}, st.id)
	if err != nil {
		return k, err
	}
	for i := range series {
		sets, err := attrSets(ctx, c, t, series[i].id<<1|1, &series[i].set)
		if err != nil {
			return k, err
		}
		for _, as := range sets {
			m := strings.TrimSpace(stated(as, tagModality))
			if m == "" { // it may be of any
				k.Modalities = nil
				return k, nil
			}
			k.Modalities = append(k.Modalities, m)
		}
	}
	slices.Sort(k.Modalities)
	k.Modalities = slices.Compact(k.Modalities)
	return k, nil
}

// seriesRow is a series as it is read.
type seriesRow struct {
	seriesRec
	id int64
}

// attrSets returns the sets of attributes that instances of a study or series state, the one shown first.
func attrSets(ctx context.Context, c *conn, t *tenant, owner int64, s *attrSet) (out []archive.Attrs, err error) {
	d := decoder{b: s.attrs}
	out = append(out, d.attrs())
	if d.bad || s.sets < 2 {
		return out, d.err()
	}
	err = c.query(ctx, `SELECT no, sealed FROM variants WHERE owner = ? ORDER BY no`, func(v []driver.Value) error {
		plain, err := t.seal.open(blob(v[1]), inVariants, owner<<20^integer(v[0]))
		if err != nil {
			return err
		}
		d := decoder{b: plain}
		out = append(out, d.attrs())
		return d.err()
	}, owner)
	return out, err
}

// Exams returns up to limit visible examinations of a patient, the newest first by their stated dates. An
// empty issuer stands for any.
func (x *Index) Exams(ctx context.Context, name archive.Tenant, patientID, issuer string, limit int) (out []archive.Exam, err error) {
	var terms [][]archive.Term
	for _, s := range archive.FoldFull(nil, 0, patientID) {
		terms = append(terms, []archive.Term{{Tag: tagPatientID, Word: s, Full: true}})
	}
	if terms == nil {
		return nil, nil
	}
	err = x.Studies(ctx, name, archive.StudyFilter{All: terms}, func(s *archive.StudyRow) bool {
		id, _ := s.Attrs.Get(tagPatientID)
		by, _ := s.Attrs.Get(tagIssuer)
		if id == patientID && (issuer == "" || by == issuer) {
			date, _ := s.Attrs.Get(tagStudyDate)
			out = append(out, archive.Exam{StudyDate: date, Modalities: s.Modalities, Received: s.Received})
		}
		return len(out) < limit
	})
	return out, err
}
