package index

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
)

// TestNodes: two nodes write to one study in turn, and each sees what the other did.
func TestNodes(t *testing.T) {
	o := onPostgres(t)
	nodes := []*Index{openWith(t, o), openWith(t, o)}
	ctx := context.Background()
	all := archive.UIDs{Study: "1.2.3"}
	for i := range uint64(40) {
		s := ctSpec
		s.instance, s.desc = fmt.Sprintf("1.2.3.1.%d", i), fmt.Sprintf("Thorax teil%d", i/10)
		here, there := nodes[i%2], nodes[1-i%2]
		woken := there.Watch(hospital)
		apply(t, here, stored(i+1, s))
		select {
		case <-woken:
		case <-time.After(10 * time.Second):
			t.Fatal("the other node's feed did not wake")
		}
		if ss := studies(t, there, archive.StudyFilter{}); len(ss) != 1 || ss[0].Instances != int(i+1) {
			t.Fatalf("after %d: %+v", i+1, ss)
		}
		if last, err := there.Last(ctx, hospital); err != nil || last != int64(i+1) {
			t.Fatalf("feed: %d %v", last, err)
		}
		if out := apply(t, there, stored(i+1, s)); !out[0].Known {
			t.Fatal("applied on both nodes")
		}
	}
	for _, x := range nodes {
		words, _, err := x.Words(ctx, hospital, 0x00081030, func(string) bool { return true }, 100)
		if err != nil || len(words) != 5 {
			t.Errorf("words: %v %v", words, err)
		}
	}
	blobs, err := nodes[0].Blobs(ctx, hospital, all)
	if err != nil || len(blobs) != 40 {
		t.Fatal(len(blobs), err)
	}
	apply(t, nodes[0], deletes(100, all, blobs...))
	s := ctSpec
	s.instance, s.desc = "1.2.3.1.0", "Thorax teil0"
	if p := apply(t, nodes[1], stored(1+1000, s))[0].Instances[0]; p.Outcome != Visible {
		t.Errorf("a new copy of what was deleted on another node: %+v", p)
	}
	e := stored(1, s) // what the other node deleted, written to the log a second time
	e.N = 5000
	if p := apply(t, nodes[1], e)[0].Instances[0]; p.Outcome != Deleted {
		t.Errorf("a copy of a deleted blob: %+v", p)
	}
}

// TestNodesTogether: nodes write for two tenants at once; the feed has no gap, whoever follows it, and nothing is lost.
func TestNodesTogether(t *testing.T) {
	o := onPostgres(t)
	const clients, each = 3, 15
	tenants := []archive.Tenant{hospital, "practice"}
	nodes := []*Index{openWith(t, o), openWith(t, o), openWith(t, o)}
	ctx := context.Background()
	var wg sync.WaitGroup
	for i, x := range nodes {
		for _, name := range tenants {
			for c := range clients {
				wg.Go(func() {
					for n := range each {
						s := ctSpec
						s.study = fmt.Sprintf("1.%d", n%3)
						s.series = s.study + ".1"
						s.instance = fmt.Sprintf("%s.%d.%d.%d", s.series, i, c, n)
						e := stored(uint64(1+c*each+n), s)
						e.Session = fmt.Sprintf("node%d", i)
						e.Fact.ID = factID(uint64(1 + i*1000 + c*each + n))
						if out, err := x.Apply(ctx, name, e); err != nil || out[0].Instances[0].Outcome != Visible {
							t.Errorf("%+v %v", out, err)
						}
					}
				})
			}
			wg.Go(func() { follow(t, x, name, int64(len(nodes)*clients*each)) })
		}
	}
	wg.Wait()
	for _, name := range tenants {
		n := 0
		for i := range 3 {
			err := nodes[0].Instances(ctx, name, archive.UIDs{Study: fmt.Sprintf("1.%d", i)}, func(*archive.InstanceRow) bool { n++; return true })
			if err != nil {
				t.Error(err)
			}
		}
		if n != len(nodes)*clients*each {
			t.Errorf("%s: %d instances", name, n)
		}
		p, err := nodes[1].Progress(ctx, name)
		if err != nil || len(p) != len(nodes) || len(p["node2"].Applied) != 1 || p["node2"].Applied[0] != (Range{From: 1, To: clients * each}) {
			t.Errorf("%s: %+v %v", name, p, err)
		}
	}
}

func follow(t *testing.T, x *Index, name archive.Tenant, to int64) {
	for last, end := int64(0), time.Now().Add(time.Minute); last < to; {
		more := x.Watch(name)
		cs, err := x.Changes(context.Background(), name, ChangeQuery{After: last, Limit: 11})
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
			case <-time.After(time.Until(end)):
				t.Errorf("%s: the feed ends at %d", name, last)
				return
			}
		}
	}
}

// TestSleepingNode: a node that stops in the middle of a transaction holds up others only for a time.
func TestSleepingNode(t *testing.T) {
	o := onPostgres(t)
	o.DSN += "&idle_in_transaction_session_timeout=500ms"
	awake, asleep := openWith(t, o), openWith(t, o)
	apply(t, awake, stored(1, ctSpec))
	w := asleep.writerOf(hospital)
	tn, err := w.tenant(context.Background(), hospital)
	if err != nil {
		t.Fatal(err)
	}
	b := w.begin()
	if err := errors.Join(w.c.begin(), b.enter(tn)); err != nil { // it has the lock
		t.Fatal(err)
	}
	s := ctSpec
	s.instance = "1.2.3.1.9"
	start := time.Now()
	apply(t, awake, stored(2, s))
	if d := time.Since(start); d < 100*time.Millisecond || d > 8*time.Second {
		t.Errorf("waited %v", d)
	}
	// It wakes up: its transaction is gone, and it goes on with what is true now.
	_, err = b.apply(tn, ptr(stored(3, s)))
	if err = w.end(b, err); err == nil {
		t.Error("the transaction of a node that slept was committed")
	}
	s.instance = "1.2.3.1.10"
	apply(t, asleep, stored(3, s))
	if ss := studies(t, awake, archive.StudyFilter{}); len(ss) != 1 || ss[0].Instances != 3 {
		t.Errorf("%+v", ss)
	}
	if last, err := awake.Last(context.Background(), hospital); err != nil || last != 3 {
		t.Error(last, err)
	}
}

func ptr[T any](v T) *T { return &v }
