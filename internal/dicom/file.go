package dicom

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"

	"github.com/strata-pacs/strata/internal/fault"
)

// File is what [Read] understood of a Part 10 file (PS3.10 §7).
type File struct {
	// Preamble reports whether the file begins as PS3.10 §7.1 demands: 128
	// bytes and DICM. A file without it is not one to hand on as application/dicom.
	Preamble bool
	// Meta is the File Meta Information, group 0002; nil when there is none.
	Meta *Dataset
	// Syntax is the UID of the transfer syntax that the data set is encoded
	// in: that of (0002,0010), or what the bytes look like when it is absent or
	// plainly wrong (a warning says so).
	Syntax string
	// Deflated says that offsets count in the file with its data set inflated.
	Deflated bool
	Data     *Dataset
	Size     int64 // bytes of the file as read, trailing ones too
	// Warnings are sentences about what the file does wrong and the reader
	// passed over. They hold tags, no values.
	Warnings []string

	// Of the encapsulated Pixel Data of the data set itself, for NewLayout.
	offsets []byte   // the Basic Offset Table
	starts  []uint64 // a bit a fragment: it begins a code stream
}

// Read reads a DICOM file of any transfer syntax from r to its end, in one
// pass. It holds no value larger than the limits say and no pixel data.
//
// The error is fault.Invalid when the bytes are not DICOM, or are cut short;
// fault.TooLarge past a limit; an error of r is wrapped as it is. After an
// error, r has not been read to its end; the file, unless nil, holds the
// elements of the data set that were complete by then.
func Read(ctx context.Context, r io.Reader, l Limits) (*File, error) {
	rd := newReader(ctx, r, l)
	defer rd.release()
	f, sc, err := rd.begin()
	if err != nil {
		return nil, err
	}
	if err := rd.walk(rd, sc); err != nil {
		f.Data = rd.complete(sc)
		return f, err
	}
	f.Data = rd.finishDataset(0, sc)
	if err := rd.finish(f); err != nil {
		return nil, err
	}
	return f, nil
}

// begin reads up to the data set.
func (r *reader) begin() (*File, *scope, error) {
	f := &File{}
	b := r.s.window(132)
	switch {
	case len(b) >= 132 && string(b[128:132]) == "DICM":
		f.Preamble = true
		r.s.take(132)
	case len(b) >= 8 && string(b[:4]) == "DICM":
		r.s.take(4)
		r.warn("the file has no preamble")
	default:
		if r.s.err != nil && r.s.err != io.EOF {
			return nil, nil, r.s.failure()
		}
		if _, ok := sniff(b); !ok {
			return nil, nil, fault.New(fault.Invalid, "this is not a DICOM file: it begins with neither a preamble and DICM nor a data element")
		}
		r.warn("the file has no preamble")
	}
	label, err := r.meta(f)
	if err != nil {
		return nil, nil, err
	}
	sc := &scope{end: -1}
	if err := r.settle(f, label, sc); err != nil {
		return nil, nil, err
	}
	return f, sc, nil
}

// meta reads the File Meta Information, which is Explicit VR Little Endian
// (PS3.10 §7.1), and returns the transfer syntax that it names. It ends where
// group 0002 does: its group length is too often wrong.
func (r *reader) meta(f *File) (label string, err error) {
	sc := &scope{end: -1}
	r.keep = true
	defer func() { r.keep = false }()
	base, end := len(r.stack), int64(-1)
	for r.s.offset() != end {
		b := r.s.window(12)
		if len(b) < 8 || uint16At(b, false) != 0x0002 {
			break
		}
		h, err := r.peek(sc)
		if err != nil {
			return "", err
		}
		if h.length == undefined {
			return "", fault.New(fault.Invalid, "%s of the File Meta Information has no length", name(h.tag))
		}
		if err := r.element(r, h, sc); err != nil {
			return "", err
		}
		switch e := &r.stack[len(r.stack)-1]; {
		case e.Tag == 0x00020010:
			label = string(bytes.TrimRight(e.Value, " \x00"))
		case e.Tag == 0x00020000 && len(e.Value) == 4:
			// Believed only where the data set is deflated and has no group of its own to see.
			end = r.s.offset() + int64(binary.LittleEndian.Uint32(e.Value))
		}
		if r.s.offset() == end && !Syntax(label).Deflated {
			end = -1
		}
	}
	if len(r.stack) > base {
		f.Meta = r.finishDataset(base, sc)
	}
	return label, nil
}

