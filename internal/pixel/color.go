package pixel

import "encoding/binary"

// ToRGB returns the image in RGB, samples side by side (PS3.3 §C.7.6.3.1.2).
// One in RGB comes back as it is but for that. The error is fault.NotAcceptable
// when the Photometric Interpretation has no colours, or samples have neither 8
// nor 16 bits.
func ToRGB(img Image) (Image, error) {
	img = img.Interleaved()
	switch {
	case img.Samples != 3 || img.Photometric != RGB && !img.Photometric.IsYBR():
		return Image{}, refuse("Photometric Interpretation (0028,0004) is no colour space that can be made RGB")
	case img.Photometric == RGB:
		return img, nil
	case img.Signed || img.BitsAllocated != 8 && img.BitsAllocated != 16:
		return Image{}, refuse("colours of %d bits cannot be made RGB", img.BitsAllocated)
	}
	out := make([]byte, len(img.Data))
	if img.BitsAllocated == 8 && img.BitsStored == 8 {
		toRGB8(out, img.Data)
	} else {
		toRGBWide(img.Format, out, img.Data)
	}
	img.Data, img.Photometric = out, RGB
	return img, nil
}

// Coefficients of the conversion in parts of 2^16 (PS3.3 §C.7.6.3.1.2).
const (
	crToR = 91881  // 1.402
	cbToG = -22554 // -0.344136
	crToG = -46802 // -0.714136
	cbToB = 116130 // 1.772
)

// toRGB8 converts samples of 8 bits.
func toRGB8(dst, src []byte) {
	src, dst = src[:len(src)/3*3], dst[:len(src)/3*3]
	for len(src) >= 3 && len(dst) >= 3 {
		y, cb, cr := int32(src[0])<<16+1<<15, int32(src[1])-128, int32(src[2])-128
		r, g, b := y+crToR*cr, y+cbToG*cb+crToG*cr, y+cbToB*cb
		if uint32(r|g|b)>>24 == 0 { // none is negative or too large
			dst[0], dst[1], dst[2] = byte(r>>16), byte(g>>16), byte(b>>16)
		} else {
			dst[0], dst[1], dst[2] = clamp8(int(r>>16)), clamp8(int(g>>16)), clamp8(int(b>>16))
		}
		src, dst = src[3:], dst[3:]
	}
}

// toRGBWide converts samples of other depths.
func toRGBWide(f Format, dst, src []byte) {
	size, top := f.sampleBytes(), int64(1)<<f.BitsStored-1
	get := func(i int) int64 { return int64(src[i]) }
	put := func(i int, v int64) { dst[i] = byte(v) }
	if size == 2 {
		get = func(i int) int64 { return int64(binary.LittleEndian.Uint16(src[i:])) }
		put = func(i int, v int64) { binary.LittleEndian.PutUint16(dst[i:], uint16(v)) }
	}
	half := (top + 1) / 2
	for i := 0; i+3*size <= len(src); i += 3 * size {
		y, cb, cr := get(i)<<16+1<<15, get(i+size)-half, get(i+2*size)-half
		put(i, min(max((y+crToR*cr)>>16, 0), top))
		put(i+size, min(max((y+cbToG*cb+crToG*cr)>>16, 0), top))
		put(i+2*size, min(max((y+cbToB*cb)>>16, 0), top))
	}
}

// fromRGB makes planes of RGB of 8 bits those of YBR_FULL.
func fromRGB(r, g, b []byte) {
	for i := range r {
		x, y, z := int32(r[i]), int32(g[i]), int32(b[i])
		r[i] = byte((19595*x + 38470*y + 7471*z + 1<<15) >> 16)
		g[i] = clamp8(int((-11059*x - 21709*y + 32768*z + 128<<16 + 1<<15 - 1) >> 16))
		b[i] = clamp8(int((32768*x - 27439*y - 5329*z + 128<<16 + 1<<15 - 1) >> 16))
	}
}
