package drill_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/drill"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/keys"
	"github.com/strata-pacs/strata/internal/testservers"
	"github.com/strata-pacs/strata/storage"
	"github.com/strata-pacs/strata/storage/driver"
	"github.com/strata-pacs/strata/storage/filestore"
	"github.com/strata-pacs/strata/storage/s3protocol/glaciertest"
	"github.com/strata-pacs/strata/storage/s3store"
)

// restorer asks the store as the archive's own does, and its waiting moves the clock.
type restorer struct {
	w     *world
	clock *glaciertest.Clock
	asked []archive.Priority
	state archive.RestoreState // that a restore ends with; done if empty
	err   error                // of Ask
	gone  string               // UID of a study that is not known
}

func (r *restorer) Ask(ctx context.Context, _ archive.Tenant, studies []string, p archive.Priority) (archive.RestoreStatus, error) {
	if len(studies) == 0 { // as a Restorer does
		return archive.RestoreStatus{}, fault.New(fault.Invalid, "name either studies, or a patient, or a query")
	}
	if r.err != nil {
		return archive.RestoreStatus{}, r.err
	}
	if slices.Contains(studies, r.gone) {
		return archive.RestoreStatus{}, fault.New(fault.NotFound, "no such study")
	}
	r.asked = append(r.asked, p)
	if r.state != "" {
		return archive.RestoreStatus{ID: "R", State: archive.RestoreRunning}, nil
	}
	for _, uid := range studies {
		for _, k := range r.w.index.studies[r.w.ring.Ref(uid)].packs {
			if err := r.w.coldBucket.Thaw(ctx, k.Object, storage.ThawOptions{For: 24 * time.Hour, Speed: "Bulk"}); err != nil {
				return archive.RestoreStatus{}, err
			}
		}
	}
	return archive.RestoreStatus{ID: "R", State: archive.RestoreRunning}, nil
}

func (r *restorer) Wait(ctx context.Context, _ archive.Tenant, id string) (archive.RestoreStatus, error) {
	if id != "R" {
		return archive.RestoreStatus{}, fault.New(fault.NotFound, "there is no such restore")
	}
	if r.state != "" {
		return archive.RestoreStatus{ID: id, State: r.state, Failure: "the provider refuses"}, ctx.Err()
	}
	r.clock.Advance(49 * time.Hour)
	return archive.RestoreStatus{ID: id, State: archive.RestoreDone}, ctx.Err()
}

