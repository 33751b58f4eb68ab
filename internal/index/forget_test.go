package index

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
)

// TestForget: after it the keys are asked for again, and their answer holds.
func TestForget(t *testing.T) { both(t, testForget) }

func testForget(t *testing.T, e engine) {
	o := e(t)
	var revoked atomic.Bool
	var asked atomic.Int64
	o.Keys = func(_ context.Context, name archive.Tenant) (Keys, error) {
		asked.Add(1)
		if revoked.Load() {
			return nil, fault.New(fault.KeyDenied, "revoked")
		}
		return fakeKeys(name), nil
	}
	x := openWith(t, o)
	ctx := context.Background()
	apply(t, x, stored(1, ctSpec))
	all := func(string) bool { return true }
	words, _, err := x.Words(ctx, hospital, 0x00100010, all, 9)
	if err != nil || len(words) != 2 {
		t.Fatal(words, err)
	}
	woken := x.Watch(hospital)
	revoked.Store(true)
	x.Forget(hospital)
	x.Forget("nobody")
	select {
	case <-woken:
	default:
		t.Error("who waits for the feed is not told")
	}
	if w := x.writerOf(hospital); len(w.studies.now)+len(w.studies.old)+len(w.warm) != 0 || len(x.pages.now)+len(x.pages.old) != 0 {
		t.Error("something of the tenant is still in memory")
	}
	if words[0] != "muller" && words[1] != "muller" {
		t.Errorf("words that were given out changed: %v", words)
	}
	_, applied := x.Apply(ctx, hospital, stored(2, ctSpec))
	_, _, worded := x.Words(ctx, hospital, 0x00100010, all, 9)
	_, read := x.Blobs(ctx, hospital, archive.UIDs{Study: "1.2.3"})
	bulk := x.Bulk(ctx, hospital, func(add func(archive.Entry) error) error { return add(stored(3, ctSpec)) })
	found := x.Studies(ctx, hospital, archive.StudyFilter{}, func(*archive.StudyRow) bool { return true })
	for i, err := range []error{applied, worded, read, bulk, found} {
		if !fault.Is(err, fault.KeyDenied) {
			t.Errorf("use %d of a revoked key: %v", i, err)
		}
	}
	revoked.Store(false)
	s := ctSpec
	s.instance = "1.2.3.1.2"
	apply(t, x, stored(2, s))
	if ss := studies(t, x, archive.StudyFilter{}); len(ss) != 1 || ss[0].Instances != 2 {
		t.Errorf("granted again: %+v", ss)
	}
	if n := asked.Load(); n < 3 {
		t.Errorf("the keys were asked for %d times", n)
	}
}

// TestForgetAtWork: a tenant is forgotten over and over while it is written, searched and rebuilt.
func TestForgetAtWork(t *testing.T) { both(t, testForgetAtWork) }

func testForgetAtWork(t *testing.T, e engine) {
	x := openTest(t, e)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	apply(t, x, stored(1, ctSpec))
	var forgetting sync.WaitGroup
	forgetting.Go(func() {
		for ctx.Err() == nil {
			x.Forget(hospital)
			time.Sleep(time.Millisecond)
		}
	})
	const clients = 4
	each := 12
	if testing.Short() {
		each = 4
	}
	var wg sync.WaitGroup
	for c := range clients {
		wg.Go(func() {
			for i := range each {
				s := ctSpec
				s.instance, s.name = fmt.Sprintf("1.2.3.1.%d.%d", c, i), fmt.Sprintf("Name%d^Anna", c*each+i)
				s.study = fmt.Sprintf("9.%d", i)
				n := uint64(2 + c*each + i)
				var err error
				if c == 3 {
					err = x.Bulk(ctx, hospital, func(add func(archive.Entry) error) error { return add(stored(n, s)) })
				} else {
					_, err = x.Apply(ctx, hospital, stored(n, s))
				}
				if err != nil {
					t.Error(err)
				}
				if rows, _, err := x.Versions(ctx, hospital, s.build(0).UIDs); err != nil || len(rows) != 1 {
					t.Errorf("%d versions: %v", len(rows), err)
				}
				if _, _, err := x.Words(ctx, hospital, 0x00100010, func(string) bool { return true }, 1000); err != nil {
					t.Error(err)
				}
				if err := x.Studies(ctx, hospital, archive.StudyFilter{}, func(*archive.StudyRow) bool { return true }); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	cancel()
	forgetting.Wait()
	n := 0
	for _, s := range studies(t, x, archive.StudyFilter{}) {
		n += s.Instances
	}
	if n != 1+clients*each {
		t.Errorf("%d instances", n)
	}
	words, _, err := x.Words(context.Background(), hospital, 0x00100010, func(string) bool { return true }, 1000)
	if err != nil || len(words) != clients*each+2 {
		t.Errorf("%d words, %v", len(words), err)
	}
	if last, err := x.Last(context.Background(), hospital); err != nil || last < int64(1+clients*each) {
		t.Error(last, err)
	}
}
