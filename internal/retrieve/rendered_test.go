package retrieve_test

import (
	"bytes"
	"context"
	"errors"
	"image"
	"image/color"
	"image/gif"
	_ "image/jpeg"
	_ "image/png"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/pixel/render"
	"github.com/strata-pacs/strata/internal/retrieve"
	"github.com/strata-pacs/strata/internal/retrieve/retrievetest"
	"github.com/strata-pacs/strata/internal/testdata"
)

// steps is an instance whose frame n has the value 20n everywhere.
func steps(frames int) []byte {
	const rows, columns = 6, 10
	var pixels []byte
	for n := range frames {
		pixels = append(pixels, bytes.Repeat([]byte{byte(20 * (n + 1))}, rows*columns)...)
	}
	return retrievetest.Part10(retrievetest.Image{UIDs: ct, Rows: rows, Columns: columns, Bits: 8, Frames: frames, Pixels: pixels})
}

// asStored shows values of 8 bits as they are.
var asStored = render.Options{Window: &render.Window{Center: 128, Width: 256}}

func grey(img image.Image) int {
	r := img.Bounds()
	return int(color.GrayModel.Convert(img.At((r.Min.X+r.Max.X)/2, (r.Min.Y+r.Max.Y)/2)).(color.Gray).Y)
}

func near(a, b int) bool { return a-b <= 3 && b-a <= 3 }

func TestRendered(t *testing.T) {
	a := retrievetest.New()
	r := newReader(t, a)
	in := one(t, r, a.Store(t, tenant, steps(5))[0])
	if got := r.Renderings(in); !slices.Equal(got, []string{"image/jpeg", "image/png", "image/gif"}) {
		t.Errorf("Renderings = %v", got)
	}
	for _, tt := range []struct {
		frames    []int
		mediaType string
		want      int
	}{
		{nil, "image/jpeg", 60}, {[]int{1}, "image/jpeg", 20}, {[]int{5}, "image/png", 100}, {[]int{2}, "image/gif", 40}, {nil, "image/png", 60},
	} {
		b, err := r.Rendered(t.Context(), in, tt.frames, tt.mediaType, asStored)
		raw := read(t, b, err)
		img, format, err := image.Decode(bytes.NewReader(raw))
		if err != nil || "image/"+format != tt.mediaType || b.MediaType != tt.mediaType || b.Size != int64(len(raw)) {
			t.Errorf("frames %v as %s: %s of %d bytes is %s, %v", tt.frames, tt.mediaType, b.MediaType, b.Size, format, err)
			continue
		}
		if img.Bounds().Dx() != 10 || img.Bounds().Dy() != 6 || !near(grey(img), tt.want) {
			t.Errorf("frames %v as %s: %v of grey %d, want %d", tt.frames, tt.mediaType, img.Bounds(), grey(img), tt.want)
		}
		if b.Version != retrieve.RenderedVersion(in, tt.frames, tt.mediaType, asStored) {
			t.Errorf("frames %v: another version than announced", tt.frames)
		}
		checkRange(t, b, raw)
	}
}

