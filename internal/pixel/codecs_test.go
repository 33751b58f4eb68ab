package pixel

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"testing"

	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/pixel/sandbox"
	"github.com/strata-pacs/strata/internal/pixel/sandbox/sandboxtest"
	"github.com/strata-pacs/strata/internal/testdata"
)

func TestMain(m *testing.M) { sandboxtest.Main(m) }

// frames is an instance of which frames can be read.
type frames struct {
	syntax string
	format Format
	data   []byte
	layout *dicom.Layout
}

// open reads a file of the test set.
func open(tb testing.TB, path string) (frames, error) {
	tb.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	f, err := dicom.Read(context.Background(), bytes.NewReader(b), dicom.Limits{})
	if err != nil {
		return frames{}, err
	}
	l, err := dicom.NewLayout(f)
	if err != nil {
		return frames{}, err
	}
	format, err := FormatOf(f.Data, l.Frames.Tag)
	if f.Deflated {
		var inflated bytes.Buffer
		if err := dicom.Convert(context.Background(), &inflated, bytes.NewReader(b), dicom.ExplicitVRLittleEndian); err != nil {
			return frames{}, err
		}
		path := inflated.Bytes()
		f, err = dicom.Read(context.Background(), bytes.NewReader(path), dicom.Limits{})
		if err != nil {
			return frames{}, err
		}
		if l, err = dicom.NewLayout(f); err != nil {
			return frames{}, err
		}
		b = path
	}
	return frames{f.Syntax, format, b, l}, err
}

// frame returns the payload of frame i as Decode takes it.
func (f frames) frame(i int) ([]byte, error) {
	spans, err := f.layout.Frames.Spans(i)
	if err != nil {
		return nil, err
	}
	var joined, out bytes.Buffer
	for _, s := range spans {
		joined.Write(f.data[s.Offset : s.Offset+s.Length])
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

func codecs(tb testing.TB) *Codecs {
	if !sandbox.Available() {
		return New(nil)
	}
	return New(sandboxtest.Pool(tb))
}

// TestManifestX compares.
func TestManifestX(t *testing.T) {
	c := codecs(t)
	for _, tf := range testdata.Files(t) {
		want := tf.Field("frame1_sha256")
		if want == "" {
			continue
		}
		f, err := open(t, tf.Path)
		if err != nil {
			t.Errorf("%s: open %v", tf.Name, err)
			continue
		}
		if !c.Decodes(f.syntax) {
			continue
		}
		bits, err := f.frame(0)
		if err != nil {
			t.Errorf("%s: frame %v", tf.Name, err)
			continue
		}
		img, err := c.Decode(context.Background(), f.syntax, f.format, bits)
		if err != nil {
			t.Errorf("%s (%s): %v", tf.Name, f.syntax, err)
			continue
		}
		img = img.Interleaved()
		data := img.Data
		if img.BitsAllocated == 1 {
			data = unpackBits(data, img.pixels())
		}
		sum := sha256.Sum256(data)
		if hex.EncodeToString(sum[:]) != want {
			t.Errorf("%s (%s): differs; %s %+v", tf.Name, f.syntax, tf.Field("frame1_exact"), f.format)
		}
	}
}
