package search

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/dicom/dicomjson"
)

// complete adds what is asked for beyond the rows.
func (w *walk) complete(doc object) error {
	if len(w.below) > 0 {
		if err := w.lookBelow(); err != nil {
			return err
		}
	}
	if len(w.extra) == 0 {
		return nil
	}
	if doc == nil {
		if w.reads >= w.s.reads {
			w.warn("attributes that are not indexed are missing from some matches; ask for fewer matches at a time")
			return nil
		}
		var err error
		if doc, err = w.document(); err != nil {
			return err
		}
	}
	for tag, text := range dicomjson.Elements(doc) {
		if slices.Contains(w.extra, tag) {
			w.m.Extra = append(w.m.Extra, Extra{tag, text})
		}
	}
	slices.SortFunc(w.m.Extra, func(a, b Extra) int { return cmp.Compare(a.Tag, b.Tag) })
	return nil
}

// document reads the metadata of the match's instance, or of the first one below it.
func (w *walk) document() (object, error) {
	u := w.m.UIDs
	if u.Instance == "" {
		first, err := w.firstInstance()
		if err != nil || first == nil {
			return nil, err
		}
		u = first.UIDs
	}
	w.reads++
	text, err := w.s.metadata(w.ctx, w.t, u, w.q.Base)
	if err != nil {
		return nil, fmt.Errorf("reading metadata: %w", err)
	}
	if n := len(text); n > 1 && text[0] == '[' {
		text = text[1 : n-1]
	}
	return text, nil
}

func (w *walk) firstInstance() (row *archive.InstanceRow, err error) {
	sel := w.m.UIDs
	err = w.s.catalog.Instances(w.ctx, w.t, sel, func(r *archive.InstanceRow) bool {
		copied := *r
		row = &copied
		return false
	})
	return row, err
}

// lookBelow finds attributes of lower levels: the value of the first series or
// instance that has one.
func (w *walk) lookBelow() error {
	m := &w.m
	w.m.Below = nil
	list := []archive.SeriesRow{}
	if m.Series != nil {
		list = append(list, *m.Series)
	} else {
		var err error
		if list, err = w.s.catalog.SeriesOf(w.ctx, w.t, m.Study.ID); err != nil {
			return err
		}
	}
	var first *archive.InstanceRow
	for _, f := range w.below {
		k, _ := lookup(f.Tag)
		if k.Level == archive.LevelSeries {
			for i := range list {
				if v, ok := list[i].Attrs.Get(f.Tag); ok && v != "" {
					m.Below = append(m.Below, archive.Attr{Tag: f.Tag, VR: f.VR, Value: v})
					break
				}
			}
			continue
		}
		if first == nil {
			var err error
			if first, err = w.firstInstance(); err != nil || first == nil {
				return err
			}
		}
		if v, ok := first.Attrs.Get(f.Tag); ok {
			m.Below = append(m.Below, archive.Attr{Tag: f.Tag, VR: f.VR, Value: v})
		}
	}
	slices.SortFunc(m.Below, func(a, b archive.Attr) int { return cmp.Compare(a.Tag, b.Tag) })
	return nil
}
