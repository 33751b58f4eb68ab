package node

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/retrieve/retrievetest"
	"github.com/strata-pacs/strata/internal/settle"
	"github.com/strata-pacs/strata/storage/driver"
	"github.com/strata-pacs/strata/storage/faultstore"
	"github.com/strata-pacs/strata/storage/memstore"
)

// quiet is an archive with a study that is settled, over a store that fails on
// demand, by a clock that is put forward.
type quiet struct {
	*place
	a      *Archive
	mem    driver.Driver
	faults *faultstore.Store
	ahead  atomic.Int64
	behind atomic.Int64 // the store's clock, of the node's
	want   map[archive.UIDs][]byte
}

const quietStudy = "1.2.7"

func newQuiet(t *testing.T, o Settling) *quiet {
	t.Helper()
	q := &quiet{place: newPlace(t), want: map[archive.UIDs][]byte{}}
	q.o.Now = func() time.Time { return time.Now().Add(time.Duration(q.ahead.Load())) }
	q.mem = memstore.New(memstore.Options{Now: func() time.Time { return q.o.Now().Add(-time.Duration(q.behind.Load())) }})
	q.faults = faultstore.New(q.mem, nil)
	q.o.Driver, q.o.ReconcileEvery, q.o.Settling = q.faults.Driver, time.Hour, o
	q.a = q.open()
	return q
}

// slice is an image of the study.
func slice(series, i int, name string) (archive.UIDs, []byte) {
	u := archive.UIDs{Study: quietStudy, Series: fmt.Sprintf("%s.%d", quietStudy, series), Instance: fmt.Sprintf("%s.%d.%d", quietStudy, series, i)}
	return u, retrievetest.Part10(retrievetest.Image{UIDs: u, Rows: 16, Columns: 16, Name: name, Number: i})
}

// stores stores an image alone and expects it to stay.
func (q *quiet) stores(series, i int) archive.UIDs {
	q.t.Helper()
	u, file := slice(series, i, "Fern^Ada")
	stores(q.t, q.a, file)
	q.want[u] = file
	return u
}

// fill stores two series of images, in an order that is not theirs.
func (q *quiet) fill(n int) {
	q.t.Helper()
	for i := range n {
		q.stores(2-i%2, 1+(i*7)%n)
	}
}

// deletes deletes an image.
func (q *quiet) deletes(u archive.UIDs) {
	q.t.Helper()
	if err := q.a.Remove.Delete(q.t.Context(), q.a.Tenant, u); err != nil {
		q.t.Fatal(err)
	}
	delete(q.want, u)
}

func (q *quiet) ref() archive.Ref { return q.a.ring.Ref(quietStudy) }

func (q *quiet) settles() settle.Result {
	q.t.Helper()
	r, err := q.a.Settle.Settle(q.t.Context(), q.ref())
	if err != nil {
		q.t.Fatal(err)
	}
	return r
}

func (q *quiet) sweeps() settle.Swept {
	q.t.Helper()
	r, err := q.a.Settle.Sweep(q.t.Context(), 0)
	if err != nil {
		q.t.Fatal(err)
	}
	return r
}

// passes puts the clock forward.
// reaps has the archive take stock: it indexes facts that are in the log alone, and removes packs that no fact names.
func (q *quiet) reaps() {
	q.t.Helper()
	grace := q.o.Grace
	q.close(q.a)
	q.o.Grace = 1
	q.a = q.open()
	if _, err := q.a.Reconcile.Reap(q.t.Context()); err != nil {
		q.t.Errorf("reaping: %v", err)
	}
	q.close(q.a)
	q.o.Grace = grace
	q.a = q.open()
}

func (q *quiet) passes(d time.Duration) { q.ahead.Add(int64(d)) }

