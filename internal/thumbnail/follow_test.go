package thumbnail_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/thumbnail"
	"github.com/strata-pacs/strata/storage/faultstore"
)

// follow starts following until the returned function is called.
func (w *world) follow(m *thumbnail.Maker, cursor string) (stop func()) {
	ctx, cancel := context.WithCancel(w.t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		m.Follow(ctx, thumbnail.FollowOptions{Tenant: w.node.Tenant, Feed: w.node.Index, After: time.Minute, Cursor: cursor, Every: time.Millisecond})
	})
	return func() {
		cancel()
		wg.Wait()
	}
}

// until waits for a condition that the follower brings about.
func (w *world) until(what string, ok func() bool) {
	w.t.Helper()
	for range 5000 {
		if ok() {
			return
		}
		time.Sleep(2 * time.Millisecond)
	}
	w.t.Fatalf("never happened: %s", what)
}

func cursorSays(path, beginning string) func() bool {
	return func() bool {
		b, _ := os.ReadFile(path)
		return strings.HasPrefix(string(b), beginning)
	}
}

func TestFollow(t *testing.T) {
	w := newWorld(t)
	cursor := filepath.Join(t.TempDir(), "cursor")
	stop := w.follow(w.maker, cursor)
	defer func() { stop() }()
	w.until("it begins", cursorSays(cursor, "0 "))
	w.series("1.2.1", "1.2.1.1", 10, 3)
	w.now.Add(40)
	w.series("1.2.1", "1.2.1.2", 20, 4)
	w.series("1.2.3", "1.2.3.1", 30, 1)
	w.now.Add(40)
	time.Sleep(20 * time.Millisecond)
	if w.drawn.total() != 0 {
		t.Errorf("drawn before the study went quiet: %v", w.drawn.by)
	}
	w.now.Add(40)
	// Of both studies and of every series: one picture serves the study and the series it is from.
	w.until("the cursor is at the end", cursorSays(cursor, "8 "))
	if w.drawn.total() != 3 || len(w.objects()) != 3 {
		t.Errorf("drawn %v, objects %v", w.drawn.by, w.objects())
	}
	creates := w.count(faultstore.Create)
	w.shows(study, 22)
	w.shows(first, 11)
	w.shows(archive.UIDs{Study: "1.2.3"}, 30)

	// Started again, it has nothing to do.
	stop()
	m := w.newMaker()
	stop = w.follow(m, cursor)
	w.series("1.2.3", "1.2.3.2", 40, 1)
	w.now.Add(61)
	w.until("the cursor is at the end", cursorSays(cursor, "9 "))
	if w.count(faultstore.Create) != creates+1 {
		t.Errorf("%d pictures were written", w.count(faultstore.Create)-creates)
	}

	// What is gone leaves nothing behind.
	w.delete(study)
	w.now.Add(61)
	w.until("the cursor is at the end", cursorSays(cursor, "16 "))
	for _, name := range w.objects() {
		if strings.Contains(name, w.keys.Ref("1.2.1").String()) {
			t.Errorf("%s is still there", name)
		}
	}
	w.delete(archive.UIDs{Study: "1.2.3", Series: "1.2.3.2"})
	w.now.Add(61)
	w.until("the cursor is at the end", cursorSays(cursor, "17 "))
	if n := len(w.objects()); n != 1 {
		t.Errorf("%d objects of a series", n)
	}
}

// TestFollowPoison: what cannot be drawn does not hold up the rest.
func TestFollowPoison(t *testing.T) {
	w := newWorld(t)
	cursor := filepath.Join(t.TempDir(), "cursor")
	w.drawn.broken = []string{"1.2.1.1.10"}
	defer w.follow(w.maker, cursor)()
	w.until("it begins", cursorSays(cursor, "0 "))
	w.series("1.2.1", "1.2.1.1", 10, 1)
	w.put(file{study: "1.2.2", series: "1.2.2.1", instance: "1.2.2.1.1", class: basicSR, empty: true})
	w.series("1.2.3", "1.2.3.1", 30, 1)
	w.now.Add(61)
	w.until("the cursor is at the end", cursorSays(cursor, "3 "))
	if w.drawn.by["1.2.1.1.10[]"] != 1 || len(w.objects()) != 1 {
		t.Errorf("drawn %v, objects %v", w.drawn.by, w.objects())
	}
}

