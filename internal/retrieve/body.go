package retrieve

import (
	"context"
	"io"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
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
	layout []byte
}

// Detail says how much of each instance Find keeps.
type Detail uint8

const (
	Files   Detail = iota // enough for whole files
	Layouts               // also where frames and bulk values are
)

// Find returns the visible instances of the selection in the order of the
// index, none when there is no such thing.
func (r *Reader) Find(ctx context.Context, t archive.Tenant, sel archive.UIDs, d Detail) ([]Instance, error) {
	return nil, fault.New(fault.Internal, "not yet")
}

// Body is something that can be sent: a file, a frame, a bulk value.
type Body struct {
	MediaType string // such as "application/dicom" or "image/jpeg"
	Syntax    string // transfer syntax UID of the bytes
	Size      int64  // bytes; -1 when only writing tells
	// Version changes whenever the bytes do: what an ETag is made of.
	Version string

	write func(ctx context.Context, w io.Writer, off, n int64) error
}

// Write sends the whole body.
func (b *Body) Write(ctx context.Context, w io.Writer) error { return b.write(ctx, w, 0, b.Size) }

// WriteRange sends n bytes from off. Only for a body of known size.
func (b *Body) WriteRange(ctx context.Context, w io.Writer, off, n int64) error {
	return b.write(ctx, w, off, n)
}

// File returns the instance's Part 10 file in a transfer syntax; "" and the
// stored one give the bytes as received. fault.NotAcceptable when the
// conversion is not between uncompressed syntaxes.
func (r *Reader) File(in *Instance, syntax string) (*Body, error) {
	return nil, fault.New(fault.Internal, "not yet")
}

// Frames returns the number of frames, 0 when there is no pixel data.
func (in *Instance) Frames() (int, error) { return 0, fault.New(fault.Internal, "not yet") }

// Frame returns frame n, from 1: native ones as little endian octets, others as
// the encoded bit stream. fault.NotFound past the last frame.
func (r *Reader) Frame(in *Instance, n int) (*Body, error) {
	return nil, fault.New(fault.Internal, "not yet")
}

// BulkPaths lists the paths of the instance's bulk values, as in BulkDataURI, in file order.
func (in *Instance) BulkPaths() ([]string, error) { return nil, fault.New(fault.Internal, "not yet") }

// Bulk returns the bulk value of the path. fault.NotFound when there is none.
func (r *Reader) Bulk(in *Instance, path string) (*Body, error) {
	return nil, fault.New(fault.Internal, "not yet")
}

// Metadata is the DICOM JSON of a selection of instances.
type Metadata struct {
	// Version changes whenever the text does.
	Version string
}

// Metadata returns the metadata of the selection. fault.NotFound when there is no such thing.
func (r *Reader) Metadata(ctx context.Context, t archive.Tenant, sel archive.UIDs) (*Metadata, error) {
	return nil, fault.New(fault.Internal, "not yet")
}

// Len is the number of instances.
func (m *Metadata) Len() int { return 0 }

// Size is the number of bytes WriteJSON writes.
func (m *Metadata) Size(base string) int64 { return 0 }

// WriteJSON writes one JSON array; BulkDataURIs are made absolute below base,
// which is the service's root without a slash at its end.
func (m *Metadata) WriteJSON(ctx context.Context, w io.Writer, base string) error {
	return fault.New(fault.Internal, "not yet")
}

// XML calls yield with the Native DICOM Model of each instance in turn, in a buffer that is used again.
func (m *Metadata) XML(ctx context.Context, base string, yield func(xml []byte) error) error {
	return fault.New(fault.Internal, "not yet")
}
