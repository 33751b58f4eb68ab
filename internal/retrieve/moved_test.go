package retrieve_test

import (
	"bytes"
	"context"
	"io"
	"testing"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/retrieve"
	"github.com/strata-pacs/strata/internal/retrieve/retrievetest"
)

// TestMoved: an instance whose object went since it was found is read where it lies
// now; one that lies nowhere is not, and nothing is asked twice.
func TestMoved(t *testing.T) {
	a := retrievetest.New()
	file := retrievetest.Part10(retrievetest.Image{UIDs: ct, Rows: 64, Columns: 64, Name: "Fern^Ada"})
	u := a.Store(t, tenant, file)[0]
	r := retrieve.New(retrieve.Options{Index: a, Objects: a, Secrets: a})
	defer r.Close()
	in := one(t, r, u)
	row := a.Row(u)
	move := func(to string, front int) {
		old := row.At
		a.Objects[to] = append(make([]byte, front), a.Objects[old.Object][old.Offset:][:old.Length]...)
		delete(a.Objects, old.Object)
		row.At = archive.Location{Object: to, Offset: int64(front), Length: old.Length}
	}
	move(string(tenant)+"/pack/1", 1000)
	for range 2 {
		listings := a.Listings.Load()
		b, err := r.File(in, "")
		if got := read(t, b, err); !bytes.Equal(got, file) {
			t.Error("other bytes")
		}
		if n := a.Listings.Load() - listings; n != 1 {
			t.Errorf("the index was asked %d times", n)
		}
	}
	move(string(tenant)+"/pack/2", 16)
	b, err := r.Frame(in, 1, "")
	if got := read(t, b, err); !bytes.HasSuffix(file, got) || len(got) != 64*64*2 {
		t.Error("another frame")
	}
	gone := func(why string) {
		t.Helper()
		opens := a.Opens.Load()
		b, err := r.File(in, "")
		if err == nil {
			err = b.Write(t.Context(), io.Discard)
		}
		if !fault.Is(err, fault.Corrupt) {
			t.Errorf("%s: %v", why, err)
		}
		if n := a.Opens.Load() - opens; n > 2 {
			t.Errorf("%s: %d reads", why, n)
		}
	}
	at := row.At
	row.At.Length++
	gone("of another length")
	row.At = at
	delete(a.Objects, at.Object)
	gone("not there either")
	row.At = in.At
	gone("never moved")
	a.Delete(u)
	gone("deleted")
}

// shuffled is an index that has lost chunks.
type shuffled struct {
	*retrievetest.Archive
	lost map[int64]bool
}

func (s shuffled) Chunks(ctx context.Context, t archive.Tenant, ids []int64, yield func(int64, archive.Chunk) bool) error {
	return s.Archive.Chunks(ctx, t, ids, func(id int64, c archive.Chunk) bool { return s.lost[id] || yield(id, c) })
}

// TestMovedMetadata: metadata that was put into other chunks between its listing and
// its reading is the same; where more has changed, it is to be asked for again.
func TestMovedMetadata(t *testing.T) {
	a := shuffled{retrievetest.New(), map[int64]bool{}}
	var all []archive.UIDs
	for _, n := range []string{"1.2.1.1", "1.2.1.2", "1.2.1.3"} {
		u := archive.UIDs{Study: "1.2", Series: "1.2.1", Instance: n}
		all = append(all, a.Store(t, tenant, retrievetest.Part10(retrievetest.Image{UIDs: u, Rows: 4, Columns: 4, Name: "Fern^Ada"}))...)
	}
	move := func(to int64) { // all rows to chunks of other numbers
		for i, u := range all {
			row := a.Row(u)
			a.lost[row.ChunkID] = true
			a.SetChunk(to+int64(i), a.Chunk(row.ChunkID))
			row.ChunkID = to + int64(i)
		}
	}
	r := retrieve.New(retrieve.Options{Index: a, Objects: a, Secrets: a, CacheBytes: -1})
	defer r.Close()
	read := func(between func()) (string, error) {
		m, err := r.Metadata(t.Context(), tenant, archive.UIDs{Study: "1.2"})
		if err != nil {
			t.Fatal(err)
		}
		between()
		var b bytes.Buffer
		err = m.WriteJSON(t.Context(), &b, "http://x")
		return b.String(), err
	}
	before, err := read(func() {})
	if err != nil || len(before) < 500 {
		t.Fatal(before, err)
	}
	if after, err := read(func() { move(100) }); err != nil || after != before {
		t.Errorf("%v, %s", err, after)
	}
	if _, err := read(func() { move(200); a.Delete(all[1]) }); !fault.Is(err, fault.Unavailable) {
		t.Errorf("with a deletion: %v", err)
	}
	if _, err := read(func() { a.lost[a.Row(all[0]).ChunkID] = true }); !fault.Is(err, fault.Corrupt) {
		t.Errorf("lost: %v", err)
	}
}
