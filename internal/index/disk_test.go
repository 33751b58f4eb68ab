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
	x := openTest(t, onSQLite)
	apply(t, x, stored(1, ctSpec))
	w := x.writers[0]
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

// TestNoRoomForReal fills a small file system: stores are refused as full, reads
// go on, a deletion still works, and with room everything does.
func TestNoRoomForReal(t *testing.T) {
	dir := smallDisk(t, 30<<20)
	o := baseOptions()
	o.Path = dir + "/index.db"
	x, err := Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	ctx := context.Background()
	var full error
	n := uint64(0)
	for full == nil && n < 500 {
		n++
		s := ctSpec
		s.study, s.instance = fmt.Sprintf("4.%d", n), fmt.Sprintf("4.%d.1.1", n)
		e := stored(n, s)
		e.Fact.Chunks[0].Data = make([]byte, 100<<10)
		_, full = x.Apply(ctx, hospital, e)
	}
	if !fault.Is(full, fault.Full) {
		t.Fatalf("after %d stores: %v", n, full)
	}
	// What frees room begins with an intent.
	for i := range uint64(300) {
		if err := x.Intend(ctx, hospital, archive.Intent{Study: archive.Ref{1}, Session: "s", N: i}); err != nil {
			t.Fatalf("after %d: %v", i, err)
		}
	}
	there := studies(t, x, archive.StudyFilter{})
	if len(there) != int(n-1) {
		t.Errorf("%d of %d studies are there", len(there), n-1)
	}
	sel := archive.UIDs{Study: there[0].UID}
	blobs, err := x.Blobs(ctx, hospital, sel)
	if err != nil || len(blobs) != 1 {
		t.Fatal(blobs, err)
	}
	apply(t, x, deletes(1000, sel, blobs...))
	if got := studies(t, x, archive.StudyFilter{}); len(got) != len(there)-1 {
		t.Errorf("%d studies after a deletion", len(got))
	}
	growDisk(t, dir, 100<<20)
	s := ctSpec
	apply(t, x, stored(n, s))
	if got := studies(t, x, archive.StudyFilter{}); len(got) != len(there) {
		t.Errorf("%d studies", len(got))
	}
}

// TestRoom: what was freed for deletions does not go to more instances.
func TestRoom(t *testing.T) {
	x := openTest(t, onSQLite)
	apply(t, x, stored(1, ctSpec))
	b := &x.ballast
	b.need.Store(1 << 62) // more than any disk has
	if err := x.Room(); !fault.Is(err, fault.Full) {
		t.Errorf("room: %v", err)
	}
	e := stored(2, ctSpec)
	if _, err := x.Apply(context.Background(), hospital, e); !fault.Is(err, fault.Full) {
		t.Errorf("instances: %v", err)
	}
	apply(t, x, deletes(3, archive.UIDs{Study: ctSpec.study}, e.Fact.Instances[0].Blob))
	b.need.Store(1)
	apply(t, x, e)
	if err := x.Room(); err != nil || b.need.Load() != 0 || !b.there {
		t.Errorf("room: %v, %d, %v", err, b.need.Load(), b.there)
	}
}
