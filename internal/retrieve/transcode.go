package retrieve

import (
	"bytes"
	"context"
	"io"
	"runtime"
	"strconv"
	"strings"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/pixel/transcode"
)

// Memory of transcodings, in bytes: of frames in flight, and of what is made
// before it is sent. They are apart so that what waits to be sent never keeps
// what is being sent from going on.
const (
	memoryFlight = 512 << 20
	memoryAhead  = 256 << 20
)

// smallFile is the largest file that is read at once to be transcoded, in bytes:
// one read of the store instead of three. It is not worth counting.
const smallFile = 1 << 20

// flight is how many frames of an instance are in flight: one more than can be
// worked on, so that reading and writing overlap.
func flight() int { return runtime.GOMAXPROCS(0) + 1 }

// Convertible reports whether an instance can be given in a transfer syntax:
// nil, or fault.NotAcceptable saying why not. It is asked before an answer
// begins and reads the header when the syntaxes alone do not tell; whether the
// pixels are undamaged shows only when they are decoded.
func (r *Reader) Convertible(ctx context.Context, in *Instance, to string) error {
	if to == "" || to == in.Syntax || dicom.Uncompressed(in.Syntax) && dicom.Uncompressed(to) {
		return nil
	}
	if err := r.possible(in.Syntax, to); err != nil || dicom.Uncompressed(to) {
		return err
	}
	h, err := r.Header(ctx, in)
	if err != nil {
		return err
	}
	return r.coder(in, h, to).possible()
}

// possible says what two transfer syntaxes alone tell.
func (r *Reader) possible(from, to string) error {
	switch ts := dicom.Syntax(to); {
	case dicom.Syntax(from).Video:
		return errVideo
	case !ts.Encapsulated && !dicom.Uncompressed(to), ts.Video, ts.Name == "":
		return errTarget
	case !r.o.Codecs.Decodes(from):
		return errNoDecoder
	}
	return nil
}

var (
	errTarget   = fault.New(fault.NotAcceptable, "instances are not converted to the transfer syntax asked for; ask with transfer-syntax=* for the bytes as stored")
	errNoFrames = fault.New(fault.NotAcceptable, "this instance has no integer pixel data, which alone is compressed; ask without transfer-syntax for Explicit VR Little Endian")
	errFewer    = fault.New(fault.NotAcceptable, "the pixel data of this instance has fewer frames than Number of Frames (0028,0008) says; ask with transfer-syntax=* for it as stored")
)

// pixelData is Pixel Data; Float Pixel Data and Double Float Pixel Data are
// never encapsulated (PS3.5 §A.4).
const pixelData dicom.Tag = 0x7FE00010

// coding is how the frames of an instance are transcoded.
type coding struct {
	transcode.Coder
	h *Header
}

func (r *Reader) coder(in *Instance, h *Header, to string) *coding {
	return &coding{transcode.Coder{Codecs: r.o.Codecs, From: pixelSyntax(in.Syntax, h.Native), To: to, Format: h.Format}, h}
}

// pixelSyntax is the transfer syntax to decode frames by: native ones are given
// in little endian whatever they are stored in.
func pixelSyntax(stored string, native bool) string {
	if native {
		return dicom.ExplicitVRLittleEndian
	}
	return stored
}

// frame transcodes a frame. No more than a few wait at once for the codecs,
// which turn away whom they have no room for: an answer that has begun must not be.
func (r *Reader) frame(ctx context.Context, c *coding, bits []byte) (transcode.Frame, error) {
	if err := r.work.Acquire(ctx, 1); err != nil {
		return transcode.Frame{}, err
	}
	defer r.work.Release(1)
	return c.Frame(ctx, bits)
}

// possible says what cannot be transcoded as far as the header tells.
func (c *coding) possible() error {
	switch {
	case c.h.PixelData != pixelData && dicom.Syntax(c.To).Encapsulated:
		return errNoFrames
	case c.h.PixelData != pixelData:
		return nil // only the container changes
	case c.h.FormatErr != nil:
		return c.h.FormatErr
	}
	if n, _ := c.h.Data.Text(0x00280008); !c.complete(n) {
		return errFewer
	}
	return c.Possible()
}

