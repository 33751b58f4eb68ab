package search

import (
	"context"
	"fmt"
	"slices"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/dicom"
)

// walk goes through candidates in order, matches them and counts.
type walk struct {
	s     *Searcher
	ctx   context.Context
	t     archive.Tenant
	q     *Query
	p     *plan
	yield func(*Match) bool

	skip, left int
	more       bool
	warnings   []string
	looked     int // studies looked at
	reads      int // instances whose metadata was read
	err        error

	needStudy, needSeries bool // for what is returned
	below                 []Field
	extra                 []dicom.Tag
	noMetadata            bool

	m    Match
	get  valueFunc // of m, made once
	rows []archive.InstanceRow
}

func (w *walk) warn(text string) {
	if !slices.Contains(w.warnings, text) {
		w.warnings = append(w.warnings, text)
	}
}

func (w *walk) run() error {
	w.get = w.m.value
	if w.direct() {
		if err := w.instances(archive.UIDs{Study: w.q.Scope.Study, Series: w.q.Scope.Series}); err != nil {
			return err
		}
		return w.err
	}
	var err error
	if w.p, err = w.s.plan(w.ctx, w.t, w.q); err != nil || w.p.none {
		return err
	}
	if w.q.Level == archive.LevelStudy && w.p.exact {
		w.p.filter.Skip, w.skip = w.skip, 0
	}
	if len(w.q.unindexed) > 0 {
		w.warn("the query matches attributes that are not indexed, on one instance of each candidate; that is slow")
	}
	err = w.s.catalog.Studies(w.ctx, w.t, w.p.filter, w.study)
	if w.err != nil {
		return w.err
	}
	return err
}

// direct reports whether the instances of a path can be read without their study and series rows.
func (w *walk) direct() bool {
	q := w.q
	return q.Level == archive.LevelInstance && q.Scope.Series != "" && !w.needStudy && !w.needSeries &&
		len(q.at[archive.LevelStudy]) == 0 && len(q.at[archive.LevelSeries]) == 0
}

// study looks at one candidate; false ends the walk.
func (w *walk) study(st *archive.StudyRow) bool {
	if w.looked++; w.looked&0x3F == 0 && w.ctx.Err() != nil {
		return false
	}
	if w.looked > w.s.candidates {
		w.warn(fmt.Sprintf("the search ended after %d studies and may have missed matches; narrow it, by date for example", w.s.candidates))
		return false
	}
	q := w.q
	w.m = Match{UIDs: archive.UIDs{Study: st.UID}, Study: st}
	if !all(q.at[archive.LevelStudy], w.get) {
		return true
	}
	lower := len(q.at[archive.LevelSeries]) > 0 || len(q.at[archive.LevelInstance]) > 0
	switch {
	case q.Level == archive.LevelStudy && !lower:
		return w.emit()
	case q.Level > archive.LevelStudy && !lower && len(q.unindexed) == 0 && w.pass(st):
		return true
	}
	return w.seriesOf(st, lower)
}

// pass passes over a whole study when offset does, by its counts.
func (w *walk) pass(st *archive.StudyRow) bool {
	n := st.Series
	if w.q.Level == archive.LevelInstance {
		n = st.Instances
	}
	if w.q.Scope.Series != "" || n > w.skip {
		return false
	}
	w.skip -= n
	return true
}

func (w *walk) seriesOf(st *archive.StudyRow, lower bool) bool {
	q := w.q
	list, err := w.s.catalog.SeriesOf(w.ctx, w.t, st.ID)
	if err != nil {
		return w.fail(err)
	}
	for i := range list {
		se := &list[i]
		if q.Scope.Series != "" && se.UID != q.Scope.Series {
			continue
		}
		w.m = Match{UIDs: archive.UIDs{Study: st.UID, Series: se.UID}, Study: st, Series: se}
		if !all(q.at[archive.LevelSeries], w.get) {
			continue
		}
		switch {
		case q.Level == archive.LevelInstance:
			if !w.instancesOf(st, se) {
				return false
			}
			continue
		case len(q.at[archive.LevelInstance]) > 0:
			if has, err := w.hasInstance(st, se); err != nil {
				return w.fail(err)
			} else if !has {
				continue
			}
		}
		if q.Level == archive.LevelStudy { // one series that fulfils the conditions is enough
			w.m = Match{UIDs: archive.UIDs{Study: st.UID}, Study: st}
			return w.emit()
		}
		w.m = Match{UIDs: archive.UIDs{Study: st.UID, Series: se.UID}, Study: st, Series: se}
		if !w.emit() {
			return false
		}
	}
	return true
}

