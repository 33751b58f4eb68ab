package ledger

import (
	"context"
	"hash/crc32"
	"slices"

	"github.com/zeebo/blake3"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/pack"
	"github.com/strata-pacs/strata/internal/seal"
)

// Append writes a fact as the session's next log object and returns when it is
// durable. A stored fact's blobs in memory come as body, which may be nil, and
// stays the caller's to release; blobs of a body that is a pack, or whose
// location names an object, lie there. On success the instances' locations name
// the objects that hold them, and a zero f.ID has been set; on failure f is as before.
//
// When the context ends or the store fails at the moment of writing, Append
// looks whether the object was written after all, and says so. A number that was not
// written is taken again by a later Append.
func (l *Log) Append(ctx context.Context, f *archive.Fact, body *pack.Body) (archive.Entry, error) {
	switch f.Kind {
	case archive.FactStored:
		if len(f.Instances) == 0 {
			return archive.Entry{}, fault.New(fault.Internal, "writing a fact: no instances")
		}
	case archive.FactSettled:
		if body != nil || f.Study == (archive.Ref{}) || len(f.Instances) > 0 && f.Key == (archive.KeyID{}) {
			return archive.Entry{}, fault.New(fault.Internal, "writing a fact: a settled fact has a study and its key, and no blobs of its own")
		}
	case archive.FactMoved:
		if body != nil || f.Study == (archive.Ref{}) || f.Key != (archive.KeyID{}) || len(f.Packs) == 0 || len(f.Supersedes) > 0 {
			return archive.Entry{}, fault.New(fault.Internal, "writing a fact: a moved fact has a study and packs, and nothing else")
		}
	case archive.FactDeleted, archive.FactUndeleted, archive.FactCheckpoint, archive.FactVoid, archive.FactTenant, archive.FactKeyClosed,
		archive.FactHeld, archive.FactReleased, archive.FactRule, archive.FactTagged:
		if f.Key != (archive.KeyID{}) || body != nil {
			return archive.Entry{}, fault.New(fault.Internal, "writing a fact: only stored facts have a study key and blobs")
		}
	default:
		return archive.Entry{}, fault.New(fault.Internal, "writing a fact: kind %d is reserved", f.Kind)
	}
	if f.Kind == archive.FactVoid {
		return archive.Entry{}, fault.New(fault.Internal, "writing a fact: a void needs its number")
	}
	if err := l.enter(); err != nil {
		return archive.Entry{}, err
	}
	defer l.active.Done()
	return l.append(ctx, f, body)
}

// enter counts a writer in, unless the log is closed.
func (l *Log) enter() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return fault.New(fault.Unavailable, "the server is shutting down; try again")
	}
	l.active.Add(1)
	return nil
}

func (l *Log) append(ctx context.Context, f *archive.Fact, body *pack.Body) (archive.Entry, error) {
	d, err := l.draft(ctx, f, body)
	if err != nil {
		return archive.Entry{}, err
	}
	defer d.secret.Wipe()
	// Numbers that others took are few: voids of a session believed dead.
	for range 64 {
		n := l.take()
		e, err := l.write(ctx, d, l.o.Session, n)
		if err == nil {
			l.wrote(n)
			return d.written(f, e), nil
		}
		if !fault.Is(err, fault.Exists) {
			l.giveBack(n)
			return archive.Entry{}, err
		}
	}
	return archive.Entry{}, fault.New(fault.Conflict, "something else writes this process's session of the log; restart the server")
}

// written has the caller's fact say what was written of it.
func (d *draft) written(f *archive.Fact, e archive.Entry) archive.Entry {
	f.ID = d.fact.ID
	f.Instances, f.Sessions = e.Fact.Instances, e.Fact.Sessions
	e.Fact = f
	return e
}

// take returns the smallest number that is not written.
func (l *Log) take() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.free) > 0 {
		n := l.free[0]
		l.free = l.free[1:]
		return n
	}
	l.next++
	return l.next - 1
}

// giveBack returns a number that was not written. Should a late write of it
// land after all, the next one to take it meets fault.Exists.
func (l *Log) giveBack(n uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	i, _ := slices.BinarySearch(l.free, n)
	l.free = slices.Insert(l.free, i, n)
}

func (l *Log) wrote(n uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.high = max(l.high, n)
}

