package node

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/ingest"
	"github.com/strata-pacs/strata/storage"
	"github.com/strata-pacs/strata/storage/faultstore"
	"github.com/strata-pacs/strata/storage/memstore"
)

// TestShredCrash: the process dies at each operation of the store in turn. Asking again comes to the end.
func TestShredCrash(t *testing.T) {
	t.Parallel()
	for at := 1; ; at++ {
		p := newPlace(t)
		p.o.ReconcileEvery = time.Hour
		mem := memstore.New(memstore.Options{})
		fs := faultstore.New(mem, nil)
		p.o.Driver = fs.Driver
		a := p.open()
		_, file := anna.of(1, 1)
		_, other := berta.of(2, 1)
		stores(t, a, file)
		stores(t, a, other)
		if _, err := a.Bucket.Put(t.Context(), "default/escrow/00/"+rows(t, a, "1.2.1")[0].Key.String(), []byte("wrapped"), storage.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		n := 0
		fs.Script(func(o faultstore.Op) faultstore.Decision {
			if n++; n == at {
				return faultstore.Decision{Action: []faultstore.Action{faultstore.CrashBefore, faultstore.CrashAfter}[at%2]}
			}
			return faultstore.Decision{}
		})
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		_, err := a.Shred.Shred(ctx, archive.ShredTarget{Study: "1.2.1"})
		cancel()
		over := !fs.Crashed()
		if over && err != nil {
			t.Fatalf("without a crash: %v", err)
		}
		p.abandon(a)
		fs.Script(nil)
		fs.Restart()
		a = p.open()
		st := shreds(t, a, archive.ShredTarget{Study: "1.2.1"})
		if st.Studies != 1 || st.Keys != 1 || st.Instances != 1 {
			t.Errorf("crashed at %d: %+v", at, st)
		}
		if k := len(keyObjects(t, a)); k != 1 || found(t, a, "1.2.1") != 0 || found(t, a, "1.2.2") != 1 {
			t.Errorf("crashed at %d: %d keys are left", at, k)
		}
		if page, err := a.Bucket.List(t.Context(), "default/escrow/", "", 1); err != nil || len(page.Objects) != 0 {
			t.Errorf("crashed at %d: escrow is left", at)
		}
		if r := p.verify(a); len(r.Gaps) != 0 {
			t.Errorf("crashed at %d: %+v", at, r)
		}
		stores(t, a, file)
		p.close(a)
		if over {
			if at < 4 {
				t.Fatalf("only %d operations", at)
			}
			return
		}
	}
}

// TestShredRace: stores go on while the study is shredded again and again. Each is acknowledged or refused, and what is
// shown opens; nothing is shown of a key that is closed.
func TestShredRace(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.o.ReconcileEvery = time.Hour
	a := p.open()
	defer func() { p.close(a) }()
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var stored, refused [2]int
	for w := range 2 {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				_, file := anna.of(1, 10*(i%5)+w)
				switch r := store(t, a, file)[0]; {
				case r.Outcome != ingest.Refused:
					stored[w]++
				case fault.Is(r.Err, fault.Conflict):
					refused[w]++
				default:
					t.Errorf("%+v", r)
				}
			}
		})
	}
	shredded := 0
	for began := time.Now(); shredded < 60 && time.Since(began) < 60*time.Second; {
		st, err := a.Shred.Shred(t.Context(), archive.ShredTarget{Study: "1.2.1"})
		if err == nil {
			shredded = st.Keys
		} else if !fault.Is(err, fault.NotFound) {
			t.Error(err)
		}
	}
	close(stop)
	wg.Wait()
	t.Logf("stored %v, refused %v, shredded %d", stored, refused, shredded)
	if shredded < 60 {
		t.Errorf("only %d keys were destroyed", shredded)
	}
	for _, r := range rows(t, a, "1.2.1") {
		if closed, err := a.Index.Closed(t.Context(), a.Tenant, r.Key); err != nil || closed {
			t.Error("an instance under a closed key is shown")
		}
	}
	if r := p.verify(a); len(r.Gaps) != 0 {
		t.Errorf("%+v", r)
	}
	u, file := anna.of(1, 1)
	store(t, a, file)
	p.wants(a, u, file)
	before := studies(t, a)
	p.close(a)
	if r, err := Rebuild(t.Context(), p.o, nil); err != nil || len(r.Gaps) != 0 {
		t.Errorf("rebuild: %+v, %v", r, err)
	}
	a = p.open()
	if after := studies(t, a); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}
