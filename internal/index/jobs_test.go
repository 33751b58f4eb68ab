package index

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/fault"
)

func TestJobs(t *testing.T) { both(t, testJobs) }

func testJobs(t *testing.T, e engine) {
	o := e(t)
	o.Now = time.Now
	q := openWith(t, o).Jobs()
	ctx := context.Background()
	past := time.Now().Add(-time.Hour)
	add := func(kind, key string, due time.Time) bool {
		t.Helper()
		added, err := q.Enqueue(ctx, hospital, kind, key, []byte{1, 0, 2}, due)
		if err != nil {
			t.Fatal(err)
		}
		return added
	}
	if !add("restore", "b", past.Add(time.Minute)) || !add("restore", "a", past) || !add("rewrap", "a", past) || !add("restore", "later", time.Now().Add(time.Hour)) {
		t.Error("new jobs were not added")
	}
	if add("restore", "a", past) {
		t.Error("an open job was added again")
	}
	claim := func(ttl time.Duration, n int, kinds ...string) []Job {
		t.Helper()
		jobs, err := q.Claim(ctx, kinds, "me", ttl, n)
		if err != nil {
			t.Fatal(err)
		}
		return jobs
	}
	got := claim(time.Minute, 10, "restore", "other")
	if len(got) != 2 || got[0].Key != "a" || got[1].Key != "b" || string(got[0].Payload) != "\x01\x00\x02" || got[0].Attempts != 1 || got[0].Tenant != hospital {
		t.Fatalf("%+v", got)
	}
	if again := claim(time.Minute, 10, "restore"); len(again) != 0 {
		t.Errorf("claimed twice: %+v", again)
	}
	if err := q.Finish(ctx, got[0]); err != nil {
		t.Error(err)
	}
	if err := q.Finish(ctx, got[0]); !fault.Is(err, fault.Conflict) {
		t.Errorf("finished twice: %v", err)
	}
	if !add("restore", "a", past) {
		t.Error("one that is done cannot be added again")
	}
	if err := q.Fail(ctx, got[1], past, "no answer"); err != nil {
		t.Error(err)
	}
	got = claim(150*time.Millisecond, 1, "restore") // both are due since the same moment; the older row first
	if len(got) != 1 || got[0].Key != "b" || got[0].Attempts != 2 || got[0].Reason != "no answer" {
		t.Fatalf("%+v", got)
	}
	slow := got[0]
	time.Sleep(200 * time.Millisecond)
	if _, err := q.Extend(ctx, slow, time.Minute); !fault.Is(err, fault.Conflict) {
		t.Errorf("extended after its end: %v", err)
	}
	got = claim(time.Minute, 1, "restore")
	if len(got) != 1 || got[0].ID != slow.ID || got[0].Attempts != 3 {
		t.Fatalf("%+v", got)
	}
	if j, err := q.Extend(ctx, got[0], time.Hour); err != nil || time.Until(j.Until) < 50*time.Minute {
		t.Errorf("%+v %v", j, err)
	}
	if err := q.Finish(ctx, slow); !fault.Is(err, fault.Conflict) {
		t.Errorf("whoever slept finished another's job: %v", err)
	}
	if err := q.Fail(ctx, got[0], time.Time{}, "hopeless"); err != nil {
		t.Error(err)
	}
	failed, err := q.List(ctx, JobFilter{Failed: true})
	if err != nil || len(failed) != 1 || failed[0].Key != "b" || failed[0].Reason != "hopeless" {
		t.Errorf("%+v %v", failed, err)
	}
	if got := claim(time.Minute, 10, "restore"); len(got) != 1 || got[0].Key != "a" {
		t.Errorf("%+v", got)
	}
	if !add("restore", "b", past) {
		t.Error("one that was given up cannot be added again")
	}
	if got := claim(time.Minute, 10, "restore"); len(got) != 1 || got[0].Key != "b" || got[0].Attempts != 1 || got[0].Reason != "" {
		t.Errorf("%+v", got)
	}
	all, err := q.List(ctx, JobFilter{Tenant: hospital, Kind: "restore", Limit: 2})
	if err != nil || len(all) != 2 {
		t.Errorf("%+v %v", all, err)
	}
	if rest, err := q.List(ctx, JobFilter{After: all[1].ID}); err != nil || len(rest) == 0 || rest[0].ID <= all[1].ID {
		t.Errorf("%+v %v", rest, err)
	}
}

