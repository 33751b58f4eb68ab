package drill_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/drill"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/storage"
	"github.com/strata-pacs/strata/storage/faultstore"
)

// TestAllIsWell: studies that are cold, settled and neither are restored, from the index and from the log
// alone; nothing of them can be read in the scratch folder at any moment.
func TestAllIsWell(t *testing.T) {
	w := newWorld(t)
	ref, object := w.coldStudy(1, 3)
	w.settle(w.store(2, 2))
	w.store(3, 2)
	w.store(ref2(w, ref), 1) // came late to the cold study
	looked := 0
	look := func(o faultstore.Op) faultstore.Decision {
		if o.Name == faultstore.Read || o.Name == faultstore.Open {
			found, files := w.readable(w.scratch)
			if looked += files; found != "" {
				t.Errorf("the scratch folder holds %q", found)
			}
		}
		return faultstore.Decision{}
	}
	w.hot.Script(look)
	coldReads := 0
	w.cold.Script(func(o faultstore.Op) faultstore.Decision {
		if o.Name == faultstore.Open && o.Key == object {
			coldReads++
		}
		return look(o)
	})
	for _, fromLog := range []bool{false, true} {
		r, err := w.run(archive.RecoveryDrill{Studies: 10, FromLog: fromLog, Seed: 7})
		if err != nil || r.Failed() {
			t.Fatalf("from the log %v: %+v, %v", fromLog, r.Failures, err)
		}
		if r.Studies != 3 || r.Instances != 9 || r.Of.Studies != 3 || r.Seed != 7 || r.Facts != 5 || r.Objects != 7 {
			t.Errorf("from the log %v: %+v", fromLog, r)
		}
		if r.Whole.Least <= 0 || r.Whole.Most < r.Whole.Least || r.Whole.RebuildLeast <= 0 || len(r.Whole.Assumed) < 4 || len(r.Whole.Tiers) != 2 {
			t.Errorf("from the log %v: %+v", fromLog, r.Whole)
		}
		// 1000 for a GB and 1 for each object.
		if want := 1 + float64(r.Tiers[1].Bytes)/1e6; len(r.Tiers) != 2 || r.Tiers[1].Objects != 1 || r.Cost < want*0.999 || r.Cost > want*1.001 {
			t.Errorf("from the log %v: costs %v of %+v", fromLog, r.Cost, r.Tiers)
		}
	}
	if looked == 0 || coldReads != 2 {
		t.Errorf("%d files were looked at, the cold pack was read %d times", looked, coldReads)
	}
}

// ref2 returns the number of a study of the world.
func ref2(w *world, ref archive.Ref) (n int) {
	fmt.Sscanf(w.index.studies[ref].uid, "1.2.%d", &n)
	return n
}

// TestFound: what keeps a study from being restored is found, and its object is named.
func TestFound(t *testing.T) {
	for _, c := range []struct {
		name   string
		damage func(w *world, ref archive.Ref, object string)
		what   string
	}{
		{"a damaged byte", func(w *world, _ archive.Ref, object string) {
			edit(w.t, w.coldBucket, object, func(b []byte) []byte { b[len(b)/2] ^= 1; return b })
		}, "damaged in tier cold: digest differs"},
		{"a missing pack", func(w *world, _ archive.Ref, object string) {
			if err := w.coldBucket.Delete(w.t.Context(), object); err != nil {
				w.t.Fatal(err)
			}
		}, "missing in tier cold"},
		{"a short pack", func(w *world, _ archive.Ref, object string) {
			edit(w.t, w.coldBucket, object, func(b []byte) []byte { return b[:len(b)-100] })
		}, "damaged in tier cold"},
		{"a swapped pack", func(w *world, _ archive.Ref, object string) {
			_, other := w.coldStudy(7, 3)
			b, err := w.coldBucket.Get(w.t.Context(), other, 1<<30)
			if err != nil {
				w.t.Fatal(err)
			}
			edit(w.t, w.coldBucket, object, func([]byte) []byte { return b })
		}, "another pack than the log names: its digest differs"},
		{"a swapped pack of another size", func(w *world, _ archive.Ref, object string) {
			_, other := w.coldStudy(7, 4)
			b, err := w.coldBucket.Get(w.t.Context(), other, 1<<30)
			if err != nil {
				w.t.Fatal(err)
			}
			edit(w.t, w.coldBucket, object, func([]byte) []byte { return b })
		}, "another pack than the log names: it has"},
		{"a store that is silent", func(w *world, _ archive.Ref, object string) {
			w.cold.Script(func(o faultstore.Op) faultstore.Decision {
				if o.Key == object && o.Name == faultstore.Open {
					return faultstore.Decision{Action: faultstore.FailBefore}
				}
				return faultstore.Decision{}
			})
		}, "cannot be read in tier cold"},
		{"a tier that is gone", func(w *world, _ archive.Ref, object string) { w.list[1].Name = "frozen" }, "tier cold, which is not configured"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			ref, object := w.coldStudy(1, 3)
			w.settle(w.store(2, 2))
			w.store(3, 1)
			c.damage(w, ref, object)
			w.wants(c.what, object)
		})
	}
}

