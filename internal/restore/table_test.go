package restore

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
)

// memoryTable is a table.
type memoryTable struct {
	mu   sync.Mutex
	last int64
	rows map[int64]Row
}

var errTable = fault.New(fault.Unavailable, "the index database does not answer; try again")

func (m *memoryTable) Merge(_ context.Context, t archive.Tenant, kind, key string, created time.Time, most int, f func(*Row) error) (Row, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	row, n := Row{Tenant: t, Kind: kind, Key: key, Due: created, Created: created}, 0
	for _, have := range m.rows {
		if have.Tenant == t && have.Kind == kind {
			if n++; have.Key == key {
				row = have
			}
		}
	}
	if most > 0 && row.ID == 0 && n >= most {
		return Row{}, fault.New(fault.TooMany, "too many")
	}
	if err := f(&row); err != nil {
		return Row{}, err
	}
	if row.ID == 0 {
		m.last++
		row.ID = m.last
	}
	m.rows[row.ID] = row
	return row, nil
}

func (m *memoryTable) Change(_ context.Context, id int64, f func(*Row) error) (Row, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	row, ok := m.rows[id]
	if !ok {
		return Row{}, fault.New(fault.NotFound, "gone")
	}
	if err := f(&row); err != nil {
		return Row{}, err
	}
	m.rows[id] = row
	return row, nil
}

func (m *memoryTable) Count(_ context.Context, t archive.Tenant, kind string, keys ...string) (n int, err error) {
	rows, err := m.find(1<<30, func(r Row) bool {
		return r.Tenant == t && r.Kind == kind && (len(keys) == 0 || slices.Contains(keys, r.Key))
	}, byID)
	return len(rows), err
}

func (m *memoryTable) find(limit int, keep func(Row) bool, order func(a, b Row) int) (out []Row, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, row := range m.rows {
		if keep(row) {
			out = append(out, row)
		}
	}
	slices.SortFunc(out, order)
	return out[:min(limit, len(out))], nil
}

func byID(a, b Row) int { return cmp.Compare(a.ID, b.ID) }

func (m *memoryTable) Get(_ context.Context, t archive.Tenant, ids ...int64) ([]Row, error) {
	return m.find(len(ids), func(r Row) bool { return r.Tenant == t && slices.Contains(ids, r.ID) }, byID)
}

func (m *memoryTable) OfKinds(_ context.Context, t archive.Tenant, kinds []string, after int64, limit int) ([]Row, error) {
	return m.find(limit, func(r Row) bool { return r.Tenant == t && slices.Contains(kinds, r.Kind) && r.ID > after }, byID)
}

func (m *memoryTable) Due(_ context.Context, kind string, by time.Time, after Row, limit int) ([]Row, error) {
	order := func(a, b Row) int { return cmp.Or(a.Due.Compare(b.Due), byID(a, b)) }
	return m.find(limit, func(r Row) bool {
		return r.Kind == kind && !r.Due.After(by) && (after.ID == 0 || order(r, after) > 0)
	}, order)
}

func (m *memoryTable) Remove(_ context.Context, ids ...int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, id := range ids {
		delete(m.rows, id)
	}
	return nil
}

func (m *memoryTable) kinds() map[string]int {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := map[string]int{}
	for _, r := range m.rows {
		n[r.Kind]++
	}
	return n
}

// dyingTable is a table that changes nothing more after so many changes.
type dyingTable struct {
	Table
	mu   sync.Mutex
	left int
}

func (d *dyingTable) dead() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.left--
	return d.left < 0
}

func (d *dyingTable) Merge(ctx context.Context, t archive.Tenant, kind, key string, created time.Time, most int, f func(*Row) error) (Row, error) {
	if d.dead() {
		return Row{}, errTable
	}
	return d.Table.Merge(ctx, t, kind, key, created, most, f)
}

func (d *dyingTable) Change(ctx context.Context, id int64, f func(*Row) error) (Row, error) {
	if d.dead() {
		return Row{}, errTable
	}
	return d.Table.Change(ctx, id, f)
}

func (d *dyingTable) Remove(ctx context.Context, ids ...int64) error {
	if d.dead() {
		return errTable
	}
	return d.Table.Remove(ctx, ids...)
}
