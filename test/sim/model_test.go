package sim

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
)

// model is the index as a sentence: it keeps the set of facts and works every
// answer out of all of them.
type model struct {
	mu    sync.Mutex
	facts map[place]archive.Entry
	rows  []row // nil: to be worked out
}

type place struct {
	session string
	n       uint64
}

type row struct {
	archive.InstanceRow
	state archive.State
	by    []archive.FactID // deletions that hold
}

func newModel() *model { return &model{facts: map[place]archive.Entry{}} }

// view returns every instance, ordered by UIDs and source.
func (m *model) view() []row {
	if m.rows != nil {
		return m.rows
	}
	deletions := map[archive.BlobID]map[archive.FactID]bool{} // true: undone
	note := func(blob archive.BlobID, by archive.FactID, undone bool) {
		if deletions[blob] == nil {
			deletions[blob] = map[archive.FactID]bool{}
		}
		deletions[blob][by] = deletions[blob][by] || undone
	}
	rows := []row{}
	for _, e := range m.facts {
		switch f := e.Fact; f.Kind {
		case archive.FactDeleted:
			for _, b := range f.Blobs {
				note(b, f.ID, false)
			}
		case archive.FactUndeleted:
			for _, b := range f.Blobs {
				for _, by := range f.Undoes {
					note(b, by, true)
				}
			}
		case archive.FactStored:
			for _, in := range f.Instances {
				r := row{InstanceRow: archive.InstanceRow{Instance: in, Source: archive.Source{Fact: f.ID, Blob: in.Blob}}}
				if r.At.Object == "" {
					r.At.Object = e.Object
				}
				if r.Key == (archive.KeyID{}) {
					r.Key = f.Key
				}
				rows = append(rows, r)
			}
		}
	}
	replaced := map[archive.BlobID]bool{}
	for i := range rows {
		r := &rows[i]
		for by, undone := range deletions[r.Blob] {
			if !undone {
				r.by = append(r.by, by)
			}
		}
		if r.state = archive.StateHidden; len(r.by) > 0 {
			r.state = archive.StateDeleted
			slices.SortFunc(r.by, func(a, b archive.FactID) int { return bytes.Compare(a[:], b[:]) })
			continue
		}
		for _, b := range r.Replaces {
			if b != r.Blob {
				replaced[b] = true
			}
		}
	}
	slices.SortFunc(rows, func(a, b row) int {
		if c := compareUIDs(a.UIDs, b.UIDs); c != 0 {
			return c
		}
		if a, b := replaced[a.Blob], replaced[b.Blob]; a != b {
			if b {
				return -1
			}
			return 1
		}
		if c := a.Source.Compare(b.Source); c != 0 {
			return c
		}
		return strings.Compare(a.At.Object, b.At.Object)
	})
	var shown archive.UIDs
	for i := range rows {
		if r := &rows[i]; r.state == archive.StateHidden && r.UIDs != shown {
			r.state, shown = archive.StateVisible, r.UIDs
		}
	}
	m.rows = rows
	return rows
}

func compareUIDs(a, b archive.UIDs) int {
	for _, p := range [][2]string{{a.Study, b.Study}, {a.Series, b.Series}} {
		if c := strings.Compare(p[0], p[1]); c != 0 {
			return c
		}
	}
	return strings.Compare(a.Instance, b.Instance)
}

// below reports whether u is in the scope.
func below(scope, u archive.UIDs) bool {
	return (scope.Study == "" || scope.Study == u.Study) && (scope.Series == "" || scope.Series == u.Series) &&
		(scope.Instance == "" || scope.Instance == u.Instance)
}

func (m *model) Apply(_ context.Context, _ archive.Tenant, entries ...archive.Entry) ([]archive.Applied, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make([]archive.Applied, len(entries))
	for i, e := range entries {
		at := place{e.Session, e.N}
		if _, out[i].Known = m.facts[at]; out[i].Known {
			continue
		}
		f := *e.Fact
		f.Instances = slices.Clone(f.Instances)
		e.Fact = &f
		m.facts[at], m.rows = e, nil
		rows := m.view()
		for _, in := range f.Instances {
			var p archive.Placed
			for j := range rows {
				switch r := &rows[j]; {
				case r.UIDs.Instance != in.UIDs.Instance || r.state == archive.StateDeleted && r.Blob != in.Blob:
				case r.UIDs != in.UIDs:
					p.Elsewhere = true
				case r.Blob == in.Blob && r.state == archive.StateDeleted:
					p.Outcome = archive.Deleted
				case r.Blob == in.Blob && r.state == archive.StateHidden:
					p.Outcome = archive.HiddenVersion
				}
			}
			out[i].Instances = append(out[i].Instances, p)
		}
	}
	return out, nil
}

