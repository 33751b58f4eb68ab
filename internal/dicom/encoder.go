package dicom

import (
	"bufio"
	"encoding/binary"
	"io"
	"sync"

	"github.com/klauspost/compress/flate"
)

// encoder writes headers and values in one transfer syntax. Errors stick to
// the buffered writer and come out of finish.
type encoder struct {
	file *bufio.Writer // the file
	w    *bufio.Writer // the data set: file, or deflated into it
	fl   *flate.Writer
	size *counter
	enc  encoding
}

const encoderBuffer = 32 << 10

func newEncoder(w io.Writer) *encoder {
	f := bufio.NewWriterSize(w, encoderBuffer)
	return &encoder{file: f, w: f}
}

// begin writes the preamble and the File Meta Information and turns to the
// transfer syntax of the data set.
func (e *encoder) begin(meta *Dataset, own []Element, syntax string) {
	e.writeMeta(meta, own, syntax)
	ts := Syntax(syntax)
	e.enc = encoding{implicit: ts.Implicit, big: ts.BigEndian}
	if !ts.Deflated {
		return
	}
	e.size = &counter{w: e.file}
	e.fl = deflaters.Get().(*flate.Writer)
	e.fl.Reset(e.size)
	e.w = bufio.NewWriterSize(e.fl, encoderBuffer)
}

// deflaters are large: a megabyte each.
var deflaters = sync.Pool{New: func() any {
	w, err := flate.NewWriter(nil, flate.DefaultCompression)
	if err != nil { // the level is a constant
		panic(err)
	}
	return w
}}

// release gives back what was taken for deflating. The encoder is not used after it.
func (e *encoder) release() {
	if e.fl != nil {
		e.fl.Reset(nil)
		deflaters.Put(e.fl)
		e.fl = nil
	}
}

// finish writes what is buffered.
func (e *encoder) finish() error {
	if e.fl != nil {
		if err := e.w.Flush(); err != nil {
			return err
		}
		if err := e.fl.Close(); err != nil {
			return err
		}
		if e.size.n%2 == 1 { // PS3.5 §A.5
			e.file.WriteByte(0)
		}
	}
	return e.file.Flush()
}

// counter counts the bytes it passes on.
type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

func (e *encoder) order() binary.AppendByteOrder {
	if e.enc.big {
		return binary.BigEndian
	}
	return binary.LittleEndian
}

// fits reports whether a value of n bytes can have the VR; past 64 KiB most
// become UN (PS3.5 §6.2.2).
func (e *encoder) fits(v VR, n int64) bool {
	return e.enc.implicit || vrForm(v) == longForm || vrForm(v) == shortForm && n <= 0xFFFE
}

// header writes what stands before a value whose VR fits.
func (e *encoder) header(t Tag, v VR, length uint32) {
	o := e.order()
	b := o.AppendUint16(e.w.AvailableBuffer(), t.Group())
	b = o.AppendUint16(b, t.Element())
	switch {
	case e.enc.implicit || t.Group() == 0xFFFE:
		b = o.AppendUint32(b, length)
	case vrForm(v) == shortForm:
		b = o.AppendUint16(append(b, byte(v>>8), byte(v)), uint16(length))
	default:
		b = o.AppendUint32(append(b, byte(v>>8), byte(v), 0, 0), length)
	}
	e.w.Write(b)
}

// padding returns the byte that makes a value of odd length even (PS3.5 §6.2).
func padding(v VR) byte {
	switch v {
	case AE, AS, CS, DA, DS, DT, IS, LO, LT, PN, SH, ST, TM, UC, UR, UT:
		return ' '
	}
	return 0
}

// The elements of the File Meta Information that are written anew.
const (
	metaLength  Tag = 0x00020000
	metaVersion Tag = 0x00020001
	metaClass   Tag = 0x00020002
	metaUID     Tag = 0x00020003
	metaSyntax  Tag = 0x00020010
	metaImpl    Tag = 0x00020012
	metaImplVer Tag = 0x00020013
)

// Strata's Implementation Class UID, derived from a UUID (PS3.5 §B.2), and version name.
const (
	implementationUID  = "2.25.275132055333109783027027786455584026100"
	implementationName = "STRATA"
)

// writeMeta writes preamble, prefix and File Meta Information: the elements of
// meta, or else of own, with what PS3.10 §7.1 demands made right.
func (e *encoder) writeMeta(meta *Dataset, own []Element, syntax string) {
	if meta != nil {
		own = meta.Elements
	}
	elements := []Element{{Tag: metaVersion, VR: OB, Value: []byte{0, 1}}, {Tag: metaSyntax, VR: UI, Value: []byte(syntax)}}
	impl := false
	for _, m := range own {
		switch {
		case m.Tag == metaLength, m.Tag == metaVersion, m.Tag == metaSyntax, m.Tag.Group() != 2, m.Bulk, m.IsSequence():
			continue
		}
		impl = impl || m.Tag == metaImpl
		elements = append(elements, m)
	}
	if !impl {
		elements = append(elements, Element{Tag: metaImpl, VR: UI, Value: []byte(implementationUID)},
			Element{Tag: metaImplVer, VR: SH, Value: []byte(implementationName)})
	}
	sortElements(elements)
	n := 0
	for i := range elements {
		n += 8 + (len(elements[i].Value)+1)&^1
		if vrForm(elements[i].VR) == longForm {
			n += 4
		}
	}
	e.w.Write(make([]byte, 128))
	e.w.WriteString("DICM")
	e.header(metaLength, UL, 4)
	e.w.Write(binary.LittleEndian.AppendUint32(nil, uint32(n)))
	for i := range elements {
		m := &elements[i]
		e.header(m.Tag, m.VR, uint32(len(m.Value)+1)&^1)
		e.w.Write(m.Value)
		e.padTo(m.VR, int64(len(m.Value)))
	}
}

// padTo makes a value of n bytes even.
func (e *encoder) padTo(v VR, n int64) {
	if n%2 == 1 {
		e.w.WriteByte(padding(v))
	}
}
