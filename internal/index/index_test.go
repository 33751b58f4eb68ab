package index

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
)

// TestTogether: many clients at once share transactions, everybody gets the own
// result, and a follower of the feed sees every number once.
func TestTogether(t *testing.T) { both(t, testTogether) }

func testTogether(t *testing.T, e engine) {
	x := openTest(t, e)
	ctx := context.Background()
	const clients, each = 8, 12
	var wg sync.WaitGroup
	for c := range uint64(clients) {
		wg.Go(func() {
			for i := range uint64(each) {
				s := ctSpec
				s.instance = fmt.Sprintf("1.2.3.1.%d.%d", c, i)
				if c == 3 {
					s.study = fmt.Sprintf("7.%d", i)
				}
				out, err := x.Apply(ctx, hospital, stored(1+c*each+i, s))
				if err != nil || len(out[0].Instances) != 1 || out[0].Instances[0].Outcome != Visible {
					t.Errorf("client %d: %+v %v", c, out, err)
				}
				if rows, _, err := x.Versions(ctx, hospital, s.build(0).UIDs); err != nil || len(rows) != 1 {
					t.Errorf("what was just stored is not there: %v", err)
				}
			}
		})
	}
	follower := make(chan int64)
	go func() {
		var last int64
		defer func() { follower <- last }()
		for last < clients*each {
			more := x.Watch(hospital)
			cs, err := x.Changes(ctx, hospital, ChangeQuery{After: last, Limit: 7})
			if err != nil {
				t.Error(err)
				return
			}
			for _, c := range cs {
				if c.Sequence != last+1 {
					t.Errorf("%d after %d", c.Sequence, last)
				}
				last = c.Sequence
			}
			if len(cs) == 0 {
				select {
				case <-more:
				case <-time.After(time.Minute):
					t.Error("the feed does not wake its followers")
					return
				}
			}
		}
	}()
	wg.Wait()
	if last := <-follower; last != clients*each {
		t.Errorf("followed to %d", last)
	}
	if s := studies(t, x, archive.StudyFilter{UIDs: []string{"1.2.3"}}); len(s) != 1 || s[0].Instances != (clients-1)*each {
		t.Errorf("%+v", s)
	}
	p, _ := x.Progress(ctx, hospital)
	if r := p[testSession].Applied; len(r) != 1 || r[0] != (Range{From: 1, To: clients * each}) {
		t.Errorf("%v", r)
	}
}

func TestTenantsAreApart(t *testing.T) { both(t, testTenantsAreApart) }

func testTenantsAreApart(t *testing.T, e engine) {
	x := openTest(t, e)
	ctx := context.Background()
	apply(t, x, stored(1, ctSpec))
	if _, err := x.Apply(ctx, "practice", stored(1, ctSpec)); err != nil {
		t.Fatal(err)
	}
	ours := studies(t, x, archive.StudyFilter{All: [][]archive.Term{{{Tag: 0x00100010, Word: "muller"}}}})
	if len(ours) != 1 {
		t.Fatalf("%d studies", len(ours))
	}
	if _, err := x.StudyByID(ctx, "practice", ours[0].ID); !fault.Is(err, fault.NotFound) {
		t.Errorf("another tenant's study: %v", err)
	}
	rows, err := x.SeriesOf(ctx, hospital, ours[0].ID)
	if err != nil || len(rows) != 1 {
		t.Fatal(rows, err)
	}
	if _, err := x.SeriesByID(ctx, "practice", rows[0].ID); !fault.Is(err, fault.NotFound) {
		t.Errorf("another tenant's series: %v", err)
	}
	if in, err := x.InstancesOf(ctx, "practice", rows[0].ID); err != nil || len(in) != 0 {
		t.Errorf("another tenant's instances: %v %v", in, err)
	}
	if others, err := x.SeriesOf(ctx, "practice", ours[0].ID); err != nil || len(others) != 0 {
		t.Errorf("another tenant's series: %v %v", others, err)
	}
	n := 0
	if err := x.Each(ctx, hospital, 0, func(*archive.InstanceRow, State) bool { n++; return true }); err != nil || n != 1 {
		t.Errorf("each: %d %v", n, err)
	}
	if last, err := x.Last(ctx, "nobody"); err != nil || last != 0 {
		t.Error(last, err)
	}
}

func TestReopen(t *testing.T) { both(t, testReopen) }

func testReopen(t *testing.T, e engine) {
	o := e(t)
	for i := range uint64(3) {
		x, err := Open(context.Background(), o)
		if err != nil {
			t.Fatal(err)
		}
		s := ctSpec
		s.instance = fmt.Sprintf("1.2.3.1.9%d", i)
		apply(t, x, stored(1, ctSpec), stored(i+2, s))
		if s := studies(t, x, archive.StudyFilter{}); len(s) != 1 || s[0].Instances != int(i)+2 {
			t.Errorf("%+v", s)
		}
		if err := x.Ready(context.Background()); err != nil {
			t.Error(err)
		}
		if err := errors.Join(x.Close(), x.Close()); err != nil {
			t.Error(err)
		}
		if _, err := x.Blobs(context.Background(), hospital, archive.UIDs{Study: "1.2.3"}); !fault.Is(err, fault.Unavailable) {
			t.Errorf("read after Close: %v", err)
		}
		if _, err := x.Apply(context.Background(), hospital, stored(9, ctSpec)); !fault.Is(err, fault.Unavailable) {
			t.Errorf("after Close: %v", err)
		}
	}
}

