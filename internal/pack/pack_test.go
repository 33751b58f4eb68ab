package pack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/storage/driver"
	"github.com/strata-pacs/strata/storage/memstore"
)

func pattern(n int, seed byte) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{seed}).Read(b)
	return b
}

func id(i int) archive.BlobID { return archive.BlobID{byte(i), byte(i >> 8), 1} }

func named(name string) func() string { return func() string { return name } }

// object returns all bytes of a committed object.
func object(t testing.TB, s driver.Driver, key string) []byte {
	t.Helper()
	r, err := s.Open(context.Background(), key, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func put(t testing.TB, s driver.Driver, key string, b []byte) {
	t.Helper()
	w, err := s.Create(context.Background(), key, driver.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Commit(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// What goes through a stage comes out where Keep said, in memory or as a pack.
func TestStage(t *testing.T) {
	ctx := context.Background()
	for _, c := range []struct {
		name   string
		limit  int64
		budget *Budget
		sizes  []int
		spills bool
	}{
		{"nothing", 0, nil, nil, false},
		{"small", 0, nil, []int{1, 100, 5000}, false},
		{"chunks", 0, nil, []int{chunkSize - HeaderSize, chunkSize, 1, 3*chunkSize + 7}, false},
		{"past the limit", 1000, nil, []int{400, 400, 400, 10}, true},
		{"past the limit at once", 10, nil, []int{2 * chunkSize}, true},
		{"no memory", 0, NewBudget(0), []int{10, 20}, true},
		{"memory for one chunk", 0, NewBudget(chunkSize), []int{chunkSize - HeaderSize, 20}, true},
		{"memory for two", 0, NewBudget(2 * chunkSize), []int{chunkSize - HeaderSize, 20}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			store := memstore.New(memstore.Options{})
			var before int64
			if c.budget != nil {
				before = c.budget.left.Load()
			}
			s := NewStage(ctx, store, named("t/pack/1"), c.limit, c.budget)
			var all []byte
			var at []archive.Location
			for i, n := range c.sizes {
				p := pattern(n, byte(i))
				off := s.Offset()
				for rest := p; len(rest) > 0; {
					k := min(len(rest), 70001)
					if m, err := s.Write(rest[:k]); m != k || err != nil {
						t.Fatalf("Write = %d, %v", m, err)
					}
					rest = rest[k:]
				}
				at = append(at, s.Keep(id(i), off))
				all = append(all, p...)
			}
			if s.Spilled() != c.spills {
				t.Errorf("Spilled = %v", s.Spilled())
			}
			body, err := s.Finish(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if body.Size != int64(len(all)) || len(body.Blobs) != len(c.sizes) || (body.Object == "t/pack/1") != c.spills {
				t.Fatalf("body of %d bytes in %q, %d blobs", body.Size, body.Object, len(body.Blobs))
			}
			if !c.spills {
				var out bytes.Buffer
				for range 2 {
					out.Reset()
					n, err := body.CopyTo(&out, [HeaderSize]byte([]byte(magic)))
					if err != nil || n != int64(out.Len()) || out.String() != magic+string(all) {
						t.Fatalf("CopyTo = %d, %v", n, err)
					}
				}
			} else {
				b := object(t, store, body.Object)
				if body.Length != int64(len(b)) {
					t.Errorf("a pack of %d bytes, not %d", len(b), body.Length)
				}
				if !bytes.HasPrefix(b, append([]byte(magic), all...)) {
					t.Error("the pack does not begin with header and blobs")
				}
				for _, check := range []func() ([]Entry, error){
					func() ([]Entry, error) { return ReadTable(ctx, store, body.Object, int64(len(b))) },
					func() ([]Entry, error) { return Verify(ctx, store, body.Object, int64(len(b))) },
				} {
					blobs, err := check()
					if err != nil || len(blobs) != len(c.sizes) {
						t.Fatalf("%d blobs in the table, %v", len(blobs), err)
					}
					for i, e := range blobs {
						if e.Blob != id(i) || e.Offset != at[i].Offset || e.Length != at[i].Length || int(e.Length) != c.sizes[i] {
							t.Errorf("blob %d is listed at %d+%d", i, e.Offset, e.Length)
						}
					}
				}
			}
			for i := range c.sizes {
				if e, ok := body.Find(id(i)); !ok || e.Offset != at[i].Offset {
					t.Errorf("Find(%d) = %v, %v", i, e, ok)
				}
			}
			body.Release()
			s.Abort()
			if c.budget != nil && c.budget.left.Load() != before {
				t.Errorf("the budget has %d bytes left of %d", c.budget.left.Load(), before)
			}
			if _, err := s.Write([]byte{1}); err == nil {
				t.Error("Write after Finish succeeded")
			}
		})
	}
}

// A pack that is made of what was sealed before: its body says what its trailer does.
func TestNewPack(t *testing.T) {
	ctx := context.Background()
	for _, sizes := range [][]int{{1}, {100, 1, 3*chunkSize + 7}} {
		store := memstore.New(memstore.Options{})
		name := NewName("t", time.Now(), nil)
		if !Is("t", name) || Is("u", name) || Is("t", "t/pack/") || Is("t", "t/log/1") {
			t.Errorf("%s is not the name of a pack of its tenant", name)
		}
		s := NewPack(ctx, store, named(name))
		for i, n := range sizes {
			off := s.Offset()
			if _, err := s.Write(pattern(n, byte(i))); err != nil {
				t.Fatal(err)
			}
			s.Keep(id(i), off)
		}
		body, err := s.Finish(ctx)
		if err != nil {
			t.Fatal(err)
		}
		b := object(t, store, name)
		if body.Object != name || body.Length != int64(len(b)) || !bytes.Equal(b, packOf(t, sizes...)) {
			t.Errorf("a pack of %d bytes, said to have %d", len(b), body.Length)
		}
		if d, err := ReadDigest(ctx, store, name, body.Length); err != nil || d != body.Digest || d == (archive.Digest{}) {
			t.Errorf("digest %x, %v", d, err)
		}
		if blobs, err := Verify(ctx, store, name, body.Length); err != nil || len(blobs) != len(sizes) {
			t.Errorf("%d blobs, %v", len(blobs), err)
		}
		for _, size := range []int64{0, body.Length - 1, body.Length + 1} {
			if _, err := ReadDigest(ctx, store, name, size); err == nil {
				t.Errorf("a digest of %d bytes", size)
			}
		}
	}
}

// A failed part leaves no trace in memory, and unnamed bytes in a pack.
func TestTruncate(t *testing.T) {
	ctx := context.Background()
	for _, limit := range []int64{0, 1} {
		budget := NewBudget(100 * chunkSize)
		store := memstore.New(memstore.Options{})
		s := NewStage(ctx, store, named("t/pack/1"), limit, budget)
		s.Write(pattern(1000, 1))
		s.Keep(id(1), HeaderSize)
		off := s.Offset()
		s.Write(pattern(3*chunkSize, 2))
		s.Keep(id(2), off)
		s.Truncate(off)
		again := s.Offset()
		s.Write(pattern(50, 3))
		loc := s.Keep(id(3), again)
		body, err := s.Finish(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if len(body.Blobs) != 2 || body.Blobs[0].Blob != id(1) || body.Blobs[1].Blob != id(3) {
			t.Errorf("limit %d: blobs %v", limit, body.Blobs)
		}
		var b []byte
		if limit == 0 {
			var out bytes.Buffer
			body.CopyTo(&out, [HeaderSize]byte{})
			if b = out.Bytes(); len(b) != HeaderSize+1050 {
				t.Errorf("the body has %d bytes", len(b))
			}
		} else {
			b = object(t, store, body.Object)
			if blobs, err := Verify(ctx, store, body.Object, int64(len(b))); err != nil || len(blobs) != 2 {
				t.Errorf("Verify = %v, %v", blobs, err)
			}
		}
		if !bytes.Equal(b[loc.Offset:][:loc.Length], pattern(50, 3)) {
			t.Errorf("limit %d: the blob after the dropped one is not where Keep said", limit)
		}
		body.Release()
		if budget.left.Load() != 100*chunkSize {
			t.Error("the budget did not come back")
		}
	}
}

func TestStageErrors(t *testing.T) {
	ctx := context.Background()
	store := memstore.New(memstore.Options{})
	put(t, store, "t/pack/taken", []byte("x"))

	s := NewStage(ctx, store, named("t/pack/taken"), 1, nil)
	s.Write([]byte("abc"))
	body, err := s.Finish(ctx)
	body.Release()
	if !fault.Is(err, fault.Exists) {
		t.Errorf("a pack over another object: %v", err)
	}
	s = NewStage(ctx, store, named("t/pack/new"), 1, nil)
	s.Write([]byte("abc"))
	s.Abort()
	s.Abort()
	if _, err := store.Stat(ctx, "t/pack/new"); !fault.Is(err, fault.NotFound) {
		t.Errorf("an aborted pack is there: %v", err)
	}
	boom := errors.New("boom")
	for _, w := range []creator{{create: boom}, {write: boom}, {commit: boom}} {
		budget := NewBudget(10 * chunkSize)
		s := NewStage(ctx, w, named("p"), 100, budget)
		s.Write(make([]byte, 80))
		_, werr := s.Write(make([]byte, 80))
		_, again := s.Write(make([]byte, 80))
		body, ferr := s.Finish(ctx)
		body.Release()
		s.Abort()
		if w.create != nil && (werr != boom || again != boom) {
			t.Errorf("%+v: Write: %v, %v", w, werr, again)
		}
		if ferr != boom {
			t.Errorf("%+v: Finish: %v", w, ferr)
		}
		if budget.left.Load() != 10*chunkSize {
			t.Errorf("%+v: the budget did not come back", w)
		}
	}
}

// creator fails at one step.
type creator struct{ create, write, commit error }

func (c creator) Create(context.Context, string, driver.CreateOptions) (driver.Writer, error) {
	return c, c.create
}
func (c creator) Write(p []byte) (int, error) {
	if c.write != nil {
		return 0, c.write
	}
	return len(p), nil
}
func (c creator) Commit(context.Context) (driver.Attrs, error) { return driver.Attrs{}, c.commit }
func (c creator) Abort()                                       {}

// packOf returns the bytes of a pack of blobs of these sizes.
func packOf(t testing.TB, sizes ...int) []byte {
	store := memstore.New(memstore.Options{})
	s := NewStage(context.Background(), store, named("p"), 1, nil)
	for i, n := range sizes {
		off := s.Offset()
		if _, err := s.Write(pattern(n, byte(i))); err != nil {
			t.Fatal(err)
		}
		s.Keep(id(i), off)
	}
	if _, err := s.Finish(context.Background()); err != nil {
		t.Fatal(err)
	}
	return object(t, store, "p")
}

// raw serves bytes as an object.
type raw []byte

func (r raw) Open(_ context.Context, _ string, off, n int64) (io.ReadCloser, error) {
	if off < 0 || off > int64(len(r)) {
		return nil, fault.New(fault.RangeInvalid, "past the end")
	}
	b := r[off:]
	if n >= 0 && n < int64(len(b)) {
		b = b[:n]
	}
	return io.NopCloser(bytes.NewReader(b)), nil
}

func FuzzVerify(f *testing.F) {
	good := packOf(f, 100, 1, 2000)
	f.Add(good)
	f.Add(packOf(f, 1))
	f.Fuzz(func(t *testing.T, b []byte) {
		ctx := context.Background()
		blobs, err := ReadTable(ctx, raw(b), "p", int64(len(b)))
		if err != nil && !fault.Is(err, fault.Corrupt) {
			t.Fatal(err)
		}
		for _, e := range blobs {
			if e.Offset < HeaderSize || e.Length <= 0 || e.Offset+e.Length > int64(len(b)-TrailerSize) {
				t.Fatalf("a blob at %d+%d of %d", e.Offset, e.Length, len(b))
			}
		}
		if _, err := Verify(ctx, raw(b), "p", int64(len(b))); err != nil && !fault.Is(err, fault.Corrupt) {
			t.Fatal(err)
		}
	})
}

func BenchmarkStage(b *testing.B) {
	p := pattern(64<<10+16, 1)
	for _, n := range []int{8, 4096} { // 512 KiB in memory, 256 MiB to a pack
		b.Run(fmt.Sprintf("%dKiB", n*64), func(b *testing.B) {
			b.SetBytes(int64(n * len(p)))
			b.ReportAllocs()
			for b.Loop() {
				s := NewStage(context.Background(), creator{}, named("p"), 0, nil)
				for range n {
					s.Write(p)
				}
				body, err := s.Finish(context.Background())
				if err != nil {
					b.Fatal(err)
				}
				body.Release()
			}
		})
	}
}
