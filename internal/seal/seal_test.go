package seal

import (
	"bytes"
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
)

var (
	testSecret  = archive.Secret{1, 2, 3}
	testBinding = Binding{Tenant: "default", Kind: KindInstance, Key: archive.KeyID{9}}
)

// entropy is a fixed stream of random bytes.
func entropy(seed byte) io.Reader { return rand.NewChaCha8([32]byte{seed}) }

func pattern(n int) []byte {
	b := make([]byte, n)
	entropy(7).Read(b)
	return b
}

// memory serves a sealed blob.
type memory []byte

func (m memory) ReadRange(_ context.Context, off, n int64) (io.ReadCloser, error) {
	if off > int64(len(m)) {
		return nil, fault.New(fault.RangeInvalid, "past the end")
	}
	if off+n > int64(len(m)) {
		return io.NopCloser(io.MultiReader(bytes.NewReader(m[off:]), short{})), nil
	}
	return io.NopCloser(bytes.NewReader(m[off : off+n])), nil
}

type short struct{}

func (short) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func mustSeal(t testing.TB, plain []byte, o Options) ([]byte, archive.BlobID) {
	t.Helper()
	if o.Rand == nil {
		o.Rand = entropy(1)
	}
	sealed, id, err := Seal(nil, plain, testSecret, testBinding, o)
	if err != nil {
		t.Fatal(err)
	}
	return sealed, id
}

func TestSizes(t *testing.T) {
	for _, bits := range []uint8{0, MinSegmentBits, 16, MaxSegmentBits} {
		b := bits
		if b == 0 {
			b = DefaultSegmentBits
		}
		size := int64(1) << b
		for _, plain := range []int64{0, 1, 16, 17, size - 1, size, size + 1, 2 * size, 3*size + 5, 1 << 40} {
			sealed := SealedSize(plain, bits)
			if got := PlainSize(sealed, bits); got != plain {
				t.Errorf("bits %d: PlainSize(SealedSize(%d)) = %d", bits, plain, got)
			}
		}
		// Lengths between an empty last segment and a segment of one byte belong to no blob.
		for extra := int64(1); extra <= TagSize; extra++ {
			if got := PlainSize(SealedSize(size, bits)+extra, bits); got != -1 {
				t.Errorf("bits %d: a blob with an empty last segment has length %d", bits, got)
			}
		}
	}
	for _, bad := range []int64{-1, 0, HeaderSize, HeaderSize + TagSize - 1} {
		if got := PlainSize(bad, 0); got != -1 {
			t.Errorf("PlainSize(%d) = %d, want -1", bad, got)
		}
	}
	if SealedSize(-1, 0) != -1 || SealedSize(1, 40) != -1 {
		t.Error("SealedSize of impossible plaintext is not -1")
	}
}

