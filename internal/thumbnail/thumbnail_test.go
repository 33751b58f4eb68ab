package thumbnail_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/thumbnail"
	"github.com/strata-pacs/strata/storage"
	"github.com/strata-pacs/strata/storage/faultstore"
)

var (
	study  = archive.UIDs{Study: "1.2.1"}
	first  = archive.UIDs{Study: "1.2.1", Series: "1.2.1.1"}
	second = archive.UIDs{Study: "1.2.1", Series: "1.2.1.2"}
)

func instance(series archive.UIDs, n int) archive.UIDs {
	series.Instance = fmt.Sprintf("%s.%d", series.Series, n)
	return series
}

func TestRepresentative(t *testing.T) {
	localizer := func(f *file) { f.imageType = `ORIGINAL\PRIMARY\LOCALIZER` }
	for _, tt := range []struct {
		name          string
		put           func(w *world)
		study, series int // what is shown of the study and of its first series; 0: nothing can be
	}{
		{"one image", func(w *world) { w.series("1.2.1", "1.2.1.1", 10, 1) }, 10, 10},
		{"the middle one", func(w *world) { w.series("1.2.1", "1.2.1.1", 10, 5) }, 12, 12},
		{"the larger series", func(w *world) {
			w.series("1.2.1", "1.2.1.1", 10, 2)
			w.series("1.2.1", "1.2.1.2", 20, 3)
		}, 21, 11},
		{"frames count", func(w *world) {
			w.series("1.2.1", "1.2.1.1", 10, 1, func(f *file) { f.frames = 8 })
			w.series("1.2.1", "1.2.1.2", 20, 3)
		}, 10, 10},
		{"localizers come after images", func(w *world) {
			w.series("1.2.1", "1.2.1.1", 10, 9, localizer)
			w.series("1.2.1", "1.2.1.2", 20, 1)
		}, 20, 14},
		{"so do secondary captures", func(w *world) {
			w.series("1.2.1", "1.2.1.1", 10, 9, func(f *file) { f.class = secondary })
			w.series("1.2.1", "1.2.1.2", 20, 1)
		}, 20, 14},
		{"and segmentations", func(w *world) {
			w.series("1.2.1", "1.2.1.1", 10, 1, func(f *file) { f.class, f.frames = segmentation, 90 })
			w.series("1.2.1", "1.2.1.2", 20, 1, func(f *file) { f.class = secondary })
		}, 20, 10},
		{"a localizer in a series", func(w *world) {
			w.series("1.2.1", "1.2.1.1", 10, 9, func(f *file) {
				if f.number != 2 {
					localizer(f)
				}
			})
		}, 11, 11},
		{"reports have none", func(w *world) {
			w.series("1.2.1", "1.2.1.1", 10, 2, func(f *file) { f.class, f.empty = basicSR, true })
		}, 0, 0},
		{"but images beside them", func(w *world) {
			w.series("1.2.1", "1.2.1.1", 10, 2, func(f *file) { f.class, f.empty = basicSR, true })
			w.series("1.2.1", "1.2.1.2", 20, 1)
		}, 20, 0},
		{"another, where one is damaged", func(w *world) {
			w.series("1.2.1", "1.2.1.1", 10, 5)
			w.drawn.broken = []string{"1.2.1.1.12"}
		}, 11, 11},
		{"another series, where all are", func(w *world) {
			w.series("1.2.1", "1.2.1.1", 10, 2)
			w.series("1.2.1", "1.2.1.2", 20, 1)
			w.drawn.broken = []string{"1.2.1.1.10", "1.2.1.1.11"}
		}, 20, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			tt.put(w)
			for sel, want := range map[archive.UIDs]int{study: tt.study, first: tt.series} {
				got, _, err := w.get(w.maker, sel, 0, thumbnail.Viewport{})
				if want == 0 {
					if !fault.Is(err, fault.NotAcceptable) {
						t.Errorf("%d is shown, %v; want nothing", got, err)
					}
				} else if err != nil || got != want {
					t.Errorf("%d is shown, %v; want %d", got, err, want)
				}
			}
		})
	}
}

