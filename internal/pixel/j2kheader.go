package pixel

import (
	"encoding/binary"
)

// Markers of JPEG 2000 (ISO/IEC 15444-1 Table A.2).
const (
	markSOC = 0xFF4F
	markCAP = 0xFF50
	markSIZ = 0xFF51
	markCOD = 0xFF52
	markTLM = 0xFF55
	markSOT = 0xFF90
	markSOD = 0xFF93
	markEOC = 0xFFD9
)

// j2kHeader is what the main header of a JPEG 2000 code stream says, and where
// its tile-parts lie.
type j2kHeader struct {
	stream        []byte // the code stream without boxes around it
	rows, columns int
	precision     []int // of each component
	signed        []bool
	subsampled    bool
	tiles         int

	progression byte // 0 LRCP, 1 RLCP, 2 RPCL, 3 PCRL, 4 CPRL
	levels      int
	transform   bool // RCT or ICT of the first three components
	reversible  bool
	ht          bool // block coder of HTJ2K (ISO/IEC 15444-15)
	tlm         bool
}

// readJ2K reads the main header of a JPEG 2000 stream, in JP2 boxes or, as
// DICOM has it, without, and walks over its tile-parts. The error is
// fault.NotAcceptable; it is errShort when not every tile is there in full.
func readJ2K(b []byte) (j2kHeader, error) {
	var h j2kHeader
	b = unbox(b)
	if len(b) < 4 || binary.BigEndian.Uint16(b) != markSOC || binary.BigEndian.Uint16(b[2:]) != markSIZ {
		return h, refuse("a frame is not the JPEG 2000 stream that it should be")
	}
	h.stream = b
	at := 2
	for {
		if at+4 > len(b) {
			return h, errShort
		}
		marker, n := int(binary.BigEndian.Uint16(b[at:])), int(binary.BigEndian.Uint16(b[at+2:]))
		if marker == markSOT {
			break
		}
		if marker < 0xFF00 || n < 2 || at+2+n > len(b) {
			return h, errShort
		}
		if err := h.segment(marker, b[at+4:at+2+n]); err != nil {
			return h, err
		}
		at += 2 + n
	}
	if h.tiles == 0 {
		return h, errShort
	}
	return h, h.walk(at)
}

// segment takes what matters of a marker segment of the main header.
func (h *j2kHeader) segment(marker int, b []byte) error {
	switch marker {
	case markSIZ:
		return h.size(b)
	case markCOD:
		if len(b) < 10 {
			return errShort
		}
		h.progression, h.transform = b[1], b[4] == 1
		h.levels, h.ht, h.reversible = int(b[5]), b[8]&0x40 != 0, b[9] == 1
	case markTLM:
		h.tlm = true
	}
	return nil
}

// size reads the SIZ marker segment (ISO/IEC 15444-1 §A.5.1).
func (h *j2kHeader) size(b []byte) error {
	if h.tiles != 0 || len(b) < 36 {
		return errShort
	}
	u := func(i int) int64 { return int64(binary.BigEndian.Uint32(b[i:])) }
	x1, y1, x0, y0, tw, th, tx, ty := u(2), u(6), u(10), u(14), u(18), u(22), u(26), u(30)
	n := int(binary.BigEndian.Uint16(b[34:]))
	if x1 <= x0 || y1 <= y0 || tw == 0 || th == 0 || tx > x0 || ty > y0 || n == 0 || len(b) < 36+3*n {
		return errShort
	}
	if x1-x0 > 65535 || y1-y0 > 65535 {
		return errLarge
	}
	h.columns, h.rows = int(x1-x0), int(y1-y0)
	across, down := (x1-tx+tw-1)/tw, (y1-ty+th-1)/th
	if across > 65535 || down > 65535 || across*down > 65535 {
		return refuse("a frame is in more tiles than there can be")
	}
	h.tiles = int(across * down)
	for c := b[36 : 36+3*n]; len(c) > 0; c = c[3:] {
		h.precision = append(h.precision, int(c[0]&0x7F)+1)
		h.signed = append(h.signed, c[0]&0x80 != 0)
		h.subsampled = h.subsampled || c[1] != 1 || c[2] != 1
	}
	return nil
}

// walk follows the tile-parts from the first on, and reports errShort when one
// is cut short or missing. The end-of-codestream marker may be missing where the
// tile-parts say themselves how many there are.
func (h *j2kHeader) walk(at int) error {
	b, seen, of := h.stream, make([]uint8, h.tiles), make([]uint8, h.tiles)
	ended := h.ends()
	for at+12 <= len(b) && binary.BigEndian.Uint16(b[at:]) == markSOT {
		tile, n, parts := int(binary.BigEndian.Uint16(b[at+4:])), int(binary.BigEndian.Uint32(b[at+6:])), b[at+11]
		if tile >= h.tiles {
			return errShort
		}
		seen[tile] = min(seen[tile], 254) + 1
		of[tile] = max(of[tile], parts)
		if n == 0 && ended { // the last one goes up to the end of the stream
			break
		}
		if n < 14 || n > len(b)-at {
			return errShort
		}
		at += n
	}
	for i, n := range seen {
		if n == 0 || n < of[i] || of[i] == 0 && !ended {
			return errShort
		}
	}
	return nil
}

// ends reports whether the stream ends with an end-of-codestream marker and
// what may pad it.
func (h *j2kHeader) ends() bool {
	b := h.stream
	for i := len(b) - 2; i >= 0 && i >= len(b)-4; i-- {
		if binary.BigEndian.Uint16(b[i:]) == markEOC {
			return true
		}
	}
	return false
}

// check compares the header with what the data set says.
func (h *j2kHeader) check(f Format) error {
	for i, p := range h.precision {
		if p != h.precision[0] || h.signed[i] != h.signed[0] {
			return refuse("the components of a frame are coded with different numbers of bits")
		}
	}
	if h.subsampled {
		return refuse("the components of a frame are coded in different sizes")
	}
	return checkStream(f, h.rows, h.columns, len(h.precision), h.precision[0])
}

// unbox returns the code stream of a JP2 file (ISO/IEC 15444-1 Annex I), which
// DICOM does not allow but some wrote; anything else as it is.
func unbox(b []byte) []byte {
	if len(b) < 12 || binary.BigEndian.Uint32(b) != 12 || string(b[4:8]) != "jP  " {
		return b
	}
	for at := 0; at+8 <= len(b); {
		n, header := int64(binary.BigEndian.Uint32(b[at:])), 8
		if n == 1 && at+16 <= len(b) {
			n, header = int64(binary.BigEndian.Uint64(b[at+8:])), 16
		}
		if n == 0 { // up to the end
			n = int64(len(b) - at)
		}
		if n < int64(header) {
			return nil
		}
		to := min(n, int64(len(b)-at))
		if string(b[at+4:at+8]) == "jp2c" {
			return b[at+header : at+int(max(to, int64(header)))]
		}
		at += int(to)
	}
	return nil
}
