package pixel

import (
	"context"

	"github.com/strata-pacs/strata/internal/fault"
)

// native is Pixel Data that is not compressed (PS3.5 §8.1.1, §A.4.11).
type native struct{}

func (native) Decode(_ context.Context, f Format, bits []byte) (Image, error) {
	n, err := f.FrameBytes()
	if err != nil {
		return Image{}, err
	}
	if int64(len(bits)) < n {
		return Image{}, errShort
	}
	return Image{Format: f, Data: bits[:n:n]}, nil
}

func (native) Encodes(Format) error { return nil }

func (native) Encode(_ context.Context, img Image, _ EncodeOptions) ([]byte, Format, error) {
	return img.Data, img.Format, nil
}

var errShort = fault.New(fault.NotAcceptable, "a frame of this image is cut short; retrieve it as it is stored")