// TestFollowFails: a store that does not answer for a while, and a crash between the
// picture and the cursor.
func TestFollowFails(t *testing.T) {
	w := newWorld(t)
	cursor := filepath.Join(t.TempDir(), "cursor")
	stop := w.follow(w.maker, cursor)
	w.until("it begins", cursorSays(cursor, "0 "))
	w.fails(func(op faultstore.Op) faultstore.Decision {
		if op.Name == faultstore.Open {
			return faultstore.Decision{Action: faultstore.FailBefore}
		}
		return faultstore.Decision{}
	})
	w.series("1.2.1", "1.2.1.1", 10, 1)
	w.now.Add(61)
	w.until("it tried", func() bool { return w.count(faultstore.Open) > 3 })
	if !cursorSays(cursor, "0 ")() {
		t.Error("the cursor went past what failed")
	}
	w.fails(nil)
	w.until("the cursor is at the end", cursorSays(cursor, "1 "))
	stop()
	if err := os.WriteFile(cursor, []byte("0 start\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	m := w.newMaker()
	stop = w.follow(m, cursor)
	defer func() { stop() }()
	w.until("the cursor is at the end", cursorSays(cursor, "1 "))
	if w.drawn.total() != 1 || len(w.objects()) != 1 {
		t.Errorf("drawn %v, objects %v", w.drawn.by, w.objects())
	}
}

// TestFollowAnew: on an archive that was there before, or with the cursor of
// another index, nothing of the past is made, but what was deleted is removed.
func TestFollowAnew(t *testing.T) {
	for _, text := range []string{"", "nonsense", "2 00112233445566778899aabbccddeeff\n", "99 start\n", "-1 start"} {
		t.Run(fmt.Sprintf("%.6q", text), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.series("1.2.1", "1.2.1.1", 10, 2)
			w.series("1.2.3", "1.2.3.1", 30, 1)
			w.shows(study, 11)
			w.shows(archive.UIDs{Study: "1.2.3"}, 30)
			w.delete(study)
			cursor := filepath.Join(t.TempDir(), "cursor")
			if err := os.WriteFile(cursor, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			w.now.Add(1000)
			drawn := w.drawn.total()
			defer w.follow(w.newMaker(), cursor)()
			w.until("the cursor is at the end", cursorSays(cursor, "5 "))
			if w.drawn.total() != drawn || len(w.objects()) != 1 {
				t.Errorf("%d drawn, objects %v", w.drawn.total()-drawn, w.objects())
			}
		})
	}
}

// TestDeletedMeanwhile: a picture that was being made while its study was
// deleted, and swept, leaves nothing.
func TestDeletedMeanwhile(t *testing.T) {
	w := newWorld(t)
	w.series("1.2.1", "1.2.1.1", 10, 1)
	gate := make(chan struct{})
	w.drawn.gate = gate
	done := make(chan error)
	go func() {
		_, err := w.maker.Thumbnail(context.Background(), w.node.Tenant, study, 0, thumbnail.Viewport{})
		done <- err
	}()
	w.until("it is being drawn", func() bool { return w.drawn.total() == 1 })
	w.delete(study)
	if _, err := w.maker.Sweep(t.Context(), w.node.Tenant, "1.2.1"); err != nil {
		t.Fatal(err)
	}
	close(gate)
	if err := <-done; err != nil {
		t.Error(err) // it was there when it was asked for
	}
	if len(w.objects()) != 0 {
		t.Errorf("left behind: %v", w.objects())
	}
	if _, err := w.maker.Thumbnail(t.Context(), w.node.Tenant, study, 0, thumbnail.Viewport{}); !fault.Is(err, fault.NotFound) {
		t.Error(err)
	}
}

// TestFollowArchived: a study whose pixels went into an archive before its thumbnails were made does not hold up the
// rest; and of what could not be drawn before it went, the picture of another image is still shown.
func TestFollowArchived(t *testing.T) {
	w := newWorld(t)
	cursor := filepath.Join(t.TempDir(), "cursor")
	w.series("1.2.1", "1.2.1.1", 10, 3)
	w.drawn.broken = []string{"1.2.1.1.11"} // the middle
	if err := w.maker.Make(t.Context(), w.node.Tenant, "1.2.1"); err != nil {
		t.Fatal(err)
	}
	kept := len(w.objects())
	defer w.follow(w.maker, cursor)()
	w.until("it begins", cursorSays(cursor, "3 "))
	w.series("1.2.2", "1.2.2.1", 20, 1)
	w.series("1.2.3", "1.2.3.1", 30, 1)
	w.drawn.archive("1.2.1", "1.2.2")
	w.now.Add(61)
	w.until("the cursor is at the end", cursorSays(cursor, "5 "))
	if n := len(w.objects()); kept == 0 || n != kept+1 || w.drawn.by["1.2.2.1.20[]"] != 0 {
		t.Errorf("%d pictures and then %d, drawn %v", kept, n, w.drawn.by)
	}
	fresh := w.newMaker()
	if got, _, err := w.get(fresh, study, 0, thumbnail.Viewport{}); err != nil || got != 10 {
		t.Errorf("%d is shown, %v", got, err)
	}
	if _, _, err := w.get(fresh, archive.UIDs{Study: "1.2.2"}, 0, thumbnail.Viewport{}); !fault.Is(err, fault.Archived) {
		t.Errorf("what was never made: %v", err)
	}
}
