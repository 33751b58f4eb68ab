package retrieve_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/retrieve"
	"github.com/strata-pacs/strata/internal/retrieve/retrievetest"
	"github.com/strata-pacs/strata/internal/testdata"
)

const base = "https://pacs.example/dicom-web"

func metadata(tb testing.TB, r *retrieve.Reader, sel archive.UIDs) string {
	tb.Helper()
	m, err := r.Metadata(context.Background(), tenant, sel)
	if err != nil {
		tb.Fatal(err)
	}
	var w bytes.Buffer
	if err := m.WriteJSON(context.Background(), &w, base); err != nil {
		tb.Fatal(err)
	}
	return w.String()
}

func slicesOf(study string, series, n int) (files [][]byte) {
	for e := range series {
		for i := range n {
			u := archive.UIDs{Study: study, Series: fmt.Sprintf("%s.%d", study, e+1), Instance: fmt.Sprintf("%s.%d.%d", study, e+1, i+1)}
			files = append(files, retrievetest.Part10(retrievetest.Image{UIDs: u, Rows: 4, Columns: 4, Name: "Fern^Ada"}))
		}
	}
	return files
}

func TestMetadata(t *testing.T) {
	a := retrievetest.New()
	r := newReader(t, a)
	a.Store(t, tenant, slicesOf("1.2", 2, 3)...)
	for sel, want := range map[archive.UIDs]int{
		{Study: "1.2"}:                                       6,
		{Study: "1.2", Series: "1.2.2"}:                      3,
		{Study: "1.2", Series: "1.2.2", Instance: "1.2.2.3"}: 1,
	} {
		var list []map[string]struct {
			VR          string
			Value       []any
			BulkDataURI string
		}
		if err := json.Unmarshal([]byte(metadata(t, r, sel)), &list); err != nil {
			t.Fatal(err)
		}
		if len(list) != want {
			t.Errorf("%d instances instead of %d", len(list), want)
		}
		for _, in := range list {
			uid := func(tag string) string { return in[tag].Value[0].(string) }
			want := base + "/studies/" + uid("0020000D") + "/series/" + uid("0020000E") + "/instances/" + uid("00080018") + "/bulkdata/7FE00010"
			if in["7FE00010"].BulkDataURI != want {
				t.Errorf("BulkDataURI is %s instead of %s", in["7FE00010"].BulkDataURI, want)
			}
		}
	}
}

// TestMetadataIsKept: what was asked for once costs no chunk again, and with
// numbered changes no listing, until something changes.
func TestMetadataIsKept(t *testing.T) {
	a := retrievetest.New()
	r := retrieve.New(retrieve.Options{Index: retrievetest.Revised{Archive: a}, Objects: a, Secrets: a})
	defer r.Close()
	a.Store(t, tenant, slicesOf("1.2", 1, 3)...)
	sel := archive.UIDs{Study: "1.2"}
	first := metadata(t, r, sel)
	a.Listings.Store(0)
	a.ChunkReads.Store(0)
	if metadata(t, r, sel) != first {
		t.Error("the second answer differs")
	}
	if l, c := a.Listings.Load(), a.ChunkReads.Load(); l != 0 || c != 0 {
		t.Errorf("%d listings and %d chunks read", l, c)
	}
	a.Store(t, tenant, slicesOf("1.2", 2, 3)[3:]...)
	if got := strings.Count(metadata(t, r, sel), `"00080018"`); got != 6 {
		t.Errorf("%d instances after a store, instead of 6", got)
	}
	a.Delete(archive.UIDs{Study: "1.2", Series: "1.2.1"})
	if got := strings.Count(metadata(t, r, sel), `"00080018"`); got != 3 {
		t.Errorf("%d instances after a deletion, instead of 3", got)
	}
	a.Delete(sel)
	if _, err := r.Metadata(context.Background(), tenant, sel); !fault.Is(err, fault.NotFound) {
		t.Errorf("%v", err)
	}
}

