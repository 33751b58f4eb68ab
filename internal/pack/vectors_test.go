package pack

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"slices"
	"testing"

	"github.com/zeebo/blake3"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/vectors"
)

var update = flag.Bool("update", false, "write the test vectors anew")

// errorNames are the names of storage/FORMAT.md.
var errorNames = map[string]error{"version": ErrVersion, "length": ErrLength, "table": ErrTable, "digest": ErrDigest}

func TestVectors(t *testing.T) {
	if *update {
		writeVectors(t)
	}
	ctx := context.Background()
	good, bad := 0, 0
	for _, v := range vectors.Load(t, "pack-") {
		t.Run(v.Name, func(t *testing.T) {
			b := v.Bytes(t)
			blobs, err := Verify(ctx, raw(b), "p", int64(len(b)))
			if v.Get("expect") != "ok" {
				bad++
				if want := errorNames[v.Get("expect")]; want == nil || !errors.Is(err, want) || !fault.Is(err, fault.Corrupt) {
					t.Errorf("error %v, want %q", err, v.Get("expect"))
				}
				return
			}
			good++
			if err != nil {
				t.Fatal(err)
			}
			if got := lines(blobs); !slices.Equal(got, v.All("blob")) {
				t.Errorf("table %v", got)
			}
			again, err := ReadTable(ctx, raw(b), "p", int64(len(b)))
			if err != nil || !slices.Equal(again, blobs) {
				t.Errorf("ReadTable = %v, %v", again, err)
			}
		})
	}
	if good < 12 || bad < 12 {
		t.Errorf("%d good and %d bad vectors", good, bad)
	}
}

// lines writes a table as the vectors do: identity, offset, length.
func lines(blobs []Entry) []string {
	var out []string
	for _, e := range blobs {
		out = append(out, fmt.Sprintf("%v %d %d", e.Blob, e.Offset, e.Length))
	}
	return out
}

// build returns a pack with this table over n bytes of blobs, its digest right.
func build(blobs []Entry, n int) []byte {
	b := append([]byte(magic), pattern(n, 9)...)
	return sealed(append(b, footer(blobs, int64(len(b)))...))
}

// sealed makes the digest of a pack right.
func sealed(b []byte) []byte {
	sum := blake3.Sum256(b[:len(b)-TrailerSize+16])
	copy(b[len(b)-TrailerSize+16:], sum[:])
	return b
}

