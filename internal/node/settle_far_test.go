package node

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"testing"
	"testing/synctest"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/retrieve"
	"github.com/strata-pacs/strata/storage"
	"github.com/strata-pacs/strata/storage/cachestore"
	"github.com/strata-pacs/strata/storage/delaystore"
)

// snapshot answers for the index with what it said once, and for the keys.
type snapshot struct {
	rows   []archive.InstanceRow
	secret archive.Secret
}

func (s *snapshot) Instances(_ context.Context, _ archive.Tenant, _ archive.UIDs, yield func(*archive.InstanceRow) bool) error {
	for i := range s.rows {
		if !yield(&s.rows[i]) {
			break
		}
	}
	return nil
}

func (s *snapshot) Chunks(context.Context, archive.Tenant, []int64, func(int64, archive.Chunk) bool) error {
	return nil
}

func (s *snapshot) Secret(context.Context, archive.KeyID) (archive.Secret, error) {
	return s.secret, nil
}

// TestSettledFar: what 500 instances that came one at a time cost to read from 50 ms
// away, before they are settled and after.
func TestSettledFar(t *testing.T) {
	const delay, instances = 50 * time.Millisecond, 500
	q := newQuiet(t, Settling{})
	defer func() { q.close(q.a) }()
	for i := range instances {
		q.stores(1+i/250, 1+i%250)
	}
	look := func() *snapshot {
		s := &snapshot{rows: rows(t, q.a, quietStudy)}
		var err error
		if s.secret, err = q.a.ring.Secret(t.Context(), s.rows[0].Key); err != nil {
			t.Fatal(err)
		}
		return s
	}
	// read returns how many requests it takes to read the study whole, and how many followed one another.
	read := func(s *snapshot) (requests, depth int) {
		dir := t.TempDir()
		synctest.Test(t, func(t *testing.T) {
			far := delaystore.New(q.mem, delaystore.Options{Delay: delay})
			cache, err := cachestore.New(far.Driver, cachestore.Options{Folder: dir, Bytes: 1 << 30})
			if err != nil {
				t.Fatal(err)
			}
			defer cache.Close()
			r := retrieve.New(retrieve.Options{Index: s, Objects: storage.New(cache.Driver), Secrets: s, Ahead: cache})
			defer r.Close()
			began, n := time.Now(), 0
			for b, err := range retrieve.Ahead(t.Context(), bodies(t, r), func(b *retrieve.Body) *retrieve.Body { return b }) {
				var got bytes.Buffer
				if err == nil {
					err = b.Write(t.Context(), &got)
				}
				if err != nil || !bytes.Equal(got.Bytes(), q.want[s.rows[n].UIDs]) {
					t.Fatalf("instance %d: %v", n, err)
				}
				n++
			}
			if n != instances {
				t.Errorf("%d instances", n)
			}
			requests, depth = int(far.Requests()), int(time.Since(began)/delay)
		})
		return requests, depth
	}
	loose := look()
	requests, depth := read(loose)
	objects := len(q.objects("log")) + len(q.objects("pack"))
	t.Logf("unsettled: %d objects; %d requests, %d in a row", objects, requests, depth)
	if requests != instances || depth < 5 {
		t.Errorf("unsettled: %d requests, %d in a row", requests, depth)
	}
	r := q.settles()
	q.passes(2 * time.Hour)
	q.sweeps()
	requests, depth = read(look())
	left := len(q.objects("log")) + len(q.objects("pack"))
	t.Logf("settled: %d objects of the study; %d requests, %d in a row", r.After, requests, depth)
	if r.Before != instances || r.After != 2 || left > objects-instances+2 {
		t.Errorf("%d objects became %d; %d are in the store", r.Before, r.After, left)
	}
	if requests > 3 || depth > 3 {
		t.Errorf("settled: %d requests, %d in a row", requests, depth)
	}
}

// bodies are the files of the study, in order.
func bodies(t *testing.T, r *retrieve.Reader) iter.Seq2[*retrieve.Body, error] {
	return func(yield func(*retrieve.Body, error) bool) {
		list, err := r.Find(t.Context(), archive.DefaultTenant, archive.UIDs{Study: quietStudy}, retrieve.Files)
		if err != nil {
			t.Error(fmt.Errorf("finding the study: %w", err))
			return
		}
		for i := range list {
			if !yield(r.File(&list[i], "")) {
				return
			}
		}
	}
}