// TestMetadataInLittleMemory: a cache that is far too small, and users at once.
func TestMetadataInLittleMemory(t *testing.T) {
	a := retrievetest.New()
	for i := range 20 {
		a.Store(t, tenant, slicesOf(fmt.Sprintf("1.%d", i+1), 1, 4)...)
	}
	for _, limit := range []int64{-1, 12_000, 1 << 20} {
		r := retrieve.New(retrieve.Options{Index: retrievetest.Revised{Archive: a}, Objects: a, Secrets: a, CacheBytes: limit})
		want := map[int]string{}
		for i := range 20 {
			want[i] = metadata(t, r, archive.UIDs{Study: fmt.Sprintf("1.%d", i+1)})
		}
		var wg sync.WaitGroup
		for k := range 4 {
			wg.Add(1)
			go func() {
				defer wg.Done()
				for i := range 100 {
					n := (i*7 + k*3) % 20
					if got := metadata(t, r, archive.UIDs{Study: fmt.Sprintf("1.%d", n+1)}); got != want[n] {
						t.Errorf("another answer with a cache of %d bytes", limit)
						return
					}
				}
			}()
		}
		wg.Wait()
		r.Close()
	}
}

func TestDamagedMetadata(t *testing.T) {
	sel := archive.UIDs{Study: "1.2"}
	for name, damage := range map[string]func(a *retrievetest.Archive){
		"no chunk": func(a *retrievetest.Archive) {
			a.Row(archive.UIDs{Study: "1.2", Series: "1.2.1", Instance: "1.2.1.1"}).ChunkID = 99
		},
		"not zstd": func(a *retrievetest.Archive) { a.SetChunk(1, archive.Chunk{Data: []byte("no"), Size: 10}) },
		"smaller":  func(a *retrievetest.Archive) { c := a.Chunk(1); c.Size--; a.SetChunk(1, c) },
		"giant":    func(a *retrievetest.Archive) { c := a.Chunk(1); c.Size = 1 << 40; a.SetChunk(1, c) },
		"outside": func(a *retrievetest.Archive) {
			a.Row(archive.UIDs{Study: "1.2", Series: "1.2.1", Instance: "1.2.1.1"}).JSON.Offset = 1 << 20
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := retrievetest.New()
			r := newReader(t, a)
			a.Store(t, tenant, slicesOf("1.2", 1, 2)...)
			damage(a)
			m, err := r.Metadata(context.Background(), tenant, sel)
			if err != nil {
				t.Fatal(err)
			}
			var w bytes.Buffer
			if err := m.WriteJSON(context.Background(), &w, base); !fault.Is(err, fault.Corrupt) || w.Len() > 0 {
				t.Errorf("%v, and %d bytes", err, w.Len())
			}
		})
	}
}

// TestConversions converts every uncompressed real file to every uncompressed
// syntax: the frames of the result are those of the original.
func TestConversions(t *testing.T) {
	targets := []string{dicom.ImplicitVRLittleEndian, dicom.ExplicitVRLittleEndian, dicom.ExplicitVRBigEndian, dicom.DeflatedExplicitVRLittleEndian}
	for _, f := range testdata.Files(t) {
		if !f.Storable() || f.Size > 1<<20 || testing.Short() && f.Size > 20<<10 || !dicom.Uncompressed(f.Syntax) {
			continue
		}
		t.Run(f.Name, func(t *testing.T) {
			a := retrievetest.New()
			r := newReader(t, a)
			in := one(t, r, a.Store(t, tenant, f.Bytes(t))[0])
			for _, to := range targets {
				b, err := r.File(in, to)
				a2 := retrievetest.New()
				r2 := newReader(t, a2)
				in2 := one(t, r2, a2.Store(t, tenant, read(t, b, err))[0])
				if in2.Syntax != to {
					t.Errorf("%s instead of %s", in2.Syntax, to)
				}
				px, err := in.Pixels()
				if err != nil {
					t.Fatal(err)
				}
				for n := 1; n <= px.Frames; n++ {
					b1, err1 := r.Frame(in, n, "")
					b2, err2 := r2.Frame(in2, n, "")
					if !bytes.Equal(read(t, b1, err1), read(t, b2, err2)) {
						t.Errorf("frame %d differs after conversion to %s", n, to)
					}
				}
			}
		})
	}
}