// selection is a Key Object Selection document that points out an image.
func selection(uid, title string, image archive.UIDs, frame string) file {
	ref := []dicom.Element{text(0x00081150, dicom.UI, ctImage), text(0x00081155, dicom.UI, image.Instance)}
	withFrame := ref
	if frame != "" {
		withFrame = append(append([]dicom.Element{}, ref...), text(0x00081160, dicom.IS, frame))
	}
	return file{study: image.Study, series: "1.2.1.9", instance: uid, class: keyObject, empty: true, more: []dicom.Element{
		sequence(0x0040A043, []dicom.Element{text(0x00080100, dicom.SH, title), text(0x00080102, dicom.SH, "DCM"), text(0x00080104, dicom.LO, "Title")}),
		sequence(0x0040A375, []dicom.Element{text(0x0020000D, dicom.UI, image.Study), sequence(0x00081115,
			[]dicom.Element{text(0x0020000E, dicom.UI, image.Series), sequence(0x00081199, ref)})}),
		sequence(0x0040A730, []dicom.Element{text(0x0040A040, dicom.CS, "TEXT")},
			[]dicom.Element{text(0x0040A040, dicom.CS, "IMAGE"), sequence(0x00081199, withFrame)}),
	}}
}

func TestKeyImages(t *testing.T) {
	w := newWorld(t)
	w.series("1.2.1", "1.2.1.1", 10, 9)
	w.series("1.2.1", "1.2.1.2", 20, 3, func(f *file) { f.frames = 2 })
	w.put(selection("1.2.1.9.1", "113001", instance(first, 18), ""))
	w.shows(study, 14)
	w.put(selection("1.2.1.9.2", "113000", archive.UIDs{Study: "1.2.1", Series: "1.2.1.1", Instance: "1.2.1.1.99"}, ""))
	w.shows(study, 14)
	w.put(selection("1.2.1.9.3", "113000", instance(second, 22), "2"))
	w.shows(study, 22)
	w.shows(second, 22)
	w.shows(first, 14)
	if w.drawn.by["1.2.1.2.22[2]"] != 1 {
		t.Errorf("the frame pointed out was not drawn: %v", w.drawn.by)
	}
	w.delete(archive.UIDs{Study: "1.2.1", Series: "1.2.1.9"})
	w.shows(study, 14)
}

func TestInstancesAndFrames(t *testing.T) {
	w := newWorld(t)
	w.series("1.2.1", "1.2.1.1", 10, 2, func(f *file) { f.frames = 5 })
	w.series("1.2.1", "1.2.1.2", 20, 1, func(f *file) { f.class, f.empty = basicSR, true })
	w.shows(instance(first, 11), 11)
	for frame := 1; frame <= 5; frame++ {
		if n, _, err := w.get(w.maker, instance(first, 10), frame, thumbnail.Viewport{}); err != nil || n != 10 {
			t.Errorf("frame %d: %d, %v", frame, n, err)
		}
	}
	if w.drawn.by["1.2.1.1.11[]"] != 1 || w.drawn.by["1.2.1.1.10[5]"] != 1 {
		t.Errorf("drawn: %v", w.drawn.by)
	}
	for _, tt := range []struct {
		sel   archive.UIDs
		frame int
		v     thumbnail.Viewport
		want  fault.Kind
	}{
		{instance(first, 10), 6, thumbnail.Viewport{}, fault.NotFound},
		{instance(first, 12), 0, thumbnail.Viewport{}, fault.NotFound},
		{archive.UIDs{Study: "1.2.1", Series: "1.2.1.3"}, 0, thumbnail.Viewport{}, fault.NotFound},
		{archive.UIDs{Study: "1.2.2"}, 0, thumbnail.Viewport{}, fault.NotFound},
		{instance(second, 20), 0, thumbnail.Viewport{}, fault.NotAcceptable},
		{instance(second, 20), 1, thumbnail.Viewport{}, fault.NotAcceptable},
		{instance(first, 10), -1, thumbnail.Viewport{}, fault.Invalid},
		{first, 1, thumbnail.Viewport{}, fault.Invalid},
		{archive.UIDs{}, 0, thumbnail.Viewport{}, fault.Invalid},
		{study, 0, thumbnail.Viewport{Width: 1025, Height: 1}, fault.Invalid},
		{study, 0, thumbnail.Viewport{Width: 10}, fault.Invalid},
		{study, 0, thumbnail.Viewport{Width: -1, Height: 5}, fault.Invalid},
	} {
		if _, _, err := w.get(w.maker, tt.sel, tt.frame, tt.v); !fault.Is(err, tt.want) {
			t.Errorf("%v frame %d in %v: %v, want %v", tt.sel, tt.frame, tt.v, err, tt.want)
		}
	}
}

