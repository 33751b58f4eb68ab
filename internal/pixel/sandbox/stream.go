package sandbox

import "encoding/binary"

// shape is what a code stream says of itself, as far as calling the codecs
// safely needs it: they trust the caller's dimensions where they should not,
// and read past their buffers when the stream's are smaller.
type shape struct {
	rows, columns, samples int
	precision              int
	signed                 bool // of JPEG 2000
	planar                 bool // JPEG-LS: a scan for each component
	transform              bool // JPEG 2000: RCT or ICT
}

// fits reports whether the stream is of the job's dimensions.
func (s *shape) fits(q *request) bool {
	return s.rows == int(q.Rows) && s.columns == int(q.Columns) && s.samples == int(q.Samples)
}

// jpegShape reads the frame header of a JPEG (ISO/IEC 10918-1 §B.2.2) or
// JPEG-LS stream, and in JPEG-LS its first scan header.
func jpegShape(b []byte, ls bool) (s shape, out outcome) {
	if len(b) < 4 || b[0] != 0xFF || b[1] != 0xD8 {
		return s, damaged
	}
	for i := 2; i+4 <= len(b); {
		if b[i] != 0xFF {
			return s, damaged
		}
		m := b[i+1]
		if m == 0xFF { // fill
			i++
			continue
		}
		if m <= 0x01 || m >= 0xD0 && m <= 0xD9 {
			return s, damaged // the codec's own search for the frame would not end at TEM
		}
		n := int(binary.BigEndian.Uint16(b[i+2:]))
		if n < 2 || i+2+n > len(b) {
			return s, damaged
		}
		body := b[i+4 : i+2+n]
		frame := m >= 0xC0 && m <= 0xCF && m != 0xC4 && m != 0xC8 && m != 0xCC
		switch {
		case frame == ls && (frame || m == 0xF7):
			return s, unsupported // JPEG where JPEG-LS was announced, or the other way round
		case frame || m == 0xF7:
			if len(body) < 6 || s.rows != 0 {
				return s, damaged
			}
			s.precision, s.samples = int(body[0]), int(body[5])
			s.rows, s.columns = int(binary.BigEndian.Uint16(body[1:])), int(binary.BigEndian.Uint16(body[3:]))
			if s.rows == 0 || s.columns == 0 || s.precision < 2 || s.precision > 16 {
				return s, unsupported // DNL and oversize images
			}
			if !ls {
				return s, done
			}
		case m == 0xDA:
			if s.rows == 0 || len(body) < 6 {
				return s, damaged
			}
			s.planar = s.samples > 1 && body[len(body)-2] == 0
			return s, done
		}
		i += 2 + n
	}
	return s, damaged
}

// codestream returns the JPEG 2000 code stream in b: b itself, or the first
// contiguous code stream box of a JP2 file (ISO/IEC 15444-1 §I.5.4), which
// DICOM does not allow and some modalities write.
func codestream(b []byte) []byte {
	if len(b) < 12 || binary.BigEndian.Uint32(b[4:]) != 0x6A502020 {
		return b
	}
	for i := 0; i+8 <= len(b); {
		n, head := uint64(binary.BigEndian.Uint32(b[i:])), 8
		if n == 1 && i+16 <= len(b) {
			n, head = binary.BigEndian.Uint64(b[i+8:]), 16
		}
		if n == 0 || n > uint64(len(b)-i) {
			n = uint64(len(b) - i) // to the end; or cut short, which the codec will see
		}
		if n < uint64(head) {
			return nil
		}
		if binary.BigEndian.Uint32(b[i+4:]) == 0x6A703263 {
			return b[i+head : i+int(n)]
		}
		i += int(n)
	}
	return nil
}

const sizComponents = 42 // offset of the components in a code stream that begins SOC SIZ

// j2kShape reads the SIZ and COD segments of a code stream (ISO/IEC 15444-1
// §A.5.1, §A.6.1).
func j2kShape(b []byte) (s shape, out outcome) {
	be := binary.BigEndian
	if len(b) < sizComponents+3 || be.Uint32(b) != 0xFF4FFF51 {
		return s, damaged
	}
	width, height := be.Uint32(b[8:]), be.Uint32(b[12:])
	left, top := be.Uint32(b[16:]), be.Uint32(b[20:])
	s.samples = int(be.Uint16(b[40:]))
	n := int(be.Uint16(b[4:]))
	if left >= width || top >= height || n != 38+3*s.samples || 4+n > len(b) {
		return s, damaged
	}
	if width-left > 0xFFFF || height-top > 0xFFFF || s.samples != 1 && s.samples != 3 {
		return s, mismatched
	}
	s.columns, s.rows = int(width-left), int(height-top)
	first := b[sizComponents]
	for c := b[sizComponents : 4+n]; len(c) > 0; c = c[3:] {
		if c[0] != first || c[1] != 1 || c[2] != 1 {
			return s, unsupported // components that differ, or are subsampled
		}
	}
	s.signed, s.precision = first&0x80 != 0, int(first&0x7F)+1
	if s.precision > 16 {
		return s, unsupported
	}
	for i := 4 + n; i+4 <= len(b) && b[i] == 0xFF && b[i+1] != 0x90; {
		n := int(be.Uint16(b[i+2:]))
		if b[i+1] == 0x52 && i+9 <= len(b) {
			s.transform = b[i+8] != 0
			return s, done
		}
		if n < 2 {
			break
		}
		i += 2 + n
	}
	return s, damaged
}

// restate writes precision and sign into the SIZ segment of a code stream.
func restate(b []byte, precision int, signed bool) bool {
	if s, out := j2kShape(b); out != done || precision < 1 || precision > s.precision {
		return false
	}
	n := int(binary.BigEndian.Uint16(b[4:]))
	for c := b[sizComponents : 4+n]; len(c) > 0; c = c[3:] {
		c[0] = byte(precision - 1)
		if signed {
			c[0] |= 0x80
		}
	}
	return true
}
