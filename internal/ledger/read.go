package ledger

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"sync"

	"github.com/zeebo/blake3"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/seal"
	"github.com/strata-pacs/strata/storage/driver"
)

// Sections says what of a fact is read beside its index record.
type Sections uint8

// The sections; they may be combined. Without JSON a fact's chunks have no
// data, without Layouts its instances have no layout.
const (
	Index   Sections = 0
	JSON    Sections = 1
	Layouts Sections = 2
	All              = JSON | Layouts
)

// Opener is what reading the log needs of storage.
type Opener interface {
	Open(ctx context.Context, key string, off, n int64) (io.ReadCloser, error)
	Stat(ctx context.Context, key string) (driver.Attrs, error)
}

// Unopened is the error of a fact whose key was not given. Fact has what the clear
// header says of it, which nothing vouches for.
type Unopened struct {
	Fact archive.Fact // ID, Kind, Study and Key; of a settled one Packs and Supersedes too
	Err  error
}

func (u *Unopened) Error() string { return "opening a fact: " + u.Err.Error() }

// Unwrap returns what whoever gives keys said.
func (u *Unopened) Unwrap() error { return u.Err }

// tailSize is how much of an object is read at first: nearly every fact fits.
const tailSize = 64 << 10

var tails = sync.Pool{New: func() any { b := make([]byte, tailSize); return &b }}

// Read reads the fact at a place of the log, and never the blobs before it.
// Errors are fault.NotFound where there is none, fault.Corrupt where it is not
// what was written, fault.Conflict where it is of a kind unknown to this
// version, and those of store and keys.
func Read(ctx context.Context, b Opener, t archive.Tenant, session string, n uint64, secrets Secrets, want Sections) (archive.Entry, error) {
	return ReadPlace(ctx, b, t, Place{Session: session, N: n}, secrets, want)
}

// ReadPlace is Read for a place from Numbers, whose size need not be asked for.
func ReadPlace(ctx context.Context, b Opener, t archive.Tenant, p Place, secrets Secrets, want Sections) (archive.Entry, error) {
	e := archive.Entry{Session: p.Session, N: p.N, Object: ObjectName(t, p.Session, p.N), Size: p.Size}
	if e.Size <= 0 {
		attrs, err := b.Stat(ctx, e.Object)
		if err != nil {
			return e, fmt.Errorf("reading the log: %w", err)
		}
		e.Size = attrs.Size
	}
	buf := tails.Get().(*[]byte)
	defer tails.Put(buf)
	x := object{b: b, key: e.Object, size: e.Size}
	if err := x.read(ctx, max(0, e.Size-tailSize), *buf); err != nil {
		return e, fmt.Errorf("reading the log: %w", err)
	}
	var err error
	if e.Fact, err = x.fact(ctx, t, p, secrets, want); err != nil {
		return e, fmt.Errorf("reading the log: %w", err)
	}
	return e, nil
}

// object is the end of a log object.
type object struct {
	b    Opener
	key  string
	size int64
	from int64 // where tail begins
	tail []byte
}

// read fetches the object from an offset to its end, into buf if that is large enough.
func (x *object) read(ctx context.Context, from int64, buf []byte) error {
	n := x.size - from
	r, err := x.b.Open(ctx, x.key, from, n)
	if err != nil {
		return ended(err)
	}
	defer r.Close()
	if n <= int64(len(buf)) {
		x.tail = buf[:n]
		_, err = io.ReadFull(r, x.tail)
	} else {
		// Memory grows with what arrives, whatever size was listed.
		var out bytes.Buffer
		_, err = io.CopyN(&out, r, n)
		x.tail = out.Bytes()
	}
	x.from = from
	return ended(err)
}

// at returns a part of the object that has been read.
func (x *object) at(off, n int64) []byte { return x.tail[off-x.from:][:n] }

