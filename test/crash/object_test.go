//go:build linux

package crash

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

const (
	tiny   = 600
	medium = 600 << 10
	large  = 17 << 20
)

// study is a study the tests send, and what of it was acknowledged.
type study struct {
	uid, patient, name string
	objects            []*object
	deleted            bool      // acknowledged; nothing more is sent of it
	gone               time.Time // when it was last deleted
	doubt              bool      // whether it is deleted now
	story              []string  // for failures
}

// object is an instance. Its bytes are made anew whenever they are needed.
type object struct {
	study       *study
	series, uid string
	number      int
	size        int // of the pixel data
	sum         [sha256.Size]byte
	acked       bool
	deleted     bool
}

const root = "1.2.826.0.1.3680043.8.498."

// newStudy returns the n-th study of a run.
func newStudy(n int) *study {
	return &study{uid: fmt.Sprintf("%s%d", root, n), patient: fmt.Sprintf("CRASH-%d", n), name: fmt.Sprintf("Halt^Number%d", n)}
}

// add makes the study's next instance.
func (s *study) add(size int) *object {
	n := len(s.objects) + 1
	series := fmt.Sprintf("%s.%d", s.uid, n%3+1)
	o := &object{study: s, series: series, uid: fmt.Sprintf("%s.%d", series, n), number: n, size: size}
	o.sum = sha256.Sum256(o.bytes())
	s.objects = append(s.objects, o)
	return o
}

func (o *object) bytes() []byte {
	var meta, data encoder
	meta.element(0x0002, 0x0001, "OB", []byte{0, 1})
	meta.text(0x0002, 0x0002, "UI", ctImage)
	meta.text(0x0002, 0x0003, "UI", o.uid)
	meta.text(0x0002, 0x0010, "UI", "1.2.840.10008.1.2.1")

	data.text(0x0008, 0x0016, "UI", ctImage)
	data.text(0x0008, 0x0018, "UI", o.uid)
	data.text(0x0008, 0x0020, "DA", "20240229")
	data.text(0x0008, 0x0060, "CS", "CT")
	data.text(0x0010, 0x0010, "PN", o.study.name)
	data.text(0x0010, 0x0020, "LO", o.study.patient)
	data.text(0x0020, 0x000D, "UI", o.study.uid)
	data.text(0x0020, 0x000E, "UI", o.series)
	data.text(0x0020, 0x0013, "IS", fmt.Sprint(o.number))
	pixels := make([]byte, o.size)
	var seed [32]byte
	copy(seed[:], o.uid)
	_, _ = rand.NewChaCha8(seed).Read(pixels) // never fails
	data.element(0x7FE0, 0x0010, "OB", pixels)

	b := make([]byte, 128, 512+len(meta)+len(data))
	b = append(b, "DICM"...)
	var length encoder
	length.element(0x0002, 0x0000, "UL", binary.LittleEndian.AppendUint32(nil, uint32(len(meta))))
	return append(append(append(b, length...), meta...), data...)
}

const ctImage = "1.2.840.10008.5.1.4.1.1.2"

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
