package retrieve

import (
	"bytes"
	"context"
	"encoding/hex"
	"io"
	"net/url"
	"sort"
	"strings"
	"sync"

	"github.com/zeebo/blake3"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/dicom/dicomxml"
	"github.com/strata-pacs/strata/internal/fault"
)

// Revisions is optional in an [Index]: a number that changes whenever the answer
// of Instances for a selection may. With it, a repeated request for metadata
// that is in memory costs one small query.
type Revisions interface {
	Revision(ctx context.Context, t archive.Tenant, sel archive.UIDs) (int64, error)
}

// entry says where the JSON of an instance is.
type entry struct {
	chunk       int64
	off, length int32
	uids        archive.UIDs
}

// selection lists where the metadata of a selection is.
type selection struct {
	revision int64 // -1 when the index has none
	version  string
	entries  []entry
}

func (s *selection) bytes() int64 {
	const perEntry, perUID = 72, 64
	return int64(cap(s.entries))*(perEntry+perUID) + 300
}

var hashers = sync.Pool{New: func() any { return blake3.New() }}

// Metadata is the DICOM JSON of a selection of instances.
type Metadata struct {
	// Version changes whenever the text does: what an ETag is made of.
	Version string

	r      *Reader
	tenant archive.Tenant
	sel    archive.UIDs
	list   *selection
}

// Metadata returns the metadata of the selection, which is read when it is
// written. fault.NotFound when there is no such thing.
func (r *Reader) Metadata(ctx context.Context, t archive.Tenant, sel archive.UIDs) (*Metadata, error) {
	revision := int64(-1)
	if r.revisions != nil {
		var err error
		if revision, err = r.revisions.Revision(ctx, t, sel); err != nil {
			return nil, err
		}
		if s := r.cache.selection(t, sel); s != nil && s.revision == revision {
			return &Metadata{s.version, r, t, sel, s}, nil
		}
	}
	s, err := r.list(ctx, t, sel, revision)
	if err != nil {
		return nil, err
	}
	if r.revisions != nil {
		r.cache.putSelection(t, sel, s)
	}
	return &Metadata{s.version, r, t, sel, s}, nil
}

// list asks the index where the metadata of a selection is.
func (r *Reader) list(ctx context.Context, t archive.Tenant, sel archive.UIDs, revision int64) (*selection, error) {
	s := &selection{revision: revision}
	h := hashers.Get().(*blake3.Hasher)
	defer hashers.Put(h)
	h.Reset()
	var err error
	listErr := r.o.Index.Instances(ctx, t, sel, func(row *archive.InstanceRow) bool {
		if row.ChunkID == 0 {
			err = fault.New(fault.Unavailable, "the index does not hold the metadata of this instance; run 'strata rebuild'")
			return false
		}
		e := entry{row.ChunkID, int32(row.JSON.Offset), int32(row.JSON.Length), row.UIDs}
		if n := len(s.entries); n > 0 { // one text for the same UID, not one an instance
			last := &s.entries[n-1].uids
			if e.uids.Study == last.Study {
				e.uids.Study = last.Study
			}
			if e.uids.Series == last.Series {
				e.uids.Series = last.Series
			}
		}
		s.entries = append(s.entries, e)
		_, _ = h.Write(row.Blob[:])
		return true
	})
	if err == nil {
		err = listErr
	}
	if err != nil {
		return nil, err
	}
	if len(s.entries) == 0 {
		return nil, fault.New(fault.NotFound, "there is no such study, series or instance")
	}
	var sum [16]byte
	_, _ = h.Digest().Read(sum[:])
	s.version = hex.EncodeToString(sum[:])
	return s, nil
}

// Len is the number of instances.
func (m *Metadata) Len() int { return len(m.list.entries) }

// What is held at a time: so much JSON that is wanted, in so many chunks.
const (
	windowBytes  = 4 << 20
	windowChunks = 128
)

// each calls yield for every instance in turn with its text, reading chunks
// a window at a time. Nothing is yielded of a window before all of it is there.
func (m *Metadata) each(ctx context.Context, yield func(i int, e *entry, x *text) error) error {
	held := make(map[int64]*text)
	defer func() {
		for _, x := range held {
			x.release()
		}
	}()
	entries, again := m.list.entries, false
	for lo := 0; lo < len(entries); {
		if err := ctx.Err(); err != nil {
			return err
		}
		hi, size := lo, 0
		needed := make(map[int64]struct{})
		for hi < len(entries) && (hi == lo || size+int(entries[hi].length) <= windowBytes && len(needed) < windowChunks) {
			size += int(entries[hi].length)
			needed[entries[hi].chunk] = struct{}{}
			hi++
		}
		for id, x := range held {
			if _, ok := needed[id]; !ok {
				x.release()
				delete(held, id)
			}
		}
		switch err := m.load(ctx, held, needed); {
		case err == errChunkLost && !again:
			// The study was settled since it was listed: the same instances, in other chunks.
			if entries, err = m.anew(ctx); err != nil {
				return err
			}
			again = true
			continue
		case err != nil:
			return err
		}
		again = false
		for ; lo < hi; lo++ {
			e := &entries[lo]
			x := held[e.chunk]
			if e.off < 0 || e.length <= 0 || int64(e.off)+int64(e.length) > int64(len(x.json)) {
				return fault.New(fault.Corrupt, "stored metadata is damaged: an instance points outside of its chunk; run 'strata rebuild'")
			}
			if err := yield(lo, e, x); err != nil {
				return err
			}
		}
	}
	return nil
}

