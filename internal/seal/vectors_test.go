package seal

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"strings"
	"testing"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/vectors"
)

var update = flag.Bool("update", false, "write the test vectors anew")

// errorNames are the names of storage/FORMAT.md.
var errorNames = map[string]error{"version": ErrVersion, "header": ErrHeader, "commitment": ErrCommitment, "length": ErrLength, "segment": ErrSegment}

// counting is the plaintext of most vectors: byte i is i modulo 251.
func counting(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i % 251)
	}
	return b
}

func TestVectors(t *testing.T) {
	if *update {
		writeVectors(t)
	}
	good, bad := 0, 0
	for _, v := range vectors.Load(t, "blob-") {
		t.Run(v.Name, func(t *testing.T) {
			b := Binding{Tenant: archive.Tenant(v.Get("tenant")), Kind: v.Get("kind"), Key: archive.KeyID(v.Hex(t, "key-id"))}
			secret := archive.Secret(v.Hex(t, "key"))
			sealed := v.Bytes(t)
			got, err := openAs(sealed, secret, b, archive.BlobID(v.Hex(t, "blob")))
			if v.Get("expect") != "ok" {
				bad++
				if want := errorNames[v.Get("expect")]; want == nil || !errors.Is(err, want) {
					t.Errorf("error %v, want %q", err, v.Get("expect"))
				}
				return
			}
			good++
			var n int
			if _, err := fmt.Sscanf(v.Get("plain"), "counting %d", &n); err != nil {
				t.Fatal(err)
			}
			if err != nil || !bytes.Equal(got, counting(n)) {
				t.Errorf("opened %d bytes, %v", len(got), err)
			}
			h, err := ParseHeader(sealed)
			if err != nil || fmt.Sprint(h.SegmentBits) != v.Get("segment-bits") || fmt.Sprint(h.Coding) != v.Get("coding") {
				t.Errorf("header %+v, %v", h, err)
			}
			// A writer with this identity makes these bytes.
			again, _, err := Seal(nil, counting(n), secret, b, Options{SegmentBits: h.SegmentBits, Coding: h.Coding, Rand: bytes.NewReader(h.Blob[:])})
			if err != nil || !bytes.Equal(again, sealed) {
				t.Errorf("sealing again made other bytes: %v", err)
			}
			r := NewReader(memory(sealed), secret, b, ReadOptions{Blob: h.Blob, Coding: h.Coding, SegmentBits: h.SegmentBits, Plain: -1, Sealed: int64(len(sealed))})
			var out bytes.Buffer
			if _, err := r.WriteRange(context.Background(), &out, 0, -1); err != nil || !bytes.Equal(out.Bytes(), got) {
				t.Errorf("WriteRange: %v", err)
			}
		})
	}
	if good < 12 || bad < 12 {
		t.Errorf("%d good and %d bad vectors", good, bad)
	}
}

// openAs opens a blob that a fact names by its identity.
func openAs(sealed []byte, s archive.Secret, b Binding, id archive.BlobID) ([]byte, error) {
	got, err := Open(nil, sealed, s, b)
	if err != nil {
		return nil, err
	}
	if h, _ := ParseHeader(sealed); h.Blob != id {
		return nil, corrupt(ErrHeader)
	}
	return got, nil
}