// The writer, whatever the sizes of its writes, and Seal make the same blob.
func TestWriterAgreesWithSeal(t *testing.T) {
	const size = 1 << MinSegmentBits
	r := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{0, 1, size - 1, size, size + 1, 2 * size, 5*size + 77} {
		plain := pattern(n)
		want, id := mustSeal(t, plain, Options{SegmentBits: MinSegmentBits, Coding: archive.Deflated})
		for _, step := range []int{1 + r.IntN(100), size, size + 1, 3*size + 9, n + 1} {
			var out bytes.Buffer
			w, err := NewWriter(&out, testSecret, testBinding, Options{SegmentBits: MinSegmentBits, Coding: archive.Deflated, Rand: entropy(1)})
			if err != nil {
				t.Fatal(err)
			}
			for rest := plain; len(rest) > 0; {
				k := min(step, len(rest))
				if m, err := w.Write(rest[:k]); m != k || err != nil {
					t.Fatalf("Write = %d, %v", m, err)
				}
				rest = rest[k:]
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(out.Bytes(), want) || w.Blob() != id || w.Plain() != int64(n) || w.Sealed() != int64(len(want)) {
				t.Fatalf("%d bytes by %d: the writer made another blob", n, step)
			}
			if _, err := w.Write([]byte{1}); err == nil {
				t.Fatal("Write after Close succeeded")
			}
		}
		if got, err := Open(nil, want, testSecret, testBinding); err != nil || !bytes.Equal(got, plain) {
			t.Fatalf("%d bytes: Open: %v", n, err)
		}
	}
}

func TestDerive(t *testing.T) {
	for _, n := range []int{0, 1, 19, 20, 51, 52, 100, maxInfo} {
		in := pattern(64 + n)
		want, err := hkdf.Key(sha256.New, in[:32], in[32:64], string(in[64:]), 64)
		if err != nil {
			t.Fatal(err)
		}
		var got [64]byte
		if derive(&got, (*[32]byte)(in), (*[32]byte)(in[32:]), in[64:]); !bytes.Equal(got[:], want) {
			t.Errorf("info of %d bytes: not HKDF-SHA256", n)
		}
	}
	long := Binding{Tenant: archive.Tenant(pattern(255)), Kind: string(pattern(255))}
	sealed, _, err := Seal(nil, nil, testSecret, long, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(nil, sealed, testSecret, long); err != nil {
		t.Error(err)
	}
	long.Kind += "x"
	if _, _, err := Seal(nil, nil, testSecret, long, Options{}); err == nil {
		t.Error("a kind of 256 bytes was taken")
	}
}

func TestOpenAppends(t *testing.T) {
	sealed, _ := mustSeal(t, []byte("world"), Options{})
	got, err := Open([]byte("hello "), sealed, testSecret, testBinding)
	if err != nil || string(got) != "hello world" {
		t.Fatalf("Open = %q, %v", got, err)
	}
}

func TestReaderRanges(t *testing.T) {
	const size = 1 << MinSegmentBits
	ctx := context.Background()
	r := rand.New(rand.NewPCG(3, 4))
	for _, n := range []int{0, 1, size, size + 1, 200*size + 13} {
		plain := pattern(n)
		sealed, id := mustSeal(t, plain, Options{SegmentBits: MinSegmentBits})
		for _, known := range []bool{true, false} {
			o := ReadOptions{Blob: id, SegmentBits: MinSegmentBits, Plain: int64(n)}
			if !known {
				o.Plain, o.Sealed = -1, int64(len(sealed))
			}
			rd := NewReader(memory(sealed), testSecret, testBinding, o)
			if got, err := rd.Size(ctx); got != int64(n) || err != nil {
				t.Fatalf("Size = %d, %v; want %d", got, err, n)
			}
			for range 50 {
				off := r.IntN(n + 1)
				k := r.IntN(n - off + 1)
				var out bytes.Buffer
				m, err := rd.WriteRange(ctx, &out, int64(off), int64(k))
				if err != nil || m != int64(k) || !bytes.Equal(out.Bytes(), plain[off:off+k]) {
					t.Fatalf("WriteRange(%d, %d) of %d = %d, %v", off, k, n, m, err)
				}
				p := make([]byte, k+3)
				got, err := rd.ReadAt(ctx, p, int64(off))
				if want := min(k+3, n-off); got != want || (err == io.EOF) != (want < k+3) || !bytes.Equal(p[:got], plain[off:off+got]) {
					t.Fatalf("ReadAt(%d, %d) of %d = %d, %v", k+3, off, n, got, err)
				}
			}
			st, err := rd.Stream(ctx, 0, -1)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(st)
			if err != nil || !bytes.Equal(got, plain) || st.Close() != nil || st.Close() != nil {
				t.Fatalf("Stream: %v", err)
			}
			if _, err := rd.WriteRange(ctx, io.Discard, int64(n)+1, 1); !fault.Is(err, fault.RangeInvalid) {
				t.Fatalf("a range past the end: %v", err)
			}
		}
	}
}

// A long range takes the pipeline; it must give the same bytes, stop at the
// first bad segment, and leave no goroutine behind when the destination fails.
func TestPipeline(t *testing.T) {
	ctx := context.Background()
	plain := pattern(6<<20 + 5)
	sealed, id := mustSeal(t, plain, Options{})
	o := ReadOptions{Blob: id, Plain: int64(len(plain))}
	var out bytes.Buffer
	if n, err := NewReader(memory(sealed), testSecret, testBinding, o).WriteRange(ctx, &out, 3, -1); err != nil || n != int64(len(plain)-3) || !bytes.Equal(out.Bytes(), plain[3:]) {
		t.Fatalf("WriteRange = %d, %v", n, err)
	}
	bad := bytes.Clone(sealed)
	bad[len(bad)-30] ^= 1
	out.Reset()
	n, err := NewReader(memory(bad), testSecret, testBinding, o).WriteRange(ctx, &out, 0, -1)
	if !errors.Is(err, ErrSegment) || n != int64(out.Len()) || !bytes.Equal(out.Bytes(), plain[:n]) || n < 5<<20 {
		t.Fatalf("a bad last segment: %d bytes, %v", n, err)
	}
	boom := errors.New("boom")
	if _, err := NewReader(memory(sealed), testSecret, testBinding, o).WriteRange(ctx, failing{boom}, 0, -1); err != boom {
		t.Fatalf("a failing destination: %v", err)
	}
	cctx, cancel := context.WithCancel(ctx)
	if _, err := NewReader(memory(sealed), testSecret, testBinding, o).WriteRange(cctx, canceller{cancel}, 0, -1); !errors.Is(err, context.Canceled) {
		t.Fatalf("a cancelled context: %v", err)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

type canceller struct{ f func() }

func (c canceller) Write(p []byte) (int, error) { c.f(); return len(p), nil }

// Every change to a blob of three segments is found, by whole reads and by
// ranges that touch it, and nothing unauthenticated comes out.
func TestTampering(t *testing.T) {
	const size = 1 << MinSegmentBits
	const full = size + TagSize
	plain := pattern(2*size + 100)
	sealed, id := mustSeal(t, plain, Options{SegmentBits: MinSegmentBits})
	other, _ := mustSeal(t, plain, Options{SegmentBits: MinSegmentBits, Rand: entropy(2)})
	at := func(i int) int { return HeaderSize + i*full }
	segs := func(b []byte, order ...int) []byte {
		out := bytes.Clone(b[:HeaderSize])
		for _, i := range order {
			out = append(out, b[at(i):min(at(i+1), len(b))]...)
		}
		return out
	}
	flip := func(i int) []byte { b := bytes.Clone(sealed); b[i] ^= 0x10; return b }
	set := func(i int, v byte) []byte { b := bytes.Clone(sealed); b[i] = v; return b }
	mixed := append(bytes.Clone(sealed[:at(1)]), other[at(1):]...)
	cases := []struct {
		name   string
		sealed []byte
		open   error // of Open
		read   error // of a whole read under authenticated length; nil: the same
		ranged error // of a range in the second segment; nil is success
	}{
		{"segments swapped", segs(sealed, 1, 0, 2), ErrSegment, nil, ErrSegment},
		{"segment moved to the end", segs(sealed, 0, 2, 1), ErrSegment, nil, ErrSegment},
		{"segment repeated", segs(sealed, 0, 1, 1, 2), ErrSegment, nil, nil},
		{"last segment dropped", segs(sealed, 0, 1), ErrSegment, ErrLength, nil},
		{"cut in a segment", sealed[:at(1)+500], ErrSegment, ErrLength, ErrLength},
		{"cut in a tag", sealed[:at(1)+10], ErrLength, ErrLength, ErrLength},
		{"cut in the header", sealed[:50], ErrLength, ErrLength, ErrLength},
		{"extended", append(bytes.Clone(sealed), make([]byte, 20)...), ErrSegment, errNone, nil},
		{"segments of another blob", mixed, ErrSegment, nil, ErrSegment},
		{"another blob", other, errNone, ErrHeader, ErrSegment},
		{"ciphertext changed", flip(at(1) + 5), ErrSegment, nil, ErrSegment},
		{"tag changed", flip(at(2) - 1), ErrSegment, nil, ErrSegment},
		{"version", set(0, 2), ErrVersion, nil, nil},
		{"algorithm", set(1, 2), ErrVersion, nil, nil},
		{"segment size", set(2, MinSegmentBits+1), ErrCommitment, ErrHeader, nil},
		{"segment size out of range", set(2, 63), ErrHeader, nil, nil},
		{"coding", set(3, 1), ErrCommitment, ErrHeader, nil},
		{"coding out of range", set(3, 2), ErrHeader, nil, nil},
		{"key id", flip(4), ErrHeader, nil, nil},
		{"blob id", flip(20), ErrCommitment, ErrHeader, nil},
		{"commitment", flip(60), ErrCommitment, nil, nil},
		{"empty", nil, ErrLength, nil, ErrLength},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if c.read == nil {
				c.read = c.open
			}
			check := func(what string, err, want error) {
				t.Helper()
				if want == nil || want == errNone {
					if err != nil {
						t.Errorf("%s: %v", what, err)
					}
				} else if !errors.Is(err, want) || !fault.Is(err, fault.Corrupt) {
					t.Errorf("%s: %v, want %v", what, err, want)
				}
			}
			got, err := Open(nil, c.sealed, testSecret, testBinding)
			check("Open", err, c.open)
			if err != nil && len(got) > 0 {
				t.Error("Open returned plaintext with an error")
			}
			r := NewReader(memory(c.sealed), testSecret, testBinding, ReadOptions{Blob: id, SegmentBits: MinSegmentBits, Plain: int64(len(plain))})
			var out bytes.Buffer
			_, err = r.WriteRange(context.Background(), &out, 0, -1)
			check("whole", err, c.read)
			if !bytes.HasPrefix(plain, out.Bytes()) {
				t.Error("a whole read gave out bytes that were not sealed")
			}
			out.Reset()
			_, err = r.WriteRange(context.Background(), &out, size+7, 100)
			check("range", err, c.ranged)
			if !bytes.HasPrefix(plain[size+7:], out.Bytes()) {
				t.Error("a range gave out bytes that were not sealed")
			}
		})
	}
}

var errNone = errors.New("none")

func TestBinding(t *testing.T) {
	sealed, id := mustSeal(t, []byte("x"), Options{})
	for name, c := range map[string]struct {
		s    archive.Secret
		b    Binding
		want error
	}{
		"another tenant":           {testSecret, Binding{"other", KindInstance, testBinding.Key}, ErrCommitment},
		"another kind":             {testSecret, Binding{"default", KindIndex, testBinding.Key}, ErrCommitment},
		"tenant and kind run over": {testSecret, Binding{"defaulti", "nstance", testBinding.Key}, ErrCommitment},
		"another secret":           {archive.Secret{4}, testBinding, ErrCommitment},
		"another key":              {testSecret, Binding{"default", KindInstance, archive.KeyID{8}}, ErrHeader},
	} {
		if _, err := Open(nil, sealed, c.s, c.b); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		_, err := NewReader(memory(sealed), c.s, c.b, ReadOptions{Blob: id, Plain: 1}).WriteRange(context.Background(), io.Discard, 0, -1)
		if !errors.Is(err, c.want) {
			t.Errorf("%s, read: %v, want %v", name, err, c.want)
		}
	}
}

// With an unknown length, a blob cut at a segment's end is found before a byte is served.
func TestUnknownLengthIsAuthenticated(t *testing.T) {
	const size = 1 << MinSegmentBits
	plain := pattern(3 * size)
	sealed, id := mustSeal(t, plain, Options{SegmentBits: MinSegmentBits})
	cut := sealed[:HeaderSize+2*(size+TagSize)]
	r := NewReader(memory(cut), testSecret, testBinding, ReadOptions{Blob: id, SegmentBits: MinSegmentBits, Plain: -1, Sealed: int64(len(cut))})
	var out bytes.Buffer
	if _, err := r.WriteRange(context.Background(), &out, 0, 10); !errors.Is(err, ErrSegment) || out.Len() > 0 {
		t.Errorf("a cut blob: %v, %d bytes served", err, out.Len())
	}
	r = NewReader(memory(cut), testSecret, testBinding, ReadOptions{Blob: id, SegmentBits: MinSegmentBits, Plain: int64(len(plain)), Sealed: int64(len(cut))})
	if _, err := r.Size(context.Background()); !errors.Is(err, ErrLength) {
		t.Errorf("lengths that do not agree: %v", err)
	}
}

func TestErrorsOfTheSource(t *testing.T) {
	for kind, want := range map[fault.Kind]fault.Kind{
		fault.NotFound: fault.Corrupt, fault.RangeInvalid: fault.Corrupt, fault.Unavailable: fault.Unavailable, fault.Canceled: fault.Canceled,
	} {
		r := NewReader(broken{kind}, testSecret, testBinding, ReadOptions{Plain: 100})
		if _, err := r.WriteRange(context.Background(), io.Discard, 0, 10); !fault.Is(err, want) {
			t.Errorf("source fails with %v: %v", kind, err)
		}
	}
	if _, err := NewWriter(io.Discard, testSecret, testBinding, Options{SegmentBits: 30}); err == nil {
		t.Error("a writer took segments of 1 GiB")
	}
	if _, _, err := Seal(nil, nil, testSecret, testBinding, Options{Rand: bytes.NewReader(nil)}); err == nil {
		t.Error("a blob was made without randomness")
	}
	w, err := NewWriter(failing{io.ErrClosedPipe}, testSecret, testBinding, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(make([]byte, 1<<17)); err != io.ErrClosedPipe || w.Close() != io.ErrClosedPipe {
		t.Errorf("a failing destination: %v", err)
	}
}

type broken struct{ kind fault.Kind }

func (b broken) ReadRange(context.Context, int64, int64) (io.ReadCloser, error) {
	return nil, fault.New(b.kind, "broken")
}
