package ledger

import (
	"encoding/binary"
	"strings"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/pack"
)

func appendString(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

// encoder builds the index record of one fact, but for what precedes it: the
// digest of the header and the identities of the other sections.
type encoder struct {
	tenant  archive.Tenant
	body    *pack.Body
	objects []string // in the clear header
	strings []string
	sets    map[string]int // encoded attribute sets, numbered from 1
	setsOut []byte
	layouts []byte
	scratch []byte
	record  []byte
}

// stored encodes the instances and chunks of a stored or settled fact.
func (e *encoder) stored(f *archive.Fact) ([]byte, error) {
	e.sets = make(map[string]int)
	var last []byte // the layout before, which the next one often equals
	lastAt := 0
	instances := make([]byte, 0, 512*len(f.Instances))
	for i := range f.Instances {
		in := &f.Instances[i]
		b := e.record[:0]
		b = binary.AppendUvarint(b, e.intern(in.Study))
		b = binary.AppendUvarint(b, e.intern(in.UIDs.Series))
		b = appendString(b, in.Instance)
		b = binary.AppendUvarint(b, e.intern(in.SOPClass))
		b = binary.AppendUvarint(b, e.intern(in.Syntax))
		b = binary.AppendUvarint(b, e.set(in.Patient))
		b = binary.AppendUvarint(b, e.set(in.Series))
		b = appendAttrs(b, in.Attrs)
		b = append(b, in.Blob[:]...)
		if in.Key == f.Key {
			b = append(b, 0)
		} else {
			b = append(b, 1)
			b = append(b, in.Key[:]...)
		}
		object, err := e.object(in)
		if err != nil {
			return nil, err
		}
		b = binary.AppendUvarint(b, object)
		b = binary.AppendUvarint(b, uint64(in.At.Offset))
		b = binary.AppendUvarint(b, uint64(in.At.Length))
		b = append(b, byte(in.Coding), in.SegmentBits)
		b = binary.AppendUvarint(b, uint64(in.Size))
		b = append(b, in.Digest[:]...)
		b = binary.AppendUvarint(b, uint64(len(in.Layout)))
		if len(in.Layout) > 0 {
			if string(in.Layout) != string(last) {
				last, lastAt = in.Layout, len(e.layouts)
				e.layouts = append(e.layouts, in.Layout...)
			}
			b = binary.AppendUvarint(b, uint64(lastAt))
		}
		b = binary.AppendUvarint(b, uint64(in.JSON.Length))
		if in.JSON.Length > 0 {
			b = binary.AppendUvarint(b, uint64(in.JSON.Chunk))
			b = binary.AppendUvarint(b, uint64(in.JSON.Offset))
		}
		b = binary.AppendUvarint(b, uint64(len(in.Replaces)))
		for k := range in.Replaces {
			b = append(b, in.Replaces[k][:]...)
		}
		if f.Kind == archive.FactSettled {
			b = append(b, in.Stated[:]...)
		}
		e.record = b
		instances = binary.AppendUvarint(instances, uint64(len(b)))
		instances = append(instances, b...)
	}
	if len(e.objects) > maxObjects {
		return nil, fault.New(fault.TooLarge, "the instances of one request lie in more than %d objects; send fewer at a time", maxObjects)
	}
	out := make([]byte, 0, len(instances)+len(e.setsOut)+64*len(e.strings)+64)
	out = binary.AppendUvarint(out, uint64(len(e.strings)))
	for _, s := range e.strings {
		out = appendString(out, s)
	}
	out = binary.AppendUvarint(out, uint64(len(e.sets)))
	out = append(out, e.setsOut...)
	out = binary.AppendUvarint(out, uint64(len(f.Chunks)))
	for i := range f.Chunks {
		out = binary.AppendUvarint(out, uint64(len(f.Chunks[i].Data)))
		out = binary.AppendUvarint(out, uint64(f.Chunks[i].Size))
	}
	out = binary.AppendUvarint(out, uint64(len(f.Instances)))
	return append(out, instances...), nil
}

// intern numbers a string of the string table from 1; 0 is the empty string.
func (e *encoder) intern(s string) uint64 {
	if s == "" {
		return 0
	}
	// Few different strings: a study, its series, classes and syntaxes; the
	// newest are met most.
	for i := len(e.strings) - 1; i >= 0; i-- {
		if e.strings[i] == s {
			return uint64(i + 1)
		}
	}
	e.strings = append(e.strings, s)
	return uint64(len(e.strings))
}

// set numbers an attribute set from 1; 0 is the empty set.
func (e *encoder) set(a archive.Attrs) uint64 {
	if len(a) == 0 {
		return 0
	}
	e.scratch = appendAttrs(e.scratch[:0], a)
	if i, ok := e.sets[string(e.scratch)]; ok {
		return uint64(i)
	}
	i := len(e.sets) + 1
	e.sets[string(e.scratch)] = i
	e.setsOut = append(e.setsOut, e.scratch...)
	return uint64(i)
}

func appendAttrs(b []byte, a archive.Attrs) []byte {
	b = binary.AppendUvarint(b, uint64(len(a)))
	for i := range a {
		b = binary.BigEndian.AppendUint32(b, uint32(a[i].Tag))
		b = binary.BigEndian.AppendUint16(b, uint16(a[i].VR))
		b = appendString(b, a[i].Value)
	}
	return b
}

// object numbers the object that holds the instance: 0 is the fact's own.
func (e *encoder) object(in *archive.Instance) (uint64, error) {
	name := in.At.Object
	if in.At.Offset < 0 || in.At.Length < 0 || in.Size < 0 {
		return 0, fault.New(fault.Internal, "writing a fact: an instance has a negative offset or length")
	}
	if name == "" {
		if e.body == nil || in.At.Offset < pack.HeaderSize || in.At.Length > pack.HeaderSize+e.body.Size-in.At.Offset {
			return 0, fault.New(fault.Internal, "writing a fact: an instance lies outside the blobs that go with it")
		}
		return 0, nil
	}
	name, ok := cutTenant(name, e.tenant)
	if !ok {
		return 0, fault.New(fault.Internal, "writing a fact: an instance lies in an object of another tenant")
	}
	for i := len(e.objects) - 1; i >= 0; i-- {
		if e.objects[i] == name {
			return uint64(i + 1), nil
		}
	}
	e.objects = append(e.objects, name)
	return uint64(len(e.objects)), nil
}

// cutTenant returns an object's name without the tenant, if it is that of an object of the tenant.
func cutTenant(name string, t archive.Tenant) (string, bool) {
	name, ok := strings.CutPrefix(name, string(t)+"/")
	return name, ok && name != ""
}

// removal encodes the record of a deleted or undeleted fact.
func removal(f *archive.Fact) []byte {
	b := appendString(nil, f.Scope.Study)
	b = appendString(b, f.Scope.Series)
	b = appendString(b, f.Scope.Instance)
	b = binary.AppendUvarint(b, uint64(len(f.Blobs)))
	for i := range f.Blobs {
		b = append(b, f.Blobs[i][:]...)
	}
	b = binary.AppendUvarint(b, uint64(len(f.Undoes)))
	for i := range f.Undoes {
		b = append(b, f.Undoes[i][:]...)
	}
	return b
}

// checkpoint encodes the record of a checkpoint.
func checkpoint(sessions []archive.SessionEnd) []byte {
	b := binary.AppendUvarint(nil, uint64(len(sessions)))
	for _, s := range sessions {
		r := appendString(make([]byte, 0, 40), s.Session)
		r = binary.AppendUvarint(r, s.Last)
		if s.Ended {
			r = append(r, 1)
		} else {
			r = append(r, 0)
		}
		b = binary.AppendUvarint(b, uint64(len(r)))
		b = append(b, r...)
	}
	return b
}