// TestGlacier: what has to be restored is restored, at once for all studies, and takes the hours that it takes.
func TestGlacier(t *testing.T) {
	clock := glaciertest.NewClock()
	server := glaciertest.Start(t, testservers.Versitygw(t), glaciertest.Options{Now: clock.Now})
	const bucket = "drill-glacier"
	server.NewBucket(t, bucket, false)
	cold, err := s3store.Open(t.Context(), server.URL(bucket, ""), s3store.Options{AccessKey: server.AccessKey, SecretKey: server.SecretKey})
	if err != nil {
		t.Fatal(err)
	}
	hot, err := filestore.New(t.TempDir(), filestore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	w := worldOver(t, hot, cold, archive.Tier{Name: "archive", Store: "s3://" + bucket, Class: "DEEP_ARCHIVE", Restore: true,
		Prices: archive.Prices{RetrieveGB: 1e9},
		Speeds: []archive.RestoreSpeed{{Priority: archive.Standard, Word: "Standard", Typical: 12 * time.Hour, Longest: 12 * time.Hour, Requests: 5000},
			{Priority: archive.Bulk, Word: "Bulk", Typical: 48 * time.Hour, Longest: 50 * time.Hour, Requests: 1000}}})
	w.now = clock.Now
	ref, object := w.coldStudy(1, 3)
	second, _ := w.coldStudy(2, 2)
	w.store(3, 1)
	a, err := w.coldBucket.Stat(t.Context(), object)
	if err != nil || a.Restore.State != driver.Archived {
		t.Fatalf("%+v, %v", a, err)
	}

	run := func(o drill.Options, q archive.RecoveryDrill) (archive.RecoveryReport, error) {
		t.Helper()
		r, err := drill.Run(t.Context(), o, q, nil)
		w.wantNoScratch()
		return r, err
	}
	// Without restores only what can be read is tried.
	o := w.options()
	res := &restorer{w: w, clock: clock}
	o.Restorer = res
	for _, q := range []archive.RecoveryDrill{{NoRestore: true}, {NoRestore: true, FromLog: true}} {
		r, err := run(o, q)
		if err != nil || r.Failed() || r.Studies != 1 || r.Unreadable != 2 || len(res.asked) > 0 {
			t.Errorf("%+v, %v", r, err)
		}
	}
	// A restore that fails, one that is cancelled, and one of what the index does not know.
	res.state = archive.RestoreFailed
	r, err := run(o, archive.RecoveryDrill{})
	if err != nil || len(r.Failures) != 3 || !strings.Contains(r.Failures[0].What, "the provider refuses") || !strings.Contains(r.Failures[1].What, "cannot be read in tier archive") || r.Studies != 3 {
		t.Errorf("%+v, %v", r, err)
	}
	res.state = archive.RestoreCancelled
	if _, err = run(o, archive.RecoveryDrill{}); !fault.Is(err, fault.Conflict) {
		t.Errorf("cancelled: %v", err)
	}
	res.state, res.err = "", fault.New(fault.NotFound, "no such study")
	if r, err = run(o, archive.RecoveryDrill{FromLog: true}); err != nil || r.Failed() || r.Unreadable != 2 || r.Studies != 1 {
		t.Errorf("not known to the index: %+v, %v", r, err)
	}

	// One that was deleted since it was drawn leaves the other.
	res.err, res.gone = nil, w.index.studies[ref].uid
	if r, err = run(o, archive.RecoveryDrill{}); err != nil || r.Failed() || r.Unreadable != 1 || r.Studies != 2 {
		t.Errorf("one is gone: %+v, %v", r, err)
	}

	res.gone, res.asked = "", nil
	for i, fromLog := range []bool{false, true} {
		clock.Advance(10 * 24 * time.Hour) // until the copies of before are gone
		r, err := run(o, archive.RecoveryDrill{FromLog: fromLog})
		if err != nil || r.Failed() || r.Studies != 3 || r.Instances != 8 || r.Times.Waiting != 49*time.Hour || len(res.asked) != i+1 || res.asked[i] != archive.Bulk {
			t.Fatalf("from the log %v: %+v, asked %v, %v", fromLog, r, res.asked, err)
		}
		// Two objects at 1 each; the price of reading at once is not charged.
		if len(r.Tiers) != 2 || r.Tiers[1].Restored != 2 || r.Cost < 2 || r.Cost > 2.001 {
			t.Errorf("from the log %v: costs %v of %+v", fromLog, r.Cost, r.Tiers)
		}
		if f := r.Whole; f.Least < 48*time.Hour || f.Least > 49*time.Hour || f.Most < 50*time.Hour || f.Cost < 2 || f.Cost > 2.001 {
			t.Errorf("from the log %v: %+v", fromLog, f)
		}
	}
	// What is there already is not asked for again.
	if r, err = run(o, archive.RecoveryDrill{}); err != nil || r.Failed() || r.Times.Waiting != 0 || len(res.asked) != 2 || r.Studies != 3 {
		t.Errorf("again: %+v, asked %v, %v", r, res.asked, err)
	}
	if w.index.studies[ref].packs[0].Tier != "archive" {
		t.Error("the study is in another tier")
	}

	// Of neither study that has to be restored a fact tells the UID: the drill says what is wrong with them, and asks for nothing.
	clock.Advance(10 * 24 * time.Hour)
	for _, study := range []archive.Ref{ref, second} {
		key := w.index.studies[study].key
		if err := w.hotBucket.Delete(t.Context(), keys.KeyName(tenant, key)); err != nil {
			t.Fatal(err)
		}
		w.ring.Drop(key)
	}
	if r, err = run(o, archive.RecoveryDrill{FromLog: true}); err != nil || len(r.Failures) < 2 || r.Studies != 3 || len(res.asked) != 2 || r.Times.Waiting != 0 {
		t.Errorf("facts that cannot be read: %+v, asked %v, %v", r, res.asked, err)
	}
}
