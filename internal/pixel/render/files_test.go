package render

import (
	"bytes"
	"context"
	"io"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/pixel"
	"github.com/strata-pacs/strata/internal/pixel/sandbox"
	"github.com/strata-pacs/strata/internal/pixel/sandbox/sandboxtest"
)

func TestMain(m *testing.M) { sandboxtest.Main(m) }

// codecs returns all codecs that were built in, with time enough on a busy machine.
func codecs(tb testing.TB) *pixel.Codecs {
	tb.Helper()
	if !sandbox.Available() {
		return pixel.New(nil)
	}
	p := sandbox.New(sandbox.Options{Cache: sandboxtest.Cache(tb), Timeout: time.Minute})
	tb.Cleanup(func() {
		if err := p.Close(); err != nil {
			tb.Errorf("closing the sandbox: %v", err)
		}
	})
	return pixel.New(p)
}

// instance is a file whose frames can be decoded and rendered.
type instance struct {
	data   *dicom.Dataset
	syntax string
	format pixel.Format
	layout *dicom.Layout
	bytes  []byte
	x      *Renderer
}

// openInstance reads a file as the archive does: values are not held which are large.
func openInstance(b []byte) (*instance, error) {
	ctx := context.Background()
	f, err := dicom.Read(ctx, bytes.NewReader(b), dicom.Limits{})
	if err == nil && f.Deflated {
		var inflated bytes.Buffer
		if err := dicom.Convert(ctx, &inflated, bytes.NewReader(b), dicom.ExplicitVRLittleEndian); err != nil {
			return nil, err
		}
		b = inflated.Bytes()
		f, err = dicom.Read(ctx, bytes.NewReader(b), dicom.Limits{})
	}
	if err != nil {
		return nil, err
	}
	l, err := dicom.NewLayout(f)
	if err != nil {
		return nil, err
	}
	in := &instance{data: f.Data, syntax: f.Syntax, layout: l, bytes: b}
	in.x = New(f.Data, func(_ context.Context, e *dicom.Element) ([]byte, error) {
		return b[e.Offset : e.Offset+e.Length], nil
	})
	in.format, err = pixel.FormatOf(f.Data, l.Frames.Tag)
	return in, err
}

// decode returns frame n, counted from 1.
func (in *instance) decode(c *pixel.Codecs, n int) (pixel.Image, error) {
	spans, err := in.layout.Frames.Spans(n - 1)
	if err != nil {
		return pixel.Image{}, err
	}
	var joined, out bytes.Buffer
	for _, s := range spans {
		joined.Write(in.bytes[s.Offset : s.Offset+s.Length])
	}
	bits := joined.Bytes()
	if !in.layout.Frames.Whole(n - 1) {
		w := in.layout.Frames.LittleEndian(n-1, &out)
		if _, err := io.Copy(w, &joined); err != nil {
			return pixel.Image{}, err
		}
		if err := w.Close(); err != nil {
			return pixel.Image{}, err
		}
		bits = out.Bytes()
	}
	return c.Decode(context.Background(), in.syntax, in.format, bits)
}