// TestJobsShelved: a job that is over stays to be looked at, and another of its kind and key can be added.
func TestJobsShelved(t *testing.T) { both(t, testJobsShelved) }

func testJobsShelved(t *testing.T, e engine) {
	o := e(t)
	o.Now = time.Now
	q := openWith(t, o).Jobs()
	ctx := context.Background()
	now := time.Now()
	claim := func() Job {
		t.Helper()
		if added, err := q.Enqueue(ctx, hospital, "keys", "rewrap", []byte("0"), now.Add(-time.Minute)); err != nil || !added {
			t.Fatalf("added %v, %v", added, err)
		}
		jobs, err := q.Claim(ctx, []string{"keys"}, "me", time.Minute, 1)
		if err != nil || len(jobs) != 1 {
			t.Fatalf("%+v %v", jobs, err)
		}
		return jobs[0]
	}
	j := claim()
	j.Payload = []byte("7")
	if _, err := q.Extend(ctx, j, time.Minute); err != nil {
		t.Fatal(err)
	}
	if list, err := q.List(ctx, JobFilter{Tenant: hospital, Kind: "keys"}); err != nil || len(list) != 1 || string(list[0].Payload) != "7" {
		t.Errorf("%+v %v", list, err)
	}
	j.Payload = []byte("9")
	if err := q.Shelve(ctx, j, "", "", now); !fault.Is(err, fault.Invalid) {
		t.Errorf("without a key: %v", err)
	}
	if err := q.Shelve(ctx, j, "rewrap/1", "why", now.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if err := q.Shelve(ctx, j, "rewrap/1", "", now); !fault.Is(err, fault.Conflict) {
		t.Errorf("shelved twice: %v", err)
	}
	if _, err := q.Extend(ctx, j, time.Minute); !fault.Is(err, fault.Conflict) {
		t.Errorf("extended when it is over: %v", err)
	}
	k := claim() // and the one before is not claimed
	list, err := q.List(ctx, JobFilter{Tenant: hospital, Kind: "keys"})
	if err != nil || len(list) != 2 || list[0].Key != "rewrap/1" || string(list[0].Payload) != "9" || list[0].Reason != "why" || !list[0].Failed || list[1].Failed {
		t.Errorf("%+v %v", list, err)
	}
	if err := q.Shelve(ctx, k, "rewrap/2", "", now.Add(time.Hour)); err != nil { // the older one goes
		t.Fatal(err)
	}
	if list, err := q.List(ctx, JobFilter{Tenant: hospital, Kind: "keys"}); err != nil || len(list) != 1 || list[0].Key != "rewrap/2" {
		t.Errorf("%+v %v", list, err)
	}
}

// TestJobsRace: many claim at once, and each job is done by one.
func TestJobsRace(t *testing.T) { both(t, testJobsRace) }

func testJobsRace(t *testing.T, e engine) {
	o := e(t)
	o.Now = time.Now
	x := openWith(t, o)
	nodes := []*Index{x, x}
	if x.shared {
		nodes[1] = openWith(t, o)
	}
	ctx := context.Background()
	const total = 60
	for i := range total {
		if _, err := x.Jobs().Enqueue(ctx, hospital, "move", fmt.Sprint(i), nil, time.Now().Add(-time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	var mu sync.Mutex
	done := map[string]int{}
	var wg sync.WaitGroup
	for n := range 4 {
		wg.Go(func() {
			q := nodes[n%2].Jobs()
			for {
				jobs, err := q.Claim(ctx, []string{"move"}, fmt.Sprint("node", n), time.Minute, 7)
				if err != nil {
					t.Error(err)
					return
				}
				for _, j := range jobs {
					mu.Lock()
					done[j.Key]++
					mu.Unlock()
					if err := q.Finish(ctx, j); err != nil {
						t.Error(err)
					}
				}
				mu.Lock()
				all := len(done) == total
				mu.Unlock()
				if all {
					return
				}
			}
		})
	}
	wg.Wait()
	for k, n := range done {
		if n != 1 {
			t.Errorf("job %s was done %d times", k, n)
		}
	}
}