// TestMadeOnce: whatever asks again, a restart included, makes and writes nothing.
func TestMadeOnce(t *testing.T) {
	w := newWorld(t)
	w.series("1.2.1", "1.2.1.1", 10, 3)
	_, body, err := w.get(w.maker, study, 0, thumbnail.Viewport{})
	if err != nil {
		t.Fatal(err)
	}
	reads := w.count(faultstore.Open)
	for range 3 {
		w.shows(study, 11)
		w.shows(first, 11)
		w.shows(instance(first, 11), 11)
	}
	if w.count(faultstore.Open) != reads {
		t.Error("what is in memory was read")
	}
	again := w.newMaker()
	_, same, err := w.get(again, study, 0, thumbnail.Viewport{Width: 128, Height: 128})
	if err != nil || same.Version != body.Version || body.Version == "" {
		t.Errorf("version %q, then %q, %v", body.Version, same.Version, err)
	}
	if w.drawn.total() != 1 || w.count(faultstore.Create) != 1 {
		t.Errorf("%d pictures were drawn, %d written", w.drawn.total(), w.count(faultstore.Create))
	}
	_, other, err := w.get(again, study, 0, thumbnail.Viewport{Width: 64, Height: 64})
	if err != nil || other.Version == body.Version || w.drawn.total() != 2 || w.count(faultstore.Create) != 2 {
		t.Errorf("another size: %v, drawn %d", err, w.drawn.total())
	}
}