// fact opens the object's fact.
func (x *object) fact(ctx context.Context, t archive.Tenant, p Place, secrets Secrets, want Sections) (*archive.Fact, error) {
	tr, err := parseTrailer(x.tail, x.size)
	if err != nil {
		return nil, err
	}
	end := x.size - trailerSize - int64(tr.header)
	if end < tr.fact {
		return nil, corrupt(ErrLength)
	}
	if end < x.from {
		if err := x.read(ctx, end, nil); err != nil {
			return nil, err
		}
	}
	h, err := parseHeader(x.at(end, int64(tr.header)))
	if err != nil {
		return nil, err
	}
	json, layout, index, err := h.sections(&tr, x.size)
	if err != nil {
		return nil, err
	}
	start := index
	if want&Layouts != 0 {
		start = layout
	}
	if want&JSON != 0 {
		start = json
	}
	if start < x.from {
		if err := x.read(ctx, start, nil); err != nil {
			return nil, err
		}
	}
	secret, err := secrets(ctx, h.key)
	if err != nil {
		if h.session != p.Session || h.n != p.N {
			return nil, corrupt(ErrPlace)
		}
		return nil, &Unopened{Fact: *h.fact(t), Err: err}
	}
	defer secret.Wipe()
	open := func(kind string, off, n int64, blob []byte) ([]byte, error) {
		sealed := x.at(off, n)
		if sh, err := seal.ParseHeader(sealed); err != nil {
			return nil, err
		} else if blob != nil && !bytes.Equal(sh.Blob[:], blob) {
			return nil, corrupt(ErrSection)
		}
		return seal.Open(nil, sealed, secret, seal.Binding{Tenant: t, Kind: kind, Key: h.key})
	}
	record, err := open(seal.KindIndex, index, h.index, nil)
	if err != nil {
		return nil, err
	}
	f, more, err := decodeIndex(record, x.at(end, int64(tr.header)), h, t, p, x.key)
	if err != nil {
		return nil, err
	}
	if more == nil {
		if h.json != 0 || h.layout != 0 {
			return nil, corrupt(ErrSection)
		}
		return f, nil
	}
	if want&JSON != 0 && h.json > 0 {
		b, err := open(seal.KindJSON, json, h.json, record[32:64])
		if err != nil {
			return nil, err
		}
		if err := more.fillChunks(f, b); err != nil {
			return nil, err
		}
	}
	if want&Layouts != 0 && h.layout > 0 {
		b, err := open(seal.KindLayout, layout, h.layout, record[64:96])
		if err != nil {
			return nil, err
		}
		if err := more.fillLayouts(f, b); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// decodeIndex reads an opened index record and checks that it speaks of this
// header, in this place.
func decodeIndex(record, head []byte, h *header, t archive.Tenant, p Place, own string) (*archive.Fact, *stored, error) {
	if len(record) < 96 {
		return nil, nil, corrupt(ErrRecord)
	}
	if blake3.Sum256(head) != [32]byte(record) {
		return nil, nil, corrupt(ErrHeader)
	}
	if h.session != p.Session || h.n != p.N {
		return nil, nil, corrupt(ErrPlace)
	}
	f := h.fact(t)
	payload := string(record[96:])
	var more *stored
	var err error
	switch h.kind {
	case archive.FactStored:
		if more, err = decodeStored(payload, h, f, t, own); err == nil {
			err = more.agrees(h)
		}
	case archive.FactDeleted, archive.FactUndeleted:
		err = decodeRemoval(payload, f)
	case archive.FactSettled:
		if more, err = decodeSettled(payload, h, f, t); err == nil {
			err = more.agrees(h)
		}
	case archive.FactVoid, archive.FactMoved:
	case archive.FactCheckpoint:
		err = decodeCheckpoint(payload, f)
	case archive.FactTenant:
		err = decodeSettings(payload, f)
	case archive.FactKeyClosed:
		err = decodeKeyClosed(payload, f)
	default:
		return nil, nil, fault.Wrap(fault.Conflict, ErrKind, "the log holds a fact of kind %d, written by a newer version of Strata: start that version", h.kind)
	}
	if sealed := h.key != (archive.KeyID{}); err == nil && (sealed && more == nil || !sealed && h.kind == archive.FactSettled && len(f.Instances) > 0) {
		err = corrupt(ErrHeader)
	}
	return f, more, err
}

// agrees checks that the sections are there exactly if the record needs them.
func (s *stored) agrees(h *header) error {
	var chunks, layouts int64
	for _, n := range s.chunks {
		if chunks += n; n > MaxJSON || chunks > MaxJSON {
			return corrupt(ErrRecord)
		}
	}
	for _, l := range s.layouts {
		if l.n > MaxLayout || l.off > MaxLayout {
			return corrupt(ErrRecord)
		}
		layouts = max(layouts, l.off+l.n)
	}
	s.json, s.layout = chunks, layouts
	if (len(s.chunks) > 0) != (h.json > 0) || (layouts > 0) != (h.layout > 0) {
		return corrupt(ErrSection)
	}
	return nil
}

// fillChunks hands out the opened JSON section.
func (s *stored) fillChunks(f *archive.Fact, b []byte) error {
	if int64(len(b)) != s.json {
		return corrupt(ErrSection)
	}
	for i, n := range s.chunks {
		f.Chunks[i].Data, b = b[:n:n], b[n:]
	}
	return nil
}

// fillLayouts hands out the opened layout section.
func (s *stored) fillLayouts(f *archive.Fact, b []byte) error {
	if int64(len(b)) != s.layout {
		return corrupt(ErrSection)
	}
	for i, l := range s.layouts {
		if l.n > 0 {
			f.Instances[i].Layout = b[l.off:][:l.n:l.n]
		}
	}
	return nil
}
