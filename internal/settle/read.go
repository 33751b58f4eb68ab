package settle

import (
	"cmp"
	"context"
	"errors"
	"io"
	"math"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
)

// Bounds of what is read at a time. Of two windows one is read while the other
// is copied.
const (
	windowBytes  = 16 << 20
	requestBytes = 8 << 20  // of one request
	pieceBytes   = 4 << 20  // of a blob
	gapBytes     = 64 << 10 // that are read and thrown away to save a request
	requests     = 32       // at once
)

// Objects is where sealed bytes lie.
type Objects interface {
	// Open reads n bytes of the object from off.
	Open(ctx context.Context, key string, off, n int64) (io.ReadCloser, error)
}

// feed reads places one after another, several requests at once and ahead of
// its user. It ends when its context does.
type feed struct {
	ctx     context.Context
	windows <-chan window
	rest    [][]byte
}

// window is the next bytes, or why there are no more.
type window struct {
	parts [][]byte
	err   error
}

// newFeed begins to read. run is to be run by a goroutine that the caller waits for.
func newFeed(ctx context.Context, o Objects, places []archive.Location) (f *feed, run func()) {
	windows := make(chan window)
	return &feed{ctx: ctx, windows: windows}, func() {
		defer close(windows)
		for pieces := cutPieces(places); len(pieces) > 0; {
			n, size := 0, int64(0)
			for n < len(pieces) && (n == 0 || size+pieces[n].Length <= windowBytes) {
				size += pieces[n].Length
				n++
			}
			var w window
			w.parts, w.err = fetch(ctx, o, pieces[:n])
			pieces = pieces[n:]
			select {
			case windows <- w:
			case <-ctx.Done():
				return
			}
			if w.err != nil {
				return
			}
		}
	}
}

// Read implements io.Reader.
func (f *feed) Read(p []byte) (int, error) {
	for len(f.rest) == 0 || len(f.rest[0]) == 0 {
		if len(f.rest) > 0 {
			f.rest = f.rest[1:]
			continue
		}
		w, ok := <-f.windows
		if err := f.ctx.Err(); err != nil {
			return 0, context.Cause(f.ctx)
		}
		if !ok {
			return 0, io.ErrUnexpectedEOF
		}
		if w.err != nil {
			return 0, w.err
		}
		f.rest = w.parts
	}
	n := copy(p, f.rest[0])
	f.rest[0] = f.rest[0][n:]
	return n, nil
}

// cutPieces cuts what is too long for one piece.
func cutPieces(places []archive.Location) []archive.Location {
	out := make([]archive.Location, 0, len(places))
	for _, at := range places {
		for ; at.Length > pieceBytes; at.Offset, at.Length = at.Offset+pieceBytes, at.Length-pieceBytes {
			out = append(out, archive.Location{Object: at.Object, Offset: at.Offset, Length: pieceBytes})
		}
		out = append(out, at)
	}
	return out
}

// fetch reads the pieces, neighbours in an object by one request, and returns
// their bytes in the order of the pieces.
func fetch(ctx context.Context, o Objects, pieces []archive.Location) ([][]byte, error) {
	order := make([]int, len(pieces))
	for i, p := range pieces {
		if p.Offset < 0 || p.Length < 0 || p.Offset > math.MaxInt64-p.Length {
			return nil, fault.New(fault.Corrupt, "the index's record of this study is damaged; run 'strata rebuild'")
		}
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		return cmp.Or(cmp.Compare(pieces[a].Object, pieces[b].Object), cmp.Compare(pieces[a].Offset, pieces[b].Offset))
	})
	parts := make([][]byte, len(pieces))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(requests)
	for len(order) > 0 {
		n, at := together(pieces, order)
		mine := order[:n]
		order = order[n:]
		g.Go(func() error {
			b, err := read(ctx, o, at)
			for _, i := range mine {
				if err == nil {
					parts[i] = b[pieces[i].Offset-at.Offset:][:pieces[i].Length]
				}
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return parts, nil
}

// together returns how many of the first pieces one request reads, and where they lie.
func together(pieces []archive.Location, order []int) (n int, at archive.Location) {
	at = pieces[order[0]]
	for n = 1; n < len(order); n++ {
		p := pieces[order[n]]
		end := max(at.Offset+at.Length, p.Offset+p.Length)
		if p.Object != at.Object || p.Offset > at.Offset+at.Length+gapBytes || end-at.Offset > requestBytes {
			break
		}
		at.Length = end - at.Offset
	}
	return n, at
}

func read(ctx context.Context, o Objects, at archive.Location) ([]byte, error) {
	r, err := o.Open(ctx, at.Object, at.Offset, at.Length)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	b := make([]byte, at.Length)
	if _, err = io.ReadFull(r, b); errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = fault.Wrap(fault.Corrupt, err, "an object is shorter than the index says; check the store with strata verify")
	}
	return b, err
}