// TestSealed: the store has neither a picture nor what it is of.
func TestSealed(t *testing.T) {
	w := newWorld(t)
	w.series("1.2.1", "1.2.1.1", 10, 1)
	w.shows(study, 10)
	names := w.objects()
	if len(names) != 1 || !strings.HasPrefix(names[0], "default/thumb/"+w.keys.Ref("1.2.1").String()+"/") || len(names[0]) != len("default/thumb/")+32+1+32 {
		t.Fatalf("objects %v", names)
	}
	b, err := storage.New(w.store.Driver).Get(t.Context(), names[0], 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	for _, clear := range []string{"\xFF\xD8\xFF", "JFIF", "1.2.1", "Doe"} {
		if bytes.Contains(b, []byte(clear)) || strings.Contains(names[0], "1.2.1") {
			t.Errorf("%q is in the object", clear)
		}
	}
}

// TestOddSizes: a client cannot fill the store by asking for every size there is.
func TestOddSizes(t *testing.T) {
	w := newWorld(t)
	w.series("1.2.1", "1.2.1.1", 10, 1)
	for _, v := range []thumbnail.Viewport{{Width: 100, Height: 90}, {Width: 129, Height: 129}, {Width: 1024, Height: 1024}, {Width: 1, Height: 1}} {
		for range 2 {
			if n, _, err := w.get(w.maker, study, 0, v); err != nil || n != 10 {
				t.Errorf("%v: %d, %v", v, n, err)
			}
		}
	}
	if len(w.objects()) != 0 || w.drawn.total() != 4 {
		t.Errorf("%d objects, %d drawn", len(w.objects()), w.drawn.total())
	}
}

func TestFollowsTheStudy(t *testing.T) {
	w := newWorld(t)
	w.series("1.2.1", "1.2.1.1", 10, 3)
	w.shows(study, 11)
	w.series("1.2.1", "1.2.1.1", 13, 6, func(f *file) { f.number += 3 })
	w.shows(study, 14)
	w.delete(instance(first, 14))
	w.shows(study, 15)
	if _, _, err := w.get(w.maker, instance(first, 14), 0, thumbnail.Viewport{}); !fault.Is(err, fault.NotFound) {
		t.Errorf("of what was deleted: %v", err)
	}
	w.delete(study)
	for _, sel := range []archive.UIDs{study, first, instance(first, 11)} {
		if _, _, err := w.get(w.maker, sel, 0, thumbnail.Viewport{}); !fault.Is(err, fault.NotFound) {
			t.Errorf("of what was deleted: %v", err)
		}
	}
	if _, err := w.node.Remove.Undelete(t.Context(), w.node.Tenant, study); err != nil {
		t.Fatal(err)
	}
	w.shows(study, 14)
}

// TestRevoked: with the key goes every picture, those in memory too.
func TestRevoked(t *testing.T) {
	w := newWorld(t)
	w.series("1.2.1", "1.2.1.1", 10, 3)
	w.drawn.broken = []string{"1.2.1.1.10"}
	w.shows(study, 11)
	if _, _, err := w.get(w.maker, instance(first, 10), 0, thumbnail.Viewport{}); !fault.Is(err, fault.NotAcceptable) {
		t.Error(err)
	}
	w.keys.denied.Store(true)
	for _, sel := range []archive.UIDs{study, instance(first, 10), instance(first, 11)} {
		if _, _, err := w.get(w.maker, sel, 0, thumbnail.Viewport{}); !fault.Is(err, fault.KeyDenied) {
			t.Errorf("without the key: %v", err)
		}
	}
	w.keys.denied.Store(false)
	w.shows(study, 11)
}

// TestPoison: what cannot be drawn is not tried again and again, but some time later.
func TestPoison(t *testing.T) {
	w := newWorld(t)
	w.series("1.2.1", "1.2.1.1", 10, 1)
	w.drawn.broken = []string{"1.2.1.1.10"}
	for side := range 5 {
		v := thumbnail.Viewport{Width: 16 + 8*side, Height: 16 + 8*side}
		if _, _, err := w.get(w.maker, study, 0, v); !fault.Is(err, fault.NotAcceptable) || !strings.Contains(err.Error(), "damaged") {
			t.Error(err)
		}
	}
	if w.drawn.total() != 1 {
		t.Errorf("tried %d times", w.drawn.total())
	}
	// Less and less often.
	for range 3600 {
		w.now.Add(1)
		if _, _, err := w.get(w.maker, study, 0, thumbnail.Viewport{}); !fault.Is(err, fault.NotAcceptable) {
			t.Fatal(err)
		}
	}
	if w.drawn.total() < 3 || w.drawn.total() > 10 {
		t.Errorf("tried %d times within an hour", w.drawn.total())
	}
	w.drawn.broken = nil
	w.now.Add(3600)
	w.shows(study, 10)
}

// TestStoreFails: nothing that goes wrong in the store keeps a picture from whom asks.
func TestStoreFails(t *testing.T) {
	for _, tt := range []struct {
		name   string
		script faultstore.Script
		error  bool
	}{
		{"full", func(op faultstore.Op) faultstore.Decision {
			if op.Name == faultstore.Commit || op.Name == faultstore.Write {
				return faultstore.Decision{Action: faultstore.FailBefore, Err: fault.New(fault.Full, "the disk is full")}
			}
			return faultstore.Decision{}
		}, false},
		{"read-only", func(op faultstore.Op) faultstore.Decision {
			if op.Name == faultstore.Create || op.Name == faultstore.Delete {
				return faultstore.Decision{Action: faultstore.FailBefore, Err: errors.New("read-only file system")}
			}
			return faultstore.Decision{}
		}, false},
		{"unsure", func(op faultstore.Op) faultstore.Decision {
			if op.Name == faultstore.Commit {
				return faultstore.Decision{Action: faultstore.FailAfter}
			}
			return faultstore.Decision{}
		}, false},
		{"a flipped bit", func(op faultstore.Op) faultstore.Decision {
			if op.Name == faultstore.Read {
				return faultstore.Decision{Action: faultstore.Flip}
			}
			return faultstore.Decision{}
		}, false},
		{"no answer", func(op faultstore.Op) faultstore.Decision {
			return faultstore.Decision{Action: faultstore.FailBefore}
		}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.series("1.2.1", "1.2.1.1", 10, 1)
			if tt.name == "a flipped bit" {
				w.shows(study, 10)
			}
			w.fails(tt.script)
			for range 2 { // by a Maker that has nothing in memory
				m := w.newMaker()
				n, _, err := w.get(m, study, 0, thumbnail.Viewport{})
				if tt.error {
					if !fault.Is(err, fault.Unavailable) {
						t.Errorf("%d, %v", n, err)
					}
				} else if err != nil || n != 10 {
					t.Errorf("%d, %v", n, err)
				}
			}
			w.fails(nil)
			w.shows(study, 10)
			if n, _, err := w.get(w.newMaker(), study, 0, thumbnail.Viewport{}); err != nil || n != 10 {
				t.Errorf("afterwards: %d, %v", n, err)
			}
			if len(w.objects()) != 1 {
				t.Errorf("objects %v", w.objects())
			}
		})
	}
}