func (w *walk) fail(err error) bool {
	w.err = err
	return false
}

// load reads the series' instances, those of the UIDs that the query names if it does.
func (w *walk) load(se *archive.SeriesRow) ([]archive.InstanceRow, error) {
	if w.p.rows != nil {
		return w.p.rows[se.ID], nil
	}
	w.rows = w.rows[:0]
	err := w.s.catalog.InstancesOf(w.ctx, w.t, se.ID, func(r *archive.InstanceRow) bool {
		w.rows = append(w.rows, *r)
		return true
	})
	return w.rows, err
}

func (w *walk) hasInstance(st *archive.StudyRow, se *archive.SeriesRow) (bool, error) {
	rows, err := w.load(se)
	for i := range rows {
		m := Match{UIDs: rows[i].UIDs, Study: st, Series: se, Instance: &rows[i]}
		if all(w.q.at[archive.LevelInstance], m.value) {
			return true, err
		}
	}
	return false, err
}

func (w *walk) instancesOf(st *archive.StudyRow, se *archive.SeriesRow) bool {
	q := w.q
	if len(q.at[archive.LevelInstance]) == 0 && len(q.unindexed) == 0 && se.Instances <= w.skip {
		w.skip -= se.Instances
		return true
	}
	rows, err := w.load(se)
	if err != nil {
		return w.fail(err)
	}
	for i := range rows {
		uids := archive.UIDs{Study: st.UID, Series: se.UID, Instance: rows[i].UIDs.Instance}
		w.m = Match{UIDs: uids, Study: st, Series: se, Instance: &rows[i]}
		if all(q.at[archive.LevelInstance], w.get) && !w.emit() {
			return false
		}
	}
	return true
}

// instances is the walk over the instances of one series of which nothing else is asked.
func (w *walk) instances(sel archive.UIDs) error {
	if len(w.extra) == 0 && len(w.q.unindexed) == 0 {
		return w.s.catalog.Instances(w.ctx, w.t, sel, w.instance)
	}
	// Metadata is read from the same catalog: not while it yields.
	err := w.s.catalog.Instances(w.ctx, w.t, sel, func(r *archive.InstanceRow) bool {
		w.rows = append(w.rows, *r)
		return true
	})
	for i := range w.rows {
		if !w.instance(&w.rows[i]) {
			break
		}
	}
	return err
}

func (w *walk) instance(r *archive.InstanceRow) bool {
	w.m = Match{UIDs: r.UIDs, Instance: r}
	return !all(w.q.at[archive.LevelInstance], w.get) || w.emit()
}

// emit counts the match in w.m, and yields it.
func (w *walk) emit() bool {
	var doc object
	if len(w.q.unindexed) > 0 && !w.noMetadata {
		if w.reads >= w.s.reads {
			w.warn("the search ended early, as attributes that are not indexed are slow to match; narrow it by others")
			w.more = true
			return false
		}
		var err error
		if doc, err = w.document(); err != nil {
			return w.fail(err)
		}
		if !all(w.q.unindexed, doc.value) {
			return true
		}
	}
	if w.skip > 0 {
		w.skip--
		return true
	}
	if w.left == 0 {
		w.more = true
		return false
	}
	w.left--
	if err := w.complete(doc); err != nil {
		return w.fail(err)
	}
	if !w.yield(&w.m) {
		w.more = true
		return false
	}
	return true
}
