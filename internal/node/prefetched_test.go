package node

import (
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
)

// TestPrefetched: what was restored for an appointment is in the read cache before anybody asks for it; no more
// than a quarter of the cache is taken for that, and nothing for who asked otherwise.
func TestPrefetched(t *testing.T) {
	f := newFrozen(t)
	f.o.ReadCache, f.o.ReadCacheBytes = filepath.Join(t.TempDir(), "cache"), 40<<20
	a := f.open()
	defer f.close(a)
	r := a.Restores()
	for study := range 4 {
		uids, _ := heavy(t, a, study+1, 1)
		freeze(t, a, uids[0].Study)
	}
	if st, err := r.Ask(t.Context(), a.Tenant, archive.RestoreRequest{Studies: []string{"1.2.3"}}); err != nil {
		t.Fatal(err)
	} else {
		f.until(t, r, st.ID, time.Hour, archive.RestoreDone)
	}
	appointment := func(patient string) {
		t.Helper()
		p, err := r.Prefetch(t.Context(), a.Tenant, []archive.Appointment{{PatientID: patient, At: f.clock.Now().Add(20 * time.Hour)}}, "RIS", "")
		if err != nil || p.Priors != 1 {
			t.Fatalf("%+v %v", p, err)
		}
		f.until(t, r, p.Restore.ID, time.Hour, archive.RestoreDone)
	}
	// held is how many bytes of the study's packs are in the cache.
	held := func(study string) (n int64) {
		t.Helper()
		packs, err := a.Index.Packs(t.Context(), a.Tenant, a.ring.Ref(study))
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range packs {
			for off := int64(0); off < p.Size; off += 1 << 20 {
				if span := min(p.Size-off, 1<<20); f.host.near.Holds(p.Object, off, span) {
					n += span
				}
			}
		}
		return n
	}
	await := func(study string, least int64) {
		t.Helper()
		for end := time.Now().Add(20 * time.Second); held(study) < least; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%d bytes of %s are in the cache", held(study), study)
			}
		}
	}
	appointment("P1")
	await("1.2.1", 8<<20)
	appointment("P2")
	time.Sleep(200 * time.Millisecond) // if more were read, it would be by now
	if one, two, three := held("1.2.1"), held("1.2.2"), held("1.2.3"); one+two > 10<<20 || three != 0 {
		t.Errorf("in a cache of 40 MiB are %d and %d bytes of what was prefetched, %d of what was not", one, two, three)
	}
	// A day later there is room for others.
	f.clock.Advance(25 * time.Hour)
	appointment("P4")
	await("1.2.4", 8<<20)

	// Nothing is read of who has taken the keys away.
	study := restored{tenant: a.Tenant, study: a.ring.Ref("1.2.3")}
	if err := f.host.Tenants().Revoke(t.Context(), a.Tenant); err != nil {
		t.Fatal(err)
	}
	before := f.server.Faults.Count("get")
	if err := (&prefetched{n: f.host}).read(t.Context(), study); !errors.Is(err, ErrRevoked) {
		t.Errorf("of a tenant whose key is revoked: %v", err)
	}
	if n := f.server.Faults.Count("get") - before; n != 0 {
		t.Errorf("%d reads of a tenant whose key is revoked", n)
	}
}
