package node

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/retention"
	"github.com/strata-pacs/strata/internal/retrieve/retrievetest"
	"github.com/strata-pacs/strata/storage/driver"
	"github.com/strata-pacs/strata/storage/memstore"
)

// moments is a store in which something happens before one of a node's operations, or after its write is there.
type moments struct {
	driver.Driver
	mu   sync.Mutex
	left int // operations until then; 0: never
	do   func()
}

func (m *moments) at(left int, do func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.left, m.do = left, do
}

func (m *moments) pass() {
	m.mu.Lock()
	do := m.do
	if m.left--; m.left != 0 {
		do = nil
	}
	m.mu.Unlock()
	if do != nil {
		do()
	}
}

func (m *moments) Stat(ctx context.Context, key string) (driver.Attrs, error) {
	m.pass()
	return m.Driver.Stat(ctx, key)
}

func (m *moments) List(ctx context.Context, prefix, after string, limit int) (driver.Page, error) {
	m.pass()
	return m.Driver.List(ctx, prefix, after, limit)
}

func (m *moments) Delete(ctx context.Context, key string) error {
	m.pass()
	return m.Driver.Delete(ctx, key)
}

func (m *moments) Create(ctx context.Context, key string, o driver.CreateOptions) (driver.Writer, error) {
	w, err := m.Driver.Create(ctx, key, o)
	return momentous{w, m}, err
}

type momentous struct {
	driver.Writer
	m *moments
}

func (w momentous) Commit(ctx context.Context) (driver.Attrs, error) {
	w.m.pass()
	a, err := w.Writer.Commit(ctx)
	w.m.pass()
	return a, err
}

// feud is two nodes on one database and one store. The first has a clock that is three hours ahead, as the store has after a while.
type feud struct {
	t     *testing.T
	m     *moments
	store atomic.Int64 // how far the store's clock is ahead
	one   *Archive
	other *Archive
}

func newFeud(t *testing.T) *feud {
	h := newHouse(t)
	f := &feud{t: t}
	mem := memstore.New(memstore.Options{Now: func() time.Time { return time.Now().Add(time.Duration(f.store.Load())) }})
	f.m = &moments{Driver: mem}
	h.o.Settling.Hold = time.Hour
	h.o.NodeLease = time.Hour
	h.o.Remote = mem
	_, f.other = h.open(t)
	h.o.Remote = f.m
	h.o.Now = func() time.Time { return time.Now().Add(3 * time.Hour) }
	_, f.one = h.open(t)
	return f
}

// study stores a study of two images and deletes one of them.
func (f *feud) study(n int) (deleted archive.UIDs, file []byte) {
	f.t.Helper()
	f.store.Store(0)
	for i := range 2 {
		deleted, file = feudal(n, i+1)
		stores(f.t, f.other, file)
	}
	if err := f.other.Remove.Delete(f.t.Context(), f.other.Tenant, deleted); err != nil {
		f.t.Fatal(err)
	}
	f.store.Store(int64(3 * time.Hour))
	return deleted, file
}

func feudal(n, i int) (archive.UIDs, []byte) {
	u := archive.UIDs{Study: fmt.Sprintf("1.3.%d", n), Series: fmt.Sprintf("1.3.%d.1", n), Instance: fmt.Sprintf("1.3.%d.1.%d", n, i)}
	return u, retrievetest.Part10(retrievetest.Image{UIDs: u, Rows: 16, Columns: 16, Name: "Doe^Jane", PatientID: fmt.Sprint("P", n)})
}

func (f *feud) deleted(u archive.UIDs) bool {
	f.t.Helper()
	d, err := f.other.Index.Deletions(f.t.Context(), f.other.Tenant, u)
	if err != nil {
		f.t.Fatal(err)
	}
	return len(d) > 0
}

// protections are what somebody may state of a study at any moment.
var protections = map[string]func(ctx context.Context, a *Archive, n int, u archive.UIDs) error{
	"hold": func(ctx context.Context, a *Archive, n int, u archive.UIDs) error {
		_, err := a.Keep.Hold(ctx, retention.HoldTarget{Study: u.Study}, "case", "alice")
		return err
	},
	"hold of a patient": func(ctx context.Context, a *Archive, n int, u archive.UIDs) error {
		_, err := a.Keep.Hold(ctx, retention.HoldTarget{PatientID: fmt.Sprint("P", n)}, "case", "alice")
		return err
	},
	"rules": func(ctx context.Context, a *Archive, n int, u archive.UIDs) error {
		_, err := a.Keep.SetRules(ctx, []byte(`{"rules":[{"name":"house","years":30}]}`), "alice")
		return err
	},
	"undeletion": func(ctx context.Context, a *Archive, n int, u archive.UIDs) error {
		_, err := a.Remove.Undelete(ctx, a.Tenant, u)
		return err
	},
}

