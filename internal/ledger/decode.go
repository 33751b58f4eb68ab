package ledger

import (
	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/pack"
)

// decoder reads the encoding of index records. It works on one string, of
// which every text it returns is a part. A read past the end, or a count
// that the bytes left could not hold, sets bad; what is returned then is empty.
type decoder struct {
	s   string
	bad bool
}

func (d *decoder) fail() { d.bad, d.s = true, "" }

func (d *decoder) uvarint() uint64 {
	var x uint64
	for i := 0; i < len(d.s) && i < 10; i++ {
		b := d.s[i]
		if i == 9 && b > 1 {
			break
		}
		if x |= uint64(b&0x7f) << (7 * i); b < 0x80 {
			d.s = d.s[i+1:]
			return x
		}
	}
	d.fail()
	return 0
}

// size reads a length or offset in bytes.
func (d *decoder) size() int64 {
	x := d.uvarint()
	if x > 1<<62 {
		d.fail()
		return 0
	}
	return int64(x)
}

// count reads the number of things to follow, each at least min bytes long.
func (d *decoder) count(min int) int {
	x := d.uvarint()
	if x > uint64(len(d.s)/min) {
		d.fail()
		return 0
	}
	return int(x)
}

func (d *decoder) bytes(n int) string {
	if n > len(d.s) {
		d.fail()
		return ""
	}
	b := d.s[:n]
	d.s = d.s[n:]
	return b
}

func (d *decoder) text() string { return d.bytes(d.count(1)) }

func (d *decoder) byte() byte {
	if len(d.s) == 0 {
		d.fail()
		return 0
	}
	b := d.s[0]
	d.s = d.s[1:]
	return b
}

func (d *decoder) attrs() archive.Attrs {
	n := d.count(7)
	if n == 0 {
		return nil
	}
	a := make(archive.Attrs, n)
	for i := range a {
		b := d.bytes(6)
		if d.bad {
			return nil
		}
		a[i].Tag = dicom.Tag(b[0])<<24 | dicom.Tag(b[1])<<16 | dicom.Tag(b[2])<<8 | dicom.Tag(b[3])
		a[i].VR = dicom.MakeVR(b[4], b[5])
		a[i].Value = d.text()
	}
	return a
}

// pick reads a reference into a table whose entries count from 1.
func pick[T any](d *decoder, table []T) (v T) {
	i := d.uvarint()
	if i == 0 {
		return v
	}
	if i > uint64(len(table)) {
		d.fail()
		return v
	}
	return table[i-1]
}

// span is a part of a section.
type span struct{ off, n int64 }

// stored is what a stored fact's record says that the fact itself does not hold.
type stored struct {
	chunks       []int64 // compressed lengths
	layouts      []span  // per instance
	json, layout int64   // lengths of the opened sections
}

// decodeStored reads the payload of a stored fact's index record into f.
func decodeStored(s string, h *header, f *archive.Fact, t archive.Tenant, own string) (*stored, error) {
	return decodeInstances(&decoder{s: s}, h, f, t, own)
}

// decodeInstances reads instances and chunks; own is the name of the fact's object, empty where it can hold no blobs.
func decodeInstances(d *decoder, h *header, f *archive.Fact, t archive.Tenant, own string) (*stored, error) {
	table := make([]string, d.count(2))
	for i := range table {
		table[i] = d.text()
	}
	sets := make([]archive.Attrs, d.count(8))
	for i := range sets {
		sets[i] = d.attrs()
	}
	more := &stored{chunks: make([]int64, d.count(2))}
	f.Chunks = make([]archive.Chunk, len(more.chunks))
	for i := range f.Chunks {
		more.chunks[i], f.Chunks[i].Size = d.size(), int(d.size())
	}
	// The smallest instance record has 90 bytes.
	f.Instances = make([]archive.Instance, d.count(90))
	more.layouts = make([]span, len(f.Instances))
	objects := make([]string, len(h.objects))
	for i, o := range h.objects {
		objects[i] = string(t) + "/" + o
	}
	for i := range f.Instances {
		r := decoder{s: d.text()}
		in := &f.Instances[i]
		in.Study, in.UIDs.Series, in.Instance = pick(&r, table), pick(&r, table), r.text()
		in.SOPClass, in.Syntax = pick(&r, table), pick(&r, table)
		in.Patient, in.Series, in.Attrs = pick(&r, sets), pick(&r, sets), r.attrs()
		copy(in.Blob[:], r.bytes(32))
		switch in.Key = f.Key; r.byte() {
		case 0:
		case 1:
			copy(in.Key[:], r.bytes(16))
		default:
			r.fail()
		}
		in.At.Object = pick(&r, objects)
		in.At.Offset, in.At.Length = r.size(), r.size()
		in.Coding, in.SegmentBits = archive.Coding(r.byte()), r.byte()
		in.Size = r.size()
		copy(in.Digest[:], r.bytes(32))
		if n := r.size(); n > 0 {
			more.layouts[i] = span{r.size(), n}
		}
		if n := r.size(); n > 0 {
			c, off := r.size(), r.size()
			if c >= int64(len(f.Chunks)) || n > int64(f.Chunks[c].Size) || off > int64(f.Chunks[c].Size)-n {
				return nil, corrupt(ErrRecord)
			}
			in.JSON = archive.JSONRef{Chunk: int(c), Offset: int(off), Length: int(n)}
		}
		if n := r.count(32); n > 0 {
			in.Replaces = make([]archive.BlobID, n)
			for k := range in.Replaces {
				copy(in.Replaces[k][:], r.bytes(32))
			}
		}
		if h.kind == archive.FactSettled {
			copy(in.Stated[:], r.bytes(16))
		}
		if in.At.Object == "" {
			in.At.Object = own
			if own == "" || in.At.Offset < pack.HeaderSize || in.At.Length > pack.HeaderSize+h.body-in.At.Offset {
				return nil, corrupt(ErrRecord)
			}
		}
		if r.bad || d.bad || in.Coding > archive.Deflated {
			return nil, corrupt(ErrRecord)
		}
	}
	if d.bad {
		return nil, corrupt(ErrRecord)
	}
	return more, nil
}

// decodeRemoval reads the payload of a deleted or undeleted fact.
func decodeRemoval(s string, f *archive.Fact) error {
	d := &decoder{s: s}
	f.Scope = archive.UIDs{Study: d.text(), Series: d.text(), Instance: d.text()}
	f.Blobs = make([]archive.BlobID, d.count(32))
	for i := range f.Blobs {
		copy(f.Blobs[i][:], d.bytes(32))
	}
	if n := d.count(16); n > 0 {
		f.Undoes = make([]archive.FactID, n)
		for i := range f.Undoes {
			copy(f.Undoes[i][:], d.bytes(16))
		}
	}
	if d.bad {
		return corrupt(ErrRecord)
	}
	return nil
}

// decodeCheckpoint reads the payload of a checkpoint.
func decodeCheckpoint(s string, f *archive.Fact) error {
	d := &decoder{s: s}
	f.Sessions = make([]archive.SessionEnd, d.count(4))
	for i := range f.Sessions {
		r := decoder{s: d.text()}
		f.Sessions[i] = archive.SessionEnd{Session: r.text(), Last: r.uvarint(), Ended: r.byte() != 0}
		if r.bad {
			return corrupt(ErrRecord)
		}
	}
	if d.bad {
		return corrupt(ErrRecord)
	}
	return nil
}