// weight is about the memory of a frame in flight, in bytes: as stored, as
// decoded, and as encoded.
func (c *coding) weight() int64 {
	n, err := c.Format.FrameBytes()
	if err != nil { // it was possible
		n = 0
	}
	return 3 * n
}

// complete reports whether there are as many frames as Number of Frames says.
func (c *coding) complete(numberOfFrames string) bool {
	n, _, _ := strings.Cut(numberOfFrames, `\`)
	want, err := strconv.Atoi(strings.TrimSpace(n))
	return c.h.Frames > 0 && (err != nil || c.h.Frames >= want)
}

// transcoded returns the instance's file in another transfer syntax.
func (r *Reader) transcoded(in *Instance, to string) (*Body, error) {
	if err := r.possible(in.Syntax, to); err != nil {
		return nil, err
	}
	b := &Body{MediaType: "application/dicom", Syntax: to, Size: -1, Version: in.version(), reader: r, from: in.At}
	b.prepare = func(ctx context.Context, m *memory) (writer, error) {
		t := &transcoding{r: r, in: in, to: to, memory: m}
		err := t.prepare(ctx)
		return t.write, err
	}
	return b, nil
}

// transcoding is a file being transcoded.
type transcoding struct {
	r     *Reader
	in    *Instance
	to    string
	raw   []byte // the whole file where it is small
	l     *dicom.Layout
	c     *coding
	edit  dicom.Edit
	first transcode.Frame
	// memory of the first frame, until it is written
	memory *memory
}

// prepare does what can go wrong before the first byte is sent: it reads the
// header and transcodes the first frame.
func (t *transcoding) prepare(ctx context.Context) (err error) {
	r, in := t.r, t.in
	if t.l, err = r.layoutOf(ctx, in); err != nil {
		return err
	}
	if in.Size <= smallFile && in.Coding != archive.Deflated {
		if t.raw, err = r.readSpans(ctx, in, []dicom.Span{{Length: in.Size}}); err != nil {
			return err
		}
	}
	h, err := t.header(ctx)
	if err != nil {
		return err
	}
	t.c = r.coder(in, h, t.to)
	if err := t.c.possible(); err != nil {
		return err
	}
	if t.edit, err = t.nested(ctx); err != nil || h.PixelData != pixelData {
		return err
	}
	if err := t.memory.take(ctx, t.c.weight()); err != nil {
		return err
	}
	bits, err := frameBits(&t.l.Frames, 0, nil, func(buf []byte, spans []dicom.Span) ([]byte, error) {
		b := bytes.NewBuffer(buf)
		err := t.read(ctx, b, spans)
		return b.Bytes(), err
	})
	if err != nil {
		return err
	}
	if t.first, err = r.frame(ctx, t.c, bits); err != nil {
		return err
	}
	more := transcode.Change{From: in.Syntax, To: t.to, Now: t.first.Format, Was: t.first.Was, Is: t.first.Is}.Edit(h.Data)
	t.edit.Set = append(t.edit.Set, more.Set...)
	t.edit.Remove = append(t.edit.Remove, more.Remove...)
	return nil
}

// header returns the instance's, from what was read already if it was.
func (t *transcoding) header(ctx context.Context) (*Header, error) {
	if t.raw == nil {
		return t.r.Header(ctx, t.in)
	}
	return newHeader(ctx, bytes.NewReader(t.raw), t.l)
}

// read writes spans of the stored file.
func (t *transcoding) read(ctx context.Context, w io.Writer, spans []dicom.Span) error {
	if t.raw == nil {
		return t.r.writeSpans(ctx, w, t.in, spans)
	}
	for _, s := range spans {
		if s.Offset < 0 || s.Length < 0 || s.Length > int64(len(t.raw)) || s.Offset > int64(len(t.raw))-s.Length {
			return errLayout
		}
		if _, err := w.Write(t.raw[s.Offset : s.Offset+s.Length]); err != nil {
			return err
		}
	}
	return nil
}

// nested returns what happens to compressed images inside of sequences.
func (t *transcoding) nested(ctx context.Context) (dicom.Edit, error) {
	if !dicom.Syntax(t.in.Syntax).Encapsulated {
		return dicom.Edit{}, nil
	}
	n := transcode.Nested{Codecs: t.r.o.Codecs, From: t.in.Syntax,
		Read: func(ctx context.Context, spans []dicom.Span) ([]byte, error) {
			var b bytes.Buffer
			err := t.read(ctx, &b, spans)
			return b.Bytes(), err
		},
		Value: func(ctx context.Context, e *dicom.Element) ([]byte, error) { return t.r.Value(ctx, t.in, e) },
	}
	return n.Edit(ctx, t.c.h.Data)
}

// write writes the file.
func (t *transcoding) write(ctx context.Context, w io.Writer) error {
	var src io.Reader = bytes.NewReader(t.raw)
	if t.raw == nil {
		s, err := t.r.stream(ctx, t.in)
		if err != nil {
			return err
		}
		defer s.Close()
		src = s
	}
	edit := t.edit
	if t.l.Frames.Tag == pixelData {
		edit.Pixels = func(p *dicom.PixelData) error { return t.pixels(ctx, p) }
	}
	return stored(dicom.Rewrite(ctx, w, src, t.to, edit))
}

// pixels writes all frames, the first of which is ready.
func (t *transcoding) pixels(ctx context.Context, p *dicom.PixelData) error {
	write, err := t.begin(p)
	if err != nil {
		return err
	}
	f := &t.l.Frames
	if err := write(t.first.Bits, f.Count == 1); err != nil {
		return err
	}
	first := t.first.Format
	t.first.Bits = nil
	// What waits for memory must not have any.
	t.memory.release()
	line := transcode.Pipeline{
		Frames: f.Count - 1, Ahead: flight(), Memory: t.r.flight, Weight: min(t.c.weight(), memoryFlight),
		Read: func(i int) ([]byte, error) { return frameBits(f, i+1, nil, p.Append) },
		Work: func(ctx context.Context, bits []byte) (transcode.Frame, error) { return t.r.frame(ctx, t.c, bits) },
		Write: func(i int, f transcode.Frame) error {
			if f.Format != first {
				return fault.New(fault.NotAcceptable, "frame %d of this instance is of another kind than the first; ask with transfer-syntax=* for it as stored", i+2)
			}
			return write(f.Bits, i+2 == t.l.Frames.Count)
		},
	}
	return line.Run(ctx)
}

// begin begins Pixel Data and returns what writes a frame, which has to be told
// of the last.
func (t *transcoding) begin(p *dicom.PixelData) (write func(bits []byte, last bool) error, err error) {
	if dicom.Syntax(t.to).Encapsulated {
		return func(bits []byte, _ bool) error { return p.Fragment(bits) }, nil
	}
	f := t.first.Format
	// No overflow: a frame has at most 2^31 bits, and an instance 2^31 frames.
	bits := int64(f.Rows) * int64(f.Columns) * int64(f.Samples) * int64(f.BitsAllocated)
	v, word := transcode.PixelVR(t.to, f)
	if err := p.Native(v, (bits*int64(t.l.Frames.Count)+7)/8, word); err != nil {
		return nil, err
	}
	pack := transcode.NewPacker(p, bits)
	return func(b []byte, last bool) error {
		if err := pack.Frame(b); err != nil || !last {
			return err
		}
		return pack.Close()
	}, nil
}

// frameBits reads the stored bits of frame i, from 0, in little endian: into the
// room of scratch, which grows, or with nil into memory of their own.
func frameBits(f *dicom.Frames, i int, scratch *[]byte, read func(buf []byte, spans []dicom.Span) ([]byte, error)) ([]byte, error) {
	spans, err := f.Spans(i)
	if err != nil {
		return nil, err
	}
	n := total(spans)
	if n > maxFrame {
		return nil, errFrame
	}
	var room []byte
	if scratch != nil {
		room = (*scratch)[:0]
	}
	if int64(cap(room)) < n {
		room = make([]byte, 0, n)
	}
	bits, err := read(room, spans)
	if scratch != nil {
		*scratch = bits
	}
	if err != nil || f.Whole(i) {
		return bits, err
	}
	var b bytes.Buffer
	w := f.LittleEndian(i, &b)
	if _, err := w.Write(bits); err != nil {
		return nil, err
	}
	err = w.Close()
	return b.Bytes(), err
}