// TestSwapped: an object does not open under the name of another.
func TestSwapped(t *testing.T) {
	w := newWorld(t)
	w.series("1.2.1", "1.2.1.1", 10, 2)
	w.shows(instance(first, 10), 10)
	one := w.objects()[0]
	b := storage.New(w.store.Driver)
	sealed, err := b.Get(t.Context(), one, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	w.shows(instance(first, 11), 11)
	for _, name := range w.objects() {
		if name == one {
			continue
		}
		if err := b.Delete(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Put(t.Context(), name, sealed, storage.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if n, _, err := w.get(w.newMaker(), instance(first, 11), 0, thumbnail.Viewport{}); err != nil || n != 11 {
		t.Errorf("instance %d is shown for 11, %v", n, err)
	}
}

// TestOneForAll: simultaneous requests share one drawing, which goes on while
// anybody waits for it and stops when nobody does.
func TestOneForAll(t *testing.T) {
	w := newWorld(t)
	w.series("1.2.1", "1.2.1.1", 10, 1)
	gate := make(chan struct{})
	w.drawn.gate = gate
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	results := make([]error, 8)
	for i := range results {
		wg.Go(func() {
			ask := t.Context()
			if i == 0 {
				ask = ctx
			}
			_, results[i] = w.maker.Thumbnail(ask, w.node.Tenant, study, 0, thumbnail.Viewport{})
		})
	}
	for w.drawn.total() == 0 {
		time.Sleep(time.Millisecond)
	}
	cancel()
	close(gate)
	wg.Wait()
	for i, err := range results[1:] {
		if err != nil {
			t.Errorf("request %d: %v", i+1, err)
		}
	}
	if results[0] != nil && !fault.Is(results[0], fault.Canceled) {
		t.Errorf("the one that went away: %v", results[0])
	}
	if w.drawn.total() != 1 {
		t.Errorf("drawn %d times", w.drawn.total())
	}

	// Nobody waits any more: the drawing ends without its gate opening.
	w.drawn.mu.Lock()
	w.drawn.gate = make(chan struct{})
	w.drawn.mu.Unlock()
	ctx, cancel = context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		_, err := w.maker.Thumbnail(ctx, w.node.Tenant, study, 0, thumbnail.Viewport{Width: 200, Height: 200})
		done <- err
	}()
	for w.drawn.total() == 1 {
		time.Sleep(time.Millisecond)
	}
	cancel()
	if err := <-done; !fault.Is(err, fault.Canceled) {
		t.Error(err)
	}
	w.maker.Close() // would not return while it is being drawn
	if _, err := w.maker.Thumbnail(t.Context(), w.node.Tenant, study, 0, thumbnail.Viewport{Width: 300, Height: 300}); !fault.Is(err, fault.Unavailable) {
		t.Errorf("after Close: %v", err)
	}
}
