package node

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/keys/keystest"
	"github.com/strata-pacs/strata/internal/retrieve"
	"github.com/strata-pacs/strata/internal/retrieve/retrievetest"
	"github.com/strata-pacs/strata/internal/testservers"
	"github.com/strata-pacs/strata/storage"
	"github.com/strata-pacs/strata/storage/driver"
	"github.com/strata-pacs/strata/storage/filestore"
	"github.com/strata-pacs/strata/storage/s3protocol/glaciertest"
	"github.com/strata-pacs/strata/storage/s3protocol/s3protocoltest"
	"github.com/strata-pacs/strata/storage/s3store"
)

const glacier archive.TierName = "archive"

// frozen is an archive with a tier in a stand-in of a provider, whose hours pass when the test says so.
type frozen struct {
	*place
	clock  *glaciertest.Clock
	server *glaciertest.Server
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
	f.server = glaciertest.Start(t, testservers.Versitygw(t), glaciertest.Options{Now: f.clock.Now})
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
		file := retrievetest.Part10(retrievetest.Image{UIDs: u, Rows: 3000, Columns: 3000, Name: "Doe^Jane", PatientID: fmt.Sprintf("P%d", study)})
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

// TestRestore: a study in an archive, a hundred who want it, its return, and again.
func TestRestore(t *testing.T) {
	f := newFrozen(t)
	a := f.open()
	defer f.close(a)
	uids, files := heavy(t, a, 1, 2)
	packs := freeze(t, a, uids[0].Study)
	if packs != 2 || reads(t, a, uids[0], files[0]) {
		t.Fatalf("%d packs, or it can be read", packs)
	}
	r := a.Restores()
	const viewers = 100
	ids := make([]string, viewers)
	var wg sync.WaitGroup
	for i := range viewers {
		wg.Go(func() {
			st, err := r.Ask(t.Context(), a.Tenant, archive.RestoreRequest{Studies: []string{uids[0].Study}, First: uids[1]})
			if err != nil {
				t.Error(err)
			}
			ids[i] = st.ID
		})
	}
	wg.Wait()
	f.begun(t, packs)
	waited := make(chan archive.RestoreStatus, viewers)
	for i := range viewers {
		if ids[i] != ids[0] {
			t.Fatalf("restores %s and %s", ids[0], ids[i])
		}
		wg.Go(func() {
			st, err := r.Wait(t.Context(), a.Tenant, ids[i])
			if err != nil {
				t.Error(err)
			}
			waited <- st
		})
	}
	st := f.until(t, r, ids[0], 10*time.Minute, archive.RestoreDone)
	wg.Wait()
	if st.Requests != viewers || st.Packs != packs || st.PacksIn != packs || st.Bytes < 30<<20 || st.Until.Sub(f.clock.Now()) < 7*24*time.Hour-time.Hour {
		t.Errorf("%+v", st)
	}
	for range viewers {
		if st := <-waited; st.State != archive.RestoreDone {
			t.Errorf("%+v", st)
		}
	}
	for i := range uids {
		if !reads(t, a, uids[i], files[i]) {
			t.Error("it is restored, and cannot be read")
		}
	}
	if n := f.server.Faults.Count("restore"); n != packs {
		t.Errorf("the store was asked %d times for %d packs", n, packs)
	}
	// Its time is over: back in the archive, without an upload.
	puts := f.server.Faults.Count("put")
	f.clock.Advance(9 * 24 * time.Hour)
	if st, err := r.Status(t.Context(), a.Tenant, ids[0]); err != nil || st.State != archive.RestoreExpired {
		t.Errorf("%+v %v", st, err)
	}
	if reads(t, a, uids[0], files[0]) {
		t.Error("it can be read after its time")
	}
	again, err := r.Recall(t.Context(), a.Tenant, uids[0])
	if err != nil || again.ID == ids[0] {
		t.Fatalf("%+v %v", again, err)
	}
	f.until(t, r, again.ID, 10*time.Minute, archive.RestoreDone)
	if !reads(t, a, uids[0], files[0]) || f.server.Faults.Count("put") != puts || f.server.Faults.Count("restore") != 2*packs {
		t.Errorf("again: %d uploads, asked %d times", f.server.Faults.Count("put")-puts, f.server.Faults.Count("restore"))
	}
}

// TestRestoreOutlivesProcess: the process is killed after the store was asked, and once more later.
func TestRestoreOutlivesProcess(t *testing.T) {
	f := newFrozen(t)
	a := f.open()
	uids, files := heavy(t, a, 1, 1)
	freeze(t, a, uids[0].Study)
	st, err := a.Restores().Recall(t.Context(), a.Tenant, uids[0])
	if err != nil {
		t.Fatal(err)
	}
	f.begun(t, 1)
	for range 2 {
		f.abandon(a)
		f.clock.Advance(time.Hour)
		a = f.open()
	}
	defer f.close(a)
	if got := f.until(t, a.Restores(), st.ID, 10*time.Minute, archive.RestoreDone); !got.Asked.Equal(st.Asked) {
		t.Errorf("%+v, was %+v", got, st)
	}
	if !reads(t, a, uids[0], files[0]) || f.server.Faults.Count("restore") != 1 {
		t.Errorf("asked %d times", f.server.Faults.Count("restore"))
	}
}

// TestRestoreTrouble: a provider that slows down, has no capacity, breaks off, refuses, and is gone.
func TestRestoreTrouble(t *testing.T) {
	f := newFrozen(t)
	a := f.open()
	defer f.close(a)
	r := a.Restores()
	uids, files := heavy(t, a, 1, 1)
	freeze(t, a, uids[0].Study)
	refused := func(w http.ResponseWriter, q *http.Request) bool {
		if s3protocoltest.Kind(q) != "restore" {
			return false
		}
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, `<?xml version="1.0" encoding="UTF-8"?><Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>`)
		return true
	}
	for _, tt := range []struct {
		name      string
		priority  archive.Priority
		make, end func()
		during    string
	}{
		{"slow down", archive.Standard, func() { f.server.Faults.Script(s3protocoltest.Times(1000, "restore", s3protocoltest.SlowDown)) },
			func() { f.server.Faults.Script(nil) }, "fewer requests"},
		{"no expedited capacity", archive.Expedited, func() { f.server.SetExpedited(0) }, func() { f.server.SetExpedited(-1) }, "restored at priority standard"},
		{"refused", archive.Standard, func() { f.server.Faults.Answer(refused) }, func() { f.server.Faults.Answer(nil) }, "policy"},
		{"gone", archive.Standard, func() { f.server.Faults.Answer(gone) }, func() { f.server.Faults.Answer(nil) }, "does not answer"},
	} {
		tt.make()
		st, err := r.Ask(t.Context(), a.Tenant, archive.RestoreRequest{Studies: []string{uids[0].Study}, Priority: tt.priority})
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		for end := time.Now().Add(30 * time.Second); !strings.Contains(st.Failure, tt.during); time.Sleep(20 * time.Millisecond) {
			f.clock.Advance(20 * time.Second)
			if st, err = r.Status(t.Context(), a.Tenant, st.ID); err != nil || st.State.Ended() || time.Now().After(end) {
				t.Fatalf("%s: %+v %v", tt.name, st, err)
			}
		}
		tt.end()
		if st = f.until(t, r, st.ID, 10*time.Minute, archive.RestoreDone); st.Failure != "" || !reads(t, a, uids[0], files[0]) {
			t.Errorf("%s: %+v", tt.name, st)
		}
		f.clock.Advance(10 * 24 * time.Hour)
	}
}