// load adds the needed chunks to held, out of the cache or out of the index.
func (m *Metadata) load(ctx context.Context, held map[int64]*text, needed map[int64]struct{}) error {
	var missing []int64
	for id := range needed {
		if held[id] != nil {
			continue
		}
		if x := m.r.cache.chunk(m.tenant, id); x != nil {
			held[id] = x
		} else {
			missing = append(missing, id)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	sort.Slice(missing, func(i, j int) bool { return missing[i] < missing[j] })
	var err error
	listErr := m.r.o.Index.Chunks(ctx, m.tenant, missing, func(id int64, c archive.Chunk) bool {
		if _, ok := needed[id]; !ok || held[id] != nil {
			return true
		}
		var x *text
		if x, err = newText(m.r.zstd, c); err != nil {
			return false
		}
		m.r.cache.putChunk(m.tenant, id, x)
		held[id] = x
		return true
	})
	if err == nil {
		err = listErr
	}
	if err != nil {
		return err
	}
	for _, id := range missing {
		if held[id] == nil {
			return errChunkLost
		}
	}
	return nil
}

var errChunkLost = fault.New(fault.Corrupt, "the index has lost a chunk of metadata; run 'strata rebuild'")

// anew lists the selection again. Nothing but where its metadata is may differ.
func (m *Metadata) anew(ctx context.Context) ([]entry, error) {
	s, err := m.r.list(ctx, m.tenant, m.sel, -1)
	if err != nil {
		return nil, err
	}
	if s.version != m.Version {
		return nil, fault.New(fault.Unavailable, "the selection changed while its metadata was read; try again")
	}
	return s.entries, nil
}

// WriteJSON writes one JSON array (PS3.18 §F.2). BulkDataURIs are made absolute
// below base, the service's URL without a slash at its end. It writes in small
// pieces: w is to be buffered.
func (m *Metadata) WriteJSON(ctx context.Context, w io.Writer, base string) error {
	var prefix []byte
	err := m.each(ctx, func(i int, e *entry, x *text) error {
		sep := "["
		if i > 0 {
			sep = ","
		}
		if _, err := io.WriteString(w, sep); err != nil {
			return err
		}
		at, end := e.off, e.off+e.length
		marks := x.marks[sort.Search(len(x.marks), func(k int) bool { return x.marks[k] >= at }):]
		if len(marks) > 0 && marks[0] < end {
			prefix = appendInstanceURL(prefix[:0], base, &e.uids)
		}
		for ; len(marks) > 0 && marks[0] < end; marks = marks[1:] {
			if _, err := w.Write(x.json[at:marks[0]]); err != nil {
				return err
			}
			if _, err := w.Write(prefix); err != nil {
				return err
			}
			at = marks[0]
		}
		_, err := w.Write(x.json[at:end])
		return err
	})
	if err != nil {
		return err
	}
	_, err = io.WriteString(w, "]")
	return err
}

// XML calls yield with the Native DICOM Model (PS3.19 §A.1) of each instance in
// turn, in a buffer that is used again.
func (m *Metadata) XML(ctx context.Context, base string, yield func(xml []byte) error) error {
	var xml, prefix []byte
	return m.each(ctx, func(_ int, e *entry, x *text) (err error) {
		prefix = appendInstanceURL(prefix[:0], base, &e.uids)
		if xml, err = dicomxml.FromJSON(xml[:0], x.json[e.off:e.off+e.length], string(prefix)); err != nil {
			return err
		}
		return yield(xml)
	})
}

// appendInstanceURL appends the URL of an instance with a slash at its end. The
// result is safe inside of JSON and XML when base is.
func appendInstanceURL(dst []byte, base string, u *archive.UIDs) []byte {
	dst = append(append(dst, base...), "/studies/"...)
	dst = append(append(dst, pathSegment(u.Study)...), "/series/"...)
	dst = append(append(dst, pathSegment(u.Series)...), "/instances/"...)
	return append(append(dst, pathSegment(u.Instance)...), '/')
}

// pathSegment escapes what a proper UID never has.
func pathSegment(uid string) string {
	for _, c := range []byte(uid) {
		if (c < '0' || c > '9') && c != '.' {
			return strings.NewReplacer("'", "%27", "&", "%26").Replace(url.PathEscape(uid))
		}
	}
	return uid
}

// JSON returns the metadata of the selection as one text, see WriteJSON. It is
// for single instances: the text is held whole.
func (r *Reader) JSON(ctx context.Context, t archive.Tenant, sel archive.UIDs, base string) ([]byte, error) {
	m, err := r.Metadata(ctx, t, sel)
	if err != nil {
		return nil, err
	}
	var w bytes.Buffer
	if err := m.WriteJSON(ctx, &w, base); err != nil {
		return nil, err
	}
	return w.Bytes(), nil
}
