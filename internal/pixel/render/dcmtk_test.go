package render

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/draw"
	"image/png"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/pixel"
	"github.com/strata-pacs/strata/internal/testdata"
)

// contactEnv names a folder that the comparison leaves its pictures in, ours and
// dcmtk's, for people to look at.
const contactEnv = "STRATA_CONTACT_SHEETS"

// What is asked for is this structural similarity with dcmtk's picture, or that no
// pixel is further away: in an area that is all but even the similarity is of how
// one rounds.
const (
	least    = 0.98
	rounding = 2
)

// TestLikeDCMTK renders the first and the last frame of every image of
// the test set and compares with what dcmtk makes of them, by structural
// similarity (Wang et al. 2004).
func TestLikeDCMTK(t *testing.T) {
	if testing.Short() {
		t.Skip("-short leaves out every file against another tool")
	}
	if _, err := exec.LookPath("dcmj2pnm"); err != nil {
		t.Skip("dcmj2pnm is not here: install dcmtk to compare with a second opinion")
	}
	files := testdata.Files(t, "ok", "ok-derived", "missing-uid", "no-preamble")
	c := codecs(t)
	var compared atomic.Int64
	t.Run("files", func(t *testing.T) {
		for _, f := range files {
			in, err := openInstance(f.Bytes(t))
			if err != nil || in.layout.Frames.Count == 0 || !c.Decodes(in.syntax) {
				continue
			}
			t.Run(f.Name, func(t *testing.T) {
				t.Parallel()
				frames := []int{1}
				if n := in.layout.Frames.Count; n > 1 {
					frames = append(frames, n)
				}
				for _, n := range frames {
					compareFrame(t, f, in, n, func() (image.Image, error) {
						img, err := in.decode(c, n)
						if err != nil {
							return nil, err
						}
						return in.x.unscaled(n, img, Options{})
					})
					compared.Add(1)
				}
			})
		}
	})
	t.Logf("%d frames compared", compared.Load())
	if compared.Load() < 100 {
		t.Errorf("only %d frames compared", compared.Load())
	}
}

func compareFrame(t *testing.T, f testdata.File, in *instance, n int, render func() (image.Image, error)) {
	t.Helper()
	base := filepath.Base(f.Name)
	why, excepted := exceptions[base]
	if !excepted {
		why, excepted = exceptions[filepath.Base(filepath.Dir(f.Name))+"/"+base]
	}
	ours, err := render()
	if err != nil {
		if !excepted {
			t.Errorf("frame %d: %v", n, err)
		}
		return
	}
	theirs, err := dcmtk(t, f, in, n)
	contact(t, f.Name, n, ours, theirs)
	switch {
	case err != nil && excepted:
		t.Logf("frame %d: not compared: %s", n, why)
		return
	case err != nil:
		t.Errorf("frame %d: dcmtk: %v", n, err)
		return
	}
	s, greatest := similarity(ours, theirs)
	switch {
	case excepted:
		t.Logf("frame %d: similarity %.4f: %s", n, s, why)
	case s < least && greatest > rounding:
		t.Errorf("frame %d: similarity %.4f, luminances up to %.0f apart", n, s, greatest)
	}
}

// dcmtk returns dcmtk's picture of frame n, made with the options that ask for
// what is our choice.
func dcmtk(t *testing.T, f testdata.File, in *instance, n int) (image.Image, error) {
	t.Helper()
	path, tool := f.Path, "dcmj2pnm"
	syntax := dicom.Syntax(in.syntax).UID
	switch {
	case strings.HasSuffix(syntax, ".4.80"), strings.HasSuffix(syntax, ".4.81"):
		tool = "dcml2pnm"
	case strings.Contains(syntax, ".4.9"), strings.Contains(syntax, ".4.20"), strings.HasSuffix(syntax, ".8.1"):
		native := filepath.Join(t.TempDir(), "native.dcm")
		if out, err := exec.Command("gdcmconv", "--raw", path, native).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("gdcmconv: %w: %s", err, out)
		}
		path = native
	}
	args := []string{"+on", "+F", strconv.Itoa(n)}
	if in.x.grey() && in.format.Samples == 1 {
		args = append(args, window(t, in, n)...)
	}
	out := filepath.Join(t.TempDir(), "out.png")
	if b, err := exec.Command(tool, append(args, path, out)...).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, b)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		return nil, err
	}
	return png.Decode(bytes.NewReader(b))
}

