package pixel

import "encoding/binary"

// settle brings the samples of a code stream, of so many bits, into the form of
// native ones. img.Data has samples of one byte where img.BitsAllocated is 1,
// or 16 and the precision no more than 8; they are packed and widened.
//
// Bits above the precision become copies of the sign, or 0. Signed samples that
// the stream calls unsigned, as most codings can only do, have their sign in the
// highest bit that both the stream and Bits Stored know.
func settle(img Image, precision int, signed bool) Image {
	f := &img.Format
	n := f.pixels() * f.Samples
	switch {
	case f.BitsAllocated == 1:
		img.Data = packBits(img.Data)
		return img
	case f.BitsAllocated == 16 && len(img.Data) == n:
		wide := make([]byte, 2*n)
		for i, v := range img.Data {
			wide[2*i] = v
		}
		if signed && precision == 8 {
			extend16(wide, 8)
		}
		img.Data = wide
	}
	if precision >= f.BitsAllocated { // every bit is the encoder's
		return img
	}
	f.HighBit = f.BitsStored - 1
	switch {
	case f.Signed && f.BitsAllocated == 16:
		extend16(img.Data, min(precision, f.BitsStored))
	case f.Signed && f.BitsAllocated == 8:
		extend8(img.Data, min(precision, f.BitsStored))
	case signed && f.BitsAllocated == 16:
		mask16(img.Data, precision)
	case signed && f.BitsAllocated == 8:
		for i := range img.Data {
			img.Data[i] &= 1<<precision - 1
		}
	}
	return img
}

// extend16 fills the bits above the lowest so many of every sample with its sign.
func extend16(data []byte, bits int) {
	shift := 16 - bits
	for i := 0; i+2 <= len(data); i += 2 {
		v := int16(binary.LittleEndian.Uint16(data[i:])<<shift) >> shift
		binary.LittleEndian.PutUint16(data[i:], uint16(v))
	}
}

func extend8(data []byte, bits int) {
	shift := 8 - bits
	for i, v := range data {
		data[i] = byte(int8(v<<shift) >> shift)
	}
}

func mask16(data []byte, bits int) {
	mask := uint16(1)<<bits - 1
	for i := 0; i+2 <= len(data); i += 2 {
		binary.LittleEndian.PutUint16(data[i:], binary.LittleEndian.Uint16(data[i:])&mask)
	}
}

// packBits packs samples of one bit, the first lowest in the first byte.
func packBits(samples []byte) []byte {
	out := make([]byte, (len(samples)+7)/8)
	for i, v := range samples {
		out[i/8] |= v & 1 << (i % 8)
	}
	return out
}

// unpackBits undoes packBits for n samples.
func unpackBits(packed []byte, n int) []byte {
	out := make([]byte, n)
	for i := range out {
		out[i] = packed[i/8] >> (i % 8) & 1
	}
	return out
}

// depth returns the bits with which the samples of an image have to be coded
// for nothing to be lost: those stored, when the others are 0 or copies of the
// sign, or else, with overlays in them, say, those allocated.
func depth(img Image) int {
	f := img.Format
	if f.BitsStored == f.BitsAllocated || f.HighBit != f.BitsStored-1 {
		return f.BitsAllocated
	}
	switch f.BitsAllocated {
	case 8:
		shift := 8 - f.BitsStored
		for _, v := range img.Data {
			if f.Signed && int8(v<<shift)>>shift != int8(v) || !f.Signed && v>>f.BitsStored != 0 {
				return 8
			}
		}
	case 16:
		shift, d := 16-f.BitsStored, img.Data
		if !f.Signed {
			var all uint16
			for ; len(d) >= 2; d = d[2:] {
				all |= binary.LittleEndian.Uint16(d)
			}
			if all>>f.BitsStored != 0 {
				return 16
			}
			break
		}
		for ; len(d) >= 2; d = d[2:] {
			if v := binary.LittleEndian.Uint16(d); int16(v<<shift)>>shift != int16(v) {
				return 16
			}
		}
	}
	return f.BitsStored
}