// draft is a fact ready to be written at any number.
type draft struct {
	fact    archive.Fact
	body    *pack.Body // in memory, or nil
	crc     uint32
	secret  archive.Secret
	head    header
	blobs   [64]byte // identities of the JSON and layout sections
	payload []byte   // of the index record
	tail    []byte   // the sealed JSON and layout sections, then room for the rest
	fixed   int      // length of those two
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

type crcWriter uint32

func (c *crcWriter) Write(p []byte) (int, error) {
	*c = crcWriter(crc32.Update(uint32(*c), castagnoli, p))
	return len(p), nil
}

// draft encodes and seals all that does not depend on the number.
func (l *Log) draft(ctx context.Context, f *archive.Fact, body *pack.Body) (*draft, error) {
	d := &draft{fact: *f}
	if d.fact.ID == (archive.FactID{}) {
		d.fact.ID = l.NewFactID()
	}
	d.fact.Instances = slices.Clone(f.Instances)
	if body != nil && body.Object != "" {
		for i := range d.fact.Instances {
			if at := &d.fact.Instances[i].At; at.Object == "" {
				at.Object = body.Object
			}
		}
	}
	d.head = header{kind: f.Kind, id: d.fact.ID, key: f.Key, study: f.Study}
	if hasPlaces(f.Kind) {
		var err error
		if d.head.places, err = l.placesOf(f); err != nil {
			return nil, err
		}
	}
	var layouts []byte
	switch f.Kind {
	case archive.FactStored:
		e := encoder{tenant: l.o.Tenant, body: body}
		var err error
		if d.payload, err = e.stored(&d.fact); err != nil {
			return nil, err
		}
		d.head.objects, layouts = e.objects, e.layouts
	case archive.FactSettled:
		e := encoder{tenant: l.o.Tenant}
		var err error
		if d.payload, err = e.settled(&d.fact); err != nil {
			return nil, err
		}
		d.head.objects, layouts = e.objects, e.layouts
	case archive.FactDeleted, archive.FactUndeleted:
		d.payload = removal(f)
	case archive.FactTenant:
		var err error
		if d.payload, err = settings(f); err != nil {
			return nil, err
		}
	case archive.FactKeyClosed:
		d.payload = keyClosed(f)
	case archive.FactTagged:
		var err error
		if d.payload, err = tagged(f); err != nil {
			return nil, err
		}
	case archive.FactHeld, archive.FactReleased, archive.FactRule:
		var err error
		if d.payload, err = ordered(f); err != nil {
			return nil, err
		}
	}
	if body != nil && body.Object == "" && body.Size > 0 {
		d.body, d.head.body = body, body.Size
	}
	var json []byte
	switch size := 0; len(f.Chunks) {
	case 0:
	case 1:
		json = f.Chunks[0].Data
	default:
		for i := range f.Chunks {
			size += len(f.Chunks[i].Data)
		}
		json = make([]byte, 0, size)
		for i := range f.Chunks {
			json = append(json, f.Chunks[i].Data...)
		}
	}
	if len(json) > MaxJSON || len(layouts) > MaxLayout || len(d.payload)+96 > MaxIndex {
		if f.Kind == archive.FactSettled {
			return nil, fault.New(fault.TooLarge, "the study has too many instances, or too much metadata, for one settled fact; it stays as it was stored")
		}
		return nil, fault.New(fault.TooLarge, "too many instances of one study in one request; send fewer at a time")
	}
	var err error
	if d.secret, err = l.o.Secrets(ctx, f.Key); err != nil {
		return nil, err
	}
	d.tail = make([]byte, 0, int(seal.SealedSize(int64(len(json)), 0)+seal.SealedSize(int64(len(layouts)), 0)+
		seal.SealedSize(int64(len(d.payload)+96), 0))+fixedHeader+trailerSize+256)
	if len(f.Chunks) > 0 {
		if d.head.json, err = d.section(l, 0, seal.KindJSON, json); err != nil {
			return nil, err
		}
	}
	if len(layouts) > 0 {
		if d.head.layout, err = d.section(l, 32, seal.KindLayout, layouts); err != nil {
			return nil, err
		}
	}
	d.fixed = len(d.tail)
	var c crcWriter
	if d.body != nil {
		_, err = d.body.CopyTo(&c, [pack.HeaderSize]byte([]byte(magic)))
	} else {
		_, err = c.Write([]byte(magic))
	}
	d.crc = uint32(c)
	return d, err
}

// section seals a section behind the others; its identity goes to blobs.
func (d *draft) section(l *Log, at int, kind string, plain []byte) (int64, error) {
	before := len(d.tail)
	tail, id, err := seal.Seal(d.tail, plain, d.secret,
		seal.Binding{Tenant: l.o.Tenant, Kind: kind, Key: d.fact.Key}, seal.Options{Rand: l.rand})
	if err != nil {
		return 0, err
	}
	d.tail = tail
	if at >= 0 {
		copy(d.blobs[at:], id[:])
	}
	return int64(len(d.tail) - before), nil
}

// place completes the tail for one place in the log.
func (d *draft) place(l *Log, session string, n uint64) error {
	if d.fact.Kind == archive.FactCheckpoint {
		d.payload = checkpoint(d.fact.Sessions)
	}
	h := &d.head
	h.session, h.n = session, n
	h.index = seal.SealedSize(int64(96+len(d.payload)), 0)
	head := h.append(make([]byte, 0, fixedHeader+128))
	if len(head) > MaxHeader && hasPlaces(d.head.kind) {
		return fault.New(fault.TooLarge, "the study lies in too many packs and entries of the log for one settled fact; it stays as it was stored")
	}
	if len(head) > MaxHeader {
		return fault.New(fault.TooLarge, "the instances of one request lie in too many objects; send fewer at a time")
	}
	return d.finish(l, head)
}

// finish seals the index record, which binds the header and the other sections
// to it, and ends the tail with header and trailer.
func (d *draft) finish(l *Log, head []byte) error {
	digest := blake3.Sum256(head)
	record := make([]byte, 0, 96+len(d.payload))
	record = append(record, digest[:]...)
	record = append(record, d.blobs[:]...)
	record = append(record, d.payload...)

	d.tail = d.tail[:d.fixed]
	if _, err := d.section(l, -1, seal.KindIndex, record); err != nil {
		return err
	}
	d.tail = append(d.tail, head...)
	t := trailer{crc: d.crc, header: uint32(len(head)), fact: pack.HeaderSize + d.head.body}
	d.tail = t.append(d.tail)
	digest = blake3.Sum256(d.tail[:len(d.tail)-trailerSize+16])
	copy(d.tail[len(d.tail)-trailerSize+16:], digest[:])
	return nil
}
