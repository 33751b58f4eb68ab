package dicom

import "strconv"

// ByReference reports whether DICOM JSON and XML refer to the element's value
// by BulkDataURI (PS3.18 §F.2.6) instead of carrying it: what was not held, all
// pixel data, and binary values of more than 1024 bytes.
func (e *Element) ByReference() bool {
	switch {
	case e.Bulk || e.Fragments != nil:
		return true
	case e.Items != nil || e.Length == 0 && len(e.Value) == 0:
		return false
	case isPixelData(e.Tag):
		return true
	}
	switch e.VR {
	case OB, OD, OF, OL, OV, OW, UN:
		return max(e.Length, int64(len(e.Value))) > inlineBinary
	}
	return false
}

// inlineBinary is the largest binary value that DICOM JSON carries inline, in bytes.
const inlineBinary = 1024

// BulkValue is where a value lies that DICOM JSON refers to.
type BulkValue struct {
	// Path names the element: "7FE00010", inside sequences "52009229/0/00289110/2/00081234"
	// with items counted from 0.
	Path string
	VR   VR
	Span // as Element.Offset and Element.Length
}

// Layout is where the values of an instance lie that are read without its
// header: bulk values and frames. It is made once, when the instance is stored.
// Its zero value is that of an instance with neither.
type Layout struct {
	BigEndian bool // values of more than one byte are big endian
	Deflated  bool // offsets count in the file with its data set inflated
	// Bulk holds every element for which ByReference is true, in the order of the file.
	Bulk   []BulkValue
	Frames Frames
}

// NewLayout returns the layout of a file that [Read] has read. Pixel data that
// contradicts the attributes describing it is no error here but when one of
// its frames is asked for.
func NewLayout(f *File) (*Layout, error) {
	l := &Layout{BigEndian: Syntax(f.Syntax).BigEndian, Deflated: f.Deflated}
	l.collect(f.Data, "")
	l.Frames = newFrames(f)
	return l, nil
}

func (l *Layout) collect(d *Dataset, prefix string) {
	for i := range d.Elements {
		e := &d.Elements[i]
		if e.ByReference() {
			l.Bulk = append(l.Bulk, BulkValue{prefix + e.Tag.String(), e.VR, Span{e.Offset, e.Length}})
			continue
		}
		for n, item := range e.Items {
			if hasBulk(item) {
				l.collect(item, prefix+e.Tag.String()+"/"+strconv.Itoa(n)+"/")
			}
		}
	}
}

// hasBulk spares items without bulk values, nearly all, the making of their path.
func hasBulk(d *Dataset) bool {
	for i := range d.Elements {
		e := &d.Elements[i]
		if e.ByReference() {
			return true
		}
		for _, item := range e.Items {
			if hasBulk(item) {
				return true
			}
		}
	}
	return false
}

// Find returns the bulk value of the path, or nil.
func (l *Layout) Find(path string) *BulkValue {
	for i := range l.Bulk {
		if l.Bulk[i].Path == path {
			return &l.Bulk[i]
		}
	}
	return nil
}
