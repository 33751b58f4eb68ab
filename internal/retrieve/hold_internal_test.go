package retrieve

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
	"github.com/strata-pacs/strata/internal/retrieve/retrievetest"
	"github.com/strata-pacs/strata/storage"
	"github.com/strata-pacs/strata/storage/delaystore"
	"github.com/strata-pacs/strata/storage/faultstore"
	"github.com/strata-pacs/strata/storage/memstore"
)

const requestTime = 50 * time.Millisecond

// distant is an archive without a read cache whose objects are far away. What it
// holds in memory is looked at when it is closed.
type distant struct {
	*Reader
	store *delaystore.Store
	sel   archive.UIDs
	t     *testing.T
}

func newDistant(t *testing.T, a *retrievetest.Archive, rate int64, shares *Shares, trouble func(op faultstore.Op) faultstore.Action) *distant {
	t.Helper()
	mem := memstore.New(memstore.Options{})
	for k, b := range a.Objects {
		if _, err := storage.New(mem).Put(t.Context(), k, b, storage.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	var script faultstore.Script
	if trouble != nil {
		script = func(op faultstore.Op) faultstore.Decision { return faultstore.Decision{Action: trouble(op)} }
	}
	d := &distant{store: delaystore.New(faultstore.New(mem, script).Driver, delaystore.Options{Delay: requestTime, Rate: rate}), t: t, sel: archive.UIDs{Study: "1.2"}}
	d.Reader = New(Options{Index: a, Objects: storage.New(d.store.Driver), Secrets: a, Shares: shares, Far: func(context.Context, string) bool { return true }})
	return d
}

func (d *distant) close() {
	d.t.Helper()
	if left := d.o.Shares.held.left; left != maxHeld {
		d.t.Errorf("%d bytes of memory were not given back", maxHeld-left)
	}
	d.Close()
}

// all are the files of the study, in order and in a transfer syntax.
func (d *distant) all(syntax string) iter.Seq2[*Body, error] {
	return func(yield func(*Body, error) bool) {
		list, err := d.Find(d.t.Context(), "default", d.sel, Files)
		if err != nil {
			d.t.Error(err)
		}
		for i := range list {
			if !yield(d.File(&list[i], syntax)) {
				return
			}
		}
	}
}

// files stores a series of so many images with so many bytes of pixels, so many a request.
func files(t *testing.T, n, together, side, frames int) (a *retrievetest.Archive, all [][]byte) {
	t.Helper()
	a = retrievetest.New()
	size := side * side * 2 * frames
	px := retrievetest.Pattern(size + n)
	for i := range n {
		u := archive.UIDs{Study: "1.2", Series: "1.2.1", Instance: fmt.Sprintf("1.2.1.%d", i+1)}
		all = append(all, retrievetest.Part10(retrievetest.Image{UIDs: u, Rows: side, Columns: side, Frames: frames, Pixels: px[i:][:size], Name: "Fern^Ada"}))
	}
	for rest := all; len(rest) > 0; rest = rest[together:] {
		a.Store(t, "default", rest[:together]...)
	}
	return a, all
}

// TestHeld: of a series that is far away, and not kept near, what comes next is
// fetched while the rest is sent, by few requests where it lies together.
func TestHeld(t *testing.T) {
	for _, c := range []struct {
		name                      string
		n, together, side, frames int
		syntax                    string
		depth, requests           int
	}{
		{"in one object", 120, 120, 160, 1, "", 2, 5},
		{"in ten objects", 120, 12, 160, 1, "", 2, 12},
		{"an object each", 120, 1, 160, 1, "", 3, 120},
		{"more than is held", 200, 200, 256, 1, "", 3, 15},
		{"larger than what is held of one", 3, 3, 512, 20, "", 1, 3},
		{"converted", 40, 1, 160, 1, "1.2.840.10008.1.2", 2, 40},
		{"transcoded", 10, 10, 160, 1, "1.2.840.10008.1.2.5", 2, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, want := files(t, c.n, c.together, c.side, c.frames)
			synctest.Test(t, func(t *testing.T) {
				d := newDistant(t, a, 0, nil, nil)
				defer d.close()
				from, n := time.Now(), 0
				for b, err := range Ahead(t.Context(), d.all(c.syntax), itself) {
					var got collector
					if err == nil {
						err = b.Write(t.Context(), &got)
					}
					if err != nil || c.syntax == "" && !bytes.Equal(got.got, want[n]) || len(got.got) < 1000 {
						t.Fatalf("instance %d: %d bytes, %v", n, len(got.got), err)
					}
					n++
				}
				depth, requests := int(time.Since(from)/requestTime), int(d.store.Requests())
				t.Logf("%d requests in a row, %d in all", depth, requests)
				if n != c.n || depth < 1 || depth > c.depth || requests > c.requests {
					t.Errorf("%d instances, %d requests in a row, %d in all", n, depth, requests)
				}
			})
		})
	}
}

// TestHeldLine: a line is kept busy from the first byte on: what an answer takes is
// the time of its bytes and little more.
func TestHeldLine(t *testing.T) {
	a, want := files(t, 200, 200, 256, 1)
	synctest.Test(t, func(t *testing.T) {
		const rate = 125_000_000
		d := newDistant(t, a, rate, nil, nil)
		defer d.close()
		from, size := time.Now(), 0
		for b, err := range Ahead(t.Context(), d.all(""), itself) {
			if err == nil {
				err = b.Write(t.Context(), io.Discard)
			}
			if err != nil {
				t.Fatal(err)
			}
			size += len(want[0])
		}
		line := time.Duration(float64(size) / rate * float64(time.Second))
		if took := time.Since(from); took < line || took > line+2*requestTime {
			t.Errorf("%v for %v of bytes", took, line)
		}
	})
}

// TestHeldSlow: who takes slowly holds back what is fetched for it, and many who
// take nothing leave memory to others.
func TestHeldSlow(t *testing.T) {
	a, want := files(t, 200, 200, 256, 1)
	synctest.Test(t, func(t *testing.T) {
		shares := NewShares()
		d := newDistant(t, a, 0, shares, nil)
		defer d.close()
		stuck := make(chan struct{})
		var wg sync.WaitGroup
		var held []int64
		for range 20 {
			wg.Go(func() {
				for b, err := range Ahead(t.Context(), d.all(""), itself) {
					if err == nil {
						err = b.Write(t.Context(), io.Discard)
					}
					if err != nil {
						t.Error(err)
					}
					<-stuck
					break
				}
			})
			time.Sleep(time.Hour)
			shares.held.mu.Lock()
			held = append(held, maxHeld-shares.held.left)
			shares.held.mu.Unlock()
		}
		if held[0] > answerHeld+gatherBytes || held[0] < answerHeld/2 || held[19] >= maxHeld {
			t.Errorf("held: %d", held)
		}
		for i := 1; i < len(held); i++ {
			if held[i]-held[i-1] > held[0] {
				t.Errorf("answer %d holds %d bytes", i, held[i]-held[i-1])
			}
		}
		n := 0
		for b, err := range Ahead(t.Context(), d.all(""), itself) { // with what is left, or without
			var got collector
			if err == nil {
				err = b.Write(t.Context(), &got)
			}
			if err != nil || !bytes.Equal(got.got, want[n]) {
				t.Fatalf("instance %d: %v", n, err)
			}
			n++
		}
		close(stuck)
		wg.Wait()
	})
}

// TestHeldEnds: who goes away ends at once what is read for it, and who stops
// reading gives back its memory.
func TestHeldEnds(t *testing.T) {
	a, _ := files(t, 120, 1, 160, 1)
	for _, c := range []struct {
		name string
		stop func(ctx context.Context, cancel func(), b *Body)
		most time.Duration
	}{
		{"stops", func(ctx context.Context, _ func(), b *Body) { _ = b.Write(ctx, io.Discard) }, 2 * requestTime},
		{"unread", func(context.Context, func(), *Body) {}, requestTime},
		{"goes away", func(ctx context.Context, cancel func(), b *Body) {
			time.AfterFunc(requestTime/2, cancel)
			if err := b.Write(ctx, io.Discard); err == nil {
				t.Error("read in half the time that a request takes")
			}
		}, requestTime / 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDistant(t, a, 0, nil, nil)
				defer d.close()
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				from := time.Now()
				var last *Body
				for b, err := range Ahead(ctx, d.all(""), itself) {
					if err != nil {
						t.Error(err)
					}
					c.stop(ctx, cancel, b)
					last = b
					break
				}
				if took := time.Since(from); took > c.most {
					t.Errorf("it took %v", took)
				}
				before := d.store.Requests()
				time.Sleep(time.Hour)
				if n := d.store.Requests(); n != before || n > maxComing+1 {
					t.Errorf("%d requests, then %d", before, n)
				}
				if err := last.Write(t.Context(), io.Discard); err != nil { // it is read where it lies
					t.Error(err)
				}
			})
		})
	}
}

