package media

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/strata-pacs/strata/internal/dicom"
)

// record is one directory record (PS3.3 F.3.2.2) and its lower level.
type record struct {
	kind  string // Directory Record Type
	keys  []field
	lower []*record

	at int64 // offset in the DICOMDIR of the record's item
}

// field is an element of a record, its value already encoded.
type field struct {
	tag   dicom.Tag
	vr    dicom.VR
	value string
}

const (
	mediaStorageDirectory = "1.2.840.10008.1.3.10"
	explicitVRLE          = "1.2.840.10008.1.2.1"
	implementationClass   = "2.25.209151239814927380149874392650917023468"
)

// directory encodes a DICOMDIR of the root records (PS3.3 F.3, PS3.10 §8.6).
// The offsets that link the records count from the file's first byte.
func directory(fileSetID, instanceUID string, root []*record) ([]byte, error) {
	// The layout does not depend on the offsets' values: encode once to learn
	// where every record is, then again with the links right.
	var out []byte
	for range 2 {
		e := &encoder{}
		e.b.Write(make([]byte, 128))
		e.b.WriteString("DICM")
		meta := &encoder{}
		meta.element(0x00020001, dicom.OB, "\x00\x01")
		meta.element(0x00020002, dicom.UI, mediaStorageDirectory)
		meta.element(0x00020003, dicom.UI, instanceUID)
		meta.element(0x00020010, dicom.UI, explicitVRLE)
		meta.element(0x00020012, dicom.UI, implementationClass)
		e.element(0x00020000, dicom.UL, ul(int64(meta.b.Len())))
		e.b.Write(meta.b.Bytes())
		e.element(0x00041130, dicom.CS, fileSetID)
		var first, last int64
		if len(root) > 0 {
			first, last = root[0].at, root[len(root)-1].at
		}
		e.element(0x00041200, dicom.UL, ul(first))
		e.element(0x00041202, dicom.UL, ul(last))
		e.element(0x00041212, dicom.US, "\x00\x00")
		items := &encoder{at: int64(e.b.Len()) + 12}
		items.records(root)
		e.element(uint32(tagDirectoryRecords), dicom.SQ, items.b.String())
		out = e.b.Bytes()
	}
	if int64(len(out)) > 1<<32-1 {
		return nil, fmt.Errorf("the directory would be larger than 4 GiB")
	}
	return out, nil
}

type encoder struct {
	b  bytes.Buffer
	at int64 // offset of b in the file
}

// records writes a level, each record followed by its lower level.
func (e *encoder) records(level []*record) {
	for i, r := range level {
		r.at = e.at + int64(e.b.Len())
		var next, lower int64
		if i+1 < len(level) {
			next = level[i+1].at
		}
		if len(r.lower) > 0 {
			lower = r.lower[0].at
		}
		item := &encoder{}
		item.element(0x00041400, dicom.UL, ul(next))
		item.element(0x00041410, dicom.US, "\xff\xff")
		item.element(0x00041420, dicom.UL, ul(lower))
		item.element(0x00041430, dicom.CS, r.kind)
		for _, f := range r.keys {
			item.element(uint32(f.tag), f.vr, f.value)
		}
		e.header(0xFFFEE000, 0, item.b.Len())
		e.b.Write(item.b.Bytes())
		e.records(r.lower)
	}
}

// element writes an explicit little endian element, padded (PS3.5 §7.1.2).
func (e *encoder) element(tag uint32, vr dicom.VR, value string) {
	if len(value)%2 == 1 {
		pad := " "
		if vr == dicom.UI || vr == dicom.OB {
			pad = "\x00"
		}
		value += pad
	}
	e.header(tag, vr, len(value))
	e.b.WriteString(value)
}

func (e *encoder) header(tag uint32, vr dicom.VR, n int) {
	var h []byte
	h = binary.LittleEndian.AppendUint16(h, uint16(tag>>16))
	h = binary.LittleEndian.AppendUint16(h, uint16(tag))
	switch vr {
	case 0:
		h = binary.LittleEndian.AppendUint32(h, uint32(n))
	case dicom.OB, dicom.SQ, dicom.UN:
		h = append(h, byte(vr>>8), byte(vr), 0, 0)
		h = binary.LittleEndian.AppendUint32(h, uint32(n))
	default:
		h = append(h, byte(vr>>8), byte(vr))
		h = binary.LittleEndian.AppendUint16(h, uint16(n))
	}
	e.b.Write(h)
}

func ul(n int64) string { return string(binary.LittleEndian.AppendUint32(nil, uint32(n))) }
