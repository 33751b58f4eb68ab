package dicomweb

import (
	"bytes"
	"context"
	"io"
	"strings"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/dicom/dicomjson"
	"github.com/strata-pacs/strata/internal/dicom/dicomxml"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/ingest"
)

// metadataStore takes in instances that come as metadata (DICOM JSON or XML)
// and bulk data (PS3.18 §10.5.2): it makes Part 10 files of them and hands these
// on like any other. The bulk data waits in a spool until all parts are there.
type metadataStore struct {
	s      *Server
	left   int64 // bytes of metadata still allowed
	parsed []*dicomjson.Parsed
	parts  map[string][]bulkPart // by what refers to them
	spool  spool
	leave  func()
}

// bulkPart is one part of bulk data.
type bulkPart struct {
	value  *spooled
	media  string
	syntax string // the transfer-syntax parameter, or ""
}

func newMetadataStore(s *Server) *metadataStore {
	return &metadataStore{s: s, left: s.o.Limits.MetadataBytes, parts: map[string][]bulkPart{},
		spool: spool{dir: s.o.TempDir, tenant: s.o.Tenant, left: s.o.Limits.BulkMemory}}
}

func (m *metadataStore) close() {
	m.spool.close()
	if m.leave != nil {
		m.leave()
	}
}

// maxTexts is how many stores may hold metadata at a time: parsed, it takes
// several times its size.
const maxTexts = 4

// enter waits until this store may hold metadata.
func (m *metadataStore) enter(ctx context.Context) error {
	if m.leave != nil {
		return nil
	}
	wait, cancel := context.WithTimeout(ctx, m.s.o.Limits.StoreWait)
	defer cancel()
	if m.s.shares.texts.Acquire(wait, 1) != nil {
		if err := ctx.Err(); err != nil {
			return fault.Wrap(fault.Canceled, err, "waiting to store")
		}
		return errBusy
	}
	m.leave = func() { m.s.shares.texts.Release(1) }
	return nil
}

// text reads a part of metadata: a JSON array of instances, or one instance in XML.
func (m *metadataStore) text(ctx context.Context, r io.Reader, kind string) error {
	if err := m.enter(ctx); err != nil {
		return err
	}
	var b bytes.Buffer
	n, err := b.ReadFrom(io.LimitReader(r, m.left+1))
	if err != nil {
		return err
	}
	if m.left -= n; m.left < 0 {
		return fault.New(fault.TooLarge, "a request may hold %d bytes of metadata beside its bulk data; send fewer instances at a time, or large values as bulk data",
			m.s.o.Limits.MetadataBytes)
	}
	if kind == typeJSON {
		list, err := dicomjson.Parse(b.Bytes(), dicomjson.Limits{})
		m.parsed = append(m.parsed, list...)
		return err
	}
	one, err := dicomxml.Parse(b.Bytes(), dicomjson.Limits{})
	if err == nil {
		m.parsed = append(m.parsed, one)
	}
	return err
}

// bulk keeps a part of bulk data.
func (m *metadataStore) bulk(p *messagePart) error {
	v, err := m.spool.put(p)
	if err != nil {
		return err
	}
	media, params := parseMediaType(p.Type)
	syntax, _ := param(params, "transfer-syntax")
	b := bulkPart{value: v, media: media, syntax: syntax}
	if p.Location != "" {
		m.parts[canonicalURI(p.Location)] = append(m.parts[canonicalURI(p.Location)], b)
	}
	if p.ID != "" {
		id := canonicalURI("cid:" + strings.Trim(p.ID, "<>"))
		m.parts[id] = append(m.parts[id], b)
	}
	return nil
}

// canonicalURI makes equal what refers to the same part.
func canonicalURI(v string) string {
	return strings.TrimPrefix(strings.Trim(strings.TrimSpace(v), `<>"`), "./")
}

// store hands every instance on.
func (m *metadataStore) store(ctx context.Context, in *intake) error {
	for i, p := range m.parsed {
		f, values, err := m.file(p)
		if err != nil {
			in.refuse(err)
			r := &in.results[len(in.results)-1]
			r.UIDs, r.SOPClass, r.Reason = identity(p.Data)
			continue
		}
		if err := m.add(ctx, in, f, values); err != nil {
			return err
		}
		m.parsed[i] = nil
	}
	return nil
}

// add writes the file into the store as it is read there.
func (m *metadataStore) add(ctx context.Context, in *intake, f *dicom.File, values []value) error {
	pr, pw := io.Pipe()
	written := make(chan error, 1)
	go func() {
		err := dicom.Write(pw, f, func(e *dicom.Element) (io.ReadCloser, error) {
			if len(values) == 0 || values[0].tag != e.Tag {
				return nil, fault.New(fault.Internal, "bulk data is asked for out of order")
			}
			v := &values[0]
			values = values[1:]
			return v.open(ctx)
		})
		_ = pw.CloseWithError(err)
		written <- err
	}()
	in.add(ctx, pr)
	_ = pr.CloseWithError(errReadEnough)
	err := <-written
	// An error of the file itself has become the instance's result already.
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return nil
}

var errReadEnough = fault.New(fault.Canceled, "the store needed no more of the file")

// identity is what a refused instance is called.
func identity(d *dicom.Dataset) (u archive.UIDs, class string, reason uint16) {
	text := func(t dicom.Tag) string {
		v, _ := d.Text(t)
		return v
	}
	return archive.UIDs{Study: text(0x0020000D), Series: text(0x0020000E), Instance: text(0x00080018)}, text(0x00080016), ingest.ReasonMissingValue
}