// TestHeldTrouble: what cannot be fetched ahead is read when it is sent; what is lost,
// or is not what was sealed, is an error of its own instance alone, and none of it is sent.
func TestHeldTrouble(t *testing.T) {
	a, want := files(t, 20, 1, 160, 1)
	bad := a.Row(archive.UIDs{Study: "1.2", Series: "1.2.1", Instance: "1.2.1.4"}).At.Object
	for _, c := range []struct {
		name    string
		trouble func(seen int, op faultstore.Op) faultstore.Action // of the bad object
		fails   bool
	}{
		{"once not there", func(seen int, op faultstore.Op) faultstore.Action {
			if op.Name == faultstore.Open && seen == 1 {
				return faultstore.FailBefore
			}
			return faultstore.Pass
		}, false},
		{"breaks off once", func(seen int, op faultstore.Op) faultstore.Action {
			if op.Name == faultstore.Read && seen == 2 {
				return faultstore.Cut
			}
			return faultstore.Pass
		}, false},
		{"never there", func(_ int, op faultstore.Op) faultstore.Action { return faultstore.FailBefore }, true},
		{"damaged", func(_ int, op faultstore.Op) faultstore.Action {
			if op.Name == faultstore.Read {
				return faultstore.Flip
			}
			return faultstore.Pass
		}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var mu sync.Mutex
				seen := 0
				d := newDistant(t, a, 0, nil, func(op faultstore.Op) faultstore.Action {
					if op.Key != bad || op.Name != faultstore.Open && op.Name != faultstore.Read {
						return faultstore.Pass
					}
					mu.Lock()
					defer mu.Unlock()
					seen++
					return c.trouble(seen, op)
				})
				defer d.close()
				n := 0
				for b, err := range Ahead(t.Context(), d.all(""), itself) {
					var got collector
					if err == nil {
						err = b.Write(t.Context(), &got)
					}
					if fails := c.fails && n == 3; fails != (err != nil) || !fails && !bytes.Equal(got.got, want[n]) || fails && len(got.got) > 0 {
						t.Errorf("instance %d: %d bytes, %v", n, len(got.got), err)
					}
					n++
				}
				if n != len(want) {
					t.Errorf("%d instances", n)
				}
			})
		})
	}
}

