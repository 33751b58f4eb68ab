package pixel

import (
	"bytes"
	"encoding/binary"
)

// Markers of JPEG (ISO/IEC 10918-1 Table B.1) and JPEG-LS (ISO/IEC 14495-1 §C.1.1).
const (
	markSOF0  = 0xC0 // baseline
	markSOF1  = 0xC1 // extended sequential, Huffman
	markSOF2  = 0xC2 // progressive, Huffman
	markSOF3  = 0xC3 // lossless, Huffman
	markDHT   = 0xC4
	markJPG   = 0xC8
	markSOF9  = 0xC9 // extended sequential, arithmetic
	markDAC   = 0xCC
	markRST0  = 0xD0
	markRST7  = 0xD7
	markSOI   = 0xD8
	markEOI   = 0xD9
	markSOS   = 0xDA
	markDRI   = 0xDD
	markAPP0  = 0xE0
	markAPP14 = 0xEE
	markSOF55 = 0xF7 // JPEG-LS
	markTEM   = 0x01
)

// jpegHeader is what a JPEG or JPEG-LS stream says before its first scan.
type jpegHeader struct {
	sof           byte // the marker that begins the frame
	precision     int
	rows, columns int
	components    []jpegComponent
	jfif          bool
	adobe         int // the transform of an Adobe marker, -1 without one
	restart       int // MCUs between restart markers, 0 without them

	// Of the first scan.
	inScan         []byte // component selectors
	tables         []byte // of each: the numbers of its Huffman tables
	predictor      int    // lossless: selection value; JPEG-LS: NEAR
	interleave     int    // JPEG-LS: 0 none, 1 by line, 2 by sample
	pointTransform int

	scan int // offset of the first scan's entropy-coded segment
	end  int // offset behind the last EOI marker, 0 when there is none
}

type jpegComponent struct {
	id   byte
	h, v int
}

// readJPEG reads the header of a JPEG or JPEG-LS stream, as much as comes before
// the first scan, and finds its end. The error is fault.NotAcceptable.
func readJPEG(b []byte) (jpegHeader, error) {
	h := jpegHeader{adobe: -1}
	if len(b) < 4 || b[0] != 0xFF || b[1] != markSOI {
		return h, refuse("a frame is not the JPEG stream that it should be")
	}
	for at := 2; ; {
		for at < len(b) && b[at] == 0xFF { // the marker and any fill bytes before it
			at++
		}
		if at >= len(b) || b[at-1] != 0xFF {
			return h, errShort
		}
		marker := b[at]
		if at++; marker == markTEM || marker >= markRST0 && marker <= markSOI {
			continue
		}
		if at+2 > len(b) || marker == markEOI || marker == 0 {
			return h, errShort
		}
		n := int(binary.BigEndian.Uint16(b[at:]))
		if n < 2 || at+n > len(b) {
			return h, errShort
		}
		if err := h.segment(marker, b[at+2:at+n]); err != nil {
			return h, err
		}
		if at += n; marker == markSOS {
			h.scan = at
			if i := bytes.LastIndex(b[at:], []byte{0xFF, markEOI}); i >= 0 {
				h.end = at + i + 2
			}
			return h, nil
		}
	}
}

// segment takes what matters of a marker segment.
func (h *jpegHeader) segment(marker byte, b []byte) error {
	switch {
	case marker == markAPP0:
		h.jfif = h.jfif || bytes.HasPrefix(b, []byte("JFIF\x00"))
	case marker == markAPP14:
		if len(b) >= 12 && bytes.HasPrefix(b, []byte("Adobe")) {
			h.adobe = int(b[11])
		}
	case marker == markDRI:
		if len(b) >= 2 {
			h.restart = int(binary.BigEndian.Uint16(b))
		}
	case marker == markSOS:
		return h.scanHeader(b)
	case marker == markSOF55 || marker >= markSOF0 && marker <= 0xCF && marker != markDHT && marker != markJPG && marker != markDAC:
		return h.frame(marker, b)
	}
	return nil
}

// frame reads a frame header (ISO/IEC 10918-1 §B.2.2).
func (h *jpegHeader) frame(marker byte, b []byte) error {
	if h.sof != 0 || len(b) < 6 || len(b) < 6+3*int(b[5]) {
		return errShort
	}
	h.sof = marker
	h.precision = int(b[0])
	h.rows, h.columns = int(binary.BigEndian.Uint16(b[1:])), int(binary.BigEndian.Uint16(b[3:]))
	for c := b[6 : 6+3*int(b[5])]; len(c) > 0; c = c[3:] {
		h.components = append(h.components, jpegComponent{c[0], int(c[1] >> 4), int(c[1] & 15)})
	}
	return nil
}

// scanHeader reads a scan header (ISO/IEC 10918-1 §B.2.3).
func (h *jpegHeader) scanHeader(b []byte) error {
	if h.sof == 0 || len(b) < 1 || len(b) < 4+2*int(b[0]) {
		return errShort
	}
	n := int(b[0])
	for i := range n {
		h.inScan, h.tables = append(h.inScan, b[1+2*i]), append(h.tables, b[2+2*i])
	}
	h.predictor, h.interleave, h.pointTransform = int(b[1+2*n]), int(b[2+2*n]), int(b[3+2*n]&15)
	return nil
}

// subsampled reports whether components have different resolutions.
func (h *jpegHeader) subsampled() bool {
	for _, c := range h.components {
		if c.h != h.components[0].h || c.v != h.components[0].v {
			return true
		}
	}
	return false
}

// check compares the header with what the data set says.
func (h *jpegHeader) check(f Format) error {
	return checkStream(f, h.rows, h.columns, len(h.components), h.precision)
}

// checkStream compares what a code stream says of itself with the data set.
func checkStream(f Format, rows, columns, samples, precision int) error {
	switch {
	case rows != f.Rows || columns != f.Columns:
		return refuse("a frame is coded as %d × %d where the image has %d × %d", columns, rows, f.Columns, f.Rows)
	case samples != f.Samples || samples != 1 && samples != 3:
		return refuse("a frame is coded with %d samples a pixel where the image has %d", samples, f.Samples)
	case precision < 1 || precision > f.BitsAllocated || precision > 16:
		return refuse("a frame is coded with %d bits a sample where the image has room for %d", precision, f.BitsAllocated)
	case f.Float || f.BitsAllocated > 16:
		return refuse("samples of %d bits cannot be coded like this", f.BitsAllocated)
	}
	return nil
}

// photometric returns what the samples of a DCT stream are, decoded: what the
// stream says before what the data set does (PS3.5 §8.2.1).
func (h *jpegHeader) photometric(p Photometric) Photometric {
	switch {
	case len(h.components) != 3:
		return p
	case h.adobe == 0:
		return RGB
	case h.adobe == 1, h.jfif, h.subsampled():
		return YBRFull
	case h.components[0].id == 'R' && h.components[1].id == 'G' && h.components[2].id == 'B':
		return RGB
	}
	return upsampled(p)
}
