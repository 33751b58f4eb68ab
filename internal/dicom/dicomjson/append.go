// Package dicomjson writes and reads the DICOM JSON Model (PS3.18 Annex F).
//
// Out: [Append] for whole data sets, once an instance is stored; [AppendAttr]
// for attributes as the index keeps them, in every answer to a query. The text
// has no space anywhere and is UTF-8, and bulk data is referred to by URIs
// relative to the instance, `"BulkDataURI":"bulkdata/7FE00010"`: who sends it
// puts a base before them.
//
// In: [Parse] for what clients store, tolerant of what they are known to send;
// [Elements] and [ParseAttr] for text that Append wrote.
package dicomjson

import (
	"encoding/base64"
	"encoding/binary"
	"slices"
	"strconv"

	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/dicom/charset"
)

const (
	charsetTag  dicom.Tag = 0x00080005
	charsetText           = `"00080005":{"vr":"CS","Value":["ISO_IR 192"]}`
)

// BulkPrefix begins every BulkDataURI that Append writes.
const BulkPrefix = "bulkdata/"

// Append appends the JSON object of the data set (PS3.18 §F.2.2). Group
// lengths, file meta information and repeated tags are left out. Text becomes
// UTF-8, which Specific Character Set then says: where there is one, and where
// any text needs it. Elements of a VR that does not exist are UN.
//
// What was sent as UN although the dictionary knows it is written as the
// dictionary says (PS3.5 §6.2.2), unless it is a sequence or bulk data.
//
// DS, IS, SV and UV are numbers where a reader in double precision gets the
// value as it is, strings otherwise. NaN and infinities of FL and FD, which JSON
// cannot write, are the strings "NaN", "Infinity" and "-Infinity".
func Append(dst []byte, d *dicom.Dataset) []byte {
	w := writer{buf: dst}
	var path [64]byte
	w.path = path[:0]
	w.dataset(d, true)
	return w.buf
}

// AppendItems appends the JSON array of the items of e, a sequence of d.
func AppendItems(dst []byte, e *dicom.Element) []byte {
	w := writer{buf: dst}
	w.path = append(e.Tag.Append(nil), '/')
	w.items(e)
	return w.buf
}

// writer appends to buf.
type writer struct {
	buf     []byte
	path    []byte // of the item being written: "52009229/0/"
	text    []byte // a value decoded, or swapped
	unicode bool   // some text is not ASCII
}

// dataset writes a data set, or an item.
func (w *writer) dataset(d *dicom.Dataset, top bool) {
	w.buf = append(w.buf, '{')
	start := len(w.buf)
	charsetAt := -1
	seen := order{}
	for i := range d.Elements {
		e := &d.Elements[i]
		switch {
		case e.Tag.IsGroupLength(), e.Tag.Group() <= 2, seen.again(d.Elements[:i], e.Tag):
			continue
		case e.Tag >= charsetTag && charsetAt < 0:
			charsetAt = len(w.buf)
		}
		if len(w.buf) > start {
			w.buf = append(w.buf, ',')
		}
		if e.Tag == charsetTag {
			w.buf = append(w.buf, charsetText...)
			top = false // said already
			continue
		}
		w.element(d, e)
	}
	if top && w.unicode {
		if charsetAt < 0 {
			charsetAt = len(w.buf)
		}
		if charsetAt > start {
			w.buf = slices.Insert(w.buf, charsetAt, []byte(","+charsetText)...)
		} else {
			w.buf = slices.Insert(w.buf, charsetAt, []byte(charsetText+",")...)
		}
	}
	w.buf = append(w.buf, '}')
}

// order notices tags that are not ascending, which valid data sets do not have.
type order struct {
	last dicom.Tag
	tags map[dicom.Tag]bool // from the first that was not
}

// again reports whether the tag was there before, among the elements so far.
func (o *order) again(sofar []dicom.Element, t dicom.Tag) bool {
	if o.tags == nil {
		if t > o.last || len(sofar) == 0 {
			o.last = t
			return false
		}
		o.tags = make(map[dicom.Tag]bool, len(sofar))
		for i := range sofar {
			o.tags[sofar[i].Tag] = true
		}
	}
	if o.tags[t] {
		return true
	}
	o.tags[t] = true
	return false
}