// TestHeldMoved: an instance that lies elsewhere since it was found is read there.
func TestHeldMoved(t *testing.T) {
	a, want := files(t, 3, 1, 160, 1)
	synctest.Test(t, func(t *testing.T) {
		d := newDistant(t, a, 0, nil, nil)
		defer d.close()
		list, err := d.Find(t.Context(), "default", d.sel, Files)
		if err != nil {
			t.Fatal(err)
		}
		row := a.Row(list[1].UIDs)
		b := storage.New(d.store.Driver)
		sealed, err := b.ReadRange(t.Context(), row.At.Object, row.At.Offset, row.At.Length)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.Put(t.Context(), "default/pack/settled", append(make([]byte, 77), sealed...), storage.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		if err := b.Delete(t.Context(), row.At.Object); err != nil {
			t.Fatal(err)
		}
		row.At = archive.Location{Object: "default/pack/settled", Offset: 77, Length: row.At.Length}
		n := 0
		for x, err := range Ahead(t.Context(), func(yield func(*Body, error) bool) {
			_ = yield(d.File(&list[0], "")) && yield(d.File(&list[1], "")) && yield(d.File(&list[2], ""))
		}, itself) {
			var got collector
			if err == nil {
				err = x.Write(t.Context(), &got)
			}
			if err != nil || !bytes.Equal(got.got, want[n]) {
				t.Errorf("instance %d: %v", n, err)
			}
			n++
		}
	})
}

// TestHeldDamagedIndex: what a damaged index says of where bytes lie comes to nothing
// worse than an error, and holds no memory.
func TestHeldDamagedIndex(t *testing.T) {
	a, _ := files(t, 3, 3, 160, 1)
	row := a.Row(archive.UIDs{Study: "1.2", Series: "1.2.1", Instance: "1.2.1.2"})
	good := *row
	for _, damage := range []func(){
		func() { row.Size = 1 << 62 },
		func() { row.At.Length = -1 },
		func() { row.At.Length = 10 },
		func() { row.At.Length = 1 << 62 },
		func() { row.At.Offset = -1 << 40 },
		func() { row.At.Offset = 1 << 40 },
		func() { row.At.Offset = 1<<63 - 1 },
		func() { row.At.Object = "default/none" },
	} {
		*row = good
		damage()
		synctest.Test(t, func(t *testing.T) {
			d := newDistant(t, a, 0, nil, nil)
			defer d.close()
			n := 0
			for b, err := range Ahead(t.Context(), d.all(""), itself) {
				if err == nil {
					err = b.Write(t.Context(), io.Discard)
				}
				if (err != nil) != (n == 1) {
					t.Errorf("%+v: instance %d: %v", row.At, n, err)
				}
				n++
			}
		})
	}
}

// TestSpanRanges: a span gives any range that begins in it, while it arrives and
// after, and nothing when it has been let go of.
func TestSpanRanges(t *testing.T) {
	whole := retrievetest.Pattern(3*pageBytes + 1000)
	b := storage.New(memstore.New(memstore.Options{}))
	if _, err := b.Put(t.Context(), "t/pack/1", whole, storage.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	freed := 0
	const from, n = 500, 2*pageBytes + 10
	ctx, cancel := context.WithCancel(t.Context())
	s := &span{at: archive.Location{Object: "t/pack/1", Offset: from, Length: n}, cancel: cancel, users: 2, free: func() { freed++ }}
	go s.fill(ctx, b)
	for _, r := range [][2]int64{{from, n}, {from, 1}, {from + pageBytes - 1, 2}, {from + n - 1, 1}, {from + n - 1, 900}, {from, int64(len(whole)) - from}} {
		rd, err := s.open(t.Context(), b, archive.Location{Object: "t/pack/1", Offset: r[0], Length: r[1]})
		if err != nil || rd == nil {
			t.Fatalf("%v: %v", r, err)
		}
		got, err := io.ReadAll(rd)
		if err != nil || !bytes.Equal(got, whole[r[0]:r[0]+r[1]]) {
			t.Errorf("%v: %d bytes, %v", r, len(got), err)
		}
		if err := rd.Close(); err != nil {
			t.Error(err)
		}
		if _, err := rd.Read(make([]byte, 1)); err == nil {
			t.Error("it is read after Close")
		}
	}
	for _, x := range []struct {
		object string
		pos    int64
	}{{"t/pack/1", from - 1}, {"t/pack/1", from + n}, {"t/pack/2", from}} {
		if s.has(x.object, x.pos) {
			t.Errorf("it has %+v", x)
		}
	}
	half, err := s.open(t.Context(), b, archive.Location{Object: "t/pack/1", Offset: from, Length: n})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(half, make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	s.release()
	if freed != 0 {
		t.Error("memory is given back that is used")
	}
	s.release()
	if freed != 1 {
		t.Errorf("memory was given back %d times", freed)
	}
	if rest, err := io.ReadAll(half); err != nil || !bytes.Equal(rest, whole[from+100:from+n]) { // of the store
		t.Errorf("%d bytes, %v", len(rest), err)
	}
	half.Close()
	if rd, err := s.open(t.Context(), b, s.at); rd != nil || err != nil {
		t.Errorf("let go of: %v, %v", rd, err)
	}
}
