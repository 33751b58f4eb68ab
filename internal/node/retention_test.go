package node

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/remove"
	"github.com/strata-pacs/strata/internal/retention"
	"github.com/strata-pacs/strata/internal/retrieve/retrievetest"
)

// dated is an image of a study of a day.
func dated(study int, date, birth, modality string) []byte {
	u, _ := image(study, 1)
	return retrievetest.Part10(retrievetest.Image{UIDs: u, Rows: 4, Columns: 4, Name: "Doe^Jane", PatientID: "P1", StudyDate: date, BirthDate: birth, Modality: modality})
}

// TestRetention: what must be kept is not deleted, nor shredded, before its time.
func TestRetention(t *testing.T) {
	p := newPlace(t)
	p.o.Retention = "de"
	var now atomic.Int64
	set := func(at time.Time) { now.Store(at.UnixMilli()) }
	set(time.Date(2026, 11, 29, 10, 0, 0, 0, time.UTC))
	p.o.Now = func() time.Time { return time.UnixMilli(now.Load()).UTC() }
	a := p.open()
	defer func() { p.close(a) }()
	ctx := t.Context()
	stores(t, a, dated(1, "20150304", "19600101", "CT"))
	remove := func(study int) error {
		return a.Remove.Delete(ctx, a.Tenant, archive.UIDs{Study: fmt.Sprint("1.2.", study)})
	}
	refused := func(what string, err error, word string) {
		t.Helper()
		if !fault.Is(err, fault.Conflict) || !strings.Contains(fault.Message(err), word) {
			t.Errorf("%s: %v", what, err)
		}
		if err != nil && (strings.Contains(err.Error(), "1.2.") || strings.Contains(err.Error(), "1960")) {
			t.Errorf("%s tells too much: %v", what, err)
		}
	}
	// Ten years have passed, and a later examination prolongs them.
	until, why, err := a.Keep.Until(ctx, a.Tenant, a.ring.Ref("1.2.1"))
	if err != nil || !until.IsZero() || why != "" {
		t.Fatal(until, why, err)
	}
	stores(t, a, dated(2, "20200304", "19600101", "MR"))
	refused("the study before", remove(1), "2030-03-04")
	refused("a series of it", a.Remove.Delete(ctx, a.Tenant, archive.UIDs{Study: "1.2.1", Series: "1.2.1.1"}), "2030-03-04")
	_, err = a.Shred.Shred(ctx, archive.ShredTarget{Study: "1.2.1"})
	refused("shredding", err, "2030-03-04")
	_, err = a.Shred.Shred(ctx, archive.ShredTarget{PatientID: "P1"})
	refused("shredding the patient", err, "2030-03-04")
	if n := found(t, a, "1.2.1") + found(t, a, "1.2.2"); n != 2 {
		t.Error("something is gone")
	}
	if err := a.Remove.Delete(ctx, a.Tenant, archive.UIDs{Study: "9.9"}); !fault.Is(err, fault.NotFound) {
		t.Errorf("what is not there: %v", err)
	}
	if free, _, err := a.Keep.Until(ctx, a.Tenant, a.ring.Ref("9.9")); err != nil || !free.IsZero() {
		t.Errorf("what is not there: %v %v", free, err)
	}
	if lock, err := a.Keep.LockUntil(ctx, a.Tenant, a.ring.Ref("1.2.1")); err != nil || !lock.Equal(time.Date(2030, 3, 5, 12, 0, 0, 0, time.UTC)) {
		t.Errorf("locked until %v, %v", lock, err)
	}
	if lock, err := a.Keep.LockUntil(ctx, a.Tenant, a.ring.Ref("9.9")); err != nil || !lock.IsZero() {
		t.Errorf("what is not there is locked until %v, %v", lock, err)
	}
	// A tenant's rule lengthens, and no rule shortens.
	if _, err := a.Keep.SetRules(ctx, []byte(`{"rules":[{"name":"house","years":12},{"name":"short","years":1}]}`), "alice"); err != nil {
		t.Fatal(err)
	}
	refused("a longer rule", remove(2), "2032-03-04")
	policy, err := a.Keep.Policy(ctx)
	if err != nil || policy.By != "alice" || !policy.Default || policy.Set.Name != "de" || len(policy.Rules) != 2 {
		t.Errorf("%+v, %v", policy, err)
	}
	if _, err := a.Keep.SetRules(ctx, []byte(`{"set":"xx"}`), "alice"); !fault.Is(err, fault.Invalid) {
		t.Errorf("a set that is not there: %v", err)
	}
	// Rules, too, come back from the log alone.
	p.close(a)
	a = p.open()
	set(time.Date(2032, 3, 5, 11, 59, 0, 0, time.UTC))
	refused("the last day somewhere on earth", remove(2), "2032-03-05 12:00Z")
	set(p.o.Now().Add(time.Minute))
	if err := remove(2); err != nil {
		t.Errorf("when its time has come: %v", err)
	}
	// What is deleted no longer is the last examination.
	if err := remove(1); err != nil {
		t.Error(err)
	}
}

