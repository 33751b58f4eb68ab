package dicom

import "fmt"

// Tag identifies an attribute: group number in the high 16 bits, element
// number in the low 16 (PS3.5 §7.1.1).
type Tag uint32

// Group returns the group number.
func (t Tag) Group() uint16 { return uint16(t >> 16) }

// Element returns the element number within the group.
func (t Tag) Element() uint16 { return uint16(t) }

// IsPrivate reports whether the tag's group is odd (PS3.5 §7.8).
func (t Tag) IsPrivate() bool { return t>>16&1 == 1 }

// IsPrivateCreator reports whether the tag reserves a block of private elements (PS3.5 §7.8.1).
func (t Tag) IsPrivateCreator() bool {
	return t.IsPrivate() && t.Element() >= 0x0010 && t.Element() <= 0x00FF
}

// IsGroupLength reports whether the tag is a group length, element 0000 (PS3.5 §7.2).
func (t Tag) IsGroupLength() bool { return t&0xFFFF == 0 }

// String returns the eight upper-case hexadecimal digits that DICOM JSON uses as a key (PS3.18 §F.2.2).
func (t Tag) String() string { return fmt.Sprintf("%08X", uint32(t)) }

// VR is a value representation: its two letters, the first in the high byte (PS3.5 §6.2).
type VR uint16

// MakeVR returns the VR of two letters.
func MakeVR(a, b byte) VR { return VR(a)<<8 | VR(b) }

// String returns the two letters.
func (v VR) String() string { return string([]byte{byte(v >> 8), byte(v)}) }

// The value representations of PS3.5 Table 6.2-1.
const (
	AE VR = 'A'<<8 | 'E'
	AS VR = 'A'<<8 | 'S'
	AT VR = 'A'<<8 | 'T'
	CS VR = 'C'<<8 | 'S'
	DA VR = 'D'<<8 | 'A'
	DS VR = 'D'<<8 | 'S'
	DT VR = 'D'<<8 | 'T'
	FD VR = 'F'<<8 | 'D'
	FL VR = 'F'<<8 | 'L'
	IS VR = 'I'<<8 | 'S'
	LO VR = 'L'<<8 | 'O'
	LT VR = 'L'<<8 | 'T'
	OB VR = 'O'<<8 | 'B'
	OD VR = 'O'<<8 | 'D'
	OF VR = 'O'<<8 | 'F'
	OL VR = 'O'<<8 | 'L'
	OV VR = 'O'<<8 | 'V'
	OW VR = 'O'<<8 | 'W'
	PN VR = 'P'<<8 | 'N'
	SH VR = 'S'<<8 | 'H'
	SL VR = 'S'<<8 | 'L'
	SQ VR = 'S'<<8 | 'Q'
	SS VR = 'S'<<8 | 'S'
	ST VR = 'S'<<8 | 'T'
	SV VR = 'S'<<8 | 'V'
	TM VR = 'T'<<8 | 'M'
	UC VR = 'U'<<8 | 'C'
	UI VR = 'U'<<8 | 'I'
	UL VR = 'U'<<8 | 'L'
	UN VR = 'U'<<8 | 'N'
	UR VR = 'U'<<8 | 'R'
	US VR = 'U'<<8 | 'S'
	UT VR = 'U'<<8 | 'T'
	UV VR = 'U'<<8 | 'V'
)
