package pixel

import (
	"context"
	"testing"

	"github.com/strata-pacs/strata/internal/dicom"
)

// benched are the images that benchmarks use: a slice of CT, an ultrasound
// image in RGB, and a large radiograph.
var benched = []struct{ name, file string }{
	{"CT", "dicom/dicomParser/CT1_UNC.implicit_little_endian.dcm"},
	{"US", "dicom/deid-data/RGB_IMAGE.dcm"},
	{"CR", "dicom/fo-dicom/GH133.dcm"},
}

// BenchmarkCodecs measures bytes of decoded pixels, on one core.
func BenchmarkCodecs(b *testing.B) {
	c := codecs(b)
	all := images(b, c)
	ctx := context.Background()
	for _, image := range benched {
		img, err := all[image.file].decode(c, 0)
		if err != nil {
			b.Fatal(image.file, err)
		}
		for _, syntax := range append(reversible, dicom.JPEGBaseline8Bit) {
			if c.Encodes(syntax, img.Format) != nil {
				continue
			}
			bits, f, err := c.Encode(ctx, syntax, img, EncodeOptions{})
			if err != nil {
				b.Fatal(err)
			}
			name := image.name + "/" + dicom.Syntax(syntax).Name
			b.Run(name+"/decode", func(b *testing.B) {
				b.SetBytes(int64(len(img.Data)))
				for b.Loop() {
					if _, err := c.Decode(ctx, syntax, f, bits); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(len(img.Data))/float64(len(bits)), "ratio")
			})
			b.Run(name+"/encode", func(b *testing.B) {
				b.SetBytes(int64(len(img.Data)))
				for b.Loop() {
					if _, _, err := c.table[syntax].codec.Encode(ctx, img, EncodeOptions{}); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func BenchmarkToRGB(b *testing.B) {
	img := Image{Format{Rows: 512, Columns: 512, Samples: 3, BitsAllocated: 8, BitsStored: 8, HighBit: 7, Photometric: YBRFull}, make([]byte, 3<<18)}
	for i := range img.Data {
		img.Data[i] = byte(i * 7)
	}
	b.SetBytes(int64(len(img.Data)))
	for b.Loop() {
		if _, err := ToRGB(img); err != nil {
			b.Fatal(err)
		}
	}
}
