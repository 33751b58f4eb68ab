package search

import (
	"cmp"
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

	m   Match
	get valueFunc // of m, made once
}

func (w *walk) warn(text string) {
	if !slices.Contains(w.warnings, text) {
		w.warnings = append(w.warnings, text)
	}
}

func (w *walk) run() error {
	w.get = w.m.value
	if w.direct() {
		err := w.s.catalog.Instances(w.ctx, w.t, w.q.Scope, w.instance)
		return cmp.Or(w.err, err)
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
	return cmp.Or(w.err, err)
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
	return w.seriesOf(st)
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

// seriesOf looks at the series of a candidate, and below.
func (w *walk) seriesOf(st *archive.StudyRow) bool {
	q := w.q
	list, err := w.s.catalog.SeriesOf(w.ctx, w.t, st.ID)
	if err != nil {
		return w.fail(err)
	}
	whole := true
	if len(q.at[archive.LevelSeries]) > 0 || q.Scope.Series != "" {
		kept := make([]archive.SeriesRow, 0, len(list))
		for i := range list {
			se := &list[i]
			w.m = Match{UIDs: archive.UIDs{Study: st.UID, Series: se.UID}, Study: st, Series: se}
			if (q.Scope.Series == "" || se.UID == q.Scope.Series) && all(q.at[archive.LevelSeries], w.get) {
				kept = append(kept, *se)
			}
		}
		whole = len(kept) == len(list)
		list = kept
	}
	if q.Level == archive.LevelInstance {
		return w.instancesOf(st, list, whole)
	}
	for i := range list {
		se := &list[i]
		if len(q.at[archive.LevelInstance]) > 0 {
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

// hasInstance reports whether an instance of the series fulfils the conditions on instances.
func (w *walk) hasInstance(st *archive.StudyRow, se *archive.SeriesRow) (has bool, err error) {
	match := func(r *archive.InstanceRow) bool {
		m := Match{UIDs: r.UIDs, Study: st, Series: se, Instance: r}
		has = all(w.q.at[archive.LevelInstance], m.value)
		return !has
	}
	if w.p.rows != nil {
		for i := range w.p.rows[se.ID] {
			if !match(&w.p.rows[se.ID][i]) {
				break
			}
		}
		return has, nil
	}
	err = w.s.catalog.Instances(w.ctx, w.t, archive.UIDs{Study: st.UID, Series: se.UID}, match)
	return has, err
}

// instancesOf looks at the instances of the series of one study; whole says that these are all it has.
func (w *walk) instancesOf(st *archive.StudyRow, list []archive.SeriesRow, whole bool) bool {
	if w.p.rows != nil {
		for i := range list {
			rows := w.p.rows[list[i].ID]
			for k := range rows {
				if !w.instanceOf(st, &list[i], &rows[k]) {
					return false
				}
			}
		}
		return true
	}
	if len(w.q.at[archive.LevelInstance]) == 0 && len(w.q.unindexed) == 0 {
		for len(list) > 0 && list[0].Instances <= w.skip {
			w.skip -= list[0].Instances
			list, whole = list[1:], false
		}
	}
	if whole && len(list) > 0 {
		return w.read(st, list, archive.UIDs{Study: st.UID})
	}
	for i := range list {
		if !w.read(st, list[i:i+1], archive.UIDs{Study: st.UID, Series: list[i].UID}) {
			return false
		}
	}
	return true
}

// read looks at the instances of the selection, whose series are in the list.
func (w *walk) read(st *archive.StudyRow, list []archive.SeriesRow, sel archive.UIDs) bool {
	going, at := true, 0
	err := w.s.catalog.Instances(w.ctx, w.t, sel, func(r *archive.InstanceRow) bool {
		if list[at].ID != r.SeriesID {
			if at = slices.IndexFunc(list, func(se archive.SeriesRow) bool { return se.ID == r.SeriesID }); at < 0 {
				at = 0
				return true // a series that has come since the list was read
			}
		}
		going = w.instanceOf(st, &list[at], r)
		return going
	})
	if err != nil {
		return w.fail(err)
	}
	return going
}

func (w *walk) instanceOf(st *archive.StudyRow, se *archive.SeriesRow, r *archive.InstanceRow) bool {
	w.m = Match{UIDs: archive.UIDs{Study: st.UID, Series: se.UID, Instance: r.UIDs.Instance}, Study: st, Series: se, Instance: r}
	return !all(w.q.at[archive.LevelInstance], w.get) || w.emit()
}

// instance looks at one of a path of which nothing else is asked.
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
