package pixel

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/pixel/sandbox"
	"github.com/strata-pacs/strata/internal/pixel/sandbox/sandboxtest"
	"github.com/strata-pacs/strata/internal/testdata"
)

func TestMain(m *testing.M) { sandboxtest.Main(m) }

// codecs returns all codecs that were built in.
func codecs(tb testing.TB) *Codecs {
	tb.Helper()
	if !sandbox.Available() {
		return New(nil)
	}
	return New(sandboxtest.Pool(tb))
}

// long leaves a test of the whole test set out of short runs, which the race
// detector makes many times slower. What runs side by side is tested there too.
func long(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("-short leaves out every file against other tools and syntaxes")
	}
}

// frames is an instance whose frames can be read.
type frames struct {
	syntax string
	format Format
	bytes  []byte
	layout *dicom.Layout
}

// open reads a file. The error is that of FormatOf, too.
func open(tb testing.TB, path string) (frames, error) {
	tb.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	f, err := dicom.Read(context.Background(), bytes.NewReader(b), dicom.Limits{})
	if err == nil && f.Deflated {
		var inflated bytes.Buffer
		if err := dicom.Convert(context.Background(), &inflated, bytes.NewReader(b), dicom.ExplicitVRLittleEndian); err != nil {
			return frames{}, err
		}
		b = inflated.Bytes()
		f, err = dicom.Read(context.Background(), bytes.NewReader(b), dicom.Limits{})
	}
	if err != nil {
		return frames{}, err
	}
	l, err := dicom.NewLayout(f)
	if err != nil {
		return frames{}, err
	}
	format, err := FormatOf(f.Data, l.Frames.Tag)
	return frames{f.Syntax, format, b, l}, err
}

// payload returns frame i as Decode takes it.
func (f frames) payload(i int) ([]byte, error) {
	spans, err := f.layout.Frames.Spans(i)
	if err != nil {
		return nil, err
	}
	var joined, out bytes.Buffer
	for _, s := range spans {
		joined.Write(f.bytes[s.Offset : s.Offset+s.Length])
	}
	if f.layout.Frames.Whole(i) {
		return joined.Bytes(), nil
	}
	w := f.layout.Frames.LittleEndian(i, &out)
	if _, err := io.Copy(w, &joined); err != nil {
		return nil, err
	}
	err = w.Close()
	return out.Bytes(), err
}

// decode returns frame i with samples side by side.
func (f frames) decode(c *Codecs, i int) (Image, error) {
	bits, err := f.payload(i)
	if err != nil {
		return Image{}, err
	}
	img, err := c.Decode(context.Background(), f.syntax, f.format, bits)
	return img.Interleaved(), err
}

// images returns the files of the test set that have pixels which can be
// decoded by what was built in.
func images(tb testing.TB, c *Codecs) map[string]frames {
	tb.Helper()
	all := map[string]frames{}
	for _, tf := range testdata.Files(tb) {
		if tf.Field("rows") == "" || tf.Kind == "malformed-derived" {
			continue
		}
		f, err := open(tb, tf.Path)
		if err != nil || f.layout.Frames.Count == 0 || !c.Decodes(f.syntax) {
			continue
		}
		all[tf.Name] = f
	}
	if len(all) < 100 {
		tb.Fatalf("only %d images in the test set", len(all))
	}
	return all
}

// converted runs a tool that makes a native file of path, the name of which
// comes last.
func converted(tb testing.TB, tool, path string, options ...string) (frames, error) {
	tb.Helper()
	if _, err := exec.LookPath(tool); err != nil {
		tb.Skipf("%s is not here; test/setup installs it", tool)
	}
	out := filepath.Join(tb.TempDir(), "native.dcm")
	if b, err := exec.Command(tool, append(options, path, out)...).CombinedOutput(); err != nil {
		tb.Logf("%s: %s", tool, b)
		return frames{}, err
	}
	return open(tb, out)
}

// difference compares samples of the bytes.
func difference(a, b []byte, size int) (worst int, mean float64) {
	sum := 0
	for i := 0; i+size <= len(a); i += size {
		d := int(a[i]) - int(b[i])
		if size == 2 {
			d += int(a[i+1])<<8 - int(b[i+1])<<8
		}
		d = max(d, -d)
		worst, sum = max(worst, d), sum+d
	}
	return worst, float64(sum) / float64(max(len(a)/size, 1))
}