func (w *writer) element(d *dicom.Dataset, e *dicom.Element) {
	vr := e.VR
	switch {
	case e.IsSequence():
		vr = dicom.SQ
	case !exists(vr):
		vr = dicom.UN
	}
	if vr == dicom.UN && !e.ByReference() {
		if known := dicom.VROf(e.Tag); known != dicom.UN && known != dicom.SQ {
			// It is in little endian, whatever the data set is (CP-246).
			vr, e = known, &dicom.Element{Tag: e.Tag, VR: known, Value: e.Value}
			d = &dicom.Dataset{Charset: d.Charset}
		}
	}
	w.buf = appendHead(w.buf, e.Tag, vr)
	size := dicom.NumberSize(vr)
	switch {
	case vr == dicom.SQ:
		if len(e.Items) > 0 {
			n := len(w.path)
			w.path = append(e.Tag.Append(w.path), '/')
			w.buf = append(w.buf, `,"Value":`...)
			w.items(e)
			w.path = w.path[:n]
		}
	case e.ByReference():
		w.buf = append(w.buf, `,"BulkDataURI":"`+BulkPrefix...)
		w.buf = append(w.buf, w.path...)
		w.buf = append(e.Tag.Append(w.buf), '"')
	case size > 0:
		w.numbers(d, e, size)
	case vr.IsText():
		text := e.Value
		if !charset.IsASCII(text) {
			w.unicode = true
			set := charset.Parse(d.Charset)
			w.text = set.Append(w.text[:0], text, vr.TextKind())
			text = w.text
		}
		w.buf = appendText(w.buf, vr, text)
	case len(e.Value) > 0:
		w.buf = append(w.buf, `,"InlineBinary":"`...)
		w.buf = base64.StdEncoding.AppendEncode(w.buf, w.littleEndian(d, e))
		w.buf = append(w.buf, '"')
	}
	w.buf = append(w.buf, '}')
}

// items writes the items of a sequence; w.path is the sequence's.
func (w *writer) items(e *dicom.Element) {
	n := len(w.path)
	w.buf = append(w.buf, '[')
	for i, item := range e.Items {
		if i > 0 {
			w.buf = append(w.buf, ',')
		}
		w.path = append(strconv.AppendInt(w.path, int64(i), 10), '/')
		w.dataset(item, false)
		w.path = w.path[:n]
	}
	w.buf = append(w.buf, ']')
}

// numbers writes binary numbers. A rest shorter than a number is dropped.
func (w *writer) numbers(d *dicom.Dataset, e *dicom.Element, size int) {
	order := d.Order
	if order == nil {
		order = binary.LittleEndian
	}
	for v := e.Value; len(v) >= size; v = v[size:] {
		if len(v) == len(e.Value) {
			w.buf = append(w.buf, `,"Value":[`...)
		} else {
			w.buf = append(w.buf, ',')
		}
		start := len(w.buf)
		switch w.buf = dicom.AppendNumber(w.buf, e.VR, order, v[:size]); e.VR {
		case dicom.US, dicom.SS, dicom.UL, dicom.SL:
		default:
			if e.VR == dicom.AT || !numeric(w.buf[start:], e.VR) {
				w.buf = append(w.buf, '"', '"')
				copy(w.buf[start+1:], w.buf[start:len(w.buf)-2])
				w.buf[start] = '"'
				w.buf[len(w.buf)-1] = '"'
			}
		}
	}
	if len(e.Value) >= size {
		w.buf = append(w.buf, ']')
	}
}

// littleEndian returns the binary value in little endian, as InlineBinary is
// (PS3.18 §F.2.7). The bytes of OB and UN have no order.
func (w *writer) littleEndian(d *dicom.Dataset, e *dicom.Element) []byte {
	if d.Order != binary.BigEndian {
		return e.Value
	}
	size := 1
	switch e.VR {
	case dicom.OW:
		size = 2
	case dicom.OF, dicom.OL:
		size = 4
	case dicom.OD, dicom.OV:
		size = 8
	}
	if size == 1 {
		return e.Value
	}
	w.text = append(w.text[:0], e.Value...)
	for b := w.text; len(b) >= size; b = b[size:] {
		slices.Reverse(b[:size])
	}
	return w.text
}

// exists reports whether the standard has the VR.
func exists(v dicom.VR) bool {
	switch v {
	case dicom.OB, dicom.OD, dicom.OF, dicom.OL, dicom.OV, dicom.OW, dicom.UN, dicom.SQ:
		return true
	}
	return v.IsText() || dicom.NumberSize(v) > 0
}
