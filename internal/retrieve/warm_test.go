package retrieve_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/pixel/render"
	"github.com/strata-pacs/strata/internal/retrieve"
	"github.com/strata-pacs/strata/internal/retrieve/retrievetest"
	"github.com/strata-pacs/strata/storage"
	"github.com/strata-pacs/strata/storage/cachestore"
	"github.com/strata-pacs/strata/storage/delaystore"
	"github.com/strata-pacs/strata/storage/memstore"
)

// delay is what a request of the far store takes, by a clock that runs only when
// everything waits: time over delay is how many requests followed one another.
const delay = 50 * time.Millisecond

// far is an archive whose objects and keys are far away, with nothing cached.
type far struct {
	*retrieve.Reader
	a     *retrievetest.Archive
	store *delaystore.Store
	cache *cachestore.Store
}

const keyObject = "default/key/1"

func newFar(t *testing.T, a *retrievetest.Archive, dir string) *far {
	t.Helper()
	mem := memstore.New(memstore.Options{})
	objects := map[string][]byte{keyObject: []byte("wrapped")}
	for k, b := range a.Objects {
		objects[k] = b
	}
	for k, b := range objects {
		if _, err := storage.New(mem).Put(t.Context(), k, b, storage.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	f := &far{a: a, store: delaystore.New(mem, delaystore.Options{Delay: delay})}
	var err error
	if f.cache, err = cachestore.New(f.store.Driver, cachestore.Options{Folder: dir, Bytes: 1 << 30}); err != nil {
		t.Fatal(err)
	}
	k := &farKeys{a: a, b: storage.New(f.cache.Driver), turn: make(chan bool, 1)}
	k.turn <- false
	f.Reader = retrieve.New(retrieve.Options{Index: a, Objects: k.b, Secrets: k, Ahead: f.cache})
	return f
}

func (f *far) close() {
	f.Reader.Close()
	f.cache.Close()
}

// farKeys costs a read of the store, once.
type farKeys struct {
	a    *retrievetest.Archive
	b    *storage.Bucket
	turn chan bool // whether the key is there
}

func (k *farKeys) Secret(ctx context.Context, id archive.KeyID) (archive.Secret, error) {
	there := <-k.turn
	defer func() { k.turn <- there }()
	if !there {
		if _, err := k.b.Get(ctx, keyObject, 100); err != nil {
			return archive.Secret{}, err
		}
		there = true
	}
	return k.a.Secret(ctx, id)
}

// depth runs do and returns how many requests followed one another, and how many there were.
func (f *far) depth(t *testing.T, do func()) (depth, requests int) {
	t.Helper()
	from, before := time.Now(), f.store.Requests()
	do()
	return int(time.Since(from) / delay), int(f.store.Requests() - before)
}

// stack makes a series of 120 images, stored by so many a request.
func stack(t *testing.T, together int) (a *retrievetest.Archive, files [][]byte, uids []archive.UIDs) {
	t.Helper()
	a = retrievetest.New()
	pattern := retrievetest.Pattern(160*160*2 + 120)
	for i := range 120 {
		u := archive.UIDs{Study: "1.2", Series: "1.2.1", Instance: fmt.Sprintf("1.2.1.%d", i+1)}
		px := pattern[i:][:160*160*2]
		files = append(files, retrievetest.Part10(retrievetest.Image{UIDs: u, Rows: 160, Columns: 160, Pixels: px, Name: "Fern^Ada"}))
	}
	for rest := files; len(rest) > 0; rest = rest[together:] {
		uids = append(uids, a.Store(t, tenant, rest[:together]...)...)
	}
	return a, files, uids
}

// TestColdImage: the first image of a study costs two round trips at most, the
// key's among them, however it is asked for.
func TestColdImage(t *testing.T) {
	small, _, uids := stack(t, 120)
	large := retrievetest.New()
	cine := large.Store(t, tenant, retrievetest.Part10(retrievetest.Image{UIDs: ct, Rows: 256, Columns: 256, Frames: 100, Name: "Fern^Ada"}))[0]
	write := func(t *testing.T, b *retrieve.Body, err error) {
		t.Helper()
		read(t, b, err)
	}
	for _, c := range []struct {
		name string
		a    *retrievetest.Archive
		sel  archive.UIDs
		ask  func(t *testing.T, r *retrieve.Reader, in *retrieve.Instance)
		most int // requests in a row
	}{
		{"instance", small, uids[60], func(t *testing.T, r *retrieve.Reader, in *retrieve.Instance) {
			b, err := r.File(in, "")
			write(t, b, err)
		}, 1},
		{"frame", small, uids[60], func(t *testing.T, r *retrieve.Reader, in *retrieve.Instance) {
			b, err := r.Frame(in, 1, "")
			write(t, b, err)
		}, 1},
		{"converted", small, uids[60], func(t *testing.T, r *retrieve.Reader, in *retrieve.Instance) {
			b, err := r.File(in, "1.2.840.10008.1.2")
			write(t, b, err)
		}, 1},
		{"transcoded", small, uids[60], func(t *testing.T, r *retrieve.Reader, in *retrieve.Instance) {
			b, err := r.File(in, "1.2.840.10008.1.2.5")
			write(t, b, err)
		}, 1},
		{"rendered", small, uids[60], func(t *testing.T, r *retrieve.Reader, in *retrieve.Instance) {
			b, err := r.Rendered(t.Context(), in, nil, render.JPEG, render.Options{})
			write(t, b, err)
		}, 1},
		{"frame of a large one", large, cine, func(t *testing.T, r *retrieve.Reader, in *retrieve.Instance) {
			b, err := r.Frame(in, 70, "")
			write(t, b, err)
		}, 1},
		{"rendered frame of a large one", large, cine, func(t *testing.T, r *retrieve.Reader, in *retrieve.Instance) {
			b, err := r.Rendered(t.Context(), in, []int{70}, render.JPEG, render.Options{})
			write(t, b, err)
		}, 2},
		{"large one rendered", large, cine, func(t *testing.T, r *retrieve.Reader, in *retrieve.Instance) {
			b, err := r.Rendered(t.Context(), in, nil, render.JPEG, render.Options{})
			write(t, b, err)
		}, 2},
		{"transcoded frame of a large one", large, cine, func(t *testing.T, r *retrieve.Reader, in *retrieve.Instance) {
			b, err := r.Frame(in, 70, "1.2.840.10008.1.2.5")
			write(t, b, err)
		}, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				f := newFar(t, c.a, dir)
				defer f.close()
				depth, requests := f.depth(t, func() { c.ask(t, f.Reader, one(t, f.Reader, c.sel)) })
				if depth < 1 || depth > c.most || requests > 4 {
					t.Errorf("%d requests in a row, %d in all", depth, requests)
				}
				again, requests := f.depth(t, func() { c.ask(t, f.Reader, one(t, f.Reader, c.sel)) })
				if again != 0 || requests != 0 {
					t.Errorf("once more: %d requests in a row, %d in all", again, requests)
				}
			})
		})
	}
}

