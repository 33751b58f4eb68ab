package pixel

// Image is one decoded frame: FrameBytes bytes of samples in little endian, as
// native Pixel Data has them (PS3.5 §8.1.1), beginning with the least
// significant bit of the first byte where samples have one bit.
type Image struct {
	Format
	Data []byte
}

// Interleaved returns the image with the samples of a pixel side by side,
// sharing Data when they are already.
func (img Image) Interleaved() Image {
	if !img.Planar || img.Samples == 1 || img.BitsAllocated == 1 {
		img.Planar = false
		return img
	}
	n, size := img.pixels(), img.sampleBytes()
	out := make([]byte, len(img.Data))
	for s := range img.Samples {
		plane := img.Data[s*n*size : (s+1)*n*size]
		scatter(out, plane, s*size, img.Samples*size, size)
	}
	img.Data, img.Planar = out, false
	return img
}

// scatter copies words of so many bytes from src to every stride-th byte of
// dst, beginning at from.
func scatter(dst, src []byte, from, stride, word int) {
	if word == 1 {
		for i, j := 0, from; i < len(src); i, j = i+1, j+stride {
			dst[j] = src[i]
		}
		return
	}
	for i, j := 0, from; i < len(src); i, j = i+word, j+stride {
		copy(dst[j:j+word], src[i:i+word])
	}
}