func writeVectors(t *testing.T) {
	vectors.Remove(t, "pack-")
	e := func(i int, off, n int64) Entry { return Entry{id(i), off, n} }
	for _, g := range []struct {
		name, comment string
		blobs         []Entry
		n             int
	}{
		{"empty", "No blobs.", nil, 0},
		{"one-byte", "A blob of one byte (no sealed blob is so short; a pack does not mind).", []Entry{e(1, 16, 1)}, 1},
		{"one", "One blob.", []Entry{e(1, 16, 150)}, 150},
		{"two", "Two blobs, one behind the other.", []Entry{e(1, 16, 100), e(2, 116, 120)}, 220},
		{"five", "Five blobs.", []Entry{e(1, 16, 100), e(2, 116, 101), e(3, 217, 102), e(4, 319, 103), e(5, 422, 104)}, 510},
		{"dead-before", "Bytes that no entry names, before the first blob.", []Entry{e(1, 66, 100)}, 150},
		{"dead-between", "Bytes that no entry names, between blobs.", []Entry{e(1, 16, 100), e(2, 216, 100)}, 300},
		{"dead-behind", "Bytes that no entry names, behind the last blob.", []Entry{e(1, 16, 100)}, 200},
		{"dead-all", "Bytes, and no entry.", nil, 100},
		{"identities-not-sorted", "Entries are in order of offset, not of identity.", []Entry{e(9, 16, 100), e(2, 116, 100)}, 200},
		{"same-identity", "The same blob twice: allowed, as a copy.", []Entry{e(1, 16, 100), e(1, 116, 100)}, 200},
		{"larger", "A blob of 3000 bytes.", []Entry{e(1, 16, 3000)}, 3000},
	} {
		v := vectors.Vector{Name: "pack-good-" + g.name, Comment: g.comment, Parts: []vectors.Part{{Literal: build(g.blobs, g.n)}},
			Fields: []vectors.Field{{Name: "format", Value: "pack 1"}, {Name: "expect", Value: "ok"}}}
		for _, l := range lines(g.blobs) {
			v.Fields = append(v.Fields, vectors.Field{Name: "blob", Value: l})
		}
		v.Write(t)
	}
	two := []Entry{e(1, 16, 100), e(2, 116, 120)}
	// edit returns the pack of two blobs, changed; fix makes its digest right again.
	edit := func(fix bool, f func(b []byte) []byte) []byte {
		b := f(build(two, 220))
		if fix {
			return sealed(b)
		}
		return b
	}
	at := func(i int, v byte) func([]byte) []byte { return func(b []byte) []byte { b[i] ^= v; return b } }
	end := func(i int, v byte) func([]byte) []byte {
		return func(b []byte) []byte { b[len(b)-TrailerSize+i] ^= v; return b }
	}
	for _, c := range []struct {
		name, comment, expect string
		b                     []byte
	}{
		{"blob-changed", "One bit of a blob.", "digest", edit(false, at(40, 1))},
		{"table-changed", "One bit of an identity in the table.", "digest", edit(false, at(16+220+3, 1))},
		{"digest-changed", "One bit of the digest.", "digest", edit(false, end(20, 1))},
		{"blobs-swapped", "Two runs of bytes exchanged.", "digest", edit(false, func(b []byte) []byte { copy(b[16:26], b[30:40]); return b })},
		{"cut", "Cut ten bytes before the end.", "version", edit(false, func(b []byte) []byte { return b[:len(b)-10] })},
		{"cut-in-front", "The first ten bytes are missing.", "length", edit(false, func(b []byte) []byte { return b[10:] })},
		{"extended", "A byte follows.", "version", edit(false, func(b []byte) []byte { return append(b, 0) })},
		{"inserted", "A byte more among the blobs.", "length", edit(true, func(b []byte) []byte { return slices.Insert(b, 50, 0) })},
		{"too-short", "Shorter than header and trailer.", "length", build(nil, 0)[:60]},
		{"no-bytes", "Nothing at all.", "length", nil},
		{"not-a-pack", "Another header.", "version", edit(true, at(0, 0x20))},
		{"newer", "Version 2.", "version", edit(true, at(13, '1'^'2'))},
		{"newer-trailer", "Version 2 in the trailer.", "version", edit(false, end(53, '1'^'2'))},
		{"count-too-large", "The count claims 2^56 entries.", "length", edit(true, end(0, 1))},
		{"count-too-small", "The count leaves out an entry.", "length", edit(true, end(7, 3))},
		{"end-wrong", "The end of the blobs is a byte off.", "length", edit(true, end(15, 1))},
		{"entry-past-end", "An entry that reaches past the blobs.", "table", build([]Entry{e(1, 16, 221)}, 220)},
		{"entry-in-header", "An entry that lies in the header.", "table", build([]Entry{e(1, 8, 20)}, 220)},
		{"entries-overlap", "Two entries that share bytes.", "table", build([]Entry{e(1, 16, 100), e(2, 100, 100)}, 220)},
		{"entries-out-of-order", "Entries not in order of offset.", "table", build([]Entry{e(1, 116, 100), e(2, 16, 100)}, 220)},
		{"entry-empty", "An entry of no bytes.", "table", build([]Entry{e(1, 16, 0)}, 220)},
		{"entry-overflows", "Offset and length whose sum overflows.", "table", build([]Entry{e(1, 16, -1), e(2, 1<<62, 1<<62)}, 220)},
	} {
		v := vectors.Vector{Name: "pack-bad-" + c.name, Comment: c.comment,
			Fields: []vectors.Field{{Name: "format", Value: "pack 1"}, {Name: "expect", Value: c.expect}}, Parts: []vectors.Part{{Literal: c.b}}}
		v.Write(t)
	}
}
