// Package retrievetest has an archive in memory to test retrieval against: it
// seals what it is given as a store does, and answers for the index.
package retrievetest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/dicom/dicomjson"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/seal"
)

// Archive is an index, an object store and a key ring in one. Its methods for
// retrieval are safe for concurrent use, Store is not.
type Archive struct {
	// Objects are the sealed objects by name; a test may damage them.
	Objects map[string][]byte
	// Opens, Listings and ChunkReads count calls.
	Opens, Listings, ChunkReads atomic.Int64
	// Secrets, when set, answers for keys instead.
	Secrets func(archive.KeyID) (archive.Secret, error)

	secret   archive.Secret
	rows     []archive.InstanceRow
	chunks   map[int64]archive.Chunk
	revision int64
}

// New returns an empty archive.
func New() *Archive {
	return &Archive{Objects: map[string][]byte{}, secret: archive.Secret{1, 2, 3}, chunks: map[int64]archive.Chunk{}}
}

// Store keeps Part 10 files as one fact does: in one object, with one chunk of
// metadata. It returns the UIDs in the order of the files.
func (a *Archive) Store(tb testing.TB, t archive.Tenant, files ...[]byte) []archive.UIDs {
	tb.Helper()
	object := fmt.Sprintf("%s/log/test/%d", t, len(a.Objects)+1)
	chunk := int64(len(a.chunks) + 1)
	var sealed, text []byte
	var all []archive.UIDs
	for _, b := range files {
		f, err := dicom.Read(context.Background(), bytes.NewReader(b), dicom.Limits{})
		if err != nil {
			tb.Fatalf("reading a file to store: %v", err)
		}
		l, err := dicom.NewLayout(f)
		if err != nil {
			tb.Fatal(err)
		}
		row := archive.InstanceRow{ID: int64(len(a.rows) + 1), ChunkID: chunk, Tier: archive.Online}
		uid := func(t dicom.Tag) string {
			if e := f.Data.Lookup(t); e != nil {
				return strings.TrimRight(string(e.Value), " \x00")
			}
			return ""
		}
		row.UIDs = archive.UIDs{Study: uid(0x0020000D), Series: uid(0x0020000E), Instance: uid(0x00080018)}
		row.SOPClass, row.Syntax, row.Size, row.SegmentBits = uid(0x00080016), f.Syntax, int64(len(b)), seal.DefaultSegmentBits
		if f.Deflated {
			row.Coding = archive.Deflated
		}
		if len(l.Bulk) > 0 || l.Frames.Tag != 0 {
			row.Layout = l.AppendBinary(nil)
		}
		start := len(sealed)
		sealed, row.Blob, err = seal.Seal(sealed, b, a.secret, seal.Binding{Tenant: t, Kind: seal.KindInstance, Key: row.Key}, seal.Options{Coding: row.Coding})
		if err != nil {
			tb.Fatal(err)
		}
		row.At = archive.Location{Object: object, Offset: int64(start), Length: int64(len(sealed) - start)}
		row.JSON.Offset = len(text)
		text = dicomjson.Append(text, f.Data)
		row.JSON.Length = len(text) - row.JSON.Offset
		a.rows = append(a.rows, row)
		all = append(all, row.UIDs)
	}
	z, err := zstd.NewWriter(nil)
	if err != nil {
		tb.Fatal(err)
	}
	a.Objects[object] = sealed
	a.chunks[chunk] = archive.Chunk{Data: z.EncodeAll(text, nil), Size: len(text)}
	a.revision++
	return all
}

// Delete hides what is selected.
func (a *Archive) Delete(sel archive.UIDs) {
	a.rows = slices.DeleteFunc(a.rows, func(r archive.InstanceRow) bool { return selects(sel, r.UIDs) })
	a.revision++
}

// Row returns the row of an instance, to be changed by a test, or nil.
func (a *Archive) Row(u archive.UIDs) *archive.InstanceRow {
	for i := range a.rows {
		if a.rows[i].UIDs == u {
			return &a.rows[i]
		}
	}
	return nil
}

// Chunk returns a chunk of metadata; SetChunk replaces it.
func (a *Archive) Chunk(id int64) archive.Chunk       { return a.chunks[id] }
func (a *Archive) SetChunk(id int64, c archive.Chunk) { a.chunks[id] = c; a.revision++ }

func selects(sel, u archive.UIDs) bool {
	return sel.Study == u.Study && (sel.Series == "" || sel.Series == u.Series) && (sel.Instance == "" || sel.Instance == u.Instance)
}

// Instances yields the rows of the selection in the order they were stored in.
func (a *Archive) Instances(ctx context.Context, t archive.Tenant, sel archive.UIDs, yield func(*archive.InstanceRow) bool) error {
	a.Listings.Add(1)
	for i := range a.rows {
		if err := ctx.Err(); err != nil {
			return err
		}
		if row := a.rows[i]; selects(sel, row.UIDs) && strings.HasPrefix(row.At.Object, string(t)+"/") && !yield(&row) {
			break
		}
	}
	return nil
}

// Chunks yields the chunks of the ids.
func (a *Archive) Chunks(_ context.Context, _ archive.Tenant, ids []int64, yield func(int64, archive.Chunk) bool) error {
	a.ChunkReads.Add(int64(len(ids)))
	for _, id := range ids {
		if c, ok := a.chunks[id]; ok && !yield(id, c) {
			break
		}
	}
	return nil
}

// Secret answers for every key with the same one.
func (a *Archive) Secret(_ context.Context, id archive.KeyID) (archive.Secret, error) {
	if a.Secrets != nil {
		return a.Secrets(id)
	}
	return a.secret, nil
}

// Open reads an object.
func (a *Archive) Open(_ context.Context, key string, off, n int64) (io.ReadCloser, error) {
	a.Opens.Add(1)
	b, ok := a.Objects[key]
	switch {
	case !ok:
		return nil, fault.New(fault.NotFound, "there is no such object")
	case off > int64(len(b)):
		return nil, fault.New(fault.RangeInvalid, "the range starts after the object's end")
	}
	b = b[off:]
	if n >= 0 && n < int64(len(b)) {
		b = b[:n]
	} else if n > int64(len(b)) {
		return io.NopCloser(io.MultiReader(bytes.NewReader(b), failing{})), nil
	}
	return io.NopCloser(bytes.NewReader(b)), nil
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// Revised is an Archive that numbers its changes.
type Revised struct{ *Archive }

// Revision implements retrieve.Revisions.
func (r Revised) Revision(context.Context, archive.Tenant, archive.UIDs) (int64, error) {
	return r.revision, nil
}
