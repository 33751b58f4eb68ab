package restore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
)

// full fails the test where the error does not say that it is too much and when to ask again.
func full(t *testing.T, what string, err error) {
	t.Helper()
	var after interface{ RetryAfter() time.Duration }
	if !fault.Is(err, fault.TooMany) || !errors.As(err, &after) || after.RetryAfter() != time.Minute {
		t.Errorf("%s: %v", what, err)
	}
}

// TestOpenIsBounded: a tenant has so many restores and no more; who joins one that is there is never refused.
func TestOpenIsBounded(t *testing.T) {
	w := newWorld(t, Options{Open: 5})
	for i := range 9 {
		w.study(fmt.Sprintf("p.%d", i), fmt.Sprintf("alpha/pack/%d", i))
	}
	for _, uid := range []string{"p.0", "p.1", "p.2"} {
		w.ask(one(uid))
	}
	// Nine are six too many; nothing of them is begun, and no row is left.
	_, err := w.r.Ask(t.Context(), alpha, archive.RestoreRequest{PatientID: "p."})
	full(t, "nine beside three of them", err)
	if n := w.table.kinds(); n[kindOpen] != 3 || n[kindBatch]+n[kindBatchOver] != 0 {
		t.Errorf("rows %v", n)
	}
	// Three of these five are under way and count once.
	st := w.ask(archive.RestoreRequest{Studies: []string{"p.0", "p.1", "p.2", "p.3", "p.4"}})
	if n := w.table.kinds(); n[kindOpen] != 5 || st.Studies != 5 {
		t.Errorf("rows %v, %+v", n, st)
	}
	_, err = w.r.Ask(t.Context(), alpha, one("p.5"))
	full(t, "a sixth", err)
	_, err = w.r.Recall(t.Context(), alpha, archive.UIDs{Study: "p.5"})
	full(t, "a viewer's", err)
	_, err = w.r.Prefetch(t.Context(), alpha, []archive.Appointment{{PatientID: "A", At: noon.Add(48 * time.Hour)}}, "", "")
	if err != nil {
		t.Errorf("nothing to prefetch: %v", err)
	}
	w.priors["A"] = []archive.Ref{w.studies["p.5"].Ref}
	_, err = w.r.Prefetch(t.Context(), alpha, []archive.Appointment{{PatientID: "A", At: noon.Add(48 * time.Hour)}}, "", "")
	full(t, "a prior", err)
	for range 20 {
		w.ask(one("p.4"))
	}
	if _, err := w.r.Ask(t.Context(), "beta", one("p.5")); err != nil {
		t.Errorf("another tenant: %v", err)
	}
	w.until(st.ID, 10*time.Minute, archive.RestoreDone)
	w.ask(one("p.5"))
}

// slowTable lets others be faster between the count and the row.
type slowTable struct {
	Table
	faster func()
	once   sync.Once
}

func (s *slowTable) Merge(ctx context.Context, t archive.Tenant, kind, key string, created time.Time, most int, f func(*Row) error) (Row, error) {
	if kind == kindBatchOver {
		s.once.Do(s.faster)
	}
	return s.Table.Merge(ctx, t, kind, key, created, most, f)
}

// TestOthersAreFaster: a request for several that is refused on its way takes back what it began, and leaves what others want.
func TestOthersAreFaster(t *testing.T) {
	w := newWorld(t, Options{Open: 3})
	for i := range 5 {
		w.study(fmt.Sprintf("p.%d", i), fmt.Sprintf("alpha/pack/%d", i))
	}
	r := w.over(&slowTable{Table: w.table, faster: func() { w.ask(one("p.0")); w.ask(one("p.4")) }})
	_, err := r.Ask(t.Context(), alpha, archive.RestoreRequest{Studies: []string{"p.0", "p.1", "p.2"}})
	full(t, "the last of three", err)
	w.pass(time.Second)
	w.pass(time.Minute)
	if n := w.table.kinds(); n[kindBatch]+n[kindBatchOver] != 0 || n[kindOpen] != 2 {
		t.Errorf("rows %v", n)
	}
	if got := strings.Join(w.store.asked(), " "); strings.Contains(got, "pack/1") || !strings.Contains(got, "pack/0") {
		t.Errorf("asked for %q", got)
	}
	if list, err := w.r.List(t.Context(), alpha, "", 10, true); err != nil || len(list) != 2 || list[0].Requests != 1 {
		t.Errorf("%+v %v", list, err)
	}
}

