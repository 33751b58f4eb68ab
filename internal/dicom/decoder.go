package dicom

import (
	"encoding/binary"
	"fmt"
	"io"
	"slices"

	"github.com/strata-pacs/strata/internal/fault"
)

// undefined is the length of a value that ends with a delimiter (PS3.5 §7.1.1).
const undefined = 0xFFFFFFFF

// The delimiters of PS3.5 §7.5, which have no VR in any transfer syntax.
const (
	itemTag        Tag = 0xFFFEE000
	itemDelimiter  Tag = 0xFFFEE00D
	sequenceEnd    Tag = 0xFFFEE0DD
	pixelDataTag   Tag = 0x7FE00010
	floatPixelTag  Tag = 0x7FE00008
	doublePixelTag Tag = 0x7FE00009
	charsetTag     Tag = 0x00080005
	// The Extended Offset Table and its lengths (PS3.5 §A.4).
	extendedOffsets Tag = 0x7FE00001
	extendedLengths Tag = 0x7FE00002
)

// encoding is how a data set is encoded.
type encoding struct{ implicit, big bool }

func (e encoding) order() binary.ByteOrder {
	if e.big {
		return binary.BigEndian
	}
	return binary.LittleEndian
}

// header is what stands before a value.
type header struct {
	tag    Tag
	vr     VR
	length uint32
	size   int // bytes of the header itself
}

// scope is what elements take from those before and around them.
type scope struct {
	enc    encoding
	depth  int
	end    int64 // offset after the last byte; -1 when a delimiter ends it
	signed bool  // Pixel Representation is 1
	// charset in force here.
	charset []string
}

// decoder reads headers within limits.
type decoder struct {
	s         *source
	limits    Limits
	seen      int      // elements and items so far
	fragments int      // so far
	pixels    bool     // the data set's own pixel data was met
	scopes    []*scope // see child
	warnings  []string
}

// maxWarnings bounds what a file is told it does wrong.
const maxWarnings = 16

func (d *decoder) warn(format string, args ...any) {
	if len(d.warnings) < maxWarnings {
		if w := fmt.Sprintf(format, args...); !slices.Contains(d.warnings, w) {
			d.warnings = append(d.warnings, w)
		}
	}
}

// cut explains why the stream gave fewer bytes than the element of tag t needs.
func (d *decoder) cut(t Tag) error {
	if d.s.err != nil && d.s.err != io.EOF {
		return d.s.failure()
	}
	return fault.New(fault.Invalid, "the file ends within %s: it was cut short or a length in it is wrong", name(t))
}

// name writes a tag as PS3.5 does.
func name(t Tag) string { return fmt.Sprintf("(%04X,%04X)", t.Group(), t.Element()) }

// count takes one element from the limit.
func (d *decoder) count() error {
	if d.seen++; d.seen > d.limits.Elements {
		return fault.New(fault.TooLarge, "the file has more than %d elements", d.limits.Elements)
	}
	return nil
}

// peek reads the header of the next element without taking it. The header's
// size is 0 at the end of the stream, when fewer than 8 bytes are left.
func (d *decoder) peek(sc *scope) (h header, err error) {
	b := d.s.window(12)
	if len(b) < 8 {
		if d.s.err != io.EOF {
			return h, d.s.failure()
		}
		return h, nil
	}
	h.tag = tagAt(b, sc.enc.big)
	h.size = 8
	if sc.enc.implicit || h.tag>>16 == 0xFFFE {
		h.length = uint32At(b[4:], sc.enc.big)
		if sc.enc.implicit && h.tag>>16 != 0xFFFE {
			h.vr = implicitVR(h.tag, sc.signed)
		}
		return h, nil
	}
	h.vr = MakeVR(b[4], b[5])
	switch vrForm(h.vr) {
	case shortForm:
		h.length = uint32(uint16At(b[6:], sc.enc.big))
	case longForm:
		if len(b) < 12 {
			return h, d.cut(h.tag)
		}
		h.length, h.size = uint32At(b[8:], sc.enc.big), 12
	default:
		d.unknownVR(&h, b, sc)
	}
	return h, nil
}

// unknownVR reads a header whose VR is none that this code knows.
func (d *decoder) unknownVR(h *header, b []byte, sc *scope) {
	switch {
	case isLetter(b[4]) && isLetter(b[5]) && len(b) >= 12 && b[6] == 0 && b[7] == 0:
		// A VR added after this was written has the long form (PS3.5 §7.1.2).
		h.length, h.size = uint32At(b[8:], sc.enc.big), 12
		d.warn("%s has an unknown VR", name(h.tag))
	case isLetter(b[4]) && isLetter(b[5]), b[4] == '?' && b[5] == '?', b[4] == ' ' && b[5] == ' ', b[4] == '-' && b[5] == '-':
		h.length = uint32(uint16At(b[6:], sc.enc.big))
		d.warn("%s has an unknown VR", name(h.tag))
	default:
		// Some writers leave single elements in Implicit VR.
		h.length = uint32At(b[4:], sc.enc.big)
		d.warn("%s has no VR under an explicit VR transfer syntax", name(h.tag))
	}
	h.vr = implicitVR(h.tag, sc.signed)
}

// implicitVR returns the VR of an element that does not name its own (PS3.5 §A.1).
func implicitVR(t Tag, signed bool) VR {
	v := VROf(t)
	if signed && v == US {
		if known := lookup(t); known != nil && known.signed {
			return SS
		}
	}
	return v
}

type form uint8

const (
	unknownForm form = iota
	shortForm        // 16-bit length
	longForm         // two reserved bytes and a 32-bit length
)

// vrForm returns how the header of an explicit VR is laid out (PS3.5 Tables 7.1-1 and 7.1-2).
func vrForm(v VR) form {
	switch v {
	case AE, AS, AT, CS, DA, DS, DT, FD, FL, IS, LO, LT, PN, SH, SL, SS, ST, TM, UI, UL, US:
		return shortForm
	case OB, OD, OF, OL, OV, OW, SQ, SV, UC, UN, UR, UT, UV:
		return longForm
	}
	return unknownForm
}

func isLetter(b byte) bool { return b >= 'A' && b <= 'Z' }

func uint16At(b []byte, big bool) uint16 {
	if big {
		return binary.BigEndian.Uint16(b)
	}
	return binary.LittleEndian.Uint16(b)
}

func uint32At(b []byte, big bool) uint32 {
	if big {
		return binary.BigEndian.Uint32(b)
	}
	return binary.LittleEndian.Uint32(b)
}

func tagAt(b []byte, big bool) Tag { return Tag(uint16At(b, big))<<16 | Tag(uint16At(b[2:], big)) }