// TestHold: no deletion under a hold, also of studies of the patient that come later; two persons lift it.
func TestHold(t *testing.T) {
	p := newPlace(t)
	a := p.open()
	defer func() { p.close(a) }()
	ctx := t.Context()
	stores(t, a, dated(1, "20150304", "", "CT"))
	onPatient, err := a.Keep.Hold(ctx, retention.HoldTarget{PatientID: "P1"}, "case 4711", "alice")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Keep.Hold(ctx, retention.HoldTarget{Study: "1.2.7"}, "case 4712", "alice"); err != nil {
		t.Fatal("a study to come cannot be held: ", err)
	}
	stores(t, a, dated(2, "20260304", "", "CT"))
	remove := func(study int) error {
		return a.Remove.Delete(ctx, a.Tenant, archive.UIDs{Study: fmt.Sprint("1.2.", study)})
	}
	for study := 1; study <= 2; study++ {
		if err := remove(study); !fault.Is(err, fault.Conflict) || !strings.Contains(fault.Message(err), "legal hold") || strings.Contains(err.Error(), "4711") {
			t.Errorf("study %d: %v", study, err)
		}
	}
	if until, _, err := a.Keep.Until(ctx, a.Tenant, a.ring.Ref("1.2.1")); err != nil || !until.Equal(retention.Forever) {
		t.Error(until, err)
	}
	for _, tt := range []struct {
		by   string
		kind fault.Kind
	}{{"", fault.Forbidden}, {"bob", 0}, {"bob", fault.Conflict}, {"BOB", fault.Conflict}} {
		h, err := a.Keep.Release(ctx, onPatient.ID, "settled", tt.by)
		if tt.kind != 0 && !fault.Is(err, tt.kind) || tt.kind == 0 && (err != nil || h.Lifted) {
			t.Errorf("released by %q: %+v, %v", tt.by, h, err)
		}
	}
	if err := remove(1); !fault.Is(err, fault.Conflict) {
		t.Errorf("after one person's release: %v", err)
	}
	p.close(a) // a hold and half of its release are in the log
	a = p.open()
	if h, err := a.Keep.Release(ctx, onPatient.ID, "settled", "carol"); err != nil || !h.Lifted || len(h.Releases) != 2 {
		t.Fatalf("%+v, %v", h, err)
	}
	if _, err := a.Keep.Release(ctx, onPatient.ID, "settled", "dave"); !fault.Is(err, fault.Conflict) {
		t.Errorf("released again: %v", err)
	}
	for study := 1; study <= 2; study++ {
		if err := remove(study); err != nil {
			t.Error(err)
		}
	}
	for i, err := range []error{
		func() error { _, err := a.Keep.Hold(ctx, retention.HoldTarget{}, "r", "alice"); return err }(),
		func() error {
			_, err := a.Keep.Hold(ctx, retention.HoldTarget{Study: "1", PatientID: "2"}, "r", "alice")
			return err
		}(),
		func() error { _, err := a.Keep.Hold(ctx, retention.HoldTarget{Study: "1"}, " ", "alice"); return err }(),
	} {
		if !fault.Is(err, fault.Invalid) {
			t.Errorf("%d: %v", i, err)
		}
	}
}

// TestHoldsAbout: a hold says how many studies it is about now, so that a mistyped identifier is noticed; blanks around a Patient
// ID mean nothing, neither where it is held nor where it is stated.
func TestHoldsAbout(t *testing.T) {
	p := newPlace(t)
	a := p.open()
	defer p.close(a)
	for i, patient := range []string{"P1", " P1", "P2", "P2"} {
		u, _ := image(i, 1)
		stores(t, a, retrievetest.Part10(retrievetest.Image{UIDs: u, Rows: 4, Columns: 4, Name: "X", PatientID: patient, StudyDate: "20200101", Modality: "CT"}))
	}
	if err := a.Remove.Delete(t.Context(), a.Tenant, archive.UIDs{Study: "1.2.3"}); err != nil {
		t.Fatal(err)
	}
	about := func(studies *int) string {
		if studies == nil {
			return "?"
		}
		return fmt.Sprint(*studies)
	}
	var want []string
	for _, tt := range []struct {
		target retention.HoldTarget
		want   string
	}{
		{retention.HoldTarget{Study: "1.2.0"}, "1"},
		{retention.HoldTarget{Study: "1.2.9"}, "0"},
		{retention.HoldTarget{PatientID: "P1"}, "2"},
		{retention.HoldTarget{PatientID: "  P1 "}, "2"},
		{retention.HoldTarget{PatientID: "P2"}, "2"}, // one is deleted
		{retention.HoldTarget{PatientID: "P2", Issuer: "nobody"}, "0"},
		{retention.HoldTarget{PatientID: "P3"}, "0"},
	} {
		h, err := a.Keep.Hold(t.Context(), tt.target, "case", "alice")
		if err != nil || about(h.Studies) != tt.want {
			t.Errorf("%+v is about %s, want %s, %v", tt.target, about(h.Studies), tt.want, err)
		}
		want = append(want, tt.want)
	}
	list, err := a.Keep.Holds(t.Context(), archive.FactID{}, 100)
	if err != nil || len(list) != len(want) {
		t.Fatal(len(list), err)
	}
	for i, h := range list {
		if about(h.Studies) != want[i] {
			t.Errorf("%d: the list says %s, want %s", i, about(h.Studies), want[i])
		}
	}
	if c, err := a.Keep.Check(t.Context(), a.ring.Ref("1.2.1")); err != nil || len(c.Holds) != 2 {
		t.Errorf("a Patient ID that is stated with a blank before it: %d holds, %v", len(c.Holds), err)
	}
	if _, err := a.Keep.Hold(t.Context(), retention.HoldTarget{PatientID: " "}, "case", "alice"); !fault.Is(err, fault.Invalid) {
		t.Errorf("nobody is held: %v", err)
	}
}

