package retrieve

import (
	"context"
	"encoding/hex"
	"io"
	"sync"
	"sync/atomic"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/seal"
)

// Instance is what retrieval needs to know of a stored instance.
type Instance struct {
	archive.UIDs
	SOPClass    string
	Syntax      string // transfer syntax as stored
	Blob        archive.BlobID
	Key         archive.KeyID
	At          archive.Location
	Coding      archive.Coding
	SegmentBits uint8
	Size        int64 // bytes of the Part 10 file as stored
	Tier        archive.Availability

	tenant archive.Tenant
	layout *layout // nil unless found with Layouts
}

// layout is where frames and bulk values are. Copies of an Instance share it.
type layout struct {
	raw    []byte
	once   sync.Once
	parsed *dicom.Layout
	err    error
	header atomic.Pointer[Header] // one too large for the cache
}

func (l *layout) parse() (*dicom.Layout, error) {
	l.once.Do(func() {
		if l.parsed = new(dicom.Layout); len(l.raw) == 0 {
			return
		}
		if l.parsed, l.err = dicom.ParseLayout(l.raw); l.err != nil {
			l.err = fault.Wrap(fault.Corrupt, l.err, "the index's record of this instance is damaged; run 'strata rebuild'")
		}
	})
	return l.parsed, l.err
}

// version names the stored bytes.
func (in *Instance) version() string { return hex.EncodeToString(in.Blob[:16]) }

// Detail says how much of each instance Find keeps.
type Detail uint8

const (
	Files   Detail = iota // enough for whole files
	Layouts               // also where frames and bulk values are
)

// Find returns the visible instances of the selection in the order of the
// index, none when there is no such thing.
func (r *Reader) Find(ctx context.Context, t archive.Tenant, sel archive.UIDs, d Detail) ([]Instance, error) {
	var list []Instance
	err := r.o.Index.Instances(ctx, t, sel, func(row *archive.InstanceRow) bool {
		in := Instance{UIDs: row.UIDs, SOPClass: row.SOPClass, Syntax: row.Syntax, Blob: row.Blob, Key: row.Key, At: row.At,
			Coding: row.Coding, SegmentBits: row.SegmentBits, Size: row.Size, Tier: row.Tier, tenant: t}
		if d == Layouts {
			in.layout = &layout{raw: append([]byte(nil), row.Layout...)}
		}
		if n := len(list); n > 0 {
			share(&in, &list[n-1])
		}
		list = append(list, in)
		return true
	})
	if err != nil {
		return nil, err
	}
	if sel.Instance != "" && len(list) == 1 {
		r.warming.asked(ctx, &list[0])
	}
	return list, nil
}

// layoutOf returns the instance's layout, which it looks up when the instance
// was found without.
func (r *Reader) layoutOf(ctx context.Context, in *Instance) (*dicom.Layout, error) {
	if in.layout != nil {
		return in.where()
	}
	list, err := r.Find(ctx, in.tenant, in.UIDs, Layouts)
	if err != nil {
		return nil, err
	}
	for i := range list {
		if list[i].Blob == in.Blob {
			return list[i].where()
		}
	}
	return nil, fault.New(fault.NotFound, "this instance was deleted or replaced while it was read; search for it again")
}

// share lets texts that are alike in neighbours be one in memory.
func share(in, last *Instance) {
	for _, p := range [...][2]*string{{&in.Study, &last.Study}, {&in.Series, &last.Series}, {&in.SOPClass, &last.SOPClass},
		{&in.Syntax, &last.Syntax}, {&in.At.Object, &last.At.Object}} {
		if *p[0] == *p[1] {
			*p[0] = *p[1]
		}
	}
}

// blob is where the sealed bytes of one instance are.
type blob struct {
	r  *Reader
	in *Instance
}

// ReadRange implements [seal.Source]. Where the object is gone, the blob may have been
// merged into another since it was found: who settles a study lets the old one stay for
// a while, but not for ever.
func (b blob) ReadRange(ctx context.Context, off, n int64) (io.ReadCloser, error) {
	at := b.in.At
	if near := nearOf(ctx); near.has(at.Object, at.Offset+off) {
		body, err := near.open(ctx, b.r.o.Objects, archive.Location{Object: at.Object, Offset: at.Offset + off, Length: n})
		if body != nil || err != nil {
			return body, err
		}
	}
	body, err := b.r.o.Objects.Open(ctx, at.Object, at.Offset+off, n)
	if !fault.Is(err, fault.NotFound) {
		return body, err
	}
	now, ferr := b.r.place(ctx, b.in)
	if ferr != nil || now == at || now.Length != at.Length {
		return nil, err
	}
	return b.r.o.Objects.Open(ctx, now.Object, now.Offset+off, n)
}

// place asks the index where the instance's blob lies by now; nowhere when it is not shown any more.
func (r *Reader) place(ctx context.Context, in *Instance) (at archive.Location, err error) {
	err = r.o.Index.Instances(ctx, in.tenant, in.UIDs, func(row *archive.InstanceRow) bool {
		if row.Blob == in.Blob {
			at = row.At
		}
		return true
	})
	return at, err
}

// open prepares to read n bytes of the instance's file from off. They come while
// the key does.
func (r *Reader) open(ctx context.Context, in *Instance, off, n int64) (*seal.Reader, error) {
	r.warming.begin(ctx, in, off, n)
	secret, err := r.o.Secrets.Secret(ctx, in.Key)
	if err != nil {
		return nil, err
	}
	defer secret.Wipe()
	return seal.NewReader(blob{r, in}, secret,
		seal.Binding{Tenant: in.tenant, Kind: seal.KindInstance, Key: in.Key},
		seal.ReadOptions{Blob: in.Blob, Coding: in.Coding, SegmentBits: in.SegmentBits, Plain: in.Size, Sealed: in.At.Length}), nil
}

// stream reads the file as stored from its beginning.
func (r *Reader) stream(ctx context.Context, in *Instance) (io.ReadCloser, error) {
	s, err := r.open(ctx, in, 0, in.Size)
	if err != nil {
		return nil, err
	}
	return s.Stream(ctx, 0, in.Size)
}
