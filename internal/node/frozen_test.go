package node

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/retrieve"
	"github.com/strata-pacs/strata/internal/retrieve/retrievetest"
	"github.com/strata-pacs/strata/internal/testservers"
	"github.com/strata-pacs/strata/storage"
	"github.com/strata-pacs/strata/storage/driver"
	"github.com/strata-pacs/strata/storage/s3protocol/glaciertest"
	"github.com/strata-pacs/strata/storage/s3store"
)

const glacier archive.TierName = "archive"

// frozen is an archive with a tier in a stand-in of a provider, whose hours pass when the test says so.
type frozen struct {
	*place
	clock  *glaciertest.Clock
	server *glaciertest.Server
	delay  func(class, tier string) time.Duration // of restores; nil: as Amazon's
}

// newFrozen has a store in the data folder and an archive tier.
func newFrozen(t *testing.T) *frozen {
	t.Helper()
	f := &frozen{place: newPlace(t)}
	f.tier(t, &f.o)
	return f
}

// tier adds the archive tier to the options.
func (f *frozen) tier(t *testing.T, o *Options) {
	t.Helper()
	f.clock = glaciertest.NewClock()
	f.server = glaciertest.Start(t, testservers.Versitygw(t), glaciertest.Options{Now: f.clock.Now, Delay: f.delay})
	f.server.NewBucket(t, "restores", false)
	address := f.server.URL("restores", "")
	d, err := s3store.Open(t.Context(), address, s3store.Options{AccessKey: f.server.AccessKey, SecretKey: f.server.SecretKey, Now: f.clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	o.Now = f.clock.Now
	o.KeyLease, o.KeyGrace = 100*24*time.Hour, 100*24*time.Hour // hours pass at once
	o.ReconcileEvery = time.Hour
	o.Restores = RestoreOptions{Poll: 10 * time.Millisecond}
	o.Tiers = []archive.Tier{{Name: archive.HotTier, Prices: archive.Prices{GBMonth: 0.02}},
		{Name: glacier, Store: address, Class: "GLACIER", Restore: true, Speeds: []archive.RestoreSpeed{
			{Priority: archive.Expedited, Word: "Expedited", Typical: 3 * time.Minute, Longest: 5 * time.Minute, GB: 0.03, Requests: 10},
			{Priority: archive.Standard, Word: "Standard", Typical: 4 * time.Hour, Longest: 5 * time.Hour, GB: 0.01, Requests: 0.05},
			{Priority: archive.Bulk, Word: "Bulk", Typical: 8 * time.Hour, Longest: 12 * time.Hour}}}}
	o.TierStores = map[string]driver.Driver{address: d}
}

// heavy is a study with so many series that each lie in a pack of their own.
func heavy(t *testing.T, a *Archive, study, series int) (uids []archive.UIDs, files [][]byte) {
	t.Helper()
	for s := range series {
		u := archive.UIDs{Study: fmt.Sprintf("1.2.%d", study), Series: fmt.Sprintf("1.2.%d.%d", study, s+1), Instance: fmt.Sprintf("1.2.%d.%d.1", study, s+1)}
		file := retrievetest.Part10(retrievetest.Image{UIDs: u, Rows: 2900, Columns: 2900, Name: "Doe^Jane", PatientID: fmt.Sprintf("P%d", study)})
		for _, r := range store(t, a, file) {
			if r.Err != nil {
				t.Fatal(r.Err)
			}
		}
		uids, files = append(uids, u), append(files, file)
	}
	return uids, files
}

// freeze moves the packs of a study into the archive tier, and returns how many.
func freeze(t *testing.T, a *Archive, study string) int {
	t.Helper()
	ctx := t.Context()
	var ref archive.Ref
	err := a.Index.Studies(ctx, a.Tenant, archive.StudyFilter{UIDs: []string{study}}, func(s *archive.StudyRow) bool {
		ref = s.Ref
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	packs, err := a.Index.Packs(ctx, a.Tenant, ref)
	if err != nil || len(packs) == 0 {
		t.Fatalf("packs of the study: %v, %v", packs, err)
	}
	hot, _, _ := a.n.Tier(archive.HotTier)
	cold, tier, _ := a.n.Tier(glacier)
	fact := &archive.Fact{Kind: archive.FactMoved, Study: ref}
	for _, p := range packs {
		b, err := hot.Get(ctx, p.Object, 64<<20)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := cold.Put(ctx, p.Object, b, storage.CreateOptions{Class: tier.Class}); err != nil {
			t.Fatal(err)
		}
		place := p.PackPlace
		place.Tier, place.From, place.Size = glacier, archive.HotTier, int64(len(b))
		fact.Packs = append(fact.Packs, place)
	}
	entry, err := a.log.Append(ctx, fact, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Index.Apply(ctx, a.Tenant, entry); err != nil {
		t.Fatal(err)
	}
	for _, p := range packs {
		if err := hot.Delete(ctx, p.Object); err != nil {
			t.Fatal(err)
		}
	}
	return len(packs)
}

// reads reports whether the instance's file can be read; an error other than that it is archived fails the test.
func reads(t *testing.T, a *Archive, u archive.UIDs, file []byte) bool {
	t.Helper()
	found, err := a.Retrieve.Find(t.Context(), a.Tenant, u, retrieve.Files)
	if err != nil || len(found) != 1 {
		t.Fatalf("%d instances found, %v", len(found), err)
	}
	body, err := a.Retrieve.File(&found[0], "")
	var got strings.Builder
	if err == nil {
		err = body.Write(t.Context(), &got)
	}
	if err != nil {
		if !fault.Is(err, fault.Archived) || found[0].Tier != archive.Nearline {
			t.Fatalf("%s: %v", found[0].Tier, err)
		}
		return false
	}
	if got.String() != string(file) || found[0].Tier != archive.Online {
		t.Fatalf("other bytes come back, or it is %s", found[0].Tier)
	}
	return true
}

// until lets time pass until the restore is in the state.
func (f *frozen) until(t *testing.T, r Restores, id string, step time.Duration, state archive.RestoreState) archive.RestoreStatus {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		st, err := r.Status(t.Context(), archive.DefaultTenant, id)
		if err != nil {
			t.Fatal(err)
		}
		if st.State == state {
			return st
		}
		if st.State.Ended() {
			t.Fatalf("ended as %+v, want %s", st, state)
		}
		if !st.Ready.After(f.clock.Now()) {
			t.Fatalf("at %s expected at %s", f.clock.Now(), st.Ready)
		}
		f.clock.Advance(step)
	}
	t.Fatalf("never %s", state)
	return archive.RestoreStatus{}
}

// begun waits until the store was asked so often.
func (f *frozen) begun(t *testing.T, n int) {
	t.Helper()
	f.server.Faults.Await(t, "restore", n)
}
