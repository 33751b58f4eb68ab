package node

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/lifecycle/move"
	"github.com/strata-pacs/strata/storage/driver"
	"github.com/strata-pacs/strata/storage/faultstore"
	"github.com/strata-pacs/strata/storage/filestore"
	"github.com/strata-pacs/strata/storage/memstore"
)

// mover moves packs of any size, as if they were settled.
func mover(n *Node, a *Archive) *move.Mover {
	return move.New(move.Options{Index: n.Index, Log: a.log, Tiers: n.tiers, Least: 1})
}

// TestMoveCrash: the process dies at each operation of either store in turn. The
// study is read when it is back, and the next move comes to its end.
func TestMoveCrash(t *testing.T) {
	t.Parallel()
	for _, side := range []string{"hot", "cold"} {
		t.Run(side, func(t *testing.T) {
			for at := 1; ; at++ {
				p, cold := newTieredPlace(t)
				p.o.ReconcileEvery, p.o.ReadCache = time.Hour, ""
				hot := faultstore.New(memstore.New(memstore.Options{}), nil)
				p.o.Driver = hot.Driver
				a := p.open()
				u, file := image(1, 1)
				store(t, a, file)
				broken, n := map[string]*faultstore.Store{"hot": hot, "cold": cold}[side], 0
				ctx, cancel := context.WithCancel(t.Context())
				broken.Script(func(faultstore.Op) faultstore.Decision {
					if n++; n == at {
						time.AfterFunc(300*time.Millisecond, cancel) // nobody answers any more
						return faultstore.Decision{Action: []faultstore.Action{faultstore.CrashBefore, faultstore.CrashAfter}[at%2]}
					}
					return faultstore.Decision{}
				})
				study := a.ring.Ref(u.Study)
				moved, err := mover(p.host, a).Move(ctx, a.Tenant, study, "cold")
				cancel()
				over := !broken.Crashed()
				if over && (err != nil || moved == 0) {
					t.Fatalf("without a crash: %d, %v", moved, err)
				}
				p.abandon(a)
				broken.Script(nil)
				broken.Restart()
				a = p.open()
				p.wants(a, u, file)
				if r := p.verify(a); len(r.Gaps) != 0 {
					t.Errorf("crashed at %d: %+v", at, r)
				}
				if _, err := mover(p.host, a).Move(t.Context(), a.Tenant, study, "cold"); err != nil {
					t.Errorf("crashed at %d: %v", at, err)
				}
				packs, err := a.Index.Packs(t.Context(), a.Tenant, study)
				if err != nil || len(packs) != 1 || packs[0].Tier != "cold" {
					t.Fatalf("crashed at %d: %+v, %v", at, packs, err)
				}
				doomed, err := a.Index.Doomed(t.Context(), a.Tenant, time.Now().Add(time.Hour), true, 0, 10)
				if err != nil || len(doomed) != 1 || doomed[0].Tier != archive.HotTier || doomed[0].Object != packs[0].Object {
					t.Errorf("crashed at %d: copies to be deleted: %+v, %v", at, doomed, err)
				}
				carry(t, p.host, "hot", "cold") // the hold has ended
				p.wants(a, u, file)
				p.close(a)
				if over {
					if at < 4 {
						t.Fatalf("only %d operations", at)
					}
					return
				}
			}
		})
	}
}

// TestTwoNodesMoveOneStudy: whoever is first, both come to the end, and the study is read throughout.
func TestTwoNodesMoveOneStudy(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	cold, err := filestore.New(filepath.Join(t.TempDir(), "cold"), filestore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	h.o.Tiers = []archive.Tier{{Name: "hot"}, {Name: "cold", Store: coldStore}}
	h.o.TierStores = map[string]driver.Driver{coldStore: cold}
	h.o.StoreMemory = 1
	n1, a1 := h.open(t)
	n2, a2 := h.open(t)
	p := &place{t: t, host: n1}
	const studies = 6
	for i := range studies {
		_, file := image(i, 1)
		store(t, a1, file)
	}
	for _, to := range []archive.TierName{"cold", "hot", "cold"} {
		var wg sync.WaitGroup
		for k, m := range []*move.Mover{mover(n1, a1), mover(n2, a2), mover(n2, a2)} {
			wg.Go(func() {
				for i := range studies {
					ref := a1.ring.Ref(fmt.Sprintf("1.2.%d", i))
					if _, err := m.Move(t.Context(), a1.Tenant, ref, to); err != nil && !fault.Is(err, fault.Conflict) {
						t.Errorf("mover %d: %v", k, err)
					}
				}
			})
		}
		for i := range studies {
			u, file := image(i, 1)
			p.wants(a2, u, file)
		}
		wg.Wait()
		for i := range studies {
			packs, err := a2.Index.Packs(t.Context(), a2.Tenant, a2.ring.Ref(fmt.Sprintf("1.2.%d", i)))
			if err != nil || len(packs) != 1 || packs[0].Tier != to {
				t.Errorf("study %d: %+v, %v; want %s", i, packs, err, to)
			}
		}
	}
	carry(t, n1, "hot", "cold")
	for i := range studies {
		u, file := image(i, 1)
		p.wants(a1, u, file)
	}
	if r := p.verify(a1); len(r.Gaps) > 0 || r.Packs != studies {
		t.Errorf("%+v", r)
	}
}
