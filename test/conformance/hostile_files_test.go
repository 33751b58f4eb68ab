package conformance

import (
	"bytes"
	"runtime"
	"strings"
	"testing"

	"github.com/strata-pacs/strata/internal/testdata"
)

// TestHostileFiles sends what is odd, broken or made to do harm: each is refused
// cleanly, or stored whole. The server lives, and needs little memory;
// the client would not wait for long.
func TestHostileFiles(t *testing.T) {
	files := testdata.Files(t, "missing-uid", "invalid-uid", "no-preamble", "no-transfer-syntax", "dicomdir", "malformed", "malformed-derived")
	w := open(t)
	w.post(t, image("1.2.3", "1.2.3.1", "1.2.3.1.1")).is(200)
	stored := 0
	for _, f := range files {
		t.Run(f.Name, func(t *testing.T) {
			raw := f.Bytes(t)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			single := w.do(t, "POST", "/studies", raw, "Content-Type", typeDICOM)
			multi := w.post(t, raw)
			runtime.ReadMemStats(&after)
			// Warnings are given once: what is known already is a success.
			if single.Status != multi.Status && (single.Status != 202 || multi.Status != 200) {
				t.Errorf("%d as a single part, %d as one of a message", single.Status, multi.Status)
			}
			switch single.Status {
			case 200, 202:
				stored++
				readBack(t, w, single, raw)
			case 400, 413, 415:
				single.problem(single.Status)
			case 409:
				refusal(t, single)
			default:
				t.Errorf("%d: %.300s", single.Status, single.Body)
			}
			// In proportion to what came, and to what a data set may hold (64 MiB).
			if n := after.TotalAlloc - before.TotalAlloc; n > 512<<20 {
				t.Errorf("allocated %d MB for two stores of %d bytes", n>>20, len(raw))
			}
			w.do(t, "GET", w.root+"/healthz", nil).is(200)
			if n := len(w.get(t, "/studies?StudyInstanceUID=1.2.3", typeJSON).is(200).datasets()); n != 1 {
				t.Errorf("%d studies of one", n)
			}
		})
	}
	t.Logf("%d of %d were stored", stored, len(files))
}

// readBack checks that what was stored comes back whole, wherever the answer says it is.
func readBack(t *testing.T, w *world, a *answer, raw []byte) {
	refs := a.dataset().items(t, "00081199")
	if len(refs) != 1 {
		t.Fatalf("%d references in %.400s", len(refs), a.Body)
	}
	url := refs[0].text("00081190")
	if !strings.HasPrefix(url, w.url) {
		t.Fatalf("Retrieve URL %q", url)
	}
	if list := w.get(t, url, partsStored).is(200).parts(); len(list) != 1 || !bytes.Equal(list[0].Body, raw) {
		t.Error("what comes back is not what was stored")
	}
	w.get(t, url+"/metadata", typeJSON).is(200)
	for _, path := range []string{"/frames/1", "/bulkdata", "/pixeldata", "/frames/4000000000"} {
		if got := w.get(t, url+path, "*/*; transfer-syntax=*"); got.Status >= 500 {
			t.Errorf("%s: %d %.200s", path, got.Status, got.Body)
		}
	}
	w.do(t, "DELETE", url, nil).is(204) // other files have the same UIDs
}

func refusal(t *testing.T, a *answer) {
	d := a.dataset()
	failed := append(d.items(t, "00081198"), d.items(t, "0008119A")...)
	if len(failed) != 1 || failed[0].text("00081197") == "" {
		t.Errorf("409 without a reason: %.400s", a.Body)
	}
	if _, ok := d["00081199"]; ok {
		t.Error("409 and a reference to something stored")
	}
}
