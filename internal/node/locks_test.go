package node

import (
	"strings"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/retrieve/retrievetest"
	"github.com/strata-pacs/strata/internal/testservers"
	"github.com/strata-pacs/strata/storage/memstore"
	"github.com/strata-pacs/strata/storage/s3store"
)

// TestLocksGrow: what a server of the S3 protocol locks is locked for longer when the patient is examined again, and when the rules
// become stricter; never for less. Keys lie in a store of their own.
func TestLocksGrow(t *testing.T) {
	s := testservers.Versitygw(t)
	const bucket = "locked"
	s.NewLockedBucket(t, bucket, 0)
	d, err := s3store.Open(t.Context(), "s3://"+bucket+"?lock=governance&pathstyle=true&region="+s.Region+"&endpoint="+s.Endpoint,
		s3store.Options{AccessKey: s.AccessKey, SecretKey: s.SecretKey})
	if err != nil {
		t.Fatal(err)
	}
	p := newPlace(t)
	p.o.Remote, p.o.RemoteKeys, p.o.ReconcileEvery = d, memstore.New(memstore.Options{}), time.Hour
	p.o.Lifecycle.Quiet = time.Nanosecond
	a := p.open()
	defer func() { p.close(a) }()
	ctx := t.Context()

	today := time.Now().UTC().Truncate(24 * time.Hour)
	exam := func(study string, days int) {
		t.Helper()
		u := archive.UIDs{Study: study, Series: study + ".1", Instance: study + ".1.1"}
		stores(t, a, retrievetest.Part10(retrievetest.Image{UIDs: u, Rows: 16, Columns: 16, Name: "Fern^Ada", PatientID: "P1", Modality: "CT", StudyDate: today.AddDate(0, 0, -days).Format("20060102"), BirthDate: "19600101"}))
	}
	// round does what is due, twice, and expects of a study until when its packs are locked.
	round := func(what, study string, want time.Time) {
		t.Helper()
		for range 2 {
			done, err := a.Lifecycle.Round(ctx)
			if err != nil || done.Failed != 0 {
				t.Fatalf("%s: %+v, %v", what, done, err)
			}
		}
		packs, err := a.Index.Packs(ctx, a.Tenant, a.ring.Ref(study))
		if err != nil || len(packs) != 1 || !strings.Contains(packs[0].Object, "/pack/") {
			t.Fatalf("%s: %+v, %v", what, packs, err)
		}
		until, held := s.Locked(t, bucket, packs[0].Object)
		if want = want.Add(36 * time.Hour); want.Year() < 10 {
			want = time.Time{}
		}
		if held || until.Before(want) || until.After(want.Add(2*time.Second)) {
			t.Errorf("%s: %s is locked until %v, not %v", what, study, until, want)
		}
	}
	rules := func(document string) {
		t.Helper()
		if _, err := a.Keep.SetRules(ctx, []byte(document), "alice"); err != nil {
			t.Fatal(err)
		}
	}

	exam("1.2.1", 400)
	round("nothing is demanded", "1.2.1", time.Time{})
	rules(`{"rules":[{"name":"house","years":10}]}`)
	round("rules", "1.2.1", today.AddDate(0, 0, -400).AddDate(10, 0, 0))
	exam("1.2.2", 100)
	round("a later examination", "1.2.1", today.AddDate(0, 0, -100).AddDate(10, 0, 0))
	round("a later examination", "1.2.2", today.AddDate(0, 0, -100).AddDate(10, 0, 0))
	rules(`{"rules":[{"name":"house","years":12}]}`)
	round("stricter rules", "1.2.1", today.AddDate(0, 0, -100).AddDate(12, 0, 0))
	rules(`{"rules":[{"name":"house","years":1}]}`)
	round("laxer rules", "1.2.1", today.AddDate(0, 0, -100).AddDate(12, 0, 0))
	if due, err := a.Index.Pending(ctx, a.Tenant, time.Now(), time.Time{}, time.Time{}); err != nil || due {
		t.Errorf("studies have one another looked at for ever: %v", err)
	}
}