func TestAnimation(t *testing.T) {
	a := retrievetest.New()
	r := newReader(t, a)
	in := one(t, r, a.Store(t, tenant, steps(5))[0])
	for _, tt := range []struct{ frames, want []int }{
		{nil, []int{20, 40, 60, 80, 100}}, {[]int{4, 2, 4}, []int{80, 40, 80}},
	} {
		b, err := r.Rendered(t.Context(), in, tt.frames, "image/gif", asStored)
		raw := read(t, b, err)
		g, err := gif.DecodeAll(bytes.NewReader(raw))
		if err != nil {
			t.Fatal(err)
		}
		var got []int
		for _, p := range g.Image {
			got = append(got, grey(p))
		}
		if !slices.EqualFunc(got, tt.want, near) || b.Size != -1 {
			t.Errorf("frames %v: %v in %d bytes, want %v", tt.frames, got, b.Size, tt.want)
		}
		if again := read(t, b, nil); !bytes.Equal(again, raw) {
			t.Error("written again it differs")
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	b, err := r.Rendered(ctx, in, nil, "image/gif", asStored)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := b.Write(ctx, &bytes.Buffer{}); err == nil {
		t.Error("an animation went on without its reader")
	}
}

func TestNotRendered(t *testing.T) {
	a := retrievetest.New()
	r := newReader(t, a)
	file := func(n string, change func(*retrievetest.Image)) *retrieve.Instance {
		im := retrievetest.Image{UIDs: archive.UIDs{Study: "1.2.3", Series: "1.2.3.4", Instance: "1.2.3.4." + n}, Rows: 4, Columns: 4, Bits: 8}
		change(&im)
		return one(t, r, a.Store(t, tenant, retrievetest.Part10(im))[0])
	}
	good := file("1", func(*retrievetest.Image) {})
	for _, tt := range []struct {
		name      string
		in        *retrieve.Instance
		frames    []int
		mediaType string
		o         render.Options
		want      fault.Kind
	}{
		{"past the last frame", good, []int{2}, "image/jpeg", render.Options{}, fault.NotFound},
		{"frame 0", good, []int{0}, "image/jpeg", render.Options{}, fault.NotFound},
		{"one of several", good, []int{1, 2}, "image/gif", render.Options{}, fault.NotFound},
		{"several in a JPEG", good, []int{1, 1}, "image/jpeg", render.Options{}, fault.NotAcceptable},
		{"another type", good, nil, "image/webp", render.Options{}, fault.NotAcceptable},
		{"as a document", good, nil, "application/pdf", render.Options{}, fault.NotAcceptable},
		{"quality", good, nil, "image/jpeg", render.Options{Quality: 101}, fault.Invalid},
		{"viewport", good, nil, "image/jpeg", render.Options{Viewport: &render.Viewport{}}, fault.Invalid},
		{"too few pixels", file("2", func(im *retrievetest.Image) { im.Rows, im.Columns, im.Pixels = 400, 400, make([]byte, 16) }), nil, "image/jpeg", render.Options{}, fault.NotAcceptable},
		{"no JPEG", file("3", func(im *retrievetest.Image) {
			im.Syntax, im.Fragments = dicom.JPEGBaseline8Bit, [][]byte{[]byte("this is no image")}
		}), nil, "image/jpeg", render.Options{}, fault.NotAcceptable},
		{"a syntax from the future", file("4", func(im *retrievetest.Image) {
			im.Syntax, im.Fragments = "1.2.840.10008.1.2.4.999", [][]byte{[]byte("who knows")}
		}), nil, "image/jpeg", render.Options{}, fault.NotAcceptable},
		{"a video as a picture", file("5", func(im *retrievetest.Image) {
			im.Syntax, im.Fragments = "1.2.840.10008.1.2.4.102", [][]byte{[]byte("moving pictures")}
		}), nil, "image/jpeg", render.Options{}, fault.NotAcceptable},
	} {
		b, err := r.Rendered(t.Context(), tt.in, tt.frames, tt.mediaType, tt.o)
		if !fault.Is(err, tt.want) || b != nil || strings.Contains(err.Error(), "1.2.3") {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Rendered(ctx, good, nil, "image/jpeg", render.Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
}

// TestRenderedVersion: nothing that makes another picture has the same version.
func TestRenderedVersion(t *testing.T) {
	a := retrievetest.New()
	r := newReader(t, a)
	in := one(t, r, a.Store(t, tenant, steps(5))[0])
	other := *in
	other.Blob[0]++
	w := &render.Window{Center: 1, Width: 2}
	seen := map[string]int{}
	for i, v := range []string{
		retrieve.RenderedVersion(in, nil, "image/jpeg", render.Options{}),
		retrieve.RenderedVersion(&other, nil, "image/jpeg", render.Options{}),
		retrieve.RenderedVersion(in, []int{1}, "image/jpeg", render.Options{}),
		retrieve.RenderedVersion(in, []int{11}, "image/jpeg", render.Options{}),
		retrieve.RenderedVersion(in, []int{1, 1}, "image/jpeg", render.Options{}),
		retrieve.RenderedVersion(in, nil, "image/png", render.Options{}),
		retrieve.RenderedVersion(in, nil, "image/jpeg", render.Options{Quality: 1}),
		retrieve.RenderedVersion(in, nil, "image/jpeg", render.Options{Patient: true}),
		retrieve.RenderedVersion(in, nil, "image/jpeg", render.Options{Technique: true}),
		retrieve.RenderedVersion(in, nil, "image/jpeg", render.Options{ICC: "yes"}),
		retrieve.RenderedVersion(in, nil, "image/jpeg", render.Options{Window: w}),
		retrieve.RenderedVersion(in, nil, "image/jpeg", render.Options{Window: &render.Window{Center: 1, Width: 2, Function: render.Sigmoid}}),
		retrieve.RenderedVersion(in, nil, "image/jpeg", render.Options{Viewport: &render.Viewport{Width: 1, Height: 2}}),
		retrieve.RenderedVersion(in, nil, "image/jpeg", render.Options{Viewport: &render.Viewport{Width: 1, Height: 2, W: -1}}),
	} {
		if before, ok := seen[v]; ok {
			t.Errorf("%d and %d have the same version", before, i)
		}
		seen[v] = i
	}
	same := &render.Window{Center: 1, Width: 2}
	if retrieve.RenderedVersion(in, nil, "image/jpeg", render.Options{Window: w}) != retrieve.RenderedVersion(in, nil, "image/jpeg", render.Options{Window: same}) {
		t.Error("the version is that of an address in memory")
	}
}

// TestRenderedIsGuarded: damage and a revoked key show, whatever is in memory.
func TestRenderedIsGuarded(t *testing.T) {
	a := retrievetest.New()
	r := newReader(t, a)
	in := one(t, r, a.Store(t, tenant, steps(3))[0])
	render1 := func() error {
		_, err := r.Rendered(t.Context(), in, nil, "image/png", render.Options{})
		return err
	}
	if err := render1(); err != nil {
		t.Fatal(err)
	}
	a.Secrets = func(archive.KeyID) (archive.Secret, error) {
		return archive.Secret{}, fault.New(fault.KeyDenied, "revoked")
	}
	if err := render1(); !fault.Is(err, fault.KeyDenied) {
		t.Errorf("with a revoked key: %v", err)
	}
	a.Secrets = nil
	sealed := a.Objects[in.At.Object]
	sealed[in.At.Offset+in.At.Length-40] ^= 1
	if err := render1(); !fault.Is(err, fault.Corrupt) {
		t.Errorf("with a flipped bit: %v", err)
	}
}

// TestRenderEveryFile: every file of the test set is rendered, or refused with a
// reason, by several at once.
func TestRenderEveryFile(t *testing.T) {
	files := testdata.Files(t, "ok", "ok-derived")
	rendered, refused := 0, map[string]int{}
	var mu sync.Mutex
	todo := make(chan testdata.File)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for f := range todo {
				a := retrievetest.New()
				r := newCodecs(t, a)
				in := one(t, r, a.Store(t, tenant, f.Bytes(t))[0])
				for _, mediaType := range r.Renderings(in) {
					b, err := r.Rendered(t.Context(), in, nil, mediaType, render.Options{Viewport: &render.Viewport{Width: 100, Height: 100}})
					var raw bytes.Buffer
					if err == nil { // a frame behind the first may show only now that it is damaged
						err = b.Write(t.Context(), &raw)
					}
					if err == nil && strings.HasPrefix(b.MediaType, "image/") {
						img, _, derr := image.Decode(&raw)
						if derr != nil || img.Bounds().Dx() > 100 || img.Bounds().Dy() > 100 || max(img.Bounds().Dx(), img.Bounds().Dy()) != 100 {
							t.Errorf("%s as %s: %v", f.Name, mediaType, derr)
						}
					}
					mu.Lock()
					switch {
					case err == nil:
						rendered++
					case fault.Is(err, fault.NotAcceptable):
						refused[fault.Message(err)]++
						if testing.Verbose() {
							t.Logf("%s as %s: %v", f.Name, mediaType, err)
						}
					default:
						t.Errorf("%s as %s: %v", f.Name, mediaType, err)
					}
					mu.Unlock()
				}
			}
		})
	}
	for _, f := range files {
		if testing.Short() && f.Size > 20<<10 {
			continue
		}
		todo <- f
	}
	close(todo)
	wg.Wait()
	t.Logf("%d rendered", rendered)
	for why, n := range refused {
		t.Logf("%d refused: %s", n, why)
	}
	want := 400
	if pool() != nil {
		want = 520
	}
	if testing.Short() {
		want = 160
	}
	if rendered < want {
		t.Errorf("only %d rendered", rendered)
	}
}