func writeVectors(t *testing.T) {
	vectors.Remove(t, "blob-")
	secret := archive.Secret(bytes.Repeat([]byte{0xA5}, 32))
	key := archive.KeyID(bytes.Repeat([]byte{0x3C}, 16))
	std := Binding{Tenant: "default", Kind: KindInstance, Key: key}
	fields := func(expect string, b Binding, id archive.BlobID) []vectors.Field {
		return []vectors.Field{
			{Name: "format", Value: "blob 1"}, {Name: "expect", Value: expect},
			{Name: "tenant", Value: string(b.Tenant)}, {Name: "kind", Value: b.Kind},
			{Name: "key", Value: hex.EncodeToString(secret[:])}, {Name: "key-id", Value: b.Key.String()}, {Name: "blob", Value: id.String()},
		}
	}
	sealed := map[string][]byte{}
	ids := map[string]archive.BlobID{}
	for i, g := range []struct {
		name, comment string
		n             int
		b             Binding
		bits          uint8
		coding        archive.Coding
	}{
		{"empty", "Nothing sealed: one segment of no bytes.", 0, std, 12, 0},
		{"one-byte", "One byte.", 1, std, 12, 0},
		{"default-segments", "Segments of 64 KiB, as writers take them.", 300, std, 16, 0},
		{"largest-segments", "Segments of 1 MiB.", 300, std, 20, 0},
		{"segment-less-one", "One byte less than a segment.", 4095, std, 12, 0},
		{"segment", "Exactly one segment: it is the last, no empty one follows.", 4096, std, 12, 0},
		{"segment-and-one", "One byte more than a segment.", 4097, std, 12, 0},
		{"three-segments", "Three segments, the last one short.", 8292, std, 12, 0},
		{"deflated", "Coding 1: offsets count in the inflated data set.", 40, std, 12, archive.Deflated},
		{"root-key", "Sealed under the tenant root's fact key: key id zero.", 40, Binding{"default", KindIndex, archive.KeyID{}}, 16, 0},
		{"kind-json", "Another kind of content.", 40, Binding{"default", KindJSON, key}, 16, 0},
		{"kind-layout", "Another kind of content.", 40, Binding{"default", KindLayout, key}, 16, 0},
		{"tenant", "Another tenant.", 40, Binding{"radiology-2", KindInstance, key}, 16, 0},
	} {
		blob, id, err := Seal(nil, counting(g.n), secret, g.b, Options{SegmentBits: g.bits, Coding: g.coding, Rand: entropy(byte(i))})
		if err != nil {
			t.Fatal(err)
		}
		sealed[g.name], ids[g.name] = blob, id
		v := vectors.Vector{Name: "blob-good-" + g.name, Comment: g.comment, Fields: append(fields("ok", g.b, id),
			vectors.Field{Name: "segment-bits", Value: fmt.Sprint(g.bits)}, vectors.Field{Name: "coding", Value: fmt.Sprint(g.coding)},
			vectors.Field{Name: "plain", Value: fmt.Sprintf("counting %d", g.n)}), Parts: []vectors.Part{{Literal: blob}}}
		v.Write(t)
	}
	const base, full = "three-segments", 4096 + TagSize
	of := func(name string, off, n int) vectors.Part {
		return vectors.Part{From: "blob-good-" + name, Off: off, N: n}
	}
	part := func(off, n int) vectors.Part { return of(base, off, n) }
	lit := func(b ...byte) vectors.Part { return vectors.Part{Literal: b} }
	size := len(sealed[base])
	header, s0, s1, s2 := part(0, HeaderSize), part(HeaderSize, full), part(HeaderSize+full, full), part(HeaderSize+2*full, size-HeaderSize-2*full)
	// flip changes one bit at an offset.
	flip := func(at int) []vectors.Part {
		return []vectors.Part{part(0, at), lit(sealed[base][at] ^ 1), part(at+1, size-at-1)}
	}
	set := func(at int, v byte) []vectors.Part {
		return []vectors.Part{part(0, at), lit(v), part(at+1, size-at-1)}
	}
	for _, c := range []struct {
		name, comment, expect string
		parts                 []vectors.Part
		b                     Binding
		id                    string
	}{
		{"segments-swapped", "Segments 0 and 1 exchanged.", "segment", []vectors.Part{header, s1, s0, s2}, std, base},
		{"segment-moved", "Segment 1 moved behind the last.", "segment", []vectors.Part{header, s0, s2, s1}, std, base},
		{"segment-dropped", "Segment 1 is missing.", "segment", []vectors.Part{header, s0, s2}, std, base},
		{"segment-repeated", "Segment 1 comes twice.", "segment", []vectors.Part{header, s0, s1, s1, s2}, std, base},
		{"last-dropped", "Cut at the end of segment 1: what is now last was not sealed as the last.", "segment", []vectors.Part{header, s0, s1}, std, base},
		{"extended", "Forty bytes follow the last segment.", "segment", []vectors.Part{part(0, size), lit(make([]byte, 40)...)}, std, base},
		{"extended-by-segment", "A whole segment follows the last.", "segment", []vectors.Part{part(0, size), s0}, std, base},
		{"cut-in-segment", "Cut inside segment 1.", "segment", []vectors.Part{part(0, HeaderSize+full+200)}, std, base},
		{"cut-in-tag", "Cut where no blob can end: ten bytes of segment 1.", "length", []vectors.Part{part(0, HeaderSize+full+10)}, std, base},
		{"cut-in-header", "Cut inside the header.", "length", []vectors.Part{part(0, 60)}, std, base},
		{"header-alone", "A header without a segment.", "length", []vectors.Part{header}, std, base},
		{"no-bytes", "Nothing at all.", "length", nil, std, base},
		{"segment-of-another", "Segment 0 is that of another blob under the same key.", "segment", []vectors.Part{header, of("segment-and-one", HeaderSize, full), s1, s2}, std, base},
		{"another-blob", "Another blob of the same key stands where this one is said to be.", "header", []vectors.Part{of("segment", 0, len(sealed["segment"]))}, std, base},
		{"ciphertext-changed", "One bit of segment 1.", "segment", flip(HeaderSize + full + 7), std, base},
		{"tag-changed", "One bit of the last tag.", "segment", flip(size - 1), std, base},
		{"version", "Version 2.", "version", set(0, 2), std, base},
		{"algorithm", "Algorithm 2.", "version", set(1, 2), std, base},
		{"segment-size", "The header states larger segments.", "commitment", set(2, 13), std, base},
		{"segment-size-impossible", "The header states segments of 2 GiB.", "header", set(2, 31), std, base},
		{"coding", "The header states another coding.", "commitment", set(3, 1), std, base},
		{"coding-unknown", "The header states an unknown coding.", "header", set(3, 9), std, base},
		{"key-id", "The header names another key.", "header", flip(4), std, base},
		{"blob-id", "The header states another identity.", "commitment", flip(20), std, base},
		{"commitment", "One bit of the commitment.", "commitment", flip(52), std, base},
		{"other-tenant", "A blob of another tenant under the same key.", "commitment", []vectors.Part{of("tenant", 0, len(sealed["tenant"]))}, std, "tenant"},
		{"other-kind", "A blob of another kind under the same key.", "commitment", []vectors.Part{of("kind-json", 0, len(sealed["kind-json"]))}, std, "kind-json"},
		{"kind-runs-into-tenant", "Tenant and kind that are the right ones when written one after another.", "commitment", []vectors.Part{part(0, size)}, Binding{"defaulti", "nstance", key}, base},
	} {
		if strings.Contains(c.name, " ") {
			t.Fatal(c.name)
		}
		v := vectors.Vector{Name: "blob-bad-" + c.name, Comment: c.comment, Fields: fields(c.expect, c.b, ids[c.id]), Parts: c.parts}
		v.Write(t)
	}
}
