package retrieve_test

import (
	"bytes"
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
