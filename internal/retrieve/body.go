package retrieve

import (
	"context"
	"io"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/fault"
)

// Body is something that can be sent: a file, a frame, a bulk value.
type Body struct {
	MediaType string // such as "application/dicom" or "image/jpeg"
	Syntax    string // transfer syntax UID of the bytes
	Size      int64  // bytes; -1 when only writing tells
	// Version changes whenever the bytes do: what an ETag is made of. It names
	// the stored bytes, not the representation.
	Version string

	// Of a body that is read: write sends n bytes from off.
	write func(ctx context.Context, w io.Writer, off, n int64) error
	// Of a body that is made: prepare does what comes before the first byte,
	// taking the memory of what it made, and returns what writes it. See ahead.go.
	prepare func(ctx context.Context, m *memory) (writer, error)
	reader  *Reader
	ready   *ready // what was prepared ahead; used once

	from archive.Location // of the sealed bytes that it is made of
	near *span            // of those, what is held in memory; nil where nothing is
}

// writer writes a body that was prepared.
type writer func(ctx context.Context, w io.Writer) error

// Write sends the whole body.
func (b *Body) Write(ctx context.Context, w io.Writer) error {
	ctx = b.within(ctx)
	if b.prepare == nil {
		return b.write(ctx, w, 0, b.Size)
	}
	made := b.ready
	if b.ready = nil; made == nil {
		made = &ready{memory: memory{of: b.reader.flight, limit: memoryFlight, wait: true}}
		made.write, made.err = b.prepare(ctx, &made.memory)
	}
	defer made.memory.release()
	if made.err != nil {
		return made.err
	}
	return made.write(ctx, w)
}

// WriteRange sends n bytes from off, both within a body of known size.
func (b *Body) WriteRange(ctx context.Context, w io.Writer, off, n int64) error {
	if b.Size < 0 || b.write == nil || off < 0 || n < 0 || off > b.Size || n > b.Size-off {
		return fault.New(fault.RangeInvalid, "the range is outside of the %d bytes there are", b.Size)
	}
	return b.write(b.within(ctx), w, off, n)
}

// Filler is optional in the writer that a Body is written to: FillFrom reads
// all of r into the writer's own buffers, which saves a copy where they have
// room for whole segments of a blob.
type Filler interface {
	FillFrom(r io.Reader) (int64, error)
}

// File returns the instance's Part 10 file in a transfer syntax; "" and the
// stored one give the bytes as received, of known size. Others are converted, or
// transcoded, while they are written: what cannot be, as far as the syntaxes
// tell, is fault.NotAcceptable here, and otherwise an error of Write, before
// its first byte unless a later frame is the reason. See [Reader.Convertible].
func (r *Reader) File(in *Instance, syntax string) (*Body, error) {
	b := &Body{MediaType: "application/dicom", Syntax: in.Syntax, Size: in.Size, Version: in.version(), reader: r, from: in.At}
	if syntax == "" || syntax == in.Syntax {
		b.write = func(ctx context.Context, w io.Writer, off, n int64) error {
			return r.writeStored(ctx, w, in, off, n)
		}
		return b, nil
	}
	if !dicom.Uncompressed(in.Syntax) || !dicom.Uncompressed(syntax) {
		return r.transcoded(in, syntax)
	}
	b.Syntax, b.Size = syntax, -1
	b.write = func(ctx context.Context, w io.Writer, _, _ int64) error {
		src, err := r.stream(ctx, in)
		if err != nil {
			return err
		}
		defer src.Close()
		return dicom.Convert(ctx, w, src, syntax)
	}
	return b, nil
}

// writeStored writes n bytes of the file as received, from off.
func (r *Reader) writeStored(ctx context.Context, w io.Writer, in *Instance, off, n int64) error {
	if n == 0 {
		return nil
	}
	s, err := r.open(ctx, in, off, n)
	if err != nil {
		return err
	}
	got, err := int64(0), error(nil)
	if f, ok := w.(Filler); ok {
		var src io.ReadCloser
		if src, err = s.Stream(ctx, off, n); err == nil {
			got, err = f.FillFrom(src)
			src.Close()
		}
	} else {
		got, err = s.WriteRange(ctx, w, off, n)
	}
	if err != nil {
		return err
	}
	if got != n {
		return fault.New(fault.Corrupt, "a stored instance is shorter than it should be; run 'strata verify'")
	}
	return nil
}
