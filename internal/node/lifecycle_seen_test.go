package node

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/retrieve"
	"github.com/strata-pacs/strata/internal/retrieve/retrievetest"
	"github.com/strata-pacs/strata/storage/faultstore"
)

// late stores one more image into a study of ruled, and returns what it is.
func (r *ruled) late(study string) archive.UIDs {
	r.t.Helper()
	u := archive.UIDs{Study: study, Series: study + ".1", Instance: study + ".1.9"}
	r.files[u] = retrievetest.Part10(retrievetest.Image{UIDs: u, Rows: 64, Columns: 64, Name: "Fern^Ada", PatientID: "P" + study, Number: 9, Modality: "MR"})
	stores(r.t, r.a, r.files[u])
	return u
}

// TestLifecycleLateImage: an image that is stored while a round is at other studies is not deleted with the study that it belongs to.
func TestLifecycleLateImage(t *testing.T) {
	r := newRuled(t)
	r.close(r.a)
	r.o.Lifecycle.AtOnce = 1
	r.a = r.open()
	r.stores("1.1", "CT", 500)
	r.stores("1.2", "MR", 500)
	r.rules(`
rules:
  - { when: { modality: [MR], age: { over: 1y } }, action: delete }
  - { when: { age: { over: 1y } }, action: move, to: cold }
`)
	r.passes(31 * time.Minute)
	var once sync.Once
	r.cold.Script(func(faultstore.Op) faultstore.Decision { // the other study is being moved
		once.Do(func() { r.late("1.2") })
		return faultstore.Decision{}
	})
	d, err := r.host.Lifecycle().Apply(t.Context(), r.a.Tenant)
	if err != nil || d.Moved != 1 || d.Looked != 2 || d.Deleted != 0 {
		t.Fatalf("%+v, %v", d, err)
	}
	r.cold.Script(nil)
	r.reads()
	// A deletion that is under way hides what was there when it began, and what comes meanwhile stays.
	r.passes(31 * time.Minute)
	u := archive.UIDs{Study: "1.1"}
	var came archive.UIDs
	if err := r.a.Remove.DeleteIf(t.Context(), r.a.Tenant, u, func(context.Context) error { came = r.late("1.1"); return nil }); err != nil {
		t.Fatal(err)
	}
	found, err := r.a.Retrieve.Find(t.Context(), r.a.Tenant, u, retrieve.Files)
	if err != nil || len(found) != 1 || found[0].UIDs != came {
		t.Errorf("%d instances are left, %v; want the one that came", len(found), err)
	}
}

// TestLifecyclePausedAtWork: a pause holds for the next study, not for the next page.
func TestLifecyclePausedAtWork(t *testing.T) {
	r := newRuled(t)
	for _, study := range []string{"1.1", "1.2", "1.3", "1.4", "1.5", "1.6"} {
		r.stores(study, "CT", 500)
	}
	r.rules(`rules: [{ action: move, to: cold }]`)
	r.passes(31 * time.Minute)
	var once sync.Once
	r.cold.Script(func(faultstore.Op) faultstore.Decision {
		once.Do(func() {
			if err := r.host.Lifecycle().Pause(t.Context(), r.a.Tenant, true, "anna"); err != nil {
				t.Error(err)
			}
		})
		return faultstore.Decision{}
	})
	d, err := r.host.Lifecycle().Apply(t.Context(), r.a.Tenant)
	if err != nil || !d.Paused || d.Moved > 2 { // two are worked on at a time
		t.Errorf("%+v, %v", d, err)
	}
	s, err := r.host.Lifecycle().State(t.Context(), r.a.Tenant)
	if err != nil || s.By != "alice" || s.PausedBy != "anna" || !s.Paused || s.Round.Done.Moved != d.Moved || !s.Round.Done.Paused {
		t.Errorf("%+v, %v", s, err)
	}
	r.reads()
	if err := r.host.Lifecycle().Pause(t.Context(), r.a.Tenant, false, "bob"); err != nil {
		t.Fatal(err)
	}
	resumed := r.done("resumed")
	// A move that was broken off while its fact was being written may be stated all the same: then it is done, and nobody's.
	if moved := d.Moved + resumed.Moved; resumed.Failed != 0 || moved > 6 || moved < 4 {
		t.Errorf("%d moves were counted: %+v", moved, resumed)
	}
	for _, study := range []string{"1.1", "1.2", "1.3", "1.4", "1.5", "1.6"} {
		packs, err := r.a.Index.Packs(t.Context(), r.a.Tenant, r.a.ring.Ref(study))
		if err != nil || len(packs) != 1 || packs[0].Tier != "cold" {
			t.Errorf("%s: %+v, %v", study, packs, err)
		}
	}
	r.reads()
}
