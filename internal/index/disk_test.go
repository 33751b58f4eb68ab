package index

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
)

// TestFullDisk: what does not fit is refused as such, what is there is read, and room makes all well again.
func TestFullDisk(t *testing.T) {
	x := openTest(t)
	apply(t, x, stored(1, ctSpec))
	w := &x.writer
	limit := func(pages int64) {
		w.mu.Lock()
		defer w.mu.Unlock()
		if err := w.run1(fmt.Sprintf(`PRAGMA max_page_count = %d`, pages)); err != nil {
			t.Fatal(err)
		}
	}
	limit(1) // no more than there are
	big := ctSpec
	big.study = "8.1"
	e := stored(2, big)
	e.Fact.Chunks[0].Data = make([]byte, 1<<20)
	out, err := x.Apply(context.Background(), hospital, e, stored(3, ctSpec))
	if !fault.Is(err, fault.Full) || !fault.Is(out[0].Err, fault.Full) {
		t.Errorf("%v", err)
	}
	if s := studies(t, x, archive.StudyFilter{}); len(s) != 1 || s[0].Instances != 1 {
		t.Errorf("%+v", s)
	}
	limit(1 << 30)
	apply(t, x, e)
	if s := studies(t, x, archive.StudyFilter{}); len(s) != 2 {
		t.Errorf("%d studies", len(s))
	}
	if cs, err := x.Changes(context.Background(), hospital, ChangeQuery{}); err != nil || len(cs) != 2 || cs[1].Sequence != 2 {
		t.Errorf("feed: %+v %v", cs, err)
	}
}

func TestBallast(t *testing.T) {
	b := ballast{path: t.TempDir() + "/b", size: 1 << 16}
	if b.release() {
		t.Error("there was none")
	}
	now := time.Now()
	b.restore(now)
	if st, err := os.Stat(b.path); err != nil || st.Size() != b.size {
		t.Fatal(st, err)
	}
	if !b.release() {
		t.Error("not released")
	}
	b.restore(now.Add(time.Second))
	if _, err := os.Stat(b.path); err == nil {
		t.Error("made again at once")
	}
	b.restore(now.Add(time.Hour))
	if _, err := os.Stat(b.path); err != nil {
		t.Error(err)
	}
}
