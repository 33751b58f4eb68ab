package sandbox

import "encoding/binary"

// Samples are little-endian, 1 or 2 bytes each.

// extend makes each sample what its low bits say, as a two's complement number
// when signed.
func extend(b []byte, bytes, bits int, signed bool) {
	if bits >= 8*bytes {
		return
	}
	if bytes == 1 {
		var table [256]byte
		for v := range table {
			table[v] = byte(extended(uint16(v), bits, signed))
		}
		for i, v := range b {
			b[i] = table[v]
		}
		return
	}
	if !signed {
		mask := uint16(1)<<bits - 1
		for ; len(b) >= 2; b = b[2:] {
			binary.LittleEndian.PutUint16(b, binary.LittleEndian.Uint16(b)&mask)
		}
		return
	}
	shift := 16 - bits
	for ; len(b) >= 2; b = b[2:] {
		binary.LittleEndian.PutUint16(b, uint16(int16(binary.LittleEndian.Uint16(b)<<shift)>>shift))
	}
}

func extended(v uint16, bits int, signed bool) uint16 {
	if shift := 16 - bits; signed {
		return uint16(int16(v<<shift) >> shift)
	}
	return v & (1<<bits - 1)
}

// saturate brings samples beyond what so many bits hold back to the nearest one
// that they do.
func saturate(b []byte, bytes, bits int, signed bool) {
	if bits >= 8*bytes {
		return
	}
	least, most := 0, 1<<bits-1
	if signed {
		least, most = -1<<(bits-1), 1<<(bits-1)-1
	}
	for i := 0; i+bytes <= len(b); i += bytes {
		var v int
		switch {
		case bytes == 1 && signed:
			v = int(int8(b[i]))
		case bytes == 1:
			v = int(b[i])
		case signed:
			v = int(int16(binary.LittleEndian.Uint16(b[i:])))
		default:
			v = int(binary.LittleEndian.Uint16(b[i:]))
		}
		if v >= least && v <= most {
			continue
		}
		v = min(max(v, least), most)
		b[i] = byte(v)
		if bytes == 2 {
			b[i+1] = byte(v >> 8)
		}
	}
}

// widen makes 2-byte samples of 1-byte ones that extend made.
func widen(b []byte, signed bool) []byte {
	w := make([]byte, 2*len(b))
	for i, v := range b {
		w[2*i] = v
		if signed && v >= 0x80 {
			w[2*i+1] = 0xFF
		}
	}
	return w
}

// narrow keeps the low bytes of 2-byte samples.
func narrow(b []byte) []byte {
	n := make([]byte, len(b)/2)
	for i := range n {
		n[i] = b[2*i]
	}
	return n
}

// interleave makes R1 G1 B1 R2 … of R1 R2 … G1 G2 … B1 B2 ….
func interleave(b []byte, bytes, samples int) []byte {
	w := make([]byte, len(b))
	pixels := len(b) / bytes / samples
	for s := range samples {
		plane := b[s*pixels*bytes:]
		for i := range pixels {
			copy(w[(i*samples+s)*bytes:][:bytes], plane[i*bytes:])
		}
	}
	return w
}

// center makes of each sample the number that a JPEG 2000 codec is to transform,
// as it takes it: the sample's low bits as a number around zero (an unsigned one
// less half of its range, ISO/IEC 15444-1 §G.1), and plus what the codec is
// going to take away again.
func center(b []byte, bytes, bits int, signed bool, plus uint16) {
	var top uint16
	if !signed {
		top = 1 << (bits - 1)
	}
	if bytes == 1 {
		for i, v := range b {
			b[i] = byte(extended(uint16(v)^top, bits, true) + plus)
		}
		return
	}
	for ; len(b) >= 2; b = b[2:] {
		v := binary.LittleEndian.Uint16(b)
		binary.LittleEndian.PutUint16(b, extended(v^top, bits, true)+plus)
	}
}