// TestColdSeries: of a series in order the next instances are fetched ahead, few
// requests for many that lie together.
func TestColdSeries(t *testing.T) {
	for _, c := range []struct {
		together, depth, requests int
	}{{120, 3, 12}, {10, 3, 30}, {1, 3, 125}} {
		t.Run(fmt.Sprint(c.together), func(t *testing.T) {
			a, files, _ := stack(t, c.together)
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				f := newFar(t, a, dir)
				defer f.close()
				get := func() {
					n := 0
					for b, err := range retrieve.Ahead(t.Context(), f.all(t), same) {
						if !bytes.Equal(read(t, b, err), files[n]) {
							t.Fatalf("instance %d differs", n)
						}
						n++
					}
					if n != len(files) {
						t.Fatalf("%d instances", n)
					}
				}
				depth, requests := f.depth(t, get)
				t.Logf("%d requests in a row, %d in all", depth, requests)
				if depth < 1 || depth > c.depth || requests > c.requests {
					t.Errorf("%d requests in a row, %d in all", depth, requests)
				}
				if depth, requests = f.depth(t, get); depth != 0 || requests != 0 {
					t.Errorf("once more: %d requests in a row, %d in all", depth, requests)
				}
			})
		})
	}
}

// all are the bodies of the series, in order.
func (f *far) all(t *testing.T) iter.Seq2[*retrieve.Body, error] {
	return func(yield func(*retrieve.Body, error) bool) {
		list, err := f.Find(t.Context(), tenant, archive.UIDs{Study: "1.2", Series: "1.2.1"}, retrieve.Files)
		if err != nil {
			t.Fatal(err)
		}
		for i := range list {
			if !yield(f.File(&list[i], "")) {
				return
			}
		}
	}
}

