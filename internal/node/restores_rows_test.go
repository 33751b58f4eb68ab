package node

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/restore/webhook"
)

// TestRestoreTellsNothing: the database shows neither who asked for a restore nor whom to tell nor the objects' names; a restart opens them.
func TestRestoreTellsNothing(t *testing.T) {
	t.Parallel()
	const url = "http://127.0.0.1:1/hidden"
	list, err := webhook.Read(strings.NewReader(url + " " + strings.Repeat("s", 32) + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	f := newFrozen(t)
	f.o.Restores.Hooks = webhook.New(list, nil)
	f.o.Restores.Open = 1
	a := f.open()
	uids, files := heavy(t, a, 1, 1)
	freeze(t, a, uids[0].Study)
	second, _ := heavy(t, a, 2, 1)
	freeze(t, a, second[0].Study)
	q := archive.RestoreRequest{Studies: []string{uids[0].Study}, By: "Dr hidden", Webhook: url}
	st, err := a.Restores().Ask(t.Context(), a.Tenant, q)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Restores().Ask(t.Context(), a.Tenant, archive.RestoreRequest{Studies: []string{second[0].Study}}); !fault.Is(err, fault.TooMany) {
		t.Errorf("a second study: %v", err)
	}
	hidden := func(kinds ...string) {
		t.Helper()
		rows, err := a.n.Index.Jobs().OfKinds(t.Context(), a.Tenant, kinds, 0, 10)
		if err != nil || len(rows) == 0 {
			t.Fatalf("no rows of %v: %v", kinds, err)
		}
		for _, r := range rows {
			said := []byte(fmt.Sprintf("%s %s", r.Key, r.Payload))
			for _, what := range []string{"hidden", "/pack/", hex.EncodeToString([]byte("hidden"))} {
				if bytes.Contains(said, []byte(what)) {
					t.Errorf("a row says %q: %s", what, said)
				}
			}
		}
	}
	hidden("restore")
	f.begun(t, 1)
	f.abandon(a)
	a = f.open()
	defer f.close(a)
	f.until(t, a.Restores(), st.ID, 10*time.Minute, archive.RestoreDone)
	if !reads(t, a, uids[0], files[0]) || f.server.Faults.Count("restore") != 1 {
		t.Errorf("asked %d times", f.server.Faults.Count("restore"))
	}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if rows, err := a.n.Index.Jobs().OfKinds(t.Context(), a.Tenant, []string{"webhook"}, 0, 10); err != nil || len(rows) > 0 || time.Now().After(end) {
			break
		}
	}
	hidden("restore", "restore-ending", "restore-over", "webhook") // nobody is at the URL
}

// TestRestoredTogether: of three packs that the provider restores one after the other, further apart than copies stay, all can be
// read in the end, and each was restored once.
func TestRestoredTogether(t *testing.T) {
	t.Parallel()
	f := &frozen{place: newPlace(t), delay: func(string, string) time.Duration { return 45 * time.Hour }}
	f.tier(t, &f.o)
	f.o.Restores.Running, f.o.Restores.For = 1, 24*time.Hour
	a := f.open()
	defer f.close(a)
	uids, files := heavy(t, a, 1, 3)
	freeze(t, a, uids[0].Study)
	st, err := a.Restores().Ask(t.Context(), a.Tenant, archive.RestoreRequest{Studies: []string{uids[0].Study}})
	if err != nil {
		t.Fatal(err)
	}
	begin := f.clock.Now()
	st = f.until(t, a.Restores(), st.ID, time.Hour, archive.RestoreDone)
	if took := f.clock.Now().Sub(begin); took < 3*45*time.Hour || st.PacksIn != 3 || f.server.Begun() != 3 {
		t.Errorf("after %s: %+v, %d were restored", took, st, f.server.Begun())
	}
	for i := range uids {
		if !reads(t, a, uids[i], files[i]) {
			t.Error("it is restored, and cannot be read")
		}
	}
}
