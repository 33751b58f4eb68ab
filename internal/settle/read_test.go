package settle

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/storage"
	"github.com/strata-pacs/strata/storage/delaystore"
	"github.com/strata-pacs/strata/storage/memstore"
)

// TestFeed: the bytes come in the order asked for, with few requests, several at once.
func TestFeed(t *testing.T) {
	const delay = 50 * time.Millisecond
	for _, c := range []struct {
		name           string
		objects, bytes int // of each object
		places         func(object, bytes int) []archive.Location
		requests       int // most
		depth          int // that follow one another, most
	}{
		{"small objects", 100, 1000, whole, 100, 4},
		{"one object in pieces", 1, 3 << 20, parts(100), 1, 1},
		{"one large blob", 1, 40 << 20, whole, 6, 6},
		{"backwards in one object", 1, 3 << 20, reversed(100), 1, 1},
		{"with gaps", 1, 3 << 20, gaps(30), 1, 1},
		{"far apart", 1, 30 << 20, gaps(10), 10, 1},
		{"nothing", 0, 0, whole, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			mem := memstore.New(memstore.Options{})
			var places []archive.Location
			var want bytes.Buffer
			for i := range c.objects {
				b := make([]byte, c.bytes)
				rand.NewChaCha8([32]byte{byte(i)}).Read(b)
				name := fmt.Sprintf("t/log/s/%d", i)
				if _, err := storage.New(mem).Put(t.Context(), name, b, storage.CreateOptions{}); err != nil {
					t.Fatal(err)
				}
				for _, at := range c.places(i, c.bytes) {
					at.Object = name
					places = append(places, at)
					want.Write(b[at.Offset:][:at.Length])
				}
			}
			synctest.Test(t, func(t *testing.T) {
				far := delaystore.New(mem, delaystore.Options{Delay: delay})
				f, run := newFeed(t.Context(), storage.New(far.Driver), places)
				go run()
				began := time.Now()
				got, err := io.ReadAll(io.LimitReader(f, int64(want.Len())))
				if err != nil || !bytes.Equal(got, want.Bytes()) {
					t.Errorf("%d of %d bytes, %v", len(got), want.Len(), err)
				}
				if n, depth := int(far.Requests()), int(time.Since(began)/delay); n > c.requests || depth > c.depth {
					t.Errorf("%d requests, %d in a row", n, depth)
				}
				if n, err := f.Read(make([]byte, 1)); n != 0 || err != io.ErrUnexpectedEOF {
					t.Errorf("past the end: %d, %v", n, err)
				}
			})
		})
	}
}

func whole(_, bytes int) []archive.Location { return []archive.Location{{Length: int64(bytes)}} }

func parts(n int64) func(int, int) []archive.Location {
	return func(_, bytes int) (all []archive.Location) {
		for i := range n {
			all = append(all, archive.Location{Offset: i * int64(bytes) / n, Length: (i+1)*int64(bytes)/n - i*int64(bytes)/n})
		}
		return all
	}
}

func reversed(n int64) func(int, int) []archive.Location {
	return func(o, bytes int) (all []archive.Location) {
		for _, at := range parts(n)(o, bytes) {
			all = append([]archive.Location{at}, all...)
		}
		return all
	}
}

func gaps(n int64) func(int, int) []archive.Location {
	return func(o, bytes int) (all []archive.Location) {
		for _, at := range parts(n)(o, bytes) {
			at.Length /= 2
			all = append(all, at)
		}
		return all
	}
}

// TestFeedErrors: the first error is told where it belongs, and nothing hangs.
func TestFeedErrors(t *testing.T) {
	b := storage.New(memstore.New(memstore.Options{}))
	if _, err := b.Put(t.Context(), "t/log/s/1", make([]byte, 100), storage.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		place archive.Location
		want  func(error) bool
	}{
		{"missing", archive.Location{Object: "t/log/s/2", Length: 10}, func(err error) bool { return fault.Is(err, fault.NotFound) }},
		{"short", archive.Location{Object: "t/log/s/1", Offset: 50, Length: 60}, func(err error) bool { return fault.Is(err, fault.Corrupt) }},
		{"negative", archive.Location{Object: "t/log/s/1", Offset: -1, Length: 60}, func(err error) bool { return fault.Is(err, fault.Corrupt) }},
		{"of negative length", archive.Location{Object: "t/log/s/1", Length: -60}, func(err error) bool { return fault.Is(err, fault.Corrupt) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan struct{})
			good := archive.Location{Object: "t/log/s/1", Length: 100}
			f, run := newFeed(ctx, b, []archive.Location{good, c.place, good})
			go func() { defer close(done); run() }()
			if _, err := io.ReadAll(f); !c.want(err) {
				t.Errorf("%v", err)
			}
			cancel()
			<-done
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	f, run := newFeed(ctx, b, []archive.Location{{Object: "t/log/s/1", Length: 100}})
	cancel()
	run() // ends although nobody reads
	if _, err := f.Read(make([]byte, 1)); !fault.Is(err, fault.Canceled) {
		t.Errorf("after the end of the context: %v", err)
	}
}
