package dicomweb

import (
	"context"
	"io"

	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/dicom/dicomjson"
	"github.com/strata-pacs/strata/internal/fault"
)

const tagPixelData dicom.Tag = 0x7FE00010

var errNoBulk = fault.New(fault.Invalid, "the metadata refers to bulk data that the request does not carry; send each BulkDataURI's value as a part with that Content-Location")

// value is the value of one element: parts one after another.
type value struct {
	tag   dicom.Tag
	parts []bulkPart
}

func (v *value) open(ctx context.Context) (io.ReadCloser, error) {
	if len(v.parts) == 1 {
		return v.parts[0].value.reader(ctx)
	}
	return &valueReader{ctx: ctx, left: v.parts}, nil
}

// valueReader reads several parts, of which one is open at a time.
type valueReader struct {
	ctx  context.Context
	left []bulkPart
	cur  io.ReadCloser
}

func (r *valueReader) Read(p []byte) (int, error) {
	for {
		if r.cur == nil {
			if len(r.left) == 0 {
				return 0, io.EOF
			}
			var err error
			if r.cur, err = r.left[0].value.reader(r.ctx); err != nil {
				return 0, err
			}
			r.left = r.left[1:]
		}
		n, err := r.cur.Read(p)
		if err == io.EOF {
			err = r.Close()
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

func (r *valueReader) Close() error {
	if r.cur == nil {
		return nil
	}
	err := r.cur.Close()
	r.cur = nil
	return err
}

// file makes the file of an instance, and finds the values that it refers to,
// in their order.
func (m *metadataStore) file(p *dicomjson.Parsed) (*dicom.File, []value, error) {
	f := &dicom.File{Preamble: true, Meta: p.Meta, Data: p.Data, Syntax: dicom.ExplicitVRLittleEndian}
	if p.Meta != nil {
		if named, ok := p.Meta.Text(0x00020010); ok && named != "" {
			f.Syntax = named
		}
	}
	values := make([]value, 0, len(p.Bulk))
	pixels := p.Data.Lookup(tagPixelData)
	for _, ref := range p.Bulk {
		e, parts := ref.Element, m.parts[canonicalURI(ref.URI)]
		if len(parts) == 0 {
			return nil, nil, errNoBulk
		}
		if e == pixels {
			if s := partSyntax(parts[0]); s != "" && dicom.Syntax(s).Encapsulated != dicom.Syntax(f.Syntax).Encapsulated {
				f.Syntax = s
			}
			if dicom.Syntax(f.Syntax).Encapsulated {
				e.Fragments = fragments(parts)
			}
		}
		if e.Fragments == nil {
			parts = parts[:1]
		}
		e.Length = parts[0].value.size
		values = append(values, value{e.Tag, parts})
	}
	return f, values, nil
}

// fragments makes a fragment of each part, which is a frame, behind an empty
// Basic Offset Table (PS3.5 §A.4).
func fragments(parts []bulkPart) []dicom.Span {
	spans := make([]dicom.Span, 1, 1+len(parts))
	for _, p := range parts {
		spans = append(spans, dicom.Span{Length: p.value.size})
	}
	return spans
}

// partSyntax is the transfer syntax of a part of pixels: what its parameter
// says, or else the usual one of its media type (PS3.18 Table 8.7.3-5); "" when
// neither tells.
func partSyntax(p bulkPart) string {
	if p.syntax != "" && p.syntax != "*" {
		return p.syntax
	}
	switch p.media {
	case "image/jpeg":
		return dicom.JPEGBaseline8Bit
	case "image/jls", "image/x-jls":
		return dicom.JPEGLSLossless
	case "image/jp2":
		return dicom.JPEG2000Lossless
	case "image/jphc", "image/jph":
		return dicom.HTJ2KLossless
	case "image/dicom-rle", "image/x-dicom-rle":
		return dicom.RLELossless
	}
	return ""
}
