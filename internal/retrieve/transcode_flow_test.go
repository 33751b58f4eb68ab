package retrieve_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/pixel"
	"github.com/strata-pacs/strata/internal/retrieve"
	"github.com/strata-pacs/strata/internal/retrieve/retrievetest"
	"github.com/strata-pacs/strata/internal/testdata"
)

// TestTranscodeDamage: a damaged first frame is an error before the first byte;
// a later one breaks the answer off, and is never taken for a picture.
func TestTranscodeDamage(t *testing.T) {
	frames := picture(grey16, 40)
	for _, c := range []struct {
		name    string
		damaged int
		partly  bool
	}{{"none", -1, false}, {"the first", 0, false}, {"a later", 30, true}, {"the last", 39, true}} {
		a := retrievetest.New()
		r := newReader(t, a)
		var bits [][]byte
		for i := range frames {
			bits = append(bits, rle(t, grey16, frames[i]))
			if i == c.damaged {
				bits[i] = bits[i][:len(bits[i])/2]
			}
		}
		in := one(t, r, a.Store(t, tenant, coded(t, grey16, bits))[0])
		for _, to := range []string{dicom.ExplicitVRLittleEndian, dicom.JPEGLosslessSV1} {
			b, err := r.File(in, to)
			if err != nil {
				t.Fatal(err)
			}
			var w counting
			err = b.Write(t.Context(), &w)
			if (err == nil) != (c.damaged < 0) || err != nil && !fault.Is(err, fault.NotAcceptable) || c.damaged == 0 && w > 0 {
				t.Errorf("%s to %s: %v after %d bytes", c.name, to, err, w)
			}
		}
		f, err := r.Frame(in, max(c.damaged, 0)+1, dicom.ExplicitVRLittleEndian)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Write(t.Context(), io.Discard); (err == nil) != (c.damaged < 0) || err != nil && !fault.Is(err, fault.NotAcceptable) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	// What the store gives back must be what was sealed.
	a := retrievetest.New()
	r := newReader(t, a)
	in := one(t, r, a.Store(t, tenant, native(t, grey16, frames))[0])
	for key := range a.Objects {
		a.Objects[key][len(a.Objects[key])-1] ^= 1
	}
	b, err := r.File(in, dicom.RLELossless)
	if err != nil {
		t.Fatal(err)
	}
	var w counting
	if err := b.Write(t.Context(), &w); !fault.Is(err, fault.Corrupt) || w > 0 {
		t.Errorf("%v after %d bytes", err, w)
	}
}

type counting int64

func (c *counting) Write(p []byte) (int, error) {
	*c += counting(len(p))
	return len(p), nil
}

// TestTranscodeMalformed: whatever of the malformed files is stored is
// converted or refused.
func TestTranscodeMalformed(t *testing.T) {
	for _, f := range testdata.Files(t, "malformed", "malformed-derived") {
		raw := f.Bytes(t)
		if _, err := dicom.Read(t.Context(), bytes.NewReader(raw), dicom.Limits{}); err != nil {
			continue
		}
		a := retrievetest.New()
		r := newCodecs(t, a)
		u := a.Store(t, tenant, raw)[0]
		if u.Study == "" {
			continue
		}
		in := one(t, r, u)
		for _, to := range append(compressed(), dicom.ExplicitVRLittleEndian) {
			b, err := r.File(in, to)
			if err == nil {
				err = b.Write(t.Context(), io.Discard)
			}
			if err != nil && !fault.Is(err, fault.NotAcceptable) && !fault.Is(err, fault.NotFound) {
				t.Errorf("%s to %s: %v", f.Name, to, err)
			}
		}
	}
}

// TestTranscodeMemory transcodes 2,000 frames of 512×512, a gigabyte, in memory
// that does not grow with their number.
func TestTranscodeMemory(t *testing.T) {
	n := 2000
	if testing.Short() {
		n = 300
	}
	f := pixel.Format{Rows: 512, Columns: 512, Samples: 1, BitsAllocated: 16, BitsStored: 12, HighBit: 11, Photometric: pixel.Monochrome2}
	flat := bytes.Repeat([]byte{0x34, 0x02}, f.Rows*f.Columns) // compresses to little, so that the object itself is small
	bits := rle(t, f, flat)
	for _, c := range []struct {
		to string
		n  int
	}{{dicom.ExplicitVRLittleEndian, n}, {dicom.JPEGLosslessSV1, 300}} {
		to, n := c.to, c.n
		a := retrievetest.New()
		r := newReader(t, a)
		in := one(t, r, a.Store(t, tenant, coded(t, f, slices.Repeat([][]byte{bits}, n)))[0])
		b, err := r.File(in, to)
		if err != nil {
			t.Fatal(err)
		}
		runtime.GC()
		var before runtime.MemStats
		runtime.ReadMemStats(&before)
		w := &watching{}
		if err := b.Write(t.Context(), w); err != nil {
			t.Fatal(err)
		}
		grown := int64(w.most) - int64(before.HeapInuse)
		if t.Logf("to %s: %d MiB written, %d MiB more heap", to, w.n>>20, grown>>20); grown > 96<<20 {
			t.Errorf("to %s: the heap grew by %d MiB", to, grown>>20)
		}
		if to == dicom.ExplicitVRLittleEndian && w.n < int64(n)*512<<10 {
			t.Errorf("%d bytes written", w.n)
		}
	}
}

// watching discards what it is given and looks at the heap meanwhile.
type watching struct {
	n    int64
	next int64
	most uint64
}

func (w *watching) Write(p []byte) (int, error) {
	if w.n += int64(len(p)); w.n >= w.next {
		w.next = w.n + 8<<20
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		w.most = max(w.most, m.HeapInuse)
	}
	return len(p), nil
}

// TestTranscodeCancel: who goes away ends everything that works for them.
func TestTranscodeCancel(t *testing.T) {
	f := pixel.Format{Rows: 512, Columns: 512, Samples: 1, BitsAllocated: 16, BitsStored: 12, HighBit: 11, Photometric: pixel.Monochrome2}
	bits := rle(t, f, bytes.Repeat([]byte{0x34, 0x02}, f.Rows*f.Columns))
	a := retrievetest.New()
	r := newReader(t, a)
	in := one(t, r, a.Store(t, tenant, coded(t, f, slices.Repeat([][]byte{bits}, 100)))[0])
	before := runtime.NumGoroutine()
	gone := errors.New("gone")
	for _, how := range []string{"cancelled", "writer", "before"} {
		ctx, cancel := context.WithCancel(t.Context())
		b, err := r.File(in, dicom.ExplicitVRLittleEndian)
		if err != nil {
			t.Fatal(err)
		}
		if how == "before" {
			cancel()
		}
		err = b.Write(ctx, writerFunc(func(p []byte) (int, error) {
			if how == "writer" {
				return 0, gone
			}
			cancel()
			return len(p), nil
		}))
		if how == "writer" && !errors.Is(err, gone) || how != "writer" && !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", how, err)
		}
		cancel()
	}
	for range 100 { // goroutines that have done all they do may still be counted
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%d goroutines instead of %d", runtime.NumGoroutine(), before)
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// TestTranscodeIcon: a compressed icon is native in any other syntax, a native
// one stays.
func TestTranscodeIcon(t *testing.T) {
	small := pixel.Format{Rows: 3, Columns: 3, Samples: 1, BitsAllocated: 8, BitsStored: 8, HighBit: 7, Photometric: pixel.Monochrome2}
	want := picture(small, 1)[0]
	bits := rle(t, small, want)
	frame := rle(t, grey16, picture(grey16, 1)[0])
	with := func(icon dicom.Element) []byte {
		item := &dicom.Dataset{Order: binary.LittleEndian, Elements: append(formatElements(small), icon)}
		return coded(t, grey16, [][]byte{frame}, dicom.Element{Tag: 0x00880200, VR: dicom.SQ, Items: []*dicom.Dataset{item}})
	}
	for _, c := range []struct {
		name string
		raw  []byte
		icon bool
	}{{"native", with(dicom.Element{Tag: 0x7FE00010, VR: dicom.OB, Value: want}), true},
		{"coded", with(pixelFragments(bits)), true}, {"in fragments", with(pixelFragments(bits[:64], bits[64:])), true}, {"broken", with(pixelFragments(bits[:9])), false}} {
		for _, to := range []string{dicom.ExplicitVRLittleEndian, dicom.ImplicitVRLittleEndian, dicom.ExplicitVRBigEndian, dicom.JPEGLosslessSV1} {
			a := retrievetest.New()
			r := newReader(t, a)
			in := one(t, r, a.Store(t, tenant, c.raw)[0])
			b, err := r.File(in, to)
			out := read(t, b, err)
			f, err2 := dicom.Read(t.Context(), bytes.NewReader(out), dicom.Limits{})
			if err2 != nil || len(f.Warnings) > 0 {
				t.Fatalf("%v, %q", err2, f.Warnings)
			}
			e := f.Data.Lookup(0x00880200)
			if (e != nil) != c.icon {
				t.Errorf("%s to %s: icon %v", c.name, to, e)
			}
			if e == nil {
				continue
			}
			p := e.Items[0].Lookup(0x7FE00010)
			if p.Fragments != nil || !bytes.HasPrefix(out[p.Offset:], want) {
				t.Errorf("%s to %s: %+v", c.name, to, p)
			}
		}
	}
}

// TestTranscodedFrames: frames in every syntax they are given in.
func TestTranscodedFrames(t *testing.T) {
	bit := pixel.Format{Rows: 5, Columns: 3, Samples: 1, BitsAllocated: 1, BitsStored: 1, Photometric: pixel.Monochrome2}
	for _, f := range []pixel.Format{grey16, bit} {
		frames := picture(f, 3)
		for _, from := range containers {
			a := retrievetest.New()
			r := newCodecs(t, a)
			in := one(t, r, a.Store(t, tenant, converted(t, native(t, f, frames), from))[0])
			for n := 1; n <= 3; n++ {
				for _, to := range []string{dicom.ExplicitVRLittleEndian, dicom.ImplicitVRLittleEndian} {
					b, err := r.Frame(in, n, to)
					if got := read(t, b, err); !bytes.Equal(got, frames[n-1]) || b.Syntax != to || b.MediaType != "application/octet-stream" || b.Size < 0 {
						t.Errorf("%s to %s: %s %s", from, to, b.MediaType, b.Syntax)
					}
				}
				for _, to := range compressed() {
					b, err := r.Frame(in, n, to)
					var w bytes.Buffer
					if err == nil {
						err = b.Write(t.Context(), &w)
					}
					if err != nil {
						if !fault.Is(err, fault.NotAcceptable) || !mayRefuse(f, to) && to != dicom.JPEGBaseline8Bit {
							t.Errorf("%s to %s: %v", from, to, err)
						}
						continue
					}
					if b.Syntax != to || b.MediaType != dicom.Syntax(to).MediaType {
						t.Errorf("%s %s", b.Syntax, b.MediaType)
					}
					img, err := newCodec().Decode(t.Context(), to, f, w.Bytes())
					if err != nil || !bytes.Equal(img.Data, frames[n-1]) {
						t.Errorf("%s to %s, frame %d: other pixels, %v", from, to, n, err)
					}
				}
			}
			for _, to := range []string{dicom.ExplicitVRBigEndian, dicom.DeflatedExplicitVRLittleEndian, "1.2.3"} {
				if _, err := r.Frame(in, 1, to); to != from && !fault.Is(err, fault.NotAcceptable) {
					t.Errorf("%s to %s: %v", from, to, err)
				}
			}
			if _, err := r.Frame(in, 4, dicom.RLELossless); !fault.Is(err, fault.NotFound) {
				t.Errorf("frame 4 of 3: %v", err)
			}
		}
	}
}

// TestTranscodeStudy: instances of a study, made ahead, are those made one by one.
func TestTranscodeStudy(t *testing.T) {
	var files [][]byte
	frames := picture(grey16, 9)
	for i := range frames {
		raw := coded(t, grey16, [][]byte{rle(t, grey16, frames[i])})
		files = append(files, bytes.Replace(raw, []byte("1.2.3.4.5\x00"), []byte("1.2.3.4."+string(rune('1'+i))+"\x00"), -1))
	}
	a := retrievetest.New()
	r := newReader(t, a)
	a.Store(t, tenant, files...)
	list, err := r.Find(t.Context(), tenant, archive.UIDs{Study: ct.Study}, retrieve.Files)
	if err != nil || len(list) != len(frames) {
		t.Fatalf("%d instances, %v", len(list), err)
	}
	var apart, ahead []string
	bodies := func(yield func(*retrieve.Body, error) bool) {
		for i := range list {
			if !yield(r.File(&list[i], dicom.ExplicitVRLittleEndian)) {
				return
			}
		}
	}
	for b, err := range bodies {
		apart = append(apart, string(read(t, b, err)))
	}
	for b, err := range retrieve.Ahead(t.Context(), bodies, func(b *retrieve.Body) *retrieve.Body { return b }) {
		ahead = append(ahead, string(read(t, b, err)))
	}
	if !slices.Equal(apart, ahead) || strings.Contains(strings.Join(ahead[1:], ""), ahead[0]) {
		t.Error("they differ")
	}
}