// TestInterruptedRebuild: an index whose rebuild never came to its end is finished when it is opened.
func TestInterruptedRebuild(t *testing.T) {
	o := onSQLite(t)
	x, err := Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	apply(t, x, stored(1, ctSpec))
	w := x.writers[0]
	w.mu.Lock()
	if err := w.startBulk(); err != nil {
		t.Fatal(err)
	}
	u := &bulk{w: w, name: hospital}
	v2 := ctSpec
	v2.version = 2
	e := stored(2, v2)
	if err := errors.Join(u.add(context.Background(), &e), u.commit()); err != nil {
		t.Fatal(err)
	}
	w.mu.Unlock()
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	if x, err = Open(context.Background(), o); err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	if rows := instances(t, x, archive.UIDs{Study: "1.2.3"}); len(rows) != 1 || rows[0].Blob != blobOf(ctSpec, 1) {
		t.Errorf("%+v", rows)
	}
	if s := studies(t, x, archive.StudyFilter{All: [][]archive.Term{{{Tag: 0x00100010, Word: "anna"}}}}); len(s) != 1 || s[0].Instances != 1 {
		t.Errorf("%+v", s)
	}
}

func TestLongSeries(t *testing.T) { both(t, testLongSeries) }

func testLongSeries(t *testing.T, e engine) {
	x := openTest(t, e)
	var specs []spec
	const n = wholeSeries + 300
	for i := range n {
		s := ctSpec
		s.instance, s.number = fmt.Sprintf("1.2.3.1.%d", i), n-i
		specs = append(specs, s)
	}
	apply(t, x, stored(1, specs...))
	scope := archive.UIDs{Study: "1.2.3"}
	rows := instances(t, x, scope)
	if len(rows) != n || rows[0].UIDs.Instance != specs[n-1].instance || rows[n-1].UIDs.Instance != specs[0].instance {
		t.Fatalf("%d rows, or out of order", len(rows))
	}
	blobs, err := x.Blobs(context.Background(), hospital, scope)
	if err != nil || len(blobs) != n {
		t.Fatal(len(blobs), err)
	}
	apply(t, x, deletes(2, scope, blobs...))
	if len(instances(t, x, scope)) != 0 || len(studies(t, x, archive.StudyFilter{})) != 0 {
		t.Error("deleted instances are shown")
	}
	apply(t, x, undeletes(3, "1.2.3", []uint64{2}, blobs...))
	if s := studies(t, x, archive.StudyFilter{}); len(s) != 1 || s[0].Instances != n {
		t.Errorf("%+v", s)
	}
}

func TestDamage(t *testing.T) {
	o := onSQLite(t)
	if err := os.WriteFile(o.Path, []byte("this is not a database, and long enough to be looked at by whoever opens it as one"), 0o600); err != nil {
		t.Fatal(err)
	}
	if x, err := Open(context.Background(), o); !fault.Is(err, fault.Corrupt) {
		t.Errorf("%v %v", x, err)
	}
	o.Path = t.TempDir() + "/nowhere/index.db"
	if _, err := Open(context.Background(), o); !fault.Is(err, fault.Unavailable) {
		t.Errorf("%v", err)
	}
}

func TestRefusedKeys(t *testing.T) { both(t, testRefusedKeys) }

func testRefusedKeys(t *testing.T, e engine) {
	o := e(t)
	o.Keys = func(context.Context, archive.Tenant) (Keys, error) { return nil, fault.New(fault.KeyDenied, "revoked") }
	x := openWith(t, o)
	if _, err := x.Apply(context.Background(), hospital, stored(1, ctSpec)); !fault.Is(err, fault.KeyDenied) {
		t.Errorf("%v", err)
	}
}

func TestCanceled(t *testing.T) { both(t, testCanceled) }

func testCanceled(t *testing.T, e engine) {
	x := openTest(t, e)
	apply(t, x, stored(1, ctSpec))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := x.Apply(ctx, hospital, stored(2, ctSpec)); !fault.Is(err, fault.Canceled) {
		t.Errorf("apply: %v", err)
	}
	if err := x.Studies(ctx, hospital, archive.StudyFilter{}, func(*archive.StudyRow) bool { return true }); !fault.Is(err, fault.Canceled) {
		t.Errorf("studies: %v", err)
	}
	if _, err := x.Progress(ctx, hospital); !fault.Is(err, fault.Canceled) {
		t.Errorf("progress: %v", err)
	}
}