// TestCrowd: how many URLs and requests for several share one restore is bounded; who only waits for it is welcome.
func TestCrowd(t *testing.T) {
	w := newWorld(t, Options{})
	w.study("1.1", "alpha/pack/A")
	w.study("1.2", "alpha/pack/B")
	told := func(i int) archive.RestoreRequest {
		return archive.RestoreRequest{Studies: []string{"1.1"}, Webhook: fmt.Sprintf("https://ris.example/%d", i)}
	}
	for i := range maxHooks {
		w.ask(told(i))
	}
	w.ask(told(0))
	_, err := w.r.Ask(t.Context(), alpha, told(maxHooks))
	full(t, "one URL more", err)
	for range maxBatches {
		w.ask(archive.RestoreRequest{PatientID: "1."})
	}
	_, err = w.r.Ask(t.Context(), alpha, archive.RestoreRequest{PatientID: "1."})
	full(t, "one request more", err)
	if n := w.table.kinds(); n[kindBatch] != maxBatches || n[kindBatchOver] != 0 {
		t.Errorf("rows %v", n)
	}
	if st := w.ask(one("1.1")); st.Requests != maxHooks+1+maxBatches+1 {
		t.Errorf("%+v", st)
	}
}

// TestRequestsAreBounded: so are requests for several.
func TestRequestsAreBounded(t *testing.T) {
	w := newWorld(t, Options{Open: 2 * maxRequests})
	w.study("2.1", "alpha/pack/A")
	w.study("2.2", "alpha/pack/B")
	for i := range maxRequests {
		_, err := w.table.Merge(t.Context(), alpha, kindBatch, fmt.Sprint(i), noon, 0, func(r *Row) error { return encode(r, batch{Asked: noon}) })
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err := w.r.Ask(t.Context(), alpha, archive.RestoreRequest{PatientID: "2."})
	full(t, "one more", err)
	if n := w.table.kinds(); n[kindOpen] != 0 {
		t.Errorf("rows %v", n)
	}
}

// TestOverIsBounded: of what is over the newest are kept.
func TestOverIsBounded(t *testing.T) {
	w := newWorld(t, Options{})
	w.study("1.1", "alpha/pack/A")
	for i := range maxOver + 3 {
		w.table.rows[int64(i+1)] = Row{ID: int64(i + 1), Tenant: alpha, Kind: kindOver, Key: fmt.Sprint(i), Due: noon.Add(keepOver), Created: noon, Payload: []byte("{}")}
	}
	w.table.last = maxOver + 3
	id := w.ask(one("1.1")).ID
	w.until(id, 10*time.Minute, archive.RestoreDone)
	w.pass(time.Second)
	if n := w.table.kinds()[kindOver]; n != maxOver {
		t.Errorf("%d are kept", n)
	}
	if w.table.rows[1].ID != 0 || w.status(id).State != archive.RestoreDone {
		t.Error("the newest went, and not the oldest")
	}
}

// TestRowsTellNothing: no row shows who asked, whom to tell and which objects it is about; how far it is can be told,
// and it can be cancelled, while the keys are away; the rest waits for them.
func TestRowsTellNothing(t *testing.T) {
	w := newWorld(t, Options{Running: 2})
	for i := range 4 {
		w.study(fmt.Sprintf("1.%d", i), fmt.Sprintf("alpha/pack/secret-%d", i))
	}
	w.hooks.always = []string{"https://always.example/secret"}
	private := func(q archive.RestoreRequest) archive.RestoreRequest {
		q.By, q.Webhook = "Dr secret", "https://ris.example/secret"
		return q
	}
	plain := func(when string) {
		t.Helper()
		w.table.mu.Lock()
		defer w.table.mu.Unlock()
		for _, r := range w.table.rows {
			if all := r.Key + string(r.Payload); strings.Contains(all, "secret") || strings.Contains(all, "example") {
				t.Errorf("%s a row of kind %s says %s %s", when, r.Kind, r.Key, r.Payload)
			}
		}
	}
	first := w.ask(private(one("1.0")))
	both := w.ask(private(archive.RestoreRequest{Studies: []string{"1.1", "1.2"}}))
	last := w.ask(private(one("1.3")))
	plain("at first")
	w.pass(0)
	plain("under way")
	away := fault.New(fault.KeyDenied, "revoked")
	w.keys.setFail(away)
	w.w = newWorker(w.r) // another node, which has opened nothing
	for range 50 {
		w.pass(15 * time.Minute)
	}
	if st := w.status(first.ID); st.State != archive.RestoreRunning || st.PacksIn != 0 {
		t.Errorf("without the key: %+v", st)
	}
	if st, err := w.r.Cancel(t.Context(), alpha, last.ID); err != nil || st.State != archive.RestoreCancelled {
		t.Errorf("without the key: %+v %v", st, err)
	}
	if list, err := w.r.List(t.Context(), alpha, "", 10, true); err != nil || len(list) != 5 {
		t.Errorf("without the key: %+v %v", list, err)
	}
	if _, err := w.r.Ask(t.Context(), alpha, one("1.0")); !fault.Is(err, fault.KeyDenied) {
		t.Errorf("without the key: %v", err)
	}
	w.keys.setFail(nil)
	w.until(first.ID, time.Minute, archive.RestoreDone)
	// It is taken away again between the end and the telling.
	w.keys.setFail(away)
	for range 3 {
		w.pass(awayFor)
	}
	plain("with ends to be told")
	if len(w.hooks.posts) != 0 {
		t.Errorf("told without a key: %q", w.hooks.posts)
	}
	w.keys.setFail(nil)
	w.until(both.ID, 10*time.Minute, archive.RestoreDone)
	w.pass(awayFor)
	w.pass(reload)
	w.pass(reload)
	plain("with words to be brought")
	for range 3 {
		if err := w.r.deliverDue(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.pass(hookLatest)
	}
	plain("in the end")
	told := map[string]int{}
	for _, p := range w.hooks.posts {
		url, _, _ := strings.Cut(p, " ")
		told[url]++
	}
	// The request, the two of which one was cancelled, and the tenant's own of all three.
	if told["https://ris.example/secret"] != 3 || told["https://always.example/secret"] != 3 {
		t.Errorf("told %v: %q", told, w.hooks.posts)
	}
	if n := w.table.kinds(); n[kindOpen]+n[kindEnding]+n[kindBatch]+n[kindHook] != 0 {
		t.Errorf("rows %v", n)
	}
}

// TestSealedElsewhere: what was sealed in one row opens in no other.
func TestSealedElsewhere(t *testing.T) {
	w := newWorld(t, Options{})
	w.study("1.1", "alpha/pack/A")
	w.study("1.2", "alpha/pack/B")
	a, b := w.ask(one("1.1")), w.ask(one("1.2"))
	rows, err := w.table.find(2, func(r Row) bool { return r.Kind == kindOpen }, byID)
	if err != nil || len(rows) != 2 {
		t.Fatal(err)
	}
	rows[0].Payload, rows[1].Payload = rows[1].Payload, rows[0].Payload
	for _, r := range rows {
		w.table.rows[r.ID] = r
	}
	for range 10 {
		w.pass(time.Minute)
	}
	if n := len(w.store.asked()); n != 0 || w.status(a.ID).State.Ended() || w.status(b.ID).State.Ended() {
		t.Errorf("the store was asked for %d objects", n)
	}
}
