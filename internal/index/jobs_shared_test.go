package index

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/fault"
)

func TestJobsShared(t *testing.T) { both(t, testJobsShared) }

func testJobsShared(t *testing.T, e engine) {
	o := e(t)
	q := openWith(t, o).Jobs()
	ctx := context.Background()
	noon := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	count := func(j *Job) error {
		n, _ := strconv.Atoi(string(j.Payload))
		if (j.ID == 0) != (n == 0) {
			return errors.New("a new row has a payload, or an old one none")
		}
		j.Payload, j.Due = []byte(strconv.Itoa(n+1)), noon.Add(time.Hour)
		return nil
	}
	const callers = 20
	var wg sync.WaitGroup
	ids := make([]int64, callers)
	for i := range callers {
		wg.Go(func() {
			j, err := q.Merge(ctx, hospital, "recall", "a", noon, 0, count)
			if err != nil {
				t.Error(err)
			}
			ids[i] = j.ID
		})
	}
	wg.Wait()
	got, err := q.Get(ctx, hospital, ids[0])
	if err != nil || len(got) != 1 || string(got[0].Payload) != strconv.Itoa(callers) || !got[0].Created.Equal(noon) {
		t.Fatalf("%+v %v", got, err)
	}
	for _, id := range ids {
		if id != ids[0] || id == 0 {
			t.Errorf("rows %v: one was wanted", ids)
		}
	}
	// A refusal changes nothing and adds nothing, and is what the caller gets.
	refusal := fault.New(fault.Busy, "no more")
	refuse := func(j *Job) error { j.Payload = []byte("999"); return refusal }
	if _, err := q.Merge(ctx, hospital, "recall", "b", noon, 0, refuse); err != refusal {
		t.Errorf("refused: %v", err)
	}
	if _, err := q.Change(ctx, ids[0], refuse); err != refusal {
		t.Errorf("refused: %v", err)
	}
	if due, err := q.Due(ctx, "recall", noon.Add(time.Hour), Job{}, 10); err != nil || len(due) != 1 || string(due[0].Payload) != strconv.Itoa(callers) {
		t.Errorf("%+v %v", due, err)
	}
	if due, err := q.Due(ctx, "recall", noon.Add(time.Hour-1), Job{}, 10); err != nil || len(due) != 0 {
		t.Errorf("%+v %v", due, err)
	}
	// What is over leaves its key to another.
	j, err := q.Change(ctx, ids[0], func(j *Job) error { j.Kind, j.Key = "recalled", "a/1"; return nil })
	if err != nil || j.Kind != "recalled" {
		t.Errorf("%+v %v", j, err)
	}
	j, err = q.Merge(ctx, hospital, "recall", "a", noon, 0, count)
	if err != nil || j.ID == ids[0] || string(j.Payload) != "1" {
		t.Errorf("%+v %v", j, err)
	}
	list, err := q.OfKinds(ctx, hospital, []string{"recall", "recalled"}, 0, 10)
	if err != nil || len(list) != 2 || list[0].ID != ids[0] || list[1].ID != j.ID {
		t.Errorf("%+v %v", list, err)
	}
	if list, err := q.OfKinds(ctx, hospital, []string{"recall"}, 0, 10); err != nil || len(list) != 1 {
		t.Errorf("%+v %v", list, err)
	}
	for _, other := range []func() ([]Job, error){
		func() ([]Job, error) { return q.Get(ctx, "elsewhere", j.ID) },
		func() ([]Job, error) { return q.OfKinds(ctx, "elsewhere", []string{"recall"}, 0, 10) },
	} {
		if rows, err := other(); err != nil || len(rows) != 0 {
			t.Errorf("another tenant sees %+v %v", rows, err)
		}
	}
	for _, key := range []string{"x", "y", "z"} {
		if _, err := q.Merge(ctx, "elsewhere", "recall", key, noon, 0, count); err != nil {
			t.Fatal(err)
		}
	}
	var after Job
	for n := 0; ; n++ { // all four are due in the same moment
		page, err := q.Due(ctx, "recall", noon.Add(time.Hour), after, 3)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) < 3 {
			if n != 1 || len(page) != 1 || page[0].ID <= after.ID {
				t.Errorf("page %d after %d: %+v", n, after.ID, page)
			}
			break
		}
		after = page[2]
	}
	if err := q.Remove(ctx, j.ID); err != nil {
		t.Error(err)
	}
	if _, err := q.Change(ctx, j.ID, count); !fault.Is(err, fault.NotFound) {
		t.Errorf("changed what is gone: %v", err)
	}
	if _, err := q.Merge(ctx, hospital, "", "a", noon, 0, count); !fault.Is(err, fault.Invalid) {
		t.Errorf("without a kind: %v", err)
	}
}