func (m *model) Bulk(ctx context.Context, t archive.Tenant, f func(add func(archive.Entry) error) error) error {
	return f(func(e archive.Entry) error {
		_, err := m.Apply(ctx, t, e)
		return err
	})
}

func (m *model) Fill(ctx context.Context, t archive.Tenant, f func(add func(archive.Entry) error) error) error {
	return m.Bulk(ctx, t, f)
}

func (m *model) StudyKey(_ context.Context, _ archive.Tenant, ref archive.Ref) (key archive.KeyID, ok bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range m.facts {
		f := e.Fact
		if f.Kind == archive.FactStored && f.Study == ref && (!ok || bytes.Compare(f.Key[:], key[:]) < 0) {
			key, ok = f.Key, true
		}
	}
	return key, ok, nil
}

func (m *model) Versions(_ context.Context, _ archive.Tenant, u archive.UIDs) (out []archive.InstanceRow, elsewhere bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range m.view() {
		switch {
		case r.state == archive.StateDeleted || r.UIDs.Instance != u.Instance:
		case r.UIDs == u:
			out = append(out, r.InstanceRow)
		default:
			elsewhere = true
		}
	}
	return out, elsewhere, nil
}

func (m *model) Blobs(_ context.Context, _ archive.Tenant, scope archive.UIDs) (out []archive.BlobID, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range m.view() {
		if below(scope, r.UIDs) && r.state != archive.StateDeleted && !slices.Contains(out, r.Blob) {
			out = append(out, r.Blob)
		}
	}
	return out, nil
}

func (m *model) Deletions(_ context.Context, _ archive.Tenant, scope archive.UIDs) (out []archive.Deletion, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range m.view() {
		if below(scope, r.UIDs) && r.state == archive.StateDeleted {
			out = append(out, archive.Deletion{Blob: r.Blob, By: r.by})
		}
	}
	return out, nil
}

func (m *model) Progress(context.Context, archive.Tenant) (map[string]archive.Progress, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := map[string]archive.Progress{}
	numbers := map[string][]uint64{}
	for at, e := range m.facts {
		numbers[at.session] = append(numbers[at.session], at.n)
		for _, end := range e.Fact.Sessions {
			p := out[end.Session]
			p.Last, p.Ended = max(p.Last, end.Last), p.Ended || end.Ended
			out[end.Session] = p
		}
	}
	for s, ns := range numbers {
		p := out[s]
		slices.Sort(ns)
		for _, n := range ns {
			if k := len(p.Applied); k > 0 && p.Applied[k-1].To+1 == n {
				p.Applied[k-1].To = n
			} else {
				p.Applied = append(p.Applied, archive.Range{From: n, To: n})
			}
		}
		out[s] = p
	}
	return out, nil
}

// Closed implements index: nothing is shredded in these worlds.
func (m *model) Closed(context.Context, archive.Tenant, archive.KeyID) (bool, error) {
	return false, nil
}

func (m *model) Referenced(_ context.Context, _ archive.Tenant, object string) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.ContainsFunc(m.view(), func(r row) bool { return r.At.Object == object }), nil
}

func (m *model) Unreferenced(ctx context.Context, t archive.Tenant, objects []string) (free []string, err error) {
	for _, o := range objects {
		if used, _ := m.Referenced(ctx, t, o); !used {
			free = append(free, o)
		}
	}
	return free, nil
}

// DoomedCopies, Doomed and Undoom implement index: nothing is settled in these worlds.
func (m *model) DoomedCopies(context.Context, archive.Tenant, string) ([]archive.Doomed, error) {
	return nil, nil
}

func (m *model) Doomed(context.Context, archive.Tenant, time.Time, bool, int64, int) ([]archive.Doomed, error) {
	return nil, nil
}

func (m *model) Undoom(context.Context, archive.Tenant, ...int64) error { return nil }

func (m *model) Each(_ context.Context, _ archive.Tenant, _ int64, yield func(*archive.InstanceRow, archive.State) bool) error {
	m.mu.Lock()
	rows := m.view()
	m.mu.Unlock()
	for i := range rows {
		if !yield(&rows[i].InstanceRow, rows[i].state) {
			return nil
		}
	}
	return nil
}

func (m *model) Close() error { return nil }
