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
	"github.com/strata-pacs/strata/internal/testservers"
	"github.com/strata-pacs/strata/storage/filestore"
	"github.com/strata-pacs/strata/storage/s3protocol/s3protocoltest"
)

// TestRestore: a study in an archive, a hundred who want it, its return, and again.
func TestRestore(t *testing.T) {
	t.Parallel()
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
	t.Parallel()
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
	t.Parallel()
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
	t.Parallel()
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
	t.Parallel()
	f := newFrozen(t)
	a := f.open()
	defer f.close(a)
	r := a.Restores()
	uids, _ := heavy(t, a, 1, 1)
	freeze(t, a, uids[0].Study)
	_, small := image(7, 1)
	store(t, a, small)
	for name, q := range map[string]archive.RestoreRequest{
		"patient": {PatientID: "P1"}, "query": {Query: "PatientID=P1"}, "study": {Studies: []string{"1.2.1"}}, "study and series": {Studies: []string{"1.2.1"}, First: uids[0]},
	} {
		e, err := r.Estimate(t.Context(), a.Tenant, q)
		if err != nil || e.Studies != 1 || e.Packs != 1 || len(e.Choices) != 3 || e.Choices[2].Cost <= 0 {
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
	if err != nil || p.Priors != 1 || p.Restore.Packs != 1 || p.Restore.Priority != archive.Bulk {
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
	t.Parallel()
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
	uids, files := heavy(t, a, 1, 1)
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
	f.begun(t, 1)
	one.stop() // its leases end by themselves, or are given back
	st, err := two.Restores().Status(t.Context(), a.Tenant, ids[7])
	if err != nil || st.Requests != len(ids) || st.ID != ids[0] {
		t.Errorf("%+v %v", st, err)
	}
	f.until(t, two.Restores(), ids[0], 10*time.Minute, archive.RestoreDone)
	if !reads(t, b, uids[0], files[0]) || f.server.Faults.Count("restore") != 1 {
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
