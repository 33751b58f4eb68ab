package ledger

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/zeebo/blake3"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/pack"
	"github.com/strata-pacs/strata/internal/vectors"
)

// forge returns the log object of a fact at S1/1, after edit has changed what
// is about to be sealed, with a header that ends with later fields.
func forge(t *testing.T, seed byte, f *archive.Fact, body *pack.Body, edit func(d *draft), later string) []byte {
	t.Helper()
	o := options(newStore())
	o.Rand = entropy(seed)
	l, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	d, err := l.draft(context.Background(), f, body)
	if err != nil {
		t.Fatal(err)
	}
	if f.Kind == archive.FactCheckpoint {
		d.fact.Sessions = f.Sessions
	}
	if edit != nil {
		edit(d)
	}
	if err := d.place(l, "S1", 1); err != nil {
		t.Fatal(err)
	}
	if later != "" {
		if err := d.finish(l, append(d.head.append(nil), later...)); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	if err := d.send(&out); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// redigest makes the trailer's digest right again.
func redigest(b []byte) []byte {
	from := binary.BigEndian.Uint64(b[len(b)-trailerSize+8:])
	sum := blake3.Sum256(b[from : len(b)-trailerSize+16])
	copy(b[len(b)-trailerSize+16:], sum[:])
	return b
}

func keyFields(ids ...archive.KeyID) []vectors.Field {
	var out []vectors.Field
	for _, id := range ids {
		s, _ := secrets(context.Background(), id)
		out = append(out, vectors.Field{Name: "key", Value: id.String() + " " + hex.EncodeToString(s[:])})
	}
	return out
}

func writeVectors(t *testing.T) {
	vectors.Remove(t, "fact-")
	store := newStore()
	zenc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, comment, expect, check, tenant, session string, n int, fact []string, parts ...vectors.Part) {
		v := vectors.Vector{Name: name, Comment: comment, Parts: parts, Fields: []vectors.Field{
			{Name: "format", Value: "fact 1"}, {Name: "expect", Value: expect}, {Name: "check", Value: check},
			{Name: "tenant", Value: tenant}, {Name: "session", Value: session}, {Name: "n", Value: fmt.Sprint(n)},
		}}
		v.Fields = append(v.Fields, keyFields(archive.KeyID{}, studyKey)...)
		for _, l := range fact {
			v.Fields = append(v.Fields, vectors.Field{Name: "fact", Value: l})
		}
		v.Write(t)
	}
	stored := func(n int, edit func(f *archive.Fact)) func() (*archive.Fact, *pack.Body) {
		return func() (*archive.Fact, *pack.Body) {
			f, body := storedFact(t, store, n, 10)
			for i := range f.Chunks {
				text := strings.Repeat(fmt.Sprintf(`{"a":[1%d]}`, i), f.Chunks[i].Size/10)
				f.Chunks[i].Data = zenc.EncodeAll([]byte(text), nil)
			}
			if edit != nil {
				edit(f)
			}
			return f, &body
		}
	}
	settled := func(edit func(f *archive.Fact)) func() (*archive.Fact, *pack.Body) {
		return func() (*archive.Fact, *pack.Body) {
			f := settledFact(3)
			f.Chunks[0].Data = zenc.EncodeAll([]byte(strings.Repeat(`{"a":[10]}`, 3)), nil)
			if edit != nil {
				edit(f)
			}
			return f, nil
		}
	}
	plain := func(f archive.Fact) func() (*archive.Fact, *pack.Body) {
		return func() (*archive.Fact, *pack.Body) { return &f, nil }
	}
	objects := map[string][]byte{}
	for i, g := range []struct {
		name, comment string
		fact          func() (*archive.Fact, *pack.Body)
		edit          func(d *draft)
	}{
		{"stored-one", "One instance, its blob before the fact.", stored(1, nil), nil},
		{"stored-several", "Three instances of two series; texts, attribute sets and layouts are written once.", stored(3, nil), nil},
		{"stored-elsewhere", "Instances in a pack and in another log object; the object has no blobs.", stored(3, func(f *archive.Fact) {
			for i, o := range []string{"default/pack/A", "default/log/S0/0000000000000009", "default/pack/A"} {
				f.Instances[i].At.Object = o
			}
		}), func(d *draft) { d.body, d.head.body = nil, 0; d.crc = crcOf(magic) }},
		{"stored-no-json", "No DICOM JSON: that section is absent.", stored(1, func(f *archive.Fact) { f.Chunks, f.Instances[0].JSON = nil, archive.JSONRef{} }), nil},
		{"stored-no-layout", "No layouts: that section is absent.", stored(1, func(f *archive.Fact) { f.Instances[0].Layout = nil }), nil},
		{"stored-two-keys", "The second instance is sealed under another key than the fact.", stored(2, func(f *archive.Fact) { f.Instances[1].Key = archive.KeyID{6} }), nil},
		{"stored-replaces", "An instance that supersedes two blobs.", stored(1, func(f *archive.Fact) { f.Instances[0].Replaces = []archive.BlobID{{1}, {2}} }), nil},
		{"stored-bare", "An instance without attributes.", stored(1, func(f *archive.Fact) {
			in := &f.Instances[0]
			in.Patient, in.Series, in.Attrs, in.Syntax = nil, nil, nil, ""
		}), nil},
		{"stored-later-fields", "Fields that a later minor version appends, to the header, an instance and the record: skipped.", stored(1, nil), func(d *draft) {
			i := bytes.LastIndex(d.payload, d.fact.Instances[0].Digest[:])
			end := len(d.payload)
			for at := i; at > 0; at-- { // the instance's length prefix
				n, k := binary.Uvarint(d.payload[at:])
				if k == 2 && at+k+int(n) == end {
					d.payload = append(binary.AppendUvarint(slices.Clone(d.payload[:at]), n+5), d.payload[at+k:]...)
					break
				}
			}
			d.payload = append(append(d.payload, "later"...), "and more"...)
		}},
		{"deleted-study", "A study is deleted: two blobs.", plain(archive.Fact{Kind: archive.FactDeleted, Study: archive.Ref{7}, Scope: archive.UIDs{Study: "1.2.3"}, Blobs: []archive.BlobID{{1}, {2}}}), nil},
		{"deleted-instance", "An instance is deleted.", plain(archive.Fact{Kind: archive.FactDeleted, Study: archive.Ref{7}, Scope: archive.UIDs{Study: "1.2.3", Series: "1.2.3.1", Instance: "1.2.3.1.1"}, Blobs: []archive.BlobID{{1}}}), nil},
		{"undeleted", "Two deletions no longer hold.", plain(archive.Fact{Kind: archive.FactUndeleted, Study: archive.Ref{7}, Blobs: []archive.BlobID{{1}, {2}}, Undoes: []archive.FactID{{3}, {4}}}), nil},
		{"void", "The number holds nothing.", plain(archive.Fact{Kind: archive.FactVoid}), nil},
		{"checkpoint", "Two sessions, one of which has ended.", plain(archive.Fact{Kind: archive.FactCheckpoint, Sessions: []archive.SessionEnd{{Session: "S0", Last: 300, Ended: true}, {Session: "S1", Last: 1}}}), nil},
		{"tenant", "A tenant's settings.", plain(archive.Fact{Kind: archive.FactTenant, Settings: &archive.TenantSettings{Title: "Praxis am Markt", State: archive.TenantActive,
			KEK: "vault/praxis+hsm/praxis", Duplicates: "refuse", Limits: archive.TenantLimits{RequestsPerSecond: 50, Concurrent: 20, BytesPerSecond: 1 << 27}}}), nil},
		{"key-closed", "Two keys of a study are destroyed.", plain(archive.Fact{Kind: archive.FactKeyClosed, Study: archive.Ref{7}, Closed: []archive.KeyID{{1}, {2}}, Until: time.UnixMilli(1_800_000_000_000)}), nil},
		{"key-closed-told", "One key, and what is told of its shredding.", plain(archive.Fact{Kind: archive.FactKeyClosed, Study: archive.Ref{7}, Closed: []archive.KeyID{{1}}, Until: time.UnixMilli(1_800_000_000_000),
			Closing: archive.Closing{Instances: 300, Patient: archive.Ref{8}, Issued: archive.Ref{9}}}), nil},
		{"settled", "A study is restated: three instances in two packs, six entries of the log superseded, a blob dropped.", settled(nil), nil},
		{"settled-nothing-left", "Everything of a study is dropped: the fact is sealed under the tenant root and names no pack.", plain(archive.Fact{Kind: archive.FactSettled,
			Study: archive.Ref{7}, Supersedes: settledFact(1).Supersedes, Dropped: []archive.BlobID{{1}, {2}}}), nil},
		{"moved", "A pack is copied to another store, another one changes its class.", plain(archive.Fact{Kind: archive.FactMoved, Study: archive.Ref{7}, Packs: []archive.PackPlace{
			{Object: "default/pack/A", Size: 4096, Digest: archive.Digest{1}, Tier: "cold", From: "hot"}, {Object: "default/pack/B", Size: 300, Digest: archive.Digest{2}, Tier: "archive"}}}), nil},
	} {
		f, body := g.fact()
		later := ""
		if g.name == "stored-later-fields" {
			later = "later"
		}
		b := forge(t, byte(i), f, body, g.edit, later)
		objects[g.name] = b
		e, err := Read(context.Background(), raw(b), tenant, "S1", 1, secrets, All)
		if err != nil {
			t.Fatalf("%s: %v", g.name, err)
		}
		write("fact-good-"+g.name, g.comment, "ok", "ok", "default", "S1", 1, describe(t, e.Fact), vectors.Part{Literal: b})
	}

	one := objects["stored-one"]
	size := len(one)
	tr, err := parseTrailer(one, int64(size))
	if err != nil {
		t.Fatal(err)
	}
	head := size - trailerSize - int(tr.header)
	h, err := parseHeader(one[head : head+int(tr.header)])
	if err != nil {
		t.Fatal(err)
	}
	json, layout, index, err := h.sections(&tr, int64(size))
	if err != nil {
		t.Fatal(err)
	}
	// two is like one but for its random numbers: its sections have the same lengths.
	f, body := stored(1, nil)()
	two := forge(t, 77, f, body, nil, "")
	if len(two) != size {
		t.Fatal("two facts alike differ in length")
	}
	part := func(off, n int) vectors.Part {
		return vectors.Part{From: "fact-good-stored-one", Off: off, N: n}
	}
	lit := func(b []byte) vectors.Part { return vectors.Part{Literal: b} }
	all := []vectors.Part{part(0, size)}
	flip := func(at int, v byte) []vectors.Part {
		return []vectors.Part{part(0, at), lit([]byte{one[at] ^ v}), part(at+1, size-at-1)}
	}
	swap := func(from, n int64) []vectors.Part {
		return []vectors.Part{part(0, int(from)), lit(two[from:][:n]), part(int(from+n), size-int(from+n))}
	}
	bad := func(name, comment, expect, check string, parts ...vectors.Part) {
		write("fact-bad-"+name, comment, expect, check, "default", "S1", 1, nil, parts...)
	}
	write("fact-bad-other-number", "The fact stands under another number.", "place", "ok", "default", "S1", 2, nil, all...)
	write("fact-bad-other-session", "The fact stands in another session.", "place", "ok", "default", "S2", 1, nil, all...)
	write("fact-bad-other-tenant", "The fact stands in another tenant's log, whose keys are the same.", "commitment", "ok", "radiology-2", "S1", 1, nil, all...)
	bad("cut", "Cut ten bytes before the end.", "version", "version", part(0, size-10))
	bad("cut-in-front", "The first ten bytes are missing.", "length", "version", part(10, size-10))
	bad("no-bytes", "Nothing at all.", "length", "length")
	bad("extended", "A byte follows.", "version", "version", part(0, size), lit([]byte{0}))
	bad("inserted", "A byte more among the blobs.", "length", "digest", part(0, 50), lit([]byte{0}), part(50, size-50))
	bad("blob-dropped", "The blobs are missing.", "length", "digest", part(0, pack.HeaderSize), part(int(tr.fact), size-int(tr.fact)))
	bad("trailer-version", "Version 2 in the trailer.", "version", "version", flip(size-trailerSize+53, 3)...)
	bad("header-version", "Version 2 in the fact's header.", "version", "digest", flip(head, 3)...)
	bad("header-kind", "The header states another kind.", "header", "digest", flip(head+1, 3)...)
	bad("header-id", "The header states another fact id.", "header", "digest", flip(head+2, 1)...)
	bad("header-key", "The header names another key.", "header", "digest", flip(head+18, 5)...)
	bad("header-study", "The header states another study.", "header", "digest", flip(head+34, 1)...)
	bad("header-number", "The header states another number.", "header", "digest", flip(head+57, 2)...)
	bad("header-body", "The header states longer blobs.", "length", "digest", flip(head+65, 1)...)
	bad("header-section", "The header states a shorter section.", "length", "digest", flip(head+73, 1)...)
	bad("header-section-huge", "The header states a section of 2^56 bytes.", "length", "digest", flip(head+66, 1)...)
	bad("header-session", "The header names another session.", "header", "digest", flip(head+fixedHeader+2, 1)...)
	bad("header-length", "The trailer states a longer header.", "length", "digest", flip(size-trailerSize+7, 64)...)
	bad("fact-offset", "The trailer states another beginning of the fact.", "length", "digest", flip(size-trailerSize+15, 1)...)
	bad("index-changed", "One bit of the index section.", "segment", "digest", flip(int(index)+90, 1)...)
	bad("index-of-another", "The index section is that of another fact under the same key.", "header", "digest", swap(index, h.index)...)
	bad("json-changed", "One bit of the JSON section.", "segment", "digest", flip(int(json)+90, 1)...)
	bad("json-of-another", "The JSON section is that of another fact under the same key.", "section", "digest", swap(json, h.json)...)
	bad("layout-of-another", "The layout section is that of another fact under the same key.", "section", "digest", swap(layout, h.layout)...)
	bad("digest", "The trailer's digest is wrong: the fact still opens, the keyless check fails.", "ok", "digest", flip(size-trailerSize+20, 1)...)
	bad("body-changed", "One bit of a blob: the fact still opens, the blob and the keyless check do not.", "ok", "digest", flip(pack.HeaderSize+90, 1)...)

	forged := func(name, comment, expect string, f func() (*archive.Fact, *pack.Body), edit func(d *draft)) {
		fact, body := f()
		bad(name, comment, expect, "ok", lit(redigest(forge(t, 78, fact, body, edit, ""))))
	}
	forged("kind-reserved", "A kind that this version does not know.", "kind", plain(archive.Fact{Kind: archive.FactVoid}), func(d *draft) { d.head.kind = archive.FactHeld })
	forged("tenant-no-settings", "A tenant fact whose payload is not settings.", "record", plain(archive.Fact{Kind: archive.FactTenant, Settings: &archive.TenantSettings{State: archive.TenantActive}}), func(d *draft) { d.payload = []byte("{}") })
	forged("key-closed-none", "A key-closed fact that names no key.", "record", plain(archive.Fact{Kind: archive.FactKeyClosed, Study: archive.Ref{7}}), nil)
	forged("kind-with-study-key", "A deletion under a study key.", "header", plain(archive.Fact{Kind: archive.FactDeleted, Blobs: []archive.BlobID{{1}}}), func(d *draft) {
		d.fact.Key, d.head.key = studyKey, studyKey
		d.secret, _ = secrets(context.Background(), studyKey)
	})
	forged("record-empty", "An index record without a payload.", "record", stored(1, nil), func(d *draft) { d.payload = nil })
	forged("record-cut", "An index record that ends early.", "record", stored(1, nil), func(d *draft) { d.payload = d.payload[:len(d.payload)-40] })
	forged("record-count", "A count of 2^63 texts.", "record", stored(1, nil), func(d *draft) {
		d.payload = append([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}, d.payload...)
	})
	forged("record-varint", "A varint that does not end within ten bytes.", "record", stored(1, nil), func(d *draft) {
		d.payload = append(bytes.Repeat([]byte{0xff}, 11), d.payload...)
	})
	forged("blob-outside", "An instance that lies past the blobs of its object.", "record", stored(1, nil), func(d *draft) { d.body, d.head.body, d.crc = nil, 0, crcOf(magic) })
	forged("object-unknown", "An instance in an object that the header does not name.", "record", stored(1, func(f *archive.Fact) { f.Instances[0].At.Object = "default/pack/A" }), func(d *draft) { d.head.objects = nil })
	forged("json-outside", "An instance whose JSON lies past the end of its chunk.", "record", stored(1, func(f *archive.Fact) { f.Instances[0].JSON.Offset = 1 }), nil)
	forged("chunk-unknown", "An instance whose JSON is in a chunk that is not there.", "record", stored(1, func(f *archive.Fact) { f.Instances[0].JSON.Chunk = 1 }), nil)
	forged("attr-cut", "An attribute whose value is longer than the record.", "record", stored(1, func(f *archive.Fact) {
		f.Instances[0].Attrs = archive.Attrs{{Tag: 0x00200013, VR: dicom.IS, Value: "XYZZY"}}
	}), func(d *draft) {
		i := bytes.Index(d.payload, []byte("XYZZY"))
		d.payload[i-1] = 0x7f
		d.payload = d.payload[:i+5]
	})
	forged("settled-two-keys", "A settled fact with an instance under another key.", "record", settled(nil), func(d *draft) { edited(t, d, func(f *archive.Fact) { f.Instances[1].Key = archive.KeyID{6} }) })
	forged("settled-not-stated", "A settled fact with an instance that no fact has stated.", "record", settled(nil), func(d *draft) { edited(t, d, func(f *archive.Fact) { f.Instances[1].Stated = archive.FactID{} }) })
	forged("settled-elsewhere", "A settled fact with an instance in a pack that it does not name.", "record", settled(nil), func(d *draft) { d.head.places.packs = d.head.places.packs[1:] })
	forged("settled-in-itself", "A settled fact with an instance in its own object.", "record", settled(nil), func(d *draft) { d.payload = bytes.Replace(d.payload, []byte{1, 16, 100}, []byte{0, 16, 100}, 1) })
	forged("settled-under-root", "A settled fact with instances under the tenant root.", "header", settled(nil), func(d *draft) {
		d.fact.Key, d.head.key = archive.KeyID{}, archive.KeyID{}
		for i := range d.fact.Instances {
			d.fact.Instances[i].Key = archive.KeyID{}
		}
		d.secret, _ = secrets(context.Background(), archive.KeyID{})
		resealed(t, d)
	})
	forged("settled-too-much", "A settled fact that supersedes 2^20 + 1 entries of the log.", "header", settled(nil), func(d *draft) {
		d.head.places.supersedes = []archive.LogRange{{Session: "S0", Range: archive.Range{From: 1, To: MaxSuperseded + 1}}}
	})
	forged("moved-nowhere", "A moved fact with a pack in a tier that cannot be.", "header", plain(archive.Fact{Kind: archive.FactMoved, Study: archive.Ref{7},
		Packs: []archive.PackPlace{{Object: "default/pack/A", Tier: "cold"}}}), func(d *draft) { d.head.places.packs[0].Tier = "No Tier" })
	forged("section-missing", "A record that needs a JSON section where there is none.", "section", stored(1, nil), func(d *draft) {
		d.tail = d.tail[d.head.json:]
		d.fixed -= int(d.head.json)
		d.head.json = 0
	})
	forged("section-unneeded", "A void with a section.", "section", plain(archive.Fact{Kind: archive.FactVoid}), func(d *draft) {
		d.tail = append(d.tail, make([]byte, 100)...)
		d.fixed, d.head.json = 100, 100
	})
}

// edited encodes the payload of the draft's settled fact anew, without the checks of a writer.
func edited(t *testing.T, d *draft, edit func(*archive.Fact)) {
	t.Helper()
	edit(&d.fact)
	e := encoder{tenant: tenant}
	b, err := e.stored(&d.fact)
	if err != nil {
		t.Fatal(err)
	}
	d.payload = append(b, 0)
}

// resealed seals the sections of the draft anew, under the key that it has now.
func resealed(t *testing.T, d *draft) {
	t.Helper()
	l, err := Open(options(newStore()))
	if err != nil {
		t.Fatal(err)
	}
	f := d.fact
	f.Key = d.head.key
	again, err := l.draft(context.Background(), &f, nil)
	if err != nil {
		t.Fatal(err)
	}
	d.tail, d.fixed, d.blobs, d.payload = again.tail, again.fixed, again.blobs, again.payload
}

func crcOf(s string) uint32 {
	var c crcWriter
	c.Write([]byte(s))
	return uint32(c)
}