// settle decides how the data set is encoded: as the label says, unless the
// bytes plainly say otherwise.
func (r *reader) settle(f *File, label string, sc *scope) error {
	b := r.s.window(12)
	if len(b) < 8 {
		if r.s.err != nil && r.s.err != io.EOF {
			return r.s.failure()
		}
		return fault.New(fault.Invalid, "the file has no data set: it was cut short")
	}
	seen, ok := sniff(b)
	ts := Syntax(label)
	switch {
	case label == "" && !ok:
		return fault.New(fault.Invalid, "the file names no transfer syntax (0002,0010)")
	case label == "":
		r.warn("the file names no transfer syntax (0002,0010)")
		f.Syntax, ts = seen, Syntax(seen)
	case ts.Deflated && seen == ExplicitVRLittleEndian:
		r.warn("the data set is not deflated, as (0002,0010) says it is")
		f.Syntax, ts = seen, Syntax(seen)
	case ts.Implicit && seen == ExplicitVRLittleEndian:
		r.warn("the data set has explicit VRs, unlike what (0002,0010) says")
		f.Syntax, ts = seen, Syntax(seen)
	case !ts.Implicit && !ts.BigEndian && !ts.Deflated && seen == ImplicitVRLittleEndian:
		r.warn("the data set has no explicit VRs, unlike what (0002,0010) says")
		ts.Implicit = true
		if f.Syntax = label; label == ExplicitVRLittleEndian {
			f.Syntax = seen
		}
	default:
		f.Syntax = label
	}
	sc.enc = encoding{implicit: ts.Implicit, big: ts.BigEndian}
	if f.Deflated = ts.Deflated; ts.Deflated {
		r.inflate = newInflater(r.s, r.limits)
		r.s = newSource(r.s.ctx, r.inflate, r.s.offset())
	}
	return nil
}

// sniff guesses a transfer syntax from the first bytes of a data element.
func sniff(b []byte) (syntax string, ok bool) {
	if len(b) < 8 {
		return "", false
	}
	explicit := vrForm(MakeVR(b[4], b[5])) != unknownForm
	switch {
	case b[1] == 0 && explicit && looksExplicit(b, false):
		return ExplicitVRLittleEndian, true
	case b[0] == 0 && explicit && looksExplicit(b, true):
		return ExplicitVRBigEndian, true
	}
	t := tagAt(b, false)
	if b[1] == 0 && b[0] != 0 && b[0]&1 == 0 && VROf(t) != UN && !(isLetter(b[4]) && isLetter(b[5])) {
		return ImplicitVRLittleEndian, true
	}
	return "", false
}

// looksExplicit reports whether an element whose VR would be known cannot be
// one of Implicit VR, whose length has an even low byte.
func looksExplicit(b []byte, big bool) bool {
	return b[4]&1 == 1 || vrForm(MakeVR(b[4], b[5])) == longForm || uint16At(b[6:], big) != 0
}

// finish passes over what follows the data set.
func (r *reader) finish(f *File) error {
	n, err := r.s.drain()
	if err != nil {
		return err
	}
	if r.inflate != nil {
		if n, err = r.inflate.raw.drain(); err != nil {
			return err
		}
		n = max(n-1, 0) // the padding of PS3.5 §A.5
		f.Size = r.inflate.raw.offset()
	} else {
		f.Size = r.s.offset()
	}
	if n > 0 {
		r.warn("%d bytes follow the data set", n)
	}
	f.offsets, f.starts, f.Warnings = r.offsets, r.starts, r.warnings
	return nil
}