func same(b *retrieve.Body) *retrieve.Body { return b }

// TestColdViewer: a viewer asks for one frame after another, the middle one first
// and 25 at a time; what lies around is there before it asks.
func TestColdViewer(t *testing.T) {
	for _, c := range []struct {
		name    string
		clients int
		depth   int // of the 120 requests, behind the first
	}{{"25 at a time", 25, 3}, {"one at a time", 1, 4}} {
		for _, together := range []int{120, 1} {
			t.Run(fmt.Sprint(c.name, together), func(t *testing.T) {
				a, files, uids := stack(t, together)
				dir := t.TempDir()
				synctest.Test(t, func(t *testing.T) {
					f := newFar(t, a, dir)
					defer f.close()
					get := func(i int) {
						b, err := f.Frame(one(t, f.Reader, uids[i]), 1, "")
						if got := read(t, b, err); !bytes.HasSuffix(files[i], got) {
							t.Errorf("frame %d differs", i)
						}
					}
					first, _ := f.depth(t, func() { get(60) })
					rest, requests := f.depth(t, func() {
						turn := make(chan int)
						var wg sync.WaitGroup
						for range c.clients {
							wg.Go(func() {
								for i := range turn {
									get(i)
								}
							})
						}
						for d := 1; d <= 60; d++ { // outward from the middle
							for _, i := range []int{60 + d, 60 - d} {
								if i >= 0 && i < 120 {
									turn <- i
								}
							}
						}
						close(turn)
						wg.Wait()
					})
					t.Logf("%d and %d requests in a row, %d in all", first, rest, requests)
					if first != 1 || rest > c.depth || requests > 125 {
						t.Errorf("%d and %d requests in a row, %d in all", first, rest, requests)
					}
				})
			})
		}
	}
}

// TestWarmEnds: who stops reading, or goes away, ends what was fetched for it, and
// a viewer that closes leaves no more than the window to be fetched.
func TestWarmEnds(t *testing.T) {
	a, _, uids := stack(t, 1)
	t.Run("stops", func(t *testing.T) {
		dir := t.TempDir()
		synctest.Test(t, func(t *testing.T) {
			f := newFar(t, a, dir)
			defer f.close()
			for b, err := range retrieve.Ahead(t.Context(), f.all(t), same) {
				read(t, b, err)
				break
			}
			synctest.Wait() // a fetch that was called off at its start may still count itself
			from := f.store.Requests()
			time.Sleep(time.Hour)
			if n := f.store.Requests(); n != from || n > 100 {
				t.Errorf("%d requests, then %d", from, n)
			}
		})
	})
	t.Run("goes away", func(t *testing.T) {
		dir := t.TempDir()
		synctest.Test(t, func(t *testing.T) {
			f := newFar(t, a, dir)
			defer f.close()
			ctx, cancel := context.WithTimeout(t.Context(), delay/2)
			defer cancel()
			for b, err := range retrieve.Ahead(ctx, f.all(t), same) {
				if err == nil {
					err = b.Write(ctx, io.Discard)
				}
				if err == nil {
					t.Error("read in half the time that a request takes")
				}
				break
			}
			synctest.Wait()
			if s := f.cache.Stats(); s.Fetched != 0 {
				t.Errorf("%+v", s)
			}
		})
	})
	t.Run("viewer", func(t *testing.T) {
		dir := t.TempDir()
		synctest.Test(t, func(t *testing.T) {
			f := newFar(t, a, dir)
			defer f.close()
			for _, i := range []int{10, 11} {
				b, err := f.Frame(one(t, f.Reader, uids[i]), 1, "")
				read(t, b, err)
			}
			time.Sleep(time.Hour)
			if n := f.store.Requests(); n < 50 || n > 65 {
				t.Errorf("%d requests", n) // 11 before, 48 behind, and the key
			}
		})
	})
	t.Run("closed", func(t *testing.T) {
		dir := t.TempDir()
		synctest.Test(t, func(t *testing.T) {
			f := newFar(t, a, dir)
			for _, i := range []int{10, 11} {
				b, err := f.Frame(one(t, f.Reader, uids[i]), 1, "")
				read(t, b, err)
			}
			f.close() // the bubble waits for what goes on
		})
	})
}