// TestWrongDigest: an instance whose bytes are whole, but are not those that the fact names.
func TestWrongDigest(t *testing.T) {
	w := newWorld(t)
	ref := w.store(1, 2)
	w.index.studies[ref].rows[1].Digest[0] ^= 1
	object := w.settle(ref) // states the wrong one
	w.wants("1 of 2 instances cannot be restored from this object: the bytes are not those that were received", object)
}

// TestLog: damage to the log, which only what the index knows of it makes known where it is gone.
func TestLog(t *testing.T) {
	for _, c := range []struct {
		name   string
		damage func(t *testing.T, b *storage.Bucket, object string)
		what   string
	}{
		{"damaged body", func(t *testing.T, b *storage.Bucket, object string) {
			edit(t, b, object, func(p []byte) []byte { p[100] ^= 1; return p })
		}, "log cannot be restored"},
		{"gone", func(t *testing.T, b *storage.Bucket, object string) {
			if err := b.Delete(t.Context(), object); err != nil {
				t.Fatal(err)
			}
		}, "log cannot be restored"},
		{"another's", func(t *testing.T, b *storage.Bucket, object string) {
			other, err := b.Get(t.Context(), "praxis/log/S1/0000000000000002", 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			edit(t, b, object, func([]byte) []byte { return other })
		}, "log cannot be restored"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.store(1, 2)
			w.store(2, 2)
			c.damage(t, w.hotBucket, "praxis/log/S1/0000000000000001")
			r, err := w.run(archive.RecoveryDrill{})
			if err != nil || len(r.Failures) == 0 || !strings.Contains(r.Failures[0].What, c.what) || r.Failures[0].Object != "praxis/log/S1/0000000000000001" {
				t.Errorf("%+v, %v", r.Failures, err)
			}
		})
	}
}

// TestIndexIsWrong: the log is right, and the index says otherwise; a drill from the log does not mind.
func TestIndexIsWrong(t *testing.T) {
	for _, c := range []struct {
		name   string
		damage func(k *known)
		what   string
	}{
		{"another tier", func(k *known) { k.packs[0].Tier = archive.HotTier }, "the index says that a pack is in tier hot, the log says cold"},
		{"no pack", func(k *known) { k.packs = nil }, "does not know a pack"},
		{"another place", func(k *known) { k.rows[1].At.Offset++ }, "otherwise than the log of 1 instances"},
		{"another digest", func(k *known) { k.rows[1].Digest[0]++ }, "otherwise than the log of 1 instances"},
		{"one too many", func(k *known) { k.rows = append(k.rows, archive.InstanceRow{}) }, "1 instances of a study that no fact"},
		{"no entries, as after an upgrade", func(k *known) { k.entries = nil }, "4 instances of a study that no fact states of which it knows"},
		{"one too few", func(k *known) { k.rows = k.rows[1:] }, "the log has 1 instances"},
		{"another fact", func(k *known) { k.entries[0].Fact[0]++ }, "holds another fact"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			ref, _ := w.coldStudy(1, 3)
			c.damage(w.index.studies[ref])
			r, err := w.run(archive.RecoveryDrill{})
			if err != nil || len(r.Failures) == 0 || !strings.Contains(r.Failures[0].What, c.what) {
				t.Errorf("%+v, %v", r.Failures, err)
			}
			if r, err = w.run(archive.RecoveryDrill{FromLog: true}); err != nil || r.Failed() || r.Instances != 4 {
				t.Errorf("from the log: %+v, %v", r, err)
			}
		})
	}
}

