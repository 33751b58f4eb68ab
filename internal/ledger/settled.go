package ledger

import (
	"encoding/binary"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
)

// Bounds of what settled and moved facts name.
const (
	maxPacks = 1 << 14
	// MaxSuperseded bounds the entries of the log that one fact supersedes.
	MaxSuperseded = 1 << 20
)

// places is what the clear header of a settled or moved fact goes on with. It is there and not in the record, since
// it must be readable when the key that seals the record was destroyed: it explains what is missing from the log, and
// which packs nothing needs any more.
type places struct {
	packs      []archive.PackPlace // object names without the tenant
	supersedes []archive.LogRange
}

func hasPlaces(k archive.FactKind) bool {
	return k == archive.FactSettled || k == archive.FactMoved
}

// append encodes the places; ranges of a session that follow one another share its name.
func (p *places) append(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(p.packs)))
	for i := range p.packs {
		k := &p.packs[i]
		r := appendString(make([]byte, 0, 96), k.Object)
		r = binary.AppendUvarint(r, uint64(k.Size))
		r = append(r, k.Digest[:]...)
		r = appendString(r, string(k.Tier))
		r = appendString(r, string(k.From))
		b = binary.AppendUvarint(b, uint64(len(r)))
		b = append(b, r...)
	}
	var sessions [][]archive.LogRange
	for i, r := range p.supersedes {
		if i == 0 || r.Session != p.supersedes[i-1].Session {
			sessions = append(sessions, nil)
		}
		last := &sessions[len(sessions)-1]
		*last = append(*last, r)
	}
	b = binary.AppendUvarint(b, uint64(len(sessions)))
	for _, ranges := range sessions {
		b = appendString(b, ranges[0].Session)
		b = binary.AppendUvarint(b, uint64(len(ranges)))
		next := uint64(1)
		for _, r := range ranges {
			b = binary.AppendUvarint(b, r.From-next)
			b = binary.AppendUvarint(b, r.To-r.From)
			next = r.To + 1
		}
	}
	return b
}

// decode reads what append wrote; it fails the decoder where a place cannot be.
func (p *places) decode(d *decoder) {
	n := d.count(37)
	if n > maxPacks {
		d.fail()
		return
	}
	for range n {
		r := decoder{s: d.text()}
		k := archive.PackPlace{Object: r.text(), Size: r.size()}
		copy(k.Digest[:], r.bytes(32))
		k.Tier, k.From = archive.TierName(r.text()), archive.TierName(r.text())
		if r.bad || k.Object == "" || !k.Tier.Valid() || k.From != "" && !k.From.Valid() {
			d.fail()
			return
		}
		p.packs = append(p.packs, k)
	}
	left := uint64(MaxSuperseded)
	for range d.count(4) {
		session := d.text()
		next := uint64(1)
		for range d.count(2) {
			from, more := d.uvarint(), d.uvarint()
			if from > 1<<62 || more >= left || d.bad {
				d.fail()
				return
			}
			r := archive.LogRange{Session: session}
			r.From = next + from
			r.To = r.From + more
			if r.From > 1<<62 {
				d.fail()
				return
			}
			left -= more + 1
			next = r.To + 1
			p.supersedes = append(p.supersedes, r)
		}
		if !validSession(session) {
			d.fail()
			return
		}
	}
}

// placesOf checks what a settled or moved fact says of packs and of the log, and gives it the form of the header.
func (l *Log) placesOf(f *archive.Fact) (places, error) {
	p := places{supersedes: f.Supersedes}
	if len(f.Packs) > maxPacks {
		return p, fault.New(fault.TooLarge, "the study lies in more than %d packs, which one fact cannot name; raise the size of packs", maxPacks)
	}
	for _, k := range f.Packs {
		name, ok := cutTenant(k.Object, l.o.Tenant)
		if !ok || k.Size < 0 || !k.Tier.Valid() || k.From != "" && !k.From.Valid() {
			return p, fault.New(fault.Internal, "writing a fact: a pack without a place")
		}
		k.Object = name
		p.packs = append(p.packs, k)
	}
	left := uint64(MaxSuperseded)
	for i, r := range f.Supersedes {
		switch {
		case !validSession(r.Session) || r.From == 0 || r.To < r.From || r.To > 1<<62,
			i > 0 && f.Supersedes[i-1].Session == r.Session && r.From <= f.Supersedes[i-1].To:
			return p, fault.New(fault.Internal, "writing a fact: what it supersedes is no place of the log, or not in order")
		case r.To-r.From >= left:
			return p, fault.New(fault.TooLarge, "the study came in more than %d requests, which one fact cannot supersede; settle it sooner", MaxSuperseded)
		}
		left -= r.To - r.From + 1
	}
	return p, nil
}

// settled encodes the record of a settled fact: that of a stored one, which fact stated each instance, and what was dropped.
func (e *encoder) settled(f *archive.Fact) ([]byte, error) {
	named := make(map[string]bool, len(f.Packs))
	for i := range f.Packs {
		named[f.Packs[i].Object] = true
	}
	for i := range f.Instances {
		in := &f.Instances[i]
		switch {
		case in.Key != f.Key:
			return nil, fault.New(fault.Internal, "writing a fact: a settled fact restates instances of one key; state another for those of another key")
		case in.Stated == (archive.FactID{}):
			return nil, fault.New(fault.Internal, "writing a fact: an instance is restated that no fact has stated")
		case !named[in.At.Object]:
			return nil, fault.New(fault.Internal, "writing a fact: a settled instance lies in no pack that the fact names")
		}
	}
	b, err := e.stored(f)
	if fault.Is(err, fault.TooLarge) {
		err = fault.New(fault.TooLarge, "the study lies in more than %d packs, which one fact cannot name; raise the size of packs", maxObjects)
	}
	if err != nil {
		return nil, err
	}
	b = binary.AppendUvarint(b, uint64(len(f.Dropped)))
	for i := range f.Dropped {
		b = append(b, f.Dropped[i][:]...)
	}
	return b, nil
}

// decodeSettled reads the payload of a settled fact's index record into f.
func decodeSettled(s string, h *header, f *archive.Fact, t archive.Tenant) (*stored, error) {
	d := &decoder{s: s}
	more, err := decodeInstances(d, h, f, t, "")
	if err != nil {
		return nil, err
	}
	if n := d.count(32); n > 0 {
		f.Dropped = make([]archive.BlobID, n)
		for i := range f.Dropped {
			copy(f.Dropped[i][:], d.bytes(32))
		}
	}
	named := make(map[string]bool, len(f.Packs))
	for i := range f.Packs {
		named[f.Packs[i].Object] = true
	}
	for i := range f.Instances {
		in := &f.Instances[i]
		if in.Key != f.Key || in.Stated == (archive.FactID{}) || !named[in.At.Object] {
			return nil, corrupt(ErrRecord)
		}
	}
	if d.bad {
		return nil, corrupt(ErrRecord)
	}
	return more, nil
}
