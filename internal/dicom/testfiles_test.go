package dicom

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/testdata"
)

// TestValidFiles reads every storable file and checks what the manifest says of it.
func TestValidFiles(t *testing.T) {
	for _, m := range testdata.Files(t, "ok", "ok-derived") {
		t.Run(m.Name, func(t *testing.T) {
			f := read(t, m.Bytes(t))
			if !f.Preamble || f.Size != m.Size || f.Syntax != m.Syntax {
				t.Errorf("preamble %v, %d bytes, transfer syntax %s", f.Preamble, f.Size, f.Syntax)
			}
			for tag, column := range map[Tag]string{0x00080016: "sop_class_uid", 0x00080018: "sop_uid", 0x0020000D: "study_uid"} {
				e := f.Data.Lookup(tag)
				if e == nil || strings.TrimRight(string(e.Value), "\x00 ") != m.Field(column) {
					t.Errorf("%s is not %s", tag, m.Field(column))
				}
			}
		})
	}
}

// TestFirstFrames hashes the first frame of every file that needs no codec.
func TestFirstFrames(t *testing.T) {
	tried := 0
	for _, m := range testdata.Files(t, "ok", "ok-derived") {
		want := m.Field("frame1_sha256")
		bits, _ := m.Int("bits_allocated")
		if want == "" || !Uncompressed(m.Syntax) || m.Field("photometric") == "YBR_FULL_422" {
			continue
		}
		tried++
		t.Run(m.Name, func(t *testing.T) {
			b := m.Bytes(t)
			f := read(t, b)
			l := layout(t, f)
			frame := nativeFrame(t, b, l, 0)
			if bits == 1 {
				frame = unpack(frame, int(l.Frames.frameBits))
			}
			if e := f.Data.Lookup(0x00280006); e != nil && f.Data.Order.Uint16(e.Value) == 1 {
				frame = interleave(frame, bits/8)
			}
			if stored, _ := m.Int("bits_stored"); m.Field("pixel_representation") == "1" && bits == 16 {
				extend(frame, 16-stored) // as the manifest's reader does
			}
			if sum := sha256.Sum256(frame); hex.EncodeToString(sum[:]) != want {
				t.Errorf("the first frame differs")
			}
		})
	}
	if tried < 60 {
		t.Errorf("only %d files were tried", tried)
	}
}

// layout returns the layout of f after it went through its encoding.
func layout(t testing.TB, f *File) *Layout {
	t.Helper()
	l, err := NewLayout(f)
	if err != nil {
		t.Fatal(err)
	}
	again, err := ParseLayout(l.AppendBinary(nil))
	if err != nil {
		t.Fatal(err)
	}
	return again
}

// nativeFrame reads native frame i of a file that is not deflated.
func nativeFrame(t testing.TB, b []byte, l *Layout, i int) []byte {
	t.Helper()
	spans, err := l.Frames.Spans(i)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	w := l.Frames.LittleEndian(i, &out)
	for _, s := range spans {
		if _, err := io.Copy(w, bytes.NewReader(b[s.Offset:s.Offset+s.Length])); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if raw := b[spans[0].Offset : spans[0].Offset+spans[0].Length]; l.Frames.Whole(i) != bytes.Equal(raw, out.Bytes()) && l.Frames.Whole(i) {
		t.Error("Whole is true of a frame that had to be cut")
	}
	return out.Bytes()
}

func unpack(b []byte, n int) []byte {
	out := make([]byte, n)
	for i := range out {
		out[i] = b[i/8] >> (i % 8) & 1
	}
	return out
}

// extend copies the sign bit of 16-bit samples into the unused bits above it.
func extend(b []byte, unused int) {
	for i := 0; i < len(b); i += 2 {
		v := int16(binary.LittleEndian.Uint16(b[i:])) << unused >> unused
		binary.LittleEndian.PutUint16(b[i:], uint16(v))
	}
}

// interleave turns three planes into one of triples.
func interleave(b []byte, size int) []byte {
	out := make([]byte, 0, len(b))
	plane := len(b) / 3
	for i := 0; i < plane; i += size {
		for p := range 3 {
			out = append(out, b[p*plane+i:p*plane+i+size]...)
		}
	}
	return out
}

// TestEncapsulatedFrames checks that the frames of every encapsulated file are
// there, begin as their coding does and lie in order.
func TestEncapsulatedFrames(t *testing.T) {
	for _, m := range testdata.Files(t, "ok", "ok-derived", "missing-uid", "invalid-uid") {
		ts := Syntax(m.Syntax)
		if !ts.Encapsulated {
			continue
		}
		t.Run(m.Name, func(t *testing.T) {
			b := m.Bytes(t)
			l := layout(t, read(t, b))
			n, ok := m.Int("frames")
			if !ok {
				n = 1
			}
			if l.Frames.Count != n || l.Frames.Native {
				t.Fatalf("%d frames, not %d", l.Frames.Count, n)
			}
			end := int64(0)
			for i := range n {
				spans, err := l.Frames.Spans(i)
				if err != nil || len(spans) == 0 {
					t.Fatalf("frame %d: %v %v", i, spans, err)
				}
				first := b[spans[0].Offset:][:min(spans[0].Length, markerSize)]
				if spans[0].Offset <= end || ts.MediaType != "application/x-deflate" && !beginsStream(first) {
					t.Fatalf("frame %d begins with % x", i, first)
				}
				for _, s := range spans {
					end = s.Offset + s.Length
				}
			}
		})
	}
}

// TestBadFiles reads what is odd or malformed: a clear error or a whole file,
// and memory in proportion to it.
func TestBadFiles(t *testing.T) {
	refused := 0
	for _, m := range testdata.Files(t, "malformed", "malformed-derived", "no-preamble", "no-transfer-syntax", "dicomdir", "missing-uid", "invalid-uid") {
		t.Run(m.Name, func(t *testing.T) {
			b := m.Bytes(t)
			var f *File
			var err error
			allocated := allocation(func() { f, err = Read(t.Context(), bytes.NewReader(b), Limits{}) })
			if limit := uint64(512<<10 + 16*len(b)); allocated > limit {
				t.Errorf("took %d bytes of memory for %d bytes of file", allocated, len(b))
			}
			if err != nil {
				refused++
				if k := fault.KindOf(err); k != fault.Invalid && k != fault.TooLarge {
					t.Errorf("kind %v: %v", k, err)
				}
				return
			}
			if f.Size != int64(len(b)) {
				t.Errorf("read %d bytes of %d", f.Size, len(b))
			}
			l := layout(t, f)
			for i := range min(l.Frames.Count, 100) {
				spans, err := l.Frames.Spans(i)
				if err != nil {
					continue
				}
				for _, s := range spans {
					if s.Offset < 0 || s.Length < 0 || s.Offset+s.Length > f.Size {
						t.Errorf("frame %d lies outside the file: %v", i, s)
					}
				}
			}
		})
	}
	if refused < 30 {
		t.Errorf("only %d files were refused", refused)
	}
}

// allocation returns the bytes that f allocates.
func allocation(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}
