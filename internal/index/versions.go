package index

import "github.com/strata-pacs/strata/internal/archive"

// resolve decides which row of the same UIDs is shown: of those that are not
// deleted and not replaced by one that is not, the one of the smallest source. It
// returns the one shown, nil when there is none. before was shown until now; a
// first one to be shown is told to the feed as cause.
func (b *batch) resolve(e *series, rows []*row, before *row, cause action) (shown *row, err error) {
	replaced := map[archive.BlobID]bool{}
	for _, r := range rows {
		if r.state == StateDeleted {
			continue
		}
		for _, o := range r.Replaces {
			if o != r.Blob {
				replaced[o] = true
			}
		}
	}
	better := func(r, o *row) (bool, error) {
		if r, o := replaced[r.Blob], replaced[o.Blob]; r != o {
			return o, nil
		}
		if c := r.Source.Compare(o.Source); c != 0 {
			return c < 0, nil
		}
		// One fact written twice: a write to the log that seemed to fail.
		a, err := b.object(r)
		if err != nil {
			return false, err
		}
		name, err := b.object(o)
		return a < name, err
	}
	for _, r := range rows {
		if r.state == StateDeleted {
			continue
		}
		first := shown == nil
		if !first {
			if first, err = better(r, shown); err != nil {
				return nil, err
			}
		}
		if first {
			shown = r
		}
	}
	for _, r := range rows {
		if r != shown && r.state == StateVisible {
			if err := b.setState(e, r, StateHidden); err != nil {
				return nil, err
			}
		}
	}
	if shown != nil {
		if err := b.setState(e, shown, StateVisible); err != nil {
			return nil, err
		}
	}
	switch t := e.st.t; {
	case shown == before:
		return shown, nil
	case shown == nil:
		return nil, b.change(t, actionDelete, before.ID)
	case before != nil:
		return shown, b.change(t, actionReplace, shown.ID)
	default:
		return shown, b.change(t, cause, shown.ID)
	}
}

// regroup brings the rows of one SOP Instance UID in a series in line with the
// tombstones, and shows the one that is to be shown.
func (b *batch) regroup(e *series, uid string, cause action) error {
	rows, _, err := b.siblings(e, e.st.t.sop(uid), uid)
	if err != nil {
		return err
	}
	var before *row
	for _, r := range rows {
		if r.state == StateVisible {
			before = r
		}
		gone, err := b.isDeleted(e.st.t, r.Blob)
		if err != nil {
			return err
		}
		s := r.state
		switch {
		case gone:
			s = StateDeleted
		case s == StateDeleted:
			s = StateHidden
		}
		if err := b.setState(e, r, s); err != nil {
			return err
		}
	}
	shown, err := b.resolve(e, rows, before, cause)
	if err == nil && b.bulk && shown != nil && shown == before {
		// In a rebuild the feed's last word about these UIDs may be another version's deletion or return.
		err = b.change(e.st.t, actionReplace, shown.ID)
	}
	return err
}