// TestWarmFails: what cannot be fetched ahead is an error of what reads it alone.
func TestWarmFails(t *testing.T) {
	a, _, uids := stack(t, 1)
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		lost := a.Row(uids[3]).At.Object
		b := a.Objects[lost]
		delete(a.Objects, lost)
		defer func() { a.Objects[lost] = b }()
		f := newFar(t, a, dir)
		defer f.close()
		n := 0
		for b, err := range retrieve.Ahead(t.Context(), f.all(t), same) {
			if err == nil {
				err = b.Write(t.Context(), io.Discard)
			}
			if (err != nil) != (n == 3) {
				t.Errorf("instance %d: %v", n, err)
			}
			n++
		}
	})
}

// TestWarmDamagedIndex: what a damaged index says of where bytes lie is not asked
// for ahead, and comes to nothing worse than an error.
func TestWarmDamagedIndex(t *testing.T) {
	a := retrievetest.New()
	u := a.Store(t, tenant, retrievetest.Part10(retrievetest.Image{UIDs: ct, Rows: 256, Columns: 256}))[0]
	good := *a.Row(u)
	for _, damage := range []func(*archive.InstanceRow){
		func(r *archive.InstanceRow) { r.SegmentBits = 255 },
		func(r *archive.InstanceRow) { r.SegmentBits = 1 },
		func(r *archive.InstanceRow) { r.Size = 1 << 62 },
		func(r *archive.InstanceRow) { r.Size = -1 },
		func(r *archive.InstanceRow) { r.At.Length = -1 },
		func(r *archive.InstanceRow) { r.At.Length = 10 },
		func(r *archive.InstanceRow) { r.At.Offset = -1 << 40 },
		func(r *archive.InstanceRow) { r.At.Offset = 1 << 40 },
		func(r *archive.InstanceRow) { r.At.Object = "default/none" },
	} {
		*a.Row(u) = good
		damage(a.Row(u))
		dir := t.TempDir()
		synctest.Test(t, func(t *testing.T) {
			f := newFar(t, a, dir)
			defer f.close()
			in := one(t, f.Reader, u)
			for b, err := range retrieve.Ahead(t.Context(), func(yield func(*retrieve.Body, error) bool) { _ = yield(f.File(in, "")) && yield(f.Frame(in, 1, "")) }, same) {
				if err == nil {
					err = b.Write(t.Context(), io.Discard)
				}
				if err == nil {
					t.Errorf("%+v was read", a.Row(u).At)
				}
			}
		})
	}
}

// TestColdFrames: the frames of a large instance, asked for in order by a request
// each, are fetched ahead; those asked for at random are not.
func TestColdFrames(t *testing.T) {
	a := retrievetest.New()
	u := a.Store(t, tenant, retrievetest.Part10(retrievetest.Image{UIDs: ct, Rows: 256, Columns: 256, Frames: 160}))[0]
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		f := newFar(t, a, dir)
		defer f.close()
		get := func(n int) {
			b, err := f.Frame(one(t, f.Reader, u), n, "")
			read(t, b, err)
		}
		depth, requests := f.depth(t, func() {
			for n := range 160 {
				get(n + 1)
			}
		})
		t.Logf("in order: %d requests in a row, %d in all", depth, requests)
		if depth > 10 || requests > 20 {
			t.Errorf("in order: %d requests in a row, %d in all", depth, requests)
		}
		time.Sleep(time.Hour) // what is under way
		if err := f.cache.Drop(string(tenant)); err != nil {
			t.Fatal(err)
		}
		before := f.cache.Stats().Fetched
		for _, n := range []int{100, 20, 140, 60, 1} {
			get(n)
		}
		time.Sleep(time.Hour)
		got := f.cache.Stats().Fetched - before
		t.Logf("at random: %d bytes", got)
		if got > 5<<20 {
			t.Errorf("%d bytes were fetched for five frames of 128 KiB", got)
		}
	})
}
