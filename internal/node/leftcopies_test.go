package node

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/retrieve"
)

// refOf is the reference of a study.
func refOf(t *testing.T, a *Archive, uid string) (ref archive.Ref) {
	t.Helper()
	err := a.Index.Studies(t.Context(), a.Tenant, archive.StudyFilter{UIDs: []string{uid}}, func(s *archive.StudyRow) bool {
		ref = s.Ref
		return true
	})
	if err != nil || ref == (archive.Ref{}) {
		t.Fatalf("no such study: %v", err)
	}
	return ref
}

// away moves a study into the archive as rules do, and returns its packs.
func away(t *testing.T, a *Archive, uid string) []archive.PackState {
	t.Helper()
	ref := refOf(t, a, uid)
	if _, err := a.Move.Move(t.Context(), a.Tenant, ref, glacier); err != nil {
		t.Fatal(err)
	}
	packs, err := a.Index.Packs(t.Context(), a.Tenant, ref)
	if err != nil || len(packs) == 0 || packs[0].Tier != glacier {
		t.Fatalf("%+v %v", packs, err)
	}
	return packs
}

func sweep(t *testing.T, a *Archive) int {
	t.Helper()
	s, err := a.Settle.Sweep(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	return s.Objects
}

// offered reports whether the instance is said to be there at once; then it must be.
func offered(t *testing.T, a *Archive, u archive.UIDs, file []byte) bool {
	t.Helper()
	found, err := a.Retrieve.Find(t.Context(), a.Tenant, u, retrieve.Files)
	if err != nil || len(found) != 1 {
		t.Fatalf("%d instances found, %v", len(found), err)
	}
	if found[0].Tier != archive.Online {
		return false
	}
	body, err := a.Retrieve.File(&found[0], "")
	var got strings.Builder
	if err == nil {
		err = body.Write(t.Context(), &got)
	}
	if err != nil || got.String() != string(file) {
		t.Fatalf("it is said to be there: %v", err)
	}
	return true
}

// TestRestoreOfWhatIsLeft: within the hold after a move nothing is paid; the copy stays as long as a restored one would, over
// a restart too; then it goes, and what is asked for next is restored.
func TestRestoreOfWhatIsLeft(t *testing.T) {
	t.Parallel()
	f := newFrozen(t)
	a := f.open()
	uids, files := heavy(t, a, 1, 2)
	away(t, a, uids[0].Study)
	if offered(t, a, uids[0], files[0]) {
		t.Error("nobody asked for it, and it can be read")
	}
	f.clock.Advance(22 * time.Hour) // of 24, less the last
	if n := sweep(t, a); n != 0 {
		t.Errorf("%d copies went", n)
	}
	if e, err := a.Restores().Estimate(t.Context(), a.Tenant, archive.RestoreRequest{Studies: []string{uids[0].Study}}); err != nil || e.Packs != 0 {
		t.Errorf("%+v %v", e, err)
	}
	st, err := a.Restores().Recall(t.Context(), a.Tenant, uids[0])
	if err != nil || st.State != archive.RestoreDone || st.ID != "" || st.Packs != 2 || st.Until.Sub(f.clock.Now()) != 7*24*time.Hour {
		t.Errorf("%+v %v", st, err)
	}
	f.close(a)
	a = f.open()
	for day := range 7 {
		for i := range uids {
			if !offered(t, a, uids[i], files[i]) {
				t.Errorf("day %d: it cannot be read", day)
			}
		}
		f.clock.Advance(24*time.Hour - time.Minute)
		if n := sweep(t, a); n != 0 {
			t.Errorf("day %d: %d copies went", day, n)
		}
	}
	f.clock.Advance(7 * time.Minute)
	if offered(t, a, uids[0], files[0]) || sweep(t, a) != 0 {
		t.Error("its time is over, and it can be read; or it went at once, from under who reads")
	}
	f.clock.Advance(time.Hour + time.Minute)
	if n := sweep(t, a); n != 2 {
		t.Errorf("%d copies went", n)
	}
	if n := f.server.Faults.Count("restore"); n != 0 {
		t.Errorf("the store was asked %d times", n)
	}
	st, err = a.Restores().Recall(t.Context(), a.Tenant, uids[0])
	if err != nil || st.ID == "" || st.Packs != 2 {
		t.Fatalf("%+v %v", st, err)
	}
	f.until(t, a.Restores(), st.ID, 10*time.Minute, archive.RestoreDone)
	if !offered(t, a, uids[1], files[1]) || f.server.Faults.Count("restore") != 2 {
		t.Errorf("asked %d times", f.server.Faults.Count("restore"))
	}
	f.close(a)
}

// TestLeftTooShort: a copy that is about to go is not counted on, nor is one that somebody removed by hand.
func TestLeftTooShort(t *testing.T) {
	t.Parallel()
	f := newFrozen(t)
	a := f.open()
	defer f.close(a)
	uids, _ := heavy(t, a, 1, 1)
	second, _ := heavy(t, a, 2, 1)
	away(t, a, uids[0].Study)
	f.clock.Advance(23*time.Hour + time.Minute)
	if st, err := a.Restores().Recall(t.Context(), a.Tenant, uids[0]); err != nil || st.ID == "" || st.Packs != 1 {
		t.Errorf("an hour before it goes: %+v %v", st, err)
	}
	packs := away(t, a, second[0].Study)
	hot, _, _ := a.n.Tier(archive.HotTier)
	if err := hot.Delete(t.Context(), packs[0].Object); err != nil {
		t.Fatal(err)
	}
	if st, err := a.Restores().Recall(t.Context(), a.Tenant, second[0]); err != nil || st.ID == "" || st.Packs != 1 {
		t.Errorf("removed by hand: %+v %v", st, err)
	}
}

// TestMoveBackOfWhatIsLeft: a study whose copy is still there comes back to the hot tier without a restore, and stays.
func TestMoveBackOfWhatIsLeft(t *testing.T) {
	f := newFrozen(t)
	a := f.open()
	defer f.close(a)
	uids, files := heavy(t, a, 1, 1)
	away(t, a, uids[0].Study)
	if _, err := a.Move.Move(t.Context(), a.Tenant, refOf(t, a, uids[0].Study), archive.HotTier); err != nil {
		t.Fatal(err)
	}
	f.clock.Advance(10 * 24 * time.Hour)
	sweep(t, a)
	if !offered(t, a, uids[0], files[0]) || f.server.Faults.Count("restore") != 0 {
		t.Error("it cannot be read, or it was restored")
	}
}

// TestReadersAndSweeper: while time goes by and copies go, whoever reads gets everything, or hears that it must be restored.
func TestReadersAndSweeper(t *testing.T) {
	t.Parallel()
	f := newFrozen(t)
	f.o.Restores.For = 24 * time.Hour
	a := f.open()
	defer f.close(a)
	uids, files := heavy(t, a, 1, 1)
	packs := away(t, a, uids[0].Study)
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	wg.Go(func() {
		for ctx.Err() == nil {
			if _, err := a.Settle.Sweep(ctx, 0); err != nil && ctx.Err() == nil {
				t.Errorf("sweeping: %v", err)
				return
			}
			time.Sleep(time.Millisecond)
		}
	})
	begin, last := f.clock.Now(), time.Duration(0)
	hot, _, _ := a.n.Tier(archive.HotTier)
	object := packs[0].Object
	for at := time.Duration(0); at < 32*time.Hour; at = f.clock.Now().Sub(begin) {
		if at < 4*time.Hour {
			if st, err := a.Restores().Recall(t.Context(), a.Tenant, uids[0]); err != nil || st.ID != "" {
				t.Fatalf("after %s: %+v %v", at, st, err)
			}
		}
		if offered(t, a, uids[0], files[0]) {
			last = at
		}
		f.clock.Advance(40 * time.Minute)
	}
	// It was asked for again and again, for a day each; what gains less than a day is not asked for.
	if last < 23*time.Hour || last > 28*time.Hour || f.server.Faults.Count("restore") != 0 {
		t.Errorf("read for %s, the store was asked %d times", last, f.server.Faults.Count("restore"))
	}
	stop()
	wg.Wait()
	sweep(t, a)
	if here, err := hot.Exists(t.Context(), object); err != nil || here {
		t.Errorf("the copy is there: %v %v", here, err)
	}
}
