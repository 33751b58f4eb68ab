package sim

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/strata-pacs/strata/internal/archive"
)

// What may never be readable in any object: a part of every patient's name and
// id, and the beginning of every UID.
const (
	nameMark = "Zyzzyva"
	idMark   = "PATSIM"
	root     = "1.2.826.0.1.3680043.8.498."
	ctImage  = "1.2.840.10008.5.1.4.1.1.2"
)

// item is an instance that a user sends. The version tells apart those of the
// same UIDs.
type item struct {
	study, series, sop, version, size int
}

func (i item) uids() archive.UIDs {
	study := fmt.Sprintf("%s%d", root, i.study+1)
	return archive.UIDs{Study: study, Series: fmt.Sprintf("%s.%d", study, i.series+1), Instance: fmt.Sprintf("%s77.%d", root, i.sop+1)}
}

func (i item) String() string {
	return fmt.Sprintf("%d/%d/%d v%d", i.study, i.series, i.sop, i.version)
}

// bytes returns the Part 10 file, always the same for the same item.
func (i item) bytes() []byte {
	u := i.uids()
	var meta, data encoder
	meta.element(0x0002, 0x0001, "OB", []byte{0, 1})
	meta.text(0x0002, 0x0002, "UI", ctImage)
	meta.text(0x0002, 0x0003, "UI", u.Instance)
	meta.text(0x0002, 0x0010, "UI", "1.2.840.10008.1.2.1")

	data.text(0x0008, 0x0016, "UI", ctImage)
	data.text(0x0008, 0x0018, "UI", u.Instance)
	data.text(0x0008, 0x0020, "DA", fmt.Sprintf("202401%02d", i.study+1))
	data.text(0x0008, 0x0060, "CS", []string{"CT", "MR"}[i.series%2])
	data.text(0x0010, 0x0010, "PN", fmt.Sprintf("%s^V%d", nameMark, i.version%2))
	data.text(0x0010, 0x0020, "LO", fmt.Sprintf("%s-%d", idMark, i.study))
	data.text(0x0020, 0x000D, "UI", u.Study)
	data.text(0x0020, 0x000E, "UI", u.Series)
	data.text(0x0020, 0x0011, "IS", fmt.Sprint(i.series))
	data.text(0x0020, 0x0013, "IS", fmt.Sprint(i.sop))
	pixels := make([]byte, i.size)
	r := rand.New(rand.NewPCG(uint64(i.version), uint64(i.study<<16|i.series<<8|i.sop)))
	for at := 0; at+8 <= len(pixels); at += 8 {
		binary.LittleEndian.PutUint64(pixels[at:], r.Uint64())
	}
	data.element(0x7FE0, 0x0010, "OB", pixels)

	b := make([]byte, 128, 512+len(meta)+len(data))
	b = append(b, "DICM"...)
	var length encoder
	length.element(0x0002, 0x0000, "UL", binary.LittleEndian.AppendUint32(nil, uint32(len(meta))))
	return append(append(append(b, length...), meta...), data...)
}

// encoder writes Explicit VR Little Endian.
type encoder []byte

func (e *encoder) text(group, element uint16, vr, value string) {
	if pad := " "; len(value)%2 == 1 {
		if vr == "UI" {
			pad = "\x00"
		}
		value += pad
	}
	e.element(group, element, vr, []byte(value))
}

func (e *encoder) element(group, element uint16, vr string, value []byte) {
	b := binary.LittleEndian.AppendUint16(*e, group)
	b = binary.LittleEndian.AppendUint16(b, element)
	b = append(b, vr...)
	if strings.HasPrefix(vr, "O") {
		b = binary.LittleEndian.AppendUint32(append(b, 0, 0), uint32(len(value)))
	} else {
		b = binary.LittleEndian.AppendUint16(b, uint16(len(value)))
	}
	*e = append(b, value...)
}
