package seal

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"testing"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
)

func FuzzOpen(f *testing.F) {
	sealed, _ := mustSeal(f, pattern(5000), Options{SegmentBits: MinSegmentBits})
	f.Add(sealed)
	f.Add(sealed[:HeaderSize+TagSize])
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := Open(nil, b, testSecret, testBinding)
		if err == nil && !bytes.Equal(b, sealed) {
			t.Fatalf("opened %d bytes that nobody sealed", len(got))
		}
		if err != nil && !fault.Is(err, fault.Corrupt) {
			t.Fatal(err)
		}
		id := archive.BlobID{}
		if h, err := ParseHeader(b); err == nil {
			id = h.Blob
		}
		r := NewReader(memory(b), testSecret, testBinding, ReadOptions{Blob: id, SegmentBits: MinSegmentBits, Plain: -1, Sealed: int64(len(b))})
		if n, err := r.WriteRange(context.Background(), io.Discard, 0, -1); err == nil && !bytes.Equal(b, sealed) {
			t.Fatalf("read %d bytes that nobody sealed", n)
		}
	})
}

func BenchmarkWriter(b *testing.B) {
	for _, n := range []int{1 << 10, 512 << 10, 16 << 20} {
		plain := pattern(n)
		b.Run(fmt.Sprintf("%dKiB", n>>10), func(b *testing.B) {
			b.SetBytes(int64(n))
			b.ReportAllocs()
			for b.Loop() {
				w, err := NewWriter(io.Discard, testSecret, testBinding, Options{})
				if err != nil {
					b.Fatal(err)
				}
				for rest := plain; len(rest) > 0; {
					k := min(64<<10, len(rest))
					w.Write(rest[:k])
					rest = rest[k:]
				}
				if err := w.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkWriteRange(b *testing.B) {
	for _, n := range []int{1 << 10, 512 << 10, 64 << 20} {
		sealed, id := mustSeal(b, pattern(n), Options{})
		b.Run(fmt.Sprintf("%dKiB", n>>10), func(b *testing.B) {
			b.SetBytes(int64(n))
			b.ReportAllocs()
			for b.Loop() {
				r := NewReader(memory(sealed), testSecret, testBinding, ReadOptions{Blob: id, Plain: int64(n)})
				if _, err := r.WriteRange(context.Background(), io.Discard, 0, -1); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