// gone cuts every connection.
func gone(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) }

// TestRestoreGoes: studies that are deleted or shredded while they are restored, and a restore that is cancelled.
func TestRestoreGoes(t *testing.T) {
	f := newFrozen(t)
	f.o.Restores.Running = 1
	a := f.open()
	defer f.close(a)
	r := a.Restores()
	var uids []archive.UIDs
	for study := range 3 {
		u, _ := heavy(t, a, study+1, 1)
		freeze(t, a, u[0].Study)
		uids = append(uids, u[0])
	}
	ask := func(u archive.UIDs) string {
		t.Helper()
		st, err := r.Recall(t.Context(), a.Tenant, u)
		if err != nil {
			t.Fatal(err)
		}
		return st.ID
	}
	running, waiting := ask(uids[0]), ""
	f.begun(t, 1)
	waiting = ask(uids[1])
	cancelled := ask(uids[2])
	if st, err := r.Cancel(t.Context(), a.Tenant, cancelled); err != nil || st.State != archive.RestoreCancelled {
		t.Errorf("%+v %v", st, err)
	}
	for _, u := range uids[:2] {
		if _, err := a.n.Shredder().Shred(t.Context(), a.Tenant, archive.ShredTarget{Study: u.Study}); err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range []string{running, waiting, cancelled} {
		f.until(t, r, id, 10*time.Minute, archive.RestoreCancelled)
	}
	if n := f.server.Faults.Count("restore"); n != 1 {
		t.Errorf("asked %d times", n)
	}
	if _, err := r.Recall(t.Context(), a.Tenant, uids[0]); !fault.Is(err, fault.NotFound) {
		t.Errorf("a study that was shredded: %v", err)
	}
}

// TestRestoreFinds: by patient, by query, and before appointments.
func TestRestoreFinds(t *testing.T) {
	f := newFrozen(t)
	a := f.open()
	defer f.close(a)
	r := a.Restores()
	uids, _ := heavy(t, a, 1, 2)
	freeze(t, a, uids[0].Study)
	_, small := image(7, 1)
	store(t, a, small)
	for name, q := range map[string]archive.RestoreRequest{
		"patient": {PatientID: "P1"}, "query": {Query: "PatientID=P1"}, "study": {Studies: []string{"1.2.1"}}, "study and series": {Studies: []string{"1.2.1"}, First: uids[1]},
	} {
		e, err := r.Estimate(t.Context(), a.Tenant, q)
		if err != nil || e.Studies != 1 || e.Packs != 2 || len(e.Choices) != 3 || e.Choices[2].Cost <= 0 {
			t.Errorf("%s: %+v %v", name, e, err)
		}
	}
	for name, tt := range map[string]struct {
		q    archive.RestoreRequest
		kind fault.Kind
	}{
		"no such study":      {archive.RestoreRequest{Studies: []string{"1.2.1", "1.2.99"}}, fault.NotFound},
		"no such series":     {archive.RestoreRequest{Studies: []string{"1.2.1"}, First: archive.UIDs{Series: "1.9"}}, fault.NotFound},
		"an unknown keyword": {archive.RestoreRequest{Query: "PatientsID=P1"}, fault.Invalid},
	} {
		if _, err := r.Estimate(t.Context(), a.Tenant, tt.q); !fault.Is(err, tt.kind) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, q := range []archive.RestoreRequest{{PatientID: "P*"}, {PatientID: "P1", Issuer: "another"}, {PatientID: "p1"}} {
		if e, err := r.Estimate(t.Context(), a.Tenant, q); err != nil || e.Studies != 0 {
			t.Errorf("%+v: %+v %v", q, e, err)
		}
	}
	if st, err := r.Ask(t.Context(), a.Tenant, archive.RestoreRequest{Studies: []string{"1.2.7"}}); err != nil || st.State != archive.RestoreDone || st.ID != "" {
		t.Errorf("what was never away: %+v %v", st, err)
	}
	p, err := r.Prefetch(t.Context(), a.Tenant, []archive.Appointment{{PatientID: "P1", At: f.clock.Now().Add(20 * time.Hour), Modality: "CT"}}, "RIS", "")
	if err != nil || p.Priors != 1 || p.Restore.Packs != 2 || p.Restore.Priority != archive.Bulk {
		t.Fatalf("%+v %v", p, err)
	}
	f.until(t, r, p.Restore.ID, 10*time.Minute, archive.RestoreDone)
	if list, err := r.List(t.Context(), a.Tenant, "", 10, false); err != nil || len(list) != 2 {
		t.Errorf("%+v %v", list, err)
	}
	if _, err := r.List(t.Context(), "nobody", "", 10, false); !fault.Is(err, fault.NotFound) {
		t.Errorf("of a tenant that is not there: %v", err)
	}
}

// TestRestoreOnTwoNodes: two nodes are asked, one works; when it dies the other goes on. Who watches
// is cut off when the key is taken away.
func TestRestoreOnTwoNodes(t *testing.T) {
	h := &house{PostgresServer: testservers.Postgres(t)}
	objects, err := filestore.New(filepath.Join(t.TempDir(), "objects"), filestore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	provider := keystest.NewProvider("kek", 3)
	h.o = Options{Database: h.DSN("restores"), Remote: objects, Wrapper: provider, KEK: "kek", NodeLease: 2 * time.Second}
	f := &frozen{}
	f.tier(t, &h.o)
	one, a := h.open(t)
	two, b := h.open(t)
	uids, files := heavy(t, a, 1, 2)
	freeze(t, a, uids[0].Study)
	var wg sync.WaitGroup
	ids := make([]string, 20)
	for i := range ids {
		wg.Go(func() {
			st, err := []Restores{one.Restores(), two.Restores()}[i%2].Ask(t.Context(), a.Tenant, archive.RestoreRequest{Studies: []string{uids[0].Study}})
			if err != nil {
				t.Error(err)
			}
			ids[i] = st.ID
		})
	}
	wg.Wait()
	f.begun(t, 2)
	one.stop() // its leases end by themselves, or are given back
	st, err := two.Restores().Status(t.Context(), a.Tenant, ids[7])
	if err != nil || st.Requests != len(ids) || st.ID != ids[0] {
		t.Errorf("%+v %v", st, err)
	}
	f.until(t, two.Restores(), ids[0], 10*time.Minute, archive.RestoreDone)
	if !reads(t, b, uids[1], files[1]) || f.server.Faults.Count("restore") != 2 {
		t.Errorf("asked %d times", f.server.Faults.Count("restore"))
	}

	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	looks := 0
	err = two.Restores().Watch(ctx, a.Tenant, ids[0], func(archive.RestoreStatus) error {
		if looks++; looks == 3 {
			if _, err := two.Tenants().Change(ctx, a.Tenant, func(s *archive.TenantSettings) error { s.State = archive.TenantRevoked; return nil }); err != nil {
				return err
			}
		}
		return nil
	})
	if !fault.Is(err, fault.KeyDenied) || looks < 3 {
		t.Errorf("after %d looks: %v", looks, err)
	}
}