// reads expects that what is shown is what is wanted, byte for byte, and that nothing is missing or damaged.
func (q *quiet) reads(when string) {
	q.t.Helper()
	if n := found(q.t, q.a, quietStudy); n != len(q.want) {
		q.t.Fatalf("%s: %d instances are shown, of %d", when, n, len(q.want))
	}
	for u, file := range q.want {
		q.wants(q.a, u, file)
	}
	if r := q.verify(q.a); len(r.Gaps) > 0 {
		q.t.Errorf("%s: %+v", when, r)
	}
}

// objects are the keys in the store below a folder of the tenant.
func (q *quiet) objects(folder string) (keys []string) {
	q.t.Helper()
	page, err := q.mem.List(context.Background(), string(q.a.Tenant)+"/"+folder+"/", "", 10000)
	if err != nil {
		q.t.Fatal(err)
	}
	for _, o := range page.Objects {
		keys = append(keys, o.Key)
	}
	return keys
}

// dump is what the index says of the study and its metadata.
func (q *quiet) dump() string {
	q.t.Helper()
	var b strings.Builder
	ctx := q.t.Context()
	entries, err := q.a.Index.Entries(ctx, q.a.Tenant, q.ref())
	if err != nil {
		q.t.Fatal(err)
	}
	for _, e := range entries {
		fmt.Fprintf(&b, "entry %v %d %s/%d %d\n", e.Fact, e.Kind, e.Session, e.N, e.Size)
	}
	packs, err := q.a.Index.Packs(ctx, q.a.Tenant, q.ref())
	if err != nil {
		q.t.Fatal(err)
	}
	for _, p := range packs {
		fmt.Fprintf(&b, "pack %+v\n", p)
	}
	err = q.a.Index.StudyInstances(ctx, q.a.Tenant, q.ref(), func(r *archive.InstanceRow, s archive.State) bool {
		fmt.Fprintf(&b, "instance %+v %d %+v %x %v %v %x\n", r.UIDs, s, r.At, r.Digest, r.Source, r.Received, r.Layout)
		return true
	})
	if err != nil {
		q.t.Fatal(err)
	}
	b.WriteString(q.metadata())
	return b.String()
}

func (q *quiet) metadata() string {
	q.t.Helper()
	var b bytes.Buffer
	m, err := q.a.Retrieve.Metadata(q.t.Context(), q.a.Tenant, archive.UIDs{Study: quietStudy})
	if err == nil {
		err = m.WriteJSON(q.t.Context(), &b, "http://x")
	}
	if err != nil && len(q.want) > 0 {
		q.t.Fatal(err)
	}
	return b.String()
}

// rebuilt expects that an index made from the log alone says the same.
func (q *quiet) rebuilt(when string) {
	q.t.Helper()
	before := q.dump()
	q.close(q.a)
	if r, err := Rebuild(q.t.Context(), q.o, nil); err != nil || len(r.Gaps) > 0 {
		q.t.Errorf("%s: rebuild: %+v, %v", when, r, err)
	}
	q.a = q.open()
	q.same(when+", rebuilt", before)
}

// same expects that the index says what it said before.
func (q *quiet) same(when, before string) {
	q.t.Helper()
	old, now := strings.Split(before, "\n"), strings.Split(q.dump(), "\n")
	for _, l := range old {
		if !slices.Contains(now, l) {
			q.t.Errorf("%s: not any more: %.300s", when, l)
		}
	}
	for _, l := range now {
		if !slices.Contains(old, l) {
			q.t.Errorf("%s: only now: %.300s", when, l)
		}
	}
}

// crashes lets the process die at the n-th operation of the store from now, and
// reports whether it came so far while do ran. The archive is open again afterwards.
func (q *quiet) crashes(n int, do func()) bool {
	q.t.Helper()
	at := 0
	q.faults.Script(func(faultstore.Op) faultstore.Decision {
		if at++; at == n {
			return faultstore.Decision{Action: []faultstore.Action{faultstore.CrashBefore, faultstore.CrashAfter}[n%2]}
		}
		return faultstore.Decision{}
	})
	do()
	crashed := q.faults.Crashed()
	q.abandon(q.a)
	q.faults.Script(nil)
	q.faults.Restart()
	q.a = q.open()
	return crashed
}
