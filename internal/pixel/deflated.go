package pixel

import (
	"bytes"
	"context"
	"errors"
	"io"

	"github.com/klauspost/compress/flate"
)

// deflated is Deflated Image Frame Compression: the bytes of a native frame
// deflated (PS3.5 §8.2.16, §A.4.13).
type deflated struct{ native }

func (c deflated) Decode(ctx context.Context, f Format, bits []byte) (Image, error) {
	n, err := f.FrameBytes()
	if err != nil {
		return Image{}, err
	}
	if int64(len(bits))*1032 < n/3*2 { // deflate makes at most 1032 bytes of one
		return Image{}, errShort
	}
	data := make([]byte, n)
	got, err := io.ReadFull(flate.NewReader(bytes.NewReader(bits)), data)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return Image{}, errShort
	}
	return c.native.Decode(ctx, f, data[:got])
}

func (deflated) Encode(_ context.Context, img Image, _ EncodeOptions) ([]byte, Format, error) {
	var out bytes.Buffer
	w, err := flate.NewWriter(&out, flate.DefaultCompression)
	if err != nil {
		return nil, Format{}, err
	}
	if _, err := w.Write(img.Data); err != nil {
		return nil, Format{}, err
	}
	if err := w.Close(); err != nil {
		return nil, Format{}, err
	}
	return out.Bytes(), img.Format, nil
}
