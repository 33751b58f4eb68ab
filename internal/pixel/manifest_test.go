package pixel

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"testing"

	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/testdata"
)

// Files whose first frame is not exactly as the manifest has it, and why.
var (
	// DCT whatever the transfer syntax says: compared with dcmtk.
	coded = map[string]string{
		"dicom/dcmjs/sample-op.dcm": "JPEG baseline where lossless is announced",
	}
	// Bits above Bits Stored are 0 in some samples and the sign in others. They
	// are kept; whoever made the manifest let all be the sign.
	extended = map[string]string{
		"dicom/pydicom-data/mlut_18.dcm": "12 of 16 bits, not all extended",
	}
	// Samples of 16 bits in the stream, a dozen of them past the 12 Bits Stored.
	// They are kept, as gdcm and OpenJPEG do; the manifest has 12 bits of them.
	cut = map[string]string{
		"odd/weasis-dicom-tools/jpeg2000-multiframe-multifragments.dcm": "4124 in 12 bits",
	}
	refused = map[string]string{
		"dicom/pydicom/JPEG2000-embedded-sequence-delimiter.dcm": "a delimiter was written over the image's width",
	}
)

// TestManifest decodes the first frame of every image of the test set.
func TestManifest(t *testing.T) {
	c := codecs(t)
	decoded := 0
	for _, tf := range testdata.Files(t) {
		want := tf.Field("frame1_sha256")
		if want == "" {
			continue
		}
		t.Run(tf.Name, func(t *testing.T) {
			f, err := open(t, tf.Path)
			if err != nil {
				t.Fatal(err)
			}
			if !c.Decodes(f.syntax) {
				t.Skip("the codecs are not built in")
			}
			img, err := f.decode(c, 0)
			if why := refused[tf.Name]; why != "" {
				if !fault.Is(err, fault.NotAcceptable) {
					t.Errorf("%v, want it refused: %s", err, why)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			decoded++
			if err := img.Validate(); err != nil {
				t.Error(err)
			}
			if n, _ := img.FrameBytes(); int64(len(img.Data)) != n {
				t.Errorf("%d bytes, want %d", len(img.Data), n)
			}
			known := []Photometric{Monochrome1, Monochrome2, PaletteColor, RGB, YBRFull}
			if !slices.Contains(known, img.Photometric) {
				t.Errorf("Photometric Interpretation %q", img.Photometric)
			}
			if coded[tf.Name] != "" || isDCT(f.syntax) {
				return // TestDCT
			}
			data := img.Data
			if img.BitsAllocated == 1 {
				data = unpackBits(data, img.pixels())
			}
			if extended[tf.Name] != "" {
				data = slices.Clone(data)
				extend16(data, img.BitsStored)
			}
			if cut[tf.Name] != "" {
				data = slices.Clone(data)
				mask16(data, img.BitsStored)
			}
			sum := sha256.Sum256(data)
			if hex.EncodeToString(sum[:]) != want {
				t.Errorf("pixels are others than those of the manifest (%s): %+v", tf.Field("frame1_exact"), f.format)
			}
		})
	}
	if decoded < 120 {
		t.Errorf("only %d images", decoded)
	}
}

func isDCT(syntax string) bool {
	return syntax == dicom.JPEGBaseline8Bit || syntax == dicom.JPEGExtended12Bit
}

// TestDCT compares with dcmtk, whose transform rounds differently: no sample of
// 8 bits may be off by more than 1, and 2 in 100 by that.
func TestDCT(t *testing.T) {
	c := codecs(t)
	compared := 0
	for name, f := range images(t, c) {
		if !isDCT(f.syntax) && coded[name] == "" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			want, err := converted(t, "dcmdjpeg", testdata.Dir(t)+"/"+name, "--conv-never", "+pa")
			if err != nil {
				if !strings.HasPrefix(name, "malformed/") {
					t.Error(err)
				}
				return
			}
			size := f.format.sampleBytes()
			for i := range min(f.layout.Frames.Count, 10) {
				a, err := f.decode(c, i)
				if err != nil {
					t.Fatal(err)
				}
				b, err := want.decode(c, i)
				if err != nil {
					t.Fatal(err)
				}
				if len(a.Data) != len(b.Data) {
					t.Fatalf("%d bytes, want %d", len(a.Data), len(b.Data))
				}
				if worst, mean := difference(a.Data, b.Data, size); worst > 1 || mean > 0.02 {
					t.Errorf("frame %d: off by up to %d, %.4f at average", i+1, worst, mean)
				}
				compared++
			}
		})
	}
	if compared < 50 {
		t.Errorf("only %d frames", compared)
	}
}
