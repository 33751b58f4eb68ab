package pixel

import "encoding/binary"

// huffman decodes the codes of a Huffman table (ISO/IEC 10918-1 §F.2.2.3).
type huffman struct {
	look   [1 << lookBits]uint16 // by the next bits: value<<8 | length, 0 for longer codes
	max    [17]int32             // by length: the greatest code, -1 where there is none
	offset [17]int32             // by length: from a code to its index in values
	values []byte
}

const lookBits = 11

// newHuffman builds a table from the number of codes of each length and the
// values; it returns nil when there is no such code.
func newHuffman(counts, values []byte) *huffman {
	t := &huffman{values: values}
	code, at := int32(0), int32(0)
	for n := 1; n <= 16; n++ {
		t.offset[n] = at - code
		for range counts[n-1] {
			if code >= 1<<n {
				return nil
			}
			if n <= lookBits {
				for i := code << (lookBits - n); i < (code+1)<<(lookBits-n); i++ {
					t.look[i] = uint16(values[at])<<8 | uint16(n)
				}
			}
			code, at = code+1, at+1
		}
		t.max[n] = code - 1
		if counts[n-1] == 0 {
			t.max[n] = -1
		}
		code <<= 1
	}
	return t
}

// whole returns, by the next bits, the differences whose code and bits both are
// among them: difference<<16 | length, 0 for others.
func (t *huffman) whole() *[1 << lookBits]uint32 {
	var all [1 << lookBits]uint32
	for i, e := range t.look {
		category := int(e >> 8)
		n := int(e&0xFF) + category
		if e == 0 || category > 15 || n > lookBits {
			continue
		}
		r := bitReader{acc: uint64(i) << (64 - lookBits) << (e & 0xFF)}
		all[i] = uint32(uint16(r.difference(byte(category))))<<16 | uint32(n)
	}
	return &all
}

// huffmanTables reads all DHT segments before the first scan: those of class 0
// (DC and lossless) and 1 (AC).
func huffmanTables(b []byte) (tables [2][4]*huffman, ok bool) {
	for at := 2; at+4 <= len(b); {
		if b[at] != 0xFF {
			return tables, false
		}
		marker := b[at+1]
		if marker == 0xFF {
			at++
			continue
		}
		if marker == markTEM || marker >= markRST0 && marker <= markSOI {
			at += 2
			continue
		}
		n := int(binary.BigEndian.Uint16(b[at+2:]))
		if n < 2 || at+2+n > len(b) {
			return tables, false
		}
		if marker == markSOS {
			return tables, true
		}
		if marker == markDHT && !readTables(&tables, b[at+4:at+2+n]) {
			return tables, false
		}
		at += 2 + n
	}
	return tables, false
}

// readTables reads the tables of one DHT segment (ISO/IEC 10918-1 §B.2.4.2).
func readTables(tables *[2][4]*huffman, s []byte) bool {
	for len(s) >= 17 {
		class, id, n := s[0]>>4, s[0]&15, 0
		for _, c := range s[1:17] {
			n += int(c)
		}
		if class > 1 || id > 3 || n > 256 || len(s) < 17+n {
			return false
		}
		if tables[class][id] = newHuffman(s[1:17], s[17:17+n]); tables[class][id] == nil {
			return false
		}
		s = s[17+n:]
	}
	return true
}

// bitReader reads an entropy-coded segment. Behind its end it reads zeros and
// counts them.
type bitReader struct {
	b    []byte
	at   int
	acc  uint64 // the next bits, highest first
	n    int    // how many are in acc
	over int    // how many of them, at the end, were made up
}

// fill makes at least 57 bits available.
func (r *bitReader) fill() {
	// Eight bytes at once where none of them can be part of a marker.
	if r.at+8 <= len(r.b) {
		w := binary.BigEndian.Uint64(r.b[r.at:])
		if inv := ^w; (inv-0x0101010101010101)&^inv&0x8080808080808080 == 0 {
			take := (64 - r.n) / 8
			r.acc |= w >> (64 - 8*take) << (64 - 8*take) >> r.n
			r.n += 8 * take
			r.at += take
			return
		}
	}
	for r.n <= 56 {
		var v byte
		switch {
		case r.at >= len(r.b):
			r.over += 8
		case r.b[r.at] != 0xFF:
			v = r.b[r.at]
			r.at++
		case r.at+1 < len(r.b) && r.b[r.at+1] == 0:
			v = 0xFF
			r.at += 2
		default: // a marker
			r.over += 8
		}
		r.acc |= uint64(v) << (56 - r.n)
		r.n += 8
	}
}

// short reports whether bits were used that are not there.
func (r *bitReader) short() bool { return r.n < r.over }

// code reads a Huffman code; at least 16 bits are available.
func (r *bitReader) code(t *huffman) (byte, bool) {
	if e := t.look[r.acc>>(64-lookBits)]; e != 0 {
		n := int(e & 0xFF)
		r.acc <<= n
		r.n -= n
		return byte(e >> 8), true
	}
	for n := lookBits + 1; n <= 16; n++ {
		if c := int32(r.acc >> (64 - n)); c <= t.max[n] {
			r.acc <<= n
			r.n -= n
			return t.values[(c+t.offset[n])&0xFF], true
		}
	}
	return 0, false
}

// difference reads the bits that follow a category of 0 to 16 (ISO/IEC 10918-1
// §F.1.2.1, §H.1.2.2).
func (r *bitReader) difference(category byte) int32 {
	if category == 0 {
		return 0
	}
	if category >= 16 {
		return 32768
	}
	v := int32(r.acc >> (64 - category))
	r.acc <<= category
	r.n -= int(category)
	if v < 1<<(category-1) {
		v -= 1<<category - 1
	}
	return v
}

// restart passes over the marker behind an interval and reports whether there
// was one.
func (r *bitReader) restart() bool {
	real := (r.n - r.over) / 8 // bytes read ahead belong to the interval and are padding at most
	if real > 0 {
		return false
	}
	r.acc, r.n, r.over = 0, 0, 0
	for r.at+1 < len(r.b) && r.b[r.at] == 0xFF && r.b[r.at+1] == 0xFF {
		r.at++
	}
	if r.at+1 >= len(r.b) || r.b[r.at] != 0xFF || r.b[r.at+1] < markRST0 || r.b[r.at+1] > markRST7 {
		return false
	}
	r.at += 2
	return true
}
