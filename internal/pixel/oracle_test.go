package pixel

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/pixel/sandbox"
	"github.com/strata-pacs/strata/internal/testdata"
)

// oracles are the tools that make native files of transfer syntaxes.
var oracles = map[string][]string{
	dicom.RLELossless:        {"dcmdrle"},
	dicom.JPEGLossless:       {"dcmdjpeg", "--conv-never", "+pa"},
	dicom.JPEGLosslessSV1:    {"dcmdjpeg", "--conv-never", "+pa"},
	dicom.JPEGLSLossless:     {"dcmdjpls"},
	dicom.JPEGLSNearLossless: {"dcmdjpls"},
	dicom.JPEG2000Lossless:   {"gdcmconv", "--raw"},
	dicom.JPEG2000:           {"gdcmconv", "--raw"},
}

// Files that the oracle does not decode, or otherwise, and why it is the one
// that is wrong.
var disputed = map[string]string{
	"dicom/dcmjs/sample-op.dcm":                              "DCT, see TestDCT",
	"dicom/pydicom/JPEG2000-embedded-sequence-delimiter.dcm": "refused by both",
	"dicom/pydicom/J2K_pixelrep_mismatch.dcm":                "gdcm leaves 13 bits of the stream unsigned where the image is signed",
	"dicom/pydicom-data/liver_j2k.dcm":                       "gdcm does not pack samples of one bit, see TestOneBit",
}

// TestOracles decodes every frame that a tool decodes, and compares.
func TestOracles(t *testing.T) {
	long(t)
	c := codecs(t)
	compared := 0
	for name, f := range images(t, c) {
		tool := oracles[f.syntax]
		if tool == nil || disputed[name] != "" || strings.HasPrefix(name, "malformed/") {
			continue
		}
		t.Run(name, func(t *testing.T) {
			want, err := converted(t, tool[0], filepath.Join(testdata.Dir(t), name), tool[1:]...)
			if err != nil {
				t.Skipf("%s does not decode it: %v", tool[0], err)
			}
			for i := range f.layout.Frames.Count {
				a, err := f.decode(c, i)
				if err != nil {
					t.Fatalf("frame %d: %v", i+1, err)
				}
				b, err := want.decode(c, i)
				if err != nil {
					t.Fatalf("frame %d of the oracle: %v", i+1, err)
				}
				if !bytes.Equal(a.Data, b.Data) {
					worst, mean := difference(a.Data, b.Data, min(a.sampleBytes(), 2))
					t.Fatalf("frame %d: off by up to %d, %.4f at average", i+1, worst, mean)
				}
				compared++
			}
		})
	}
	if least := 60; sandbox.Available() && compared < least {
		t.Errorf("only %d frames, want %d", compared, least)
	}
}

// TestOneBit: the same segments, native and coded.
func TestOneBit(t *testing.T) {
	c := codecs(t)
	all := images(t, c)
	for native, coded := range map[string][]string{
		"dicom/pydicom-data/liver_expb.dcm":            {"liver_rle", "liver_deflate", "liver_j2k"},
		"dicom/pydicom-data/liver_nonbyte_aligned.dcm": {"liver_nonbyte_aligned_rle"},
	} {
		for _, name := range coded {
			a, b := all[native], all["dicom/pydicom-data/"+name+".dcm"]
			if b.layout == nil {
				t.Logf("%s: the codecs are not built in", name)
				continue
			}
			for i := range 3 {
				want, err := a.decode(c, i)
				if err != nil {
					t.Fatal(err)
				}
				if got, err := b.decode(c, i); err != nil || !bytes.Equal(got.Data, want.Data) {
					t.Errorf("%s, frame %d: differs: %v", name, i+1, err)
				}
			}
		}
	}
}

// TestHTJ2KOracle has OpenJPH and OpenJPEG read what was encoded.
func TestHTJ2KOracle(t *testing.T) {
	long(t)
	if !sandbox.Available() {
		t.Skip("the codecs are not built in")
	}
	c := codecs(t)
	all := images(t, c)
	for _, name := range []string{"dicom/dicomParser/CT1_UNC.implicit_little_endian.dcm", "dicom/deid-data/RGB_IMAGE.dcm",
		"dicom/pydicom/examples_overlay.dcm", "dicom/deid-data/GREYSCALE_IMAGE.dcm", "dicom/fo-dicom/RI6XDosiGap.dcm"} {
		img, err := all[name].decode(c, 0)
		if err != nil {
			t.Fatal(name, err)
		}
		for _, tt := range []struct{ syntax, tool, suffix string }{
			{dicom.JPEG2000Lossless, "opj_decompress", "j2k"},
			{dicom.HTJ2KLossless, "ojph_expand", "j2c"},
			{dicom.HTJ2KLosslessRPCL, "ojph_expand", "j2c"},
			{dicom.HTJ2KLossless, "opj_decompress", "j2k"},
		} {
			bits, f, err := c.Encode(context.Background(), tt.syntax, img, EncodeOptions{})
			if err != nil {
				t.Errorf("%s to %s: %v", name, tt.syntax, err)
				continue
			}
			if tt.tool == "ojph_expand" && img.Signed {
				continue // it writes no signed samples
			}
			got, err := expand(t, tt.tool, tt.suffix, bits, f)
			if err != nil {
				t.Errorf("%s in %s: %v", name, tt.syntax, err)
				continue
			}
			if !bytes.Equal(got, img.Data) {
				worst, mean := difference(got, img.Data, img.sampleBytes())
				t.Errorf("%s in %s: %s makes something else of it: off by up to %d, %.3f at average", name, tt.syntax, tt.tool, worst, mean)
			}
		}
	}
}

// expand decodes a JPEG 2000 code stream with a tool, into native samples.
func expand(t *testing.T, tool, suffix string, bits []byte, f Format) ([]byte, error) {
	t.Helper()
	if _, err := exec.LookPath(tool); err != nil {
		t.Skipf("%s is not here; test/setup installs it", tool)
	}
	dir := t.TempDir()
	in, out := filepath.Join(dir, "x."+suffix), filepath.Join(dir, "x.pgm")
	if f.Samples == 3 {
		out = filepath.Join(dir, "x.ppm")
	}
	if f.Signed {
		out = filepath.Join(dir, "x.raw") // little endian
	}
	if err := os.WriteFile(in, bits, 0o600); err != nil {
		return nil, err
	}
	if b, err := exec.Command(tool, "-i", in, "-o", out).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%s: %s", tool, b)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		return nil, err
	}
	n, _ := f.FrameBytes()
	if int64(len(b)) < n {
		return nil, fmt.Errorf("%d bytes where %d are wanted", len(b), n)
	}
	b = b[int64(len(b))-n:] // behind the header
	if f.BitsAllocated == 16 && !f.Signed {
		dicom.Swap(b, 2) // big endian
	}
	return b, nil
}
