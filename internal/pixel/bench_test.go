package pixel

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/testdata"
)

// benched are the images that benchmarks use: a slice of CT, an ultrasound
// image in RGB, and a large radiograph.
var benched = []struct{ name, file string }{
	{"CT", "dicom/dicomParser/CT1_UNC.implicit_little_endian.dcm"},
	{"US", "dicom/deid-data/RGB_IMAGE.dcm"},
	{"CR", "dicom/fo-dicom/GH133.dcm"},
}

// cpu returns the processor time of this process and its children that run, in
// all their threads; 0 where that is not told.
func cpu() time.Duration {
	pids := []string{fmt.Sprint(os.Getpid())}
	lists, _ := filepath.Glob("/proc/self/task/*/children")
	for _, l := range lists {
		b, _ := os.ReadFile(l)
		pids = append(pids, strings.Fields(string(b))...)
	}
	var sum time.Duration
	for _, pid := range pids {
		threads, _ := filepath.Glob("/proc/" + pid + "/task/*/schedstat")
		for _, t := range threads {
			var ns int64
			if b, err := os.ReadFile(t); err == nil {
				if _, err := fmt.Sscan(string(b), &ns); err == nil {
					sum += time.Duration(ns)
				}
			}
		}
	}
	return sum
}

// measure benchmarks work on so many bytes: by the clock, and by the time of
// processors, which others on the machine do not take away.
func measure(b *testing.B, size int, work func() error) {
	b.SetBytes(int64(size))
	if err := work(); err != nil {
		b.Fatal(err)
	}
	before, n := cpu(), 0
	for b.Loop() {
		n++
		if err := work(); err != nil {
			b.Fatal(err)
		}
	}
	if used := cpu() - before; used > 0 {
		b.ReportMetric(float64(size)*float64(n)/1e6/used.Seconds(), "MB/cpu-s")
	}
}

// BenchmarkCodecs measures bytes of decoded pixels.
func BenchmarkCodecs(b *testing.B) {
	c := codecs(b)
	ctx := context.Background()
	for _, image := range benched {
		f, err := open(b, filepath.Join(testdata.Dir(b), image.file))
		if err != nil {
			b.Fatal(err)
		}
		img, err := f.decode(c, 0)
		if err != nil {
			b.Fatal(err)
		}
		for _, syntax := range append(reversible, dicom.JPEGBaseline8Bit) {
			if c.Encodes(syntax, img.Format) != nil {
				continue
			}
			bits, f, err := c.Encode(ctx, syntax, img, EncodeOptions{})
			if err != nil {
				b.Fatal(err)
			}
			b.Run(image.name+"/"+syntax+"/decode", func(b *testing.B) {
				measure(b, len(img.Data), func() error {
					_, err := c.Decode(ctx, syntax, f, bits)
					return err
				})
				b.ReportMetric(float64(len(img.Data))/float64(len(bits)), "ratio")
			})
			b.Run(image.name+"/"+syntax+"/encode", func(b *testing.B) { // without decoding it again
				measure(b, len(img.Data), func() error {
					_, _, err := c.table[syntax].codec.Encode(ctx, img, EncodeOptions{})
					return err
				})
			})
		}
	}
}

// tools are the commands that do the same with files.
var tools = []struct {
	syntax         string
	encode, decode []string
}{
	{dicom.RLELossless, []string{"dcmcrle"}, []string{"dcmdrle"}},
	{dicom.JPEGBaseline8Bit, []string{"dcmcjpeg", "+eb"}, []string{"dcmdjpeg", "--conv-never"}},
	{dicom.JPEGLosslessSV1, []string{"dcmcjpeg", "+e1"}, []string{"dcmdjpeg", "--conv-never"}},
	{dicom.JPEGLSLossless, []string{"dcmcjpls"}, []string{"dcmdjpls"}},
	{dicom.JPEG2000Lossless, []string{"opj_compress"}, []string{"opj_decompress"}},
	{dicom.HTJ2KLossless, []string{"ojph_compress", "-reversible", "true"}, []string{"ojph_expand"}},
}