// TestChanges: a study that is settled while it is read is looked at anew, and nothing is reported.
func TestChanges(t *testing.T) {
	w := newWorld(t)
	ref := w.store(1, 2)
	done := false
	w.hot.Script(func(o faultstore.Op) faultstore.Decision {
		if o.Name == faultstore.Open && strings.HasSuffix(o.Key, "/0000000000000001") && !done {
			done = true
			return faultstore.Decision{Action: faultstore.FailBefore, Err: fault.New(fault.NotFound, "there is no such object")}
		}
		return faultstore.Decision{}
	})
	asked := 0
	w.index.asked = func(archive.Ref) {
		if asked++; asked == 2 {
			w.index.asked = nil
			w.settle(ref)
		}
	}
	r, err := w.run(archive.RecoveryDrill{})
	if err != nil || r.Failed() || r.Studies != 1 || r.Instances != 2 || r.Facts != 1 || !done {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestGone: a study that is deleted for good between being drawn and being read is no failure, and none that was tried.
func TestGone(t *testing.T) {
	w := newWorld(t)
	ref := w.store(1, 2)
	w.store(2, 1)
	w.index.asked = func(archive.Ref) { delete(w.index.studies, ref) }
	r, err := w.run(archive.RecoveryDrill{})
	if err != nil || r.Failed() || r.Studies != 1 || r.Instances != 1 || r.Of.Studies != 2 {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestShredded: a study whose key was destroyed, as the log says, is nothing that was lost.
func TestShredded(t *testing.T) {
	w := newWorld(t)
	ref := w.store(1, 2)
	w.store(2, 1)
	key := w.index.studies[ref].key
	name := "praxis/key/" + key.String()
	if err := w.hotBucket.Delete(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	w.ring.Drop(key)
	r, err := w.run(archive.RecoveryDrill{FromLog: true})
	if err != nil || len(r.Failures) != 1 || !strings.Contains(r.Failures[0].What, "cannot be opened") {
		t.Errorf("without a word in the log: %+v, %v", r.Failures, err)
	}
	w.append(&archive.Fact{Kind: archive.FactKeyClosed, Study: ref, Closed: []archive.KeyID{key}}, nil)
	if r, err = w.run(archive.RecoveryDrill{FromLog: true}); err != nil || r.Failed() || r.Instances != 1 {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestSeed: the same seed draws the same studies, whatever order the index has them in, and from the log.
func TestSeed(t *testing.T) {
	w := newWorld(t)
	for i := range 40 {
		w.store(i, 1)
	}
	draw := func(seed uint64, fromLog bool) string {
		t.Helper()
		var read []string
		w.hot.Script(func(o faultstore.Op) faultstore.Decision {
			if o.Name == faultstore.Open && strings.Contains(o.Key, "/log/") {
				read = append(read, o.Key)
			}
			return faultstore.Decision{}
		})
		r, err := w.run(archive.RecoveryDrill{Studies: 3, Seed: seed, FromLog: fromLog})
		if err != nil || r.Failed() || r.Studies != 3 {
			t.Fatalf("%+v, %v", r, err)
		}
		if about := r.Of.Studies; about < 20 || about > 80 || !fromLog && about != 40 {
			t.Errorf("drawn of %d studies", about)
		}
		if fromLog {
			read = read[40:] // the look through the log
		}
		return fmt.Sprint(read)
	}
	first := draw(1, false)
	slices.Reverse(w.index.order)
	if again := draw(1, false); again != first {
		t.Errorf("%s, then %s", first, again)
	}
	if log := draw(1, true); log != first {
		t.Errorf("%s, from the log %s", first, log)
	}
	if other := draw(2, false); other == first {
		t.Error("another seed draws the same")
	}
	a, err := w.run(archive.RecoveryDrill{Studies: 1})
	if err != nil || a.Seed == 0 {
		t.Errorf("made up seed %d, %v", a.Seed, err)
	}
}

// TestBytes: studies that do not fit are left out and counted.
func TestBytes(t *testing.T) {
	w := newWorld(t)
	w.store(1, 20) // some 170 kB
	w.store(2, 1)
	for _, fromLog := range []bool{false, true} {
		r, err := w.run(archive.RecoveryDrill{Bytes: 60_000, FromLog: fromLog})
		if err != nil || r.Failed() || r.Studies != 1 || r.Instances != 1 || r.TooLarge != 1 || r.Bytes > 60_000 {
			t.Errorf("from the log %v: %+v, %v", fromLog, r, err)
		}
	}
}

// TestKilled: what a drill left that was killed goes, and nothing else.
func TestKilled(t *testing.T) {
	folder := t.TempDir()
	for _, name := range []string{"strata-drill-1/1", "strata-drill-2/1", "other/1"} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(filepath.Join(folder, name)), 0o700), os.WriteFile(filepath.Join(folder, name), nil, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if err := drill.Sweep(folder); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(folder); err != nil || len(left) != 1 || left[0].Name() != "other" {
		t.Errorf("left: %v, %v", left, err)
	}
	if err := drill.Sweep(filepath.Join(folder, "none")); err != nil {
		t.Error(err)
	}
}

// TestCancelled: a drill that is called off in the middle of a copy leaves nothing.
func TestCancelled(t *testing.T) {
	w := newWorld(t)
	_, object := w.coldStudy(1, 3)
	off := errors.New("called off")
	ctx, cancel := context.WithCancelCause(t.Context())
	w.cold.Script(func(o faultstore.Op) faultstore.Decision {
		if o.Name == faultstore.Read {
			if _, files := w.readable(w.scratch); files == 0 {
				t.Error("nothing is in the scratch folder")
			}
			cancel(off)
		}
		return faultstore.Decision{}
	})
	_, err := drill.Run(ctx, w.options(), archive.RecoveryDrill{}, nil)
	if !errors.Is(err, off) || ctx.Err() == nil {
		t.Errorf("%v (of %s)", err, object)
	}
	w.wantNoScratch()
}

// TestScratchFails: a folder that cannot be used is the drill's own trouble, and no failure of the archive.
func TestScratchFails(t *testing.T) {
	w := newWorld(t)
	w.coldStudy(1, 30)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	w.scratch = filepath.Join(file, "below")
	if _, err := drill.Run(t.Context(), w.options(), archive.RecoveryDrill{}, nil); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "drill-scratch") {
		t.Errorf("%v", err)
	}
}

// TestScratchFull: a disk that runs full in the middle of a copy.
func TestScratchFull(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=128k"); err != nil {
		t.Skipf("needs leave to mount: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	w := newWorld(t)
	w.coldStudy(1, 30)
	w.scratch = filepath.Join(dir, "scratch")
	_, err := w.run(archive.RecoveryDrill{})
	if !fault.Is(err, fault.Full) || !strings.Contains(fault.Message(err), "scratch folder of the drill is full") {
		t.Errorf("%v", err)
	}
}

func TestRefused(t *testing.T) {
	w := newWorld(t)
	for _, q := range []archive.RecoveryDrill{{Studies: -1}, {Studies: drill.MaxStudies + 1}, {Bytes: -1}, {Priority: "now"}} {
		if _, err := w.run(q); !fault.Is(err, fault.Invalid) {
			t.Errorf("%+v: %v", q, err)
		}
	}
	r, err := w.run(archive.RecoveryDrill{})
	if err != nil || r.Failed() || r.Studies != 0 {
		t.Errorf("an empty archive: %+v, %v", r, err)
	}
}
