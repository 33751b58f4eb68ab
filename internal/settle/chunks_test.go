package settle

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/ledger"
)

// shelf is an index that has chunks.
type shelf struct {
	chunks map[int64]archive.Chunk
	reads  map[int64]int
	err    error
}

func (s *shelf) Chunks(_ context.Context, _ archive.Tenant, ids []int64, yield func(int64, archive.Chunk) bool) error {
	for _, id := range ids {
		s.reads[id]++
		if c, ok := s.chunks[id]; ok && !yield(id, c) {
			return nil
		}
	}
	return s.err
}

// fill makes texts of instances, so many in a chunk, and shelves them.
func fill(t *testing.T, z codec, instances, together int) (*shelf, []text, []string) {
	t.Helper()
	s := &shelf{chunks: map[int64]archive.Chunk{}, reads: map[int64]int{}}
	var texts []text
	var plain []string
	var c []byte
	id := int64(1)
	for i := range instances {
		p := fmt.Sprintf(`{"00080018":{"vr":"UI","Value":["1.2.%d"]},"00100010":{"vr":"PN","Value":["%s"]}}`, i, strings.Repeat("Fern^Ada ", 100))
		texts = append(texts, text{id, archive.JSONRef{Offset: len(c), Length: len(p)}})
		plain, c = append(plain, p), append(c, p...)
		if (i+1)%together == 0 || i == instances-1 {
			s.chunks[id] = archive.Chunk{Data: z.enc.EncodeAll(c, nil), Size: len(c)}
			c, id = c[:0], id+1
		}
	}
	return s, texts, plain
}

// TestRegroup: however the metadata was stored, it comes out the same, in chunks of the size
// that a store makes.
func TestRegroup(t *testing.T) {
	z, err := newCodec()
	if err != nil {
		t.Fatal(err)
	}
	defer z.dec.Close()
	for _, together := range []int{1, 3, 100, 2000} {
		for _, order := range []string{"in order", "backwards"} {
			t.Run(fmt.Sprint(together, order), func(t *testing.T) {
				s, texts, plain := fill(t, z, 2000, together)
				if order == "backwards" {
					for i := range 1000 {
						texts[i], texts[1999-i] = texts[1999-i], texts[i]
						plain[i], plain[1999-i] = plain[1999-i], plain[i]
					}
				}
				refs, chunks, err := regroup(t.Context(), s, "t", texts, z)
				if err != nil || len(refs) != len(texts) {
					t.Fatalf("%d texts, %v", len(refs), err)
				}
				var open [][]byte
				total := 0
				for i, c := range chunks {
					b, err := z.dec.DecodeAll(c.Data, nil)
					if err != nil || len(b) != c.Size {
						t.Fatal(len(b), c.Size, err)
					}
					if i < len(chunks)-1 && (c.Size < ledger.ChunkBytes || c.Size > ledger.ChunkBytes+2000) {
						t.Errorf("a chunk of %d bytes", c.Size)
					}
					open, total = append(open, b), total+len(c.Data)
				}
				for i, r := range refs {
					if string(open[r.Chunk][r.Offset:][:r.Length]) != plain[i] {
						t.Fatalf("text %d differs", i)
					}
				}
				for id, n := range s.reads {
					if n > 1 {
						t.Errorf("chunk %d was read %d times", id, n)
					}
				}
				t.Logf("%d chunks of %d bytes", len(chunks), total)
			})
		}
	}
	if refs, chunks, err := regroup(t.Context(), &shelf{}, "t", nil, z); err != nil || len(refs)+len(chunks) != 0 {
		t.Error(refs, chunks, err)
	}
}

func TestRegroupDamaged(t *testing.T) {
	z, err := newCodec()
	if err != nil {
		t.Fatal(err)
	}
	defer z.dec.Close()
	boom := errors.New("boom")
	for name, damage := range map[string]func(*shelf, []text){
		"lost":           func(s *shelf, _ []text) { delete(s.chunks, 2) },
		"too short":      func(s *shelf, _ []text) { c := s.chunks[2]; c.Size--; s.chunks[2] = c },
		"too long":       func(s *shelf, _ []text) { c := s.chunks[2]; c.Size = maxText + 1; s.chunks[2] = c },
		"negative":       func(s *shelf, _ []text) { c := s.chunks[2]; c.Size = -1; s.chunks[2] = c },
		"not compressed": func(s *shelf, _ []text) { s.chunks[2] = archive.Chunk{Data: []byte("x"), Size: 1} },
		"outside":        func(_ *shelf, x []text) { x[5].at.Offset = 1 << 30 },
		"before":         func(_ *shelf, x []text) { x[5].at.Offset = -1 },
		"of no length":   func(_ *shelf, x []text) { x[5].at.Length = -1 },
	} {
		s, texts, _ := fill(t, z, 12, 4)
		damage(s, texts)
		if _, _, err := regroup(t.Context(), s, "t", texts, z); !fault.Is(err, fault.Corrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
	s, texts, _ := fill(t, z, 12, 4)
	s.err = boom
	if _, _, err := regroup(t.Context(), s, "t", texts, z); err != boom {
		t.Error(err)
	}
}