// window returns dcmtk's options for the window that we choose.
func window(t *testing.T, in *instance, n int) []string {
	t.Helper()
	c, spans, err := in.x.curve(context.Background(), n, in.format, Options{})
	if err != nil {
		t.Fatal(err)
	}
	switch {
	case c.voi != nil:
		return []string{"+Wl", "1"}
	case c.window.Width > 0 && (in.x.group(n, pixelTransformation) != nil || c.window.Width < 1):
		// dcmtk does not look into functional groups, and takes no width below 1:
		// by stored values.
		return []string{"-M", "+Ww", fmt.Sprint((c.window.Center - c.intercept) / c.slope), fmt.Sprint(c.window.Width / c.slope)}
	case c.window.Width > 0:
		return []string{"+Ww", fmt.Sprint(c.window.Center), fmt.Sprint(c.window.Width)}
	case spans, in.format.BitsStored == 1: // dcmtk shows the 1 of 0 and 1 as grey
		return []string{"+Wm"}
	}
	return []string{"-W"}
}

// unscaled renders the frame at its own size, whatever the shape of its pixels,
// as dcmtk does unless asked to scale.
func (x *Renderer) unscaled(n int, img pixel.Image, o Options) (image.Image, error) {
	ctx := context.Background()
	p, err := x.picture(ctx, n, img, o)
	if err != nil {
		return nil, err
	}
	planes, err := x.planes(ctx, n, img)
	if err != nil {
		return nil, err
	}
	return p.drawn(planes).scaled(ctx, geometry{w: float64(p.width), h: float64(p.height), width: p.width, height: p.height})
}

// contact leaves a pair of pictures where contactEnv says.
func contact(t *testing.T, name string, n int, ours, theirs image.Image) {
	t.Helper()
	dir := os.Getenv(contactEnv)
	if dir == "" {
		return
	}
	name = strings.NewReplacer("/", "_", " ", "_").Replace(name)
	for who, m := range map[string]image.Image{"ours": ours, "theirs": theirs} {
		if m == nil {
			m = image.NewGray(image.Rect(0, 0, 1, 1))
		}
		var b bytes.Buffer
		err := errors.Join(png.Encode(&b, m), os.WriteFile(filepath.Join(dir, fmt.Sprintf("%s.%03d.%s.png", name, n, who)), b.Bytes(), 0o600))
		if err != nil {
			t.Error(err)
		}
	}
}

// similarity is the mean structural similarity of luminance in windows of 8 by 8,
// and the greatest difference of it; 0 for pictures of different sizes.
func similarity(a, b image.Image) (mean, greatest float64) {
	size := a.Bounds().Size()
	if b.Bounds().Size() != size {
		return 0, 255
	}
	la, lb := luminance(a), luminance(b)
	for i := range la {
		greatest = max(greatest, math.Abs(la[i]-lb[i]))
	}
	const c1, c2 = 0.01 * 255 * 0.01 * 255, 0.03 * 255 * 0.03 * 255
	w, h := min(8, size.X), min(8, size.Y)
	sum, count := 0.0, 0.0
	for y := 0; y+h <= size.Y; y += 8 {
		for x := 0; x+w <= size.X; x += 8 {
			var sa, sb, saa, sbb, sab float64
			for r := range h {
				for c := range w {
					va, vb := la[(y+r)*size.X+x+c], lb[(y+r)*size.X+x+c]
					sa, sb, saa, sbb, sab = sa+va, sb+vb, saa+va*va, sbb+vb*vb, sab+va*vb
				}
			}
			n := float64(w * h)
			ma, mb := sa/n, sb/n
			va, vb, cov := math.Max(saa/n-ma*ma, 0), math.Max(sbb/n-mb*mb, 0), sab/n-ma*mb
			sum += (2*ma*mb + c1) * (2*cov + c2) / ((ma*ma + mb*mb + c1) * (va + vb + c2))
			count++
		}
	}
	return sum / count, greatest
}

func luminance(m image.Image) []float64 {
	rgba := image.NewRGBA(image.Rectangle{Max: m.Bounds().Size()})
	draw.Draw(rgba, rgba.Rect, m, m.Bounds().Min, draw.Src)
	out := make([]float64, len(rgba.Pix)/4)
	for i := range out {
		p := rgba.Pix[4*i:]
		out[i] = 0.299*float64(p[0]) + 0.587*float64(p[1]) + 0.114*float64(p[2])
	}
	return out
}
