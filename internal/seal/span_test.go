package seal_test

import (
	"bytes"
	"context"
	"io"
	"testing"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/seal"
)

// recording is a blob that notes what is read of it.
type recording struct {
	sealed  []byte
	from, n int64
}

func (r *recording) ReadRange(_ context.Context, off, n int64) (io.ReadCloser, error) {
	r.from, r.n = off, n
	return io.NopCloser(bytes.NewReader(r.sealed[off:][:n])), nil
}

// TestSpan: it is what a Reader reads, and nothing else.
func TestSpan(t *testing.T) {
	const bits, segment = 12, 1 << 12
	binding, secret := seal.Binding{Tenant: "t", Kind: seal.KindInstance}, archive.Secret{1}
	for _, size := range []int64{0, 1, segment - 1, segment, segment + 1, 5*segment + 100} {
		plain := bytes.Repeat([]byte("x"), int(size))
		sealed, id, err := seal.Seal(nil, plain, secret, binding, seal.Options{SegmentBits: bits})
		if err != nil {
			t.Fatal(err)
		}
		src := &recording{sealed: sealed}
		r := seal.NewReader(src, secret, binding, seal.ReadOptions{Blob: id, SegmentBits: bits, Plain: size})
		for off := int64(0); off <= size; off += 999 {
			for _, n := range []int64{1, segment, size - off} {
				if n = min(n, size-off); n == 0 && size > 0 {
					continue // nothing is read
				}
				var b bytes.Buffer
				if _, err := r.WriteRange(t.Context(), &b, off, n); err != nil || int64(b.Len()) != n {
					t.Fatalf("%d bytes from %d of %d: %d, %v", n, off, size, b.Len(), err)
				}
				if from, length := seal.Span(size, bits, off, n); from != src.from || length != src.n {
					t.Errorf("%d bytes from %d of %d lie at %d to %d, and %d to %d was read", n, off, size, from, from+length, src.from, src.from+src.n)
				}
			}
		}
		if from, length := seal.Span(size, bits, 0, size); from != 0 || length != int64(len(sealed)) {
			t.Errorf("the whole of %d is at %d to %d", size, from, length)
		}
	}
	if from, length := seal.Span(segment, seal.MaxSegmentBits+1, 0, 1); from != 0 || length >= 0 {
		t.Errorf("impossible segments: %d, %d", from, length)
	}
}