// TestReport: what is due, and what is held, a page at a time.
func TestReport(t *testing.T) {
	p := newPlace(t)
	p.o.Retention = "de"
	now := time.Date(2026, 11, 29, 10, 0, 0, 0, time.UTC)
	p.o.Now = func() time.Time { return now }
	a := p.open()
	defer p.close(a)
	for i, date := range []string{"20150101", "20200101", "20100101", "20120101"} {
		u, _ := image(i, 1)
		stores(t, a, retrievetest.Part10(retrievetest.Image{UIDs: u, Rows: 4, Columns: 4, Name: "X", PatientID: fmt.Sprint("P", i), StudyDate: date, BirthDate: "19600101", Modality: "CT"}))
	}
	if _, err := a.Keep.Hold(t.Context(), retention.HoldTarget{Study: "1.2.2"}, "r", "alice"); err != nil {
		t.Fatal(err)
	}
	all := func(r retention.Report) map[string]string {
		out := map[string]string{}
		for pages := 0; ; pages++ {
			page, err := a.Keep.Report(t.Context(), r)
			if err != nil || pages > 4 {
				t.Fatal(pages, err)
			}
			for _, c := range page.Studies {
				out[c.Study.UID] = c.Verdict.Until.Format(time.DateOnly)
			}
			if r.After = page.Next; r.After == (archive.Ref{}) {
				return out
			}
		}
	}
	for _, tt := range []struct {
		ask  retention.Report
		want string
	}{
		{retention.Report{Limit: 3}, "map[1.2.0:2025-01-01 1.2.3:2022-01-01]"},
		{retention.Report{Limit: 1, Before: time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)}, "map[1.2.3:2022-01-01]"},
		{retention.Report{Limit: 2, Before: time.Date(2031, 1, 1, 0, 0, 0, 0, time.UTC)}, "map[1.2.0:2025-01-01 1.2.1:2030-01-01 1.2.3:2022-01-01]"},
		{retention.Report{Limit: 9, Held: true}, "map[1.2.2:2020-01-01]"},
	} {
		if got := fmt.Sprint(all(tt.ask)); got != tt.want {
			t.Errorf("%+v: %s", tt.ask, got)
		}
	}
	// Where nothing is demanded, no period ends: the list is no licence to delete.
	if _, err := a.Keep.SetRules(t.Context(), []byte(`{"set":"none"}`), "alice"); err != nil {
		t.Fatal(err)
	}
	if got := all(retention.Report{Limit: 9}); len(got) != 0 {
		t.Errorf("due without a demand: %v", got)
	}
}

// TestRetentionOfAPartialIndex: what is not known of a patient frees nothing.
func TestRetentionOfAPartialIndex(t *testing.T) {
	p := newPlace(t)
	a := p.open()
	defer p.close(a)
	ctx := t.Context()
	stores(t, a, dated(1, "20000304", "19600101", "CT"), dated(2, "20000304", "19600101", "CT"))
	a.partial.is.Store(true)
	if err := a.Remove.Delete(ctx, a.Tenant, archive.UIDs{Study: "1.2.2"}); err != nil {
		t.Errorf("where nothing is demanded: %v", err)
	}
	if _, err := a.Keep.SetRules(ctx, []byte(`{"set":"de"}`), "alice"); err != nil {
		t.Fatal(err)
	}
	_, checked := a.Keep.Check(ctx, a.ring.Ref("9.9"))
	_, reported := a.Keep.Report(ctx, retention.Report{Limit: 1})
	_, rewound := p.host.Rewinder().Rewind(ctx, a.Tenant, remove.Rewind{At: time.Now().Add(-time.Hour)})
	for i, err := range []error{a.Remove.Delete(ctx, a.Tenant, archive.UIDs{Study: "1.2.1"}), checked, reported, rewound} {
		if !fault.Is(err, fault.Unavailable) {
			t.Errorf("%d: %v", i, err)
		}
	}
	a.partial.is.Store(false)
	if err := a.Remove.Delete(ctx, a.Tenant, archive.UIDs{Study: "1.2.1"}); err != nil {
		t.Error(err)
	}
}