// BenchmarkTools measures the tools on the same images, by their processor
// time less what they take for an image of 32 × 32.
func BenchmarkTools(b *testing.B) {
	c := codecs(b)
	dir := b.TempDir()
	for _, image := range append(benched, struct{ name, file string }{"tiny", "dicom/pydicom/chrFren.dcm"}) {
		f, err := open(b, filepath.Join(testdata.Dir(b), image.file))
		if err != nil {
			b.Fatal(err)
		}
		img, err := f.decode(c, 0)
		if err != nil {
			b.Fatal(err)
		}
		if err := native2(dir, image.name, filepath.Join(testdata.Dir(b), image.file), img); err != nil {
			b.Fatal(err)
		}
	}
	for _, image := range benched {
		f, err := open(b, filepath.Join(testdata.Dir(b), image.file))
		if err != nil {
			b.Fatal(err)
		}
		size, err := f.format.FrameBytes()
		if err != nil {
			b.Fatal(err)
		}
		for _, tt := range tools {
			if tt.syntax == dicom.JPEGBaseline8Bit && f.format.BitsAllocated > 8 {
				continue
			}
			for _, argv := range [][]string{tt.encode, tt.decode} {
				kind := "encode"
				if &argv[0] == &tt.decode[0] {
					kind = "decode"
				}
				b.Run(image.name+"/"+tt.syntax+"/"+kind+"/"+argv[0], func(b *testing.B) {
					var used time.Duration
					n := 0
					for b.Loop() {
						n++
						all, err := run(dir, image.name, argv, kind)
						if err != nil {
							b.Fatal(err)
						}
						start, err := run(dir, "tiny", argv, kind)
						if err != nil {
							b.Fatal(err)
						}
						used += all - start
					}
					b.ReportMetric(float64(size)*float64(n)/1e6/used.Seconds(), "MB/cpu-s")
				})
			}
		}
	}
}

// native2 writes an image as an uncompressed DICOM file and as PGM or PPM.
func native2(dir, name, path string, img Image) error {
	if b, err := exec.Command("dcmdjpeg", path, filepath.Join(dir, name+".dcm")).CombinedOutput(); err != nil {
		return fmt.Errorf("%s", b)
	}
	magic, data := "P5", append([]byte(nil), img.Data...)
	if img.Samples == 3 {
		magic = "P6"
	}
	if img.BitsAllocated == 16 {
		for i := 1; i < len(data) && img.Signed; i += 2 {
			data[i] ^= 0x80
		}
		dicom.Swap(data, 2)
	}
	pnm := append(fmt.Appendf(nil, "%s\n%d %d\n%d\n", magic, img.Columns, img.Rows, 1<<img.BitsStored-1), data...)
	for _, suffix := range []string{".pgm", ".ppm"} { // tools go by the suffix
		if err := os.WriteFile(filepath.Join(dir, name+suffix), pnm, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// run runs a tool and returns its processor time. What was encoded is what is
// decoded afterwards.
func run(dir, name string, argv []string, kind string) (time.Duration, error) {
	in, out := filepath.Join(dir, name+".dcm"), filepath.Join(dir, name+"."+argv[0][:5])
	if kind == "decode" {
		in, out = filepath.Join(dir, name+"."+strings.Replace(argv[0][:5], "dcmd", "dcmc", 1)), filepath.Join(dir, "out.dcm")
	}
	args := append(argv[1:len(argv):len(argv)], in, out)
	if strings.HasPrefix(argv[0], "oj") || strings.HasPrefix(argv[0], "op") {
		suffix := ".pgm"
		if name == "US" {
			suffix = ".ppm"
		}
		coded := filepath.Join(dir, name+"."+map[byte]string{'j': "j2c", 'p': "j2k"}[argv[0][1]])
		in, out = filepath.Join(dir, name+suffix), coded
		if kind == "decode" {
			in, out = coded, filepath.Join(dir, "out"+suffix)
		}
		args = append(argv[1:len(argv):len(argv)], "-i", in, "-o", out)
	}
	cmd := exec.Command(argv[0], args...)
	if b, err := cmd.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("%v: %s", cmd.Args, b)
	}
	return cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), nil
}

func BenchmarkToRGB(b *testing.B) {
	img := Image{Format{Rows: 512, Columns: 512, Samples: 3, BitsAllocated: 8, BitsStored: 8, HighBit: 7, Photometric: YBRFull}, make([]byte, 3<<18)}
	for i := range img.Data {
		img.Data[i] = byte(i * 7)
	}
	measure(b, len(img.Data), func() error {
		_, err := ToRGB(img)
		return err
	})
}