// TestProtectedWhilePurged: at every moment of a purge somebody on another node states a hold, rules or an undeletion. What was there
// when that was acknowledged stays, to the byte.
func TestProtectedWhilePurged(t *testing.T) {
	t.Parallel()
	f := newFeud(t)
	ctx := t.Context()
	n := 0
	for name, protect := range protections {
		kept, late := 0, 0
		for at := 1; ; at++ {
			n++
			u, file := f.study(n)
			var fired, acked, there bool
			f.m.at(at, func() {
				fired = true
				err := protect(ctx, f.other, n, u)
				acked = err == nil
				there = f.deleted(u) || found(t, f.other, u.Study) == 2
				if err != nil && (name != "undeletion" || there) {
					t.Errorf("%s at %d: %v", name, at, err)
				}
			})
			_, err := f.one.Settle.Settle(ctx, f.one.ring.Ref(u.Study))
			f.m.at(0, nil)
			if err != nil && !fault.Is(err, fault.Conflict) {
				t.Fatalf("%s at %d: %v", name, at, err)
			}
			over := !fired
			if _, err := f.one.Settle.Settle(ctx, f.one.ring.Ref(u.Study)); err != nil { // again, now that it is protected or gone
				t.Errorf("%s at %d: settled again: %v", name, at, err)
			}
			switch {
			case over:
			case acked && there:
				kept++
				if f.deleted(u) {
					if k, err := f.other.Remove.Undelete(ctx, f.other.Tenant, u); err != nil || k != 1 {
						t.Errorf("%s at %d: what is protected does not come back: %d, %v", name, at, k, err)
					}
				}
				if k := found(t, f.other, u.Study); k != 2 {
					t.Errorf("%s at %d was acknowledged, and %d of 2 instances are left", name, at, k)
				} else {
					(&place{t: t}).wants(f.other, u, file)
				}
			default:
				late++
			}
			if name == "rules" {
				if _, err := f.other.Keep.SetRules(ctx, []byte(`{}`), "alice"); err != nil {
					t.Fatal(err)
				}
			}
			if over && f.deleted(u) {
				t.Errorf("%s: without it nothing is purged", name)
			}
			if t.Failed() {
				return
			}
			if over {
				break
			}
		}
		t.Logf("%s: in time at %d moments, too late at %d", name, kept, late)
		if kept < 4 || late == 0 {
			t.Errorf("%s: in time at %d moments, too late at %d", name, kept, late)
		}
	}
	gaps(t, f.other, "in the end")
}

// TestProtectedWhileShredded: the same of a shredding. Either the hold is too late, and says nothing of what is gone, or all of the study stays.
func TestProtectedWhileShredded(t *testing.T) {
	t.Parallel()
	f := newFeud(t)
	ctx := t.Context()
	n := 0
	for _, name := range []string{"hold", "rules"} {
		kept, late := 0, 0
		for at := 1 + len(name)%3; ; at += 2 { // one at odd moments, one at even ones
			n++
			u, _ := feudal(n, 1)
			_, file := feudal(n, 1)
			stores(t, f.other, file)
			var fired, acked, there bool
			f.m.at(at, func() {
				fired = true
				acked = protections[name](ctx, f.other, n, u) == nil
				there = found(t, f.other, u.Study) == 1
			})
			target := archive.ShredTarget{Study: u.Study}
			if n%2 == 0 {
				target = archive.ShredTarget{PatientID: fmt.Sprint("P", n)}
			}
			_, err := f.one.Shred.Shred(ctx, target)
			f.m.at(0, nil)
			over := !fired
			switch {
			case over && err != nil:
				t.Errorf("%s: without it: %v", name, err)
			case over:
			case !acked:
				t.Errorf("%s at %d was not acknowledged", name, at)
			case there:
				kept++
				if !fault.Is(err, fault.Conflict) || found(t, f.one, u.Study) != 1 {
					t.Errorf("%s at %d was acknowledged: %v", name, at, err)
					break
				}
				(&place{t: t}).wants(f.one, u, file)
			default:
				late++
				if err != nil {
					t.Errorf("%s at %d came too late: %v", name, at, err)
				}
			}
			if name == "rules" {
				if _, err := f.other.Keep.SetRules(ctx, []byte(`{}`), "alice"); err != nil {
					t.Fatal(err)
				}
			}
			if t.Failed() {
				return
			}
			if over {
				break
			}
		}
		t.Logf("%s: in time at %d moments, too late at %d", name, kept, late)
		if kept < 2 || late == 0 {
			t.Errorf("%s: in time at %d moments, too late at %d", name, kept, late)
		}
	}
	gaps(t, f.other, "in the end")
}
