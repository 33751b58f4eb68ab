package pixel

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/pixel/sandbox"
	"github.com/strata-pacs/strata/internal/testdata"
)

// natives are images that other encoders encode.
var natives = []string{
	"dicom/dicomParser/CT1_UNC.implicit_little_endian.dcm", // signed, 16 bits
	"dicom/pydicom/examples_overlay.dcm",                   // 12 of 16 bits
	"dicom/pydicom/examples_rgb_color.dcm",
	"dicom/pydicom-data/vlut_04.dcm", // 8 bits
}

// TestVariants decodes without loss what dcmtk encodes in every way it knows.
func TestVariants(t *testing.T) {
	long(t)
	c := codecs(t)
	variants := [][]string{{"dcmcrle"}}
	for p := range 7 {
		variants = append(variants, []string{"dcmcjpeg", "+el", "+sv", fmt.Sprint(p + 1), "--conv-never"})
	}
	variants = append(variants, []string{"dcmcjpeg", "+e1", "-ho", "--conv-never"})
	if sandbox.Available() {
		for _, mode := range []string{"+il", "+is", "+in"} {
			variants = append(variants, []string{"dcmcjpls", "+el", mode})
		}
	}
	for _, name := range natives {
		path := filepath.Join(testdata.Dir(t), name)
		f, err := open(t, path)
		if err != nil {
			t.Fatal(err)
		}
		want, err := f.decode(c, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range variants {
			coded, err := converted(t, v[0], path, v[1:]...)
			if err != nil {
				t.Errorf("%v of %s: %v", v, name, err)
				continue
			}
			got, err := coded.decode(c, 0)
			if err != nil {
				t.Errorf("%v of %s: %v", v, name, err)
				continue
			}
			if !bytes.Equal(got.Data, want.Data) || got.Photometric != want.Photometric {
				worst, mean := difference(got.Data, want.Data, got.sampleBytes())
				t.Errorf("%v of %s: %s, off by up to %d, %.3f at average", v, name, got.Photometric, worst, mean)
			}
		}
	}
}

// TestLossyVariants compares with dcmtk what it codes as DCT: 8 and 12 bits, and
// all kinds of sampling.
func TestLossyVariants(t *testing.T) {
	long(t)
	c := codecs(t)
	for _, name := range natives[1:] {
		path := filepath.Join(testdata.Dir(t), name)
		for _, v := range [][]string{{"+ee", "+be"}, {"+ee", "+bt"}, {"+eb", "+s4"}, {"+eb", "+n1"}, {"+eb", "+cr"}, {"+eb", "+s2"}} {
			if v[1] == "+bt" && !sandbox.Available() {
				continue
			}
			coded, err := converted(t, "dcmcjpeg", path, v...)
			if err != nil {
				t.Errorf("%v of %s: %v", v, name, err)
				continue
			}
			dir := t.TempDir()
			file, back := filepath.Join(dir, "coded.dcm"), filepath.Join(dir, "back.dcm")
			if err := os.WriteFile(file, coded.bytes, 0o600); err != nil {
				t.Fatal(err)
			}
			if b, err := exec.Command("dcmdjpeg", "--conv-never", "+pa", file, back).CombinedOutput(); err != nil {
				t.Fatalf("%s: %s", v, b)
			}
			f, err := open(t, back)
			if err != nil {
				t.Fatal(err)
			}
			want, err := f.decode(c, 0)
			if err != nil {
				t.Fatal(err)
			}
			got, err := coded.decode(c, 0)
			if err != nil {
				t.Errorf("%v of %s: %v", v, name, err)
				continue
			}
			if worst, mean := difference(got.Data, want.Data, got.sampleBytes()); worst > 1 || mean > 0.02 {
				t.Errorf("%v of %s: off by up to %d, %.4f at average", v, name, worst, mean)
			}
		}
	}
}

// TestJ2KVariants compares with OpenJPEG and OpenJPH what they encode in ways
// that the encoders here do not.
func TestJ2KVariants(t *testing.T) {
	long(t)
	if !sandbox.Available() {
		t.Skip("the codecs are not built in")
	}
	c := codecs(t)
	for _, name := range natives[1:] {
		f, err := open(t, filepath.Join(testdata.Dir(t), name))
		if err != nil {
			t.Fatal(err)
		}
		img, err := f.decode(c, 0)
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		in := filepath.Join(dir, "in.ppm")
		magic := "P6"
		if img.Samples == 1 {
			in, magic = filepath.Join(dir, "in.pgm"), "P5"
		}
		data := bytes.Clone(img.Data)
		if img.BitsAllocated == 16 {
			dicom.Swap(data, 2)
		}
		pnm := append(fmt.Appendf(nil, "%s\n%d %d\n%d\n", magic, img.Columns, img.Rows, 1<<img.BitsStored-1), data...)
		if err := os.WriteFile(in, pnm, 0o600); err != nil {
			t.Fatal(err)
		}
		for _, v := range []struct {
			out  string
			argv []string
			off  int // how far from the tool's own decoder
		}{
			{"a.j2k", []string{"opj_compress"}, 0},
			{"a.j2k", []string{"opj_compress", "-mct", "0", "-t", "100,90", "-p", "PCRL", "-TP", "R"}, 0},
			{"a.jp2", []string{"opj_compress", "-r", "20,10,1", "-SOP", "-EPH", "-b", "32,32"}, 0},
			{"a.j2k", []string{"opj_compress", "-I", "-r", "12"}, 1},
			{"a.j2k", []string{"opj_compress", "-I", "-r", "8", "-d", "3,5", "-T", "1,2"}, 1},
			{"a.j2c", []string{"ojph_compress", "-reversible", "true", "-colour_trans", "false"}, 0},
			{"a.j2c", []string{"ojph_compress", "-reversible", "true", "-tile_size", "{128,64}", "-prog_order", "LRCP"}, 0},
			{"a.j2c", []string{"ojph_compress", "-qstep", "0.002", "-num_decomps", "3"}, 1},
		} {
			if _, err := exec.LookPath(v.argv[0]); err != nil {
				t.Skipf("%s is not here; test/setup installs it", v.argv[0])
			}
			out := filepath.Join(dir, v.out)
			if b, err := exec.Command(v.argv[0], append(v.argv[1:], "-i", in, "-o", out)...).CombinedOutput(); err != nil {
				t.Errorf("%v: %s", v.argv, b)
				continue
			}
			bits, err := os.ReadFile(out)
			if err != nil {
				t.Fatal(err)
			}
			got, err := c.Decode(context.Background(), dicom.JPEG2000, img.Format, bits)
			if err != nil {
				t.Errorf("%v of %s: %v", v.argv, name, err)
				continue
			}
			tool := map[string]string{"opj_compress": "opj_decompress", "ojph_compress": "ojph_expand"}[v.argv[0]]
			want, err := expand(t, tool, v.out[2:], bits, img.Format)
			if err != nil {
				t.Errorf("%v of %s: %v", v.argv, name, err)
				continue
			}
			if worst, mean := difference(got.Data, want, got.sampleBytes()); worst > v.off || mean > 0.02 {
				t.Errorf("%v of %s: off by up to %d, %.4f at average", v.argv, name, worst, mean)
			}
		}
	}
}
