package drill

import (
	"bytes"

	"github.com/strata-pacs/strata/internal/archive"
)

// view is what facts say together of one study, whatever order they come in.
type view struct {
	blobs  map[archive.BlobID]blob
	packs  map[string]place
	needed map[string]bool               // packs that settled facts which hold name
	passed map[string][]archive.LogRange // what settled facts stand for, by session
}

// blob is where an instance is, and what it must be.
type blob struct {
	id     archive.BlobID
	key    archive.KeyID
	at     archive.Location
	coding archive.Coding
	bits   uint8
	size   int64
	digest archive.Digest
	fact   archive.FactID // that says so
	stored bool           // a stored fact does: any settled one knows better
}

// place is where a pack is, as the fact says.
type place struct {
	archive.PackPlace
	fact archive.FactID
}

func after(a, b archive.FactID) bool { return bytes.Compare(a[:], b[:]) > 0 }

// superseded reports whether a settled fact stands for the entry.
func (v *view) superseded(session string, n uint64) bool {
	for _, r := range v.passed[session] {
		if r.From <= n && n <= r.To {
			return true
		}
	}
	return false
}

// viewOf puts facts of one study together. A pack is in the tier that the newest
// fact about it names, else in the hot one; an instance is where the newest settled fact that
// restates it says, else where it was stored.
func viewOf(entries []archive.Entry) *view {
	v := &view{blobs: map[archive.BlobID]blob{}, packs: map[string]place{}, needed: map[string]bool{},
		passed: map[string][]archive.LogRange{}}
	dropped := map[archive.BlobID]bool{}
	for _, e := range entries {
		for _, r := range e.Fact.Supersedes {
			v.passed[r.Session] = append(v.passed[r.Session], r)
		}
		for _, id := range e.Fact.Dropped {
			dropped[id] = true
		}
		for _, k := range e.Fact.Packs {
			if old, ok := v.packs[k.Object]; !ok || after(e.Fact.ID, old.fact) {
				if k.Digest == (archive.Digest{}) {
					k.Digest = old.Digest // a moved fact need not tell it
				}
				v.packs[k.Object] = place{k, e.Fact.ID}
			} else if old.Digest == (archive.Digest{}) {
				old.Digest = k.Digest
				v.packs[k.Object] = old
			}
		}
	}
	for _, e := range entries {
		if v.superseded(e.Session, e.N) {
			continue
		}
		for _, k := range e.Fact.Packs {
			v.needed[k.Object] = v.needed[k.Object] || e.Fact.Kind == archive.FactSettled
		}
		for i := range e.Fact.Instances {
			v.add(e.Fact, &e.Fact.Instances[i], dropped)
		}
	}
	return v
}

func (v *view) add(f *archive.Fact, in *archive.Instance, dropped map[archive.BlobID]bool) {
	b := blob{in.Blob, in.Key, in.At, in.Coding, in.SegmentBits, in.Size, in.Digest, f.ID, f.Kind == archive.FactStored}
	old, there := v.blobs[in.Blob]
	switch {
	case dropped[in.Blob] && b.stored: // a settled fact says that it is gone, or another that it is where
		return
	case there && b.stored, there && !old.stored && after(old.fact, b.fact):
		return
	}
	v.blobs[in.Blob] = b
}

// pack tells where an object is that is no log object.
func (v *view) pack(object string) archive.PackPlace {
	if k, ok := v.packs[object]; ok {
		return k.PackPlace
	}
	return archive.PackPlace{Object: object, Tier: archive.HotTier}
}
