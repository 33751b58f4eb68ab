package index

import (
	"encoding/binary"
	"unsafe"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/fault"
)

// Rows are varints, fixed arrays and length-prefixed strings one after another.

func appendString[S string | []byte](b []byte, s S) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

func appendStrings(b []byte, ss []string) []byte {
	b = binary.AppendUvarint(b, uint64(len(ss)))
	for _, s := range ss {
		b = appendString(b, s)
	}
	return b
}

func appendSource(b []byte, s archive.Source) []byte {
	b = append(b, s.Fact[:]...)
	return append(b, s.Blob[:]...)
}

func appendAttrs(b []byte, as archive.Attrs) []byte {
	b = binary.AppendUvarint(b, uint64(len(as)))
	for i := range as {
		a := &as[i]
		b = binary.BigEndian.AppendUint32(b, uint32(a.Tag))
		b = binary.BigEndian.AppendUint16(b, uint16(a.VR))
		b = appendString(b, a.Value)
	}
	return b
}

// decoder reads what the append functions wrote. The first error sticks; it
// never reads past the end nor allocates more than is there.
type decoder struct {
	b   []byte
	bad bool
}

var errRow = fault.New(fault.Corrupt, "a row of the index cannot be read; rebuild the index (strata rebuild)")

func (d *decoder) err() error {
	if d.bad {
		return errRow
	}
	return nil
}

func (d *decoder) uint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.bad, d.b = true, nil
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) int() int64 { return int64(d.uint()) }

func (d *decoder) take(n uint64) []byte {
	if n > uint64(len(d.b)) {
		d.bad, d.b = true, nil
		return nil
	}
	v := d.b[:n:n]
	d.b = d.b[n:]
	return v
}

func (d *decoder) fixed(dst []byte) { copy(dst, d.take(uint64(len(dst)))) }

func (d *decoder) bytes() []byte { return d.take(d.uint()) }

// string returns a string that shares the row's bytes, which nobody writes to again.
func (d *decoder) string() string {
	b := d.bytes()
	if len(b) == 0 {
		return ""
	}
	return unsafe.String(&b[0], len(b))
}

func (d *decoder) count(least int) int {
	n := d.uint()
	if n > uint64(len(d.b)/least) {
		d.bad, d.b = true, nil
		return 0
	}
	return int(n)
}

func (d *decoder) strings() []string {
	n := d.count(1)
	if n == 0 {
		return nil
	}
	ss := make([]string, n)
	for i := range ss {
		ss[i] = d.string()
	}
	return ss
}

func (d *decoder) source() (s archive.Source) {
	d.fixed(s.Fact[:])
	d.fixed(s.Blob[:])
	return s
}

func (d *decoder) attrs() archive.Attrs {
	n := d.count(7)
	if n == 0 {
		return nil
	}
	as := make(archive.Attrs, n)
	for i := range as {
		if h := d.take(6); h != nil {
			as[i].Tag = dicom.Tag(binary.BigEndian.Uint32(h))
			as[i].VR = dicom.VR(binary.BigEndian.Uint16(h[4:]))
		}
		as[i].Value = d.string()
	}
	return as
}
