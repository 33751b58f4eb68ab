package ledger

import (
	"encoding/binary"
	"math"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/pack"
	"github.com/strata-pacs/strata/internal/seal"
)

// The numbers of log object v1.
const (
	magic       = "strata-fact v1\r\n"
	endMagic    = "factv1\r\n"
	factVersion = 1
	trailerSize = 56
	fixedHeader = 90
	// maxObjects bounds the objects that a fact may name.
	maxObjects = 1 << 14
)

// header is the clear header of a fact.
type header struct {
	kind                archive.FactKind
	id                  archive.FactID
	key                 archive.KeyID
	study               archive.Ref
	n                   uint64
	body                int64 // bytes of blobs in this object
	index, json, layout int64 // lengths of the sections, sealed
	session             string
	objects             []string // other objects that hold blobs of this fact, without the tenant
	places              places   // of a settled or moved fact
}

// append encodes the header.
func (h *header) append(b []byte) []byte {
	b = append(b, factVersion, byte(h.kind))
	b = append(b, h.id[:]...)
	b = append(b, h.key[:]...)
	b = append(b, h.study[:]...)
	b = binary.BigEndian.AppendUint64(b, h.n)
	for _, v := range [...]int64{h.body, h.index, h.json, h.layout} {
		b = binary.BigEndian.AppendUint64(b, uint64(v))
	}
	b = appendString(b, h.session)
	b = binary.AppendUvarint(b, uint64(len(h.objects)))
	for _, o := range h.objects {
		b = appendString(b, o)
	}
	if hasPlaces(h.kind) {
		b = h.places.append(b)
	}
	return b
}

// parseHeader reads a header; bytes behind the fields it knows are left to later versions.
func parseHeader(b []byte) (*header, error) {
	if len(b) < fixedHeader {
		return nil, corrupt(ErrLength)
	}
	if b[0] != factVersion {
		return nil, corrupt(ErrVersion)
	}
	h := &header{kind: archive.FactKind(b[1]), n: binary.BigEndian.Uint64(b[50:])}
	copy(h.id[:], b[2:18])
	copy(h.key[:], b[18:34])
	copy(h.study[:], b[34:50])
	for i, v := range [...]*int64{&h.body, &h.index, &h.json, &h.layout} {
		x := binary.BigEndian.Uint64(b[58+8*i:])
		if x > math.MaxInt64/8 { // so that sums do not overflow
			return nil, corrupt(ErrLength)
		}
		*v = int64(x)
	}
	d := decoder{s: string(b[fixedHeader:])}
	h.session = d.text()
	n := d.count(1)
	if n > maxObjects {
		return nil, corrupt(ErrHeader)
	}
	if n > 0 {
		h.objects = make([]string, 0, n)
	}
	for range n {
		h.objects = append(h.objects, d.text())
	}
	if hasPlaces(h.kind) {
		h.places.decode(&d)
	}
	if d.bad || !validSession(h.session) {
		return nil, corrupt(ErrHeader)
	}
	return h, nil
}

// fact returns what the header says, which nothing vouches for until the record is opened.
func (h *header) fact(t archive.Tenant) *archive.Fact {
	f := &archive.Fact{ID: h.id, Kind: h.kind, Study: h.study, Key: h.key, Supersedes: h.places.supersedes}
	for _, k := range h.places.packs {
		k.Object = string(t) + "/" + k.Object
		f.Packs = append(f.Packs, k)
	}
	return f
}

// trailer ends a log object.
type trailer struct {
	crc    uint32 // CRC-32C of what stands before the fact
	header uint32 // length of the clear header
	fact   int64  // where the fact's first section begins
	digest [32]byte
}

func (t *trailer) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, t.crc)
	b = binary.BigEndian.AppendUint32(b, t.header)
	b = binary.BigEndian.AppendUint64(b, uint64(t.fact))
	b = append(b, t.digest[:]...)
	return append(b, endMagic...)
}

func parseTrailer(b []byte, size int64) (t trailer, err error) {
	if size < pack.HeaderSize+fixedHeader+trailerSize || len(b) < trailerSize {
		return t, corrupt(ErrLength)
	}
	b = b[len(b)-trailerSize:]
	if string(b[48:]) != endMagic {
		return t, corrupt(ErrVersion)
	}
	t.crc, t.header = binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])
	fact := binary.BigEndian.Uint64(b[8:])
	t.digest = [32]byte(b[16:48])
	if t.header > MaxHeader || fact < pack.HeaderSize || fact > uint64(size-trailerSize) {
		return t, corrupt(ErrLength)
	}
	t.fact = int64(fact)
	return t, nil
}

// sections returns where the sections begin in an object of size bytes, having
// checked that trailer, header and size agree.
func (h *header) sections(t *trailer, size int64) (json, layout, index int64, err error) {
	json = t.fact
	layout = json + h.json
	index = layout + h.layout
	switch {
	case h.body > size || h.json > size || h.layout > size || h.index > size,
		t.fact != pack.HeaderSize+h.body,
		index+h.index+int64(t.header)+trailerSize != size,
		h.json > seal.SealedSize(MaxJSON, 0), h.layout > seal.SealedSize(MaxLayout, 0), h.index > seal.SealedSize(MaxIndex, 0):
		return 0, 0, 0, corrupt(ErrLength)
	}
	return json, layout, index, nil
}
