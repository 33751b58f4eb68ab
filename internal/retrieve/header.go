package retrieve

import (
	"bytes"
	"container/list"
	"context"
	"io"
	"sync"
	"unsafe"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/held"
	"github.com/strata-pacs/strata/internal/pixel"
)

// Header is the data set of an instance up to its pixel data, which several
// requests may share: it must not be changed.
type Header struct {
	// Data are the elements before the pixel data. Values larger than 64 KiB
	// are not held, see [Reader.Value]. Elements behind the pixel data are not in it.
	Data *dicom.Dataset
	// PixelData is the attribute that has the pixels; 0 when there are none.
	PixelData dicom.Tag
	Frames    int // that can be retrieved; a video stream counts as one
	Native    bool
	Format    pixel.Format
	// FormatErr says why Format cannot be told: fault.NotAcceptable when the
	// attributes are missing or contradict each other, or there are no pixels.
	FormatErr error
}

var errNoPixels = fault.New(fault.NotAcceptable, "this instance has no pixel data; retrieve it as application/dicom")

// Header reads the data set of an instance up to its pixel data, and keeps it in
// memory for the next who asks.
func (r *Reader) Header(ctx context.Context, in *Instance) (*Header, error) {
	h := r.headers.get(in.Blob)
	if h == nil && in.layout != nil {
		h = in.layout.header.Load()
	}
	if h != nil {
		// What is in memory is given to nobody whom the key would be refused.
		secret, err := r.o.Secrets.Secret(ctx, in.Key)
		if err != nil {
			return nil, err
		}
		secret.Wipe()
		return h, nil
	}
	l, err := r.layoutOf(ctx, in)
	if err != nil {
		return nil, err
	}
	n := in.Size
	if l.Frames.Tag != 0 && !l.Deflated {
		n = min(n, l.Frames.Value.Offset)
	}
	s, err := r.open(ctx, in, 0, n)
	if err != nil {
		return nil, err
	}
	src, err := s.Stream(ctx, 0, n)
	if err != nil {
		return nil, err
	}
	defer src.Close()
	if h, err = newHeader(ctx, src, l); err != nil {
		return nil, err
	}
	if !r.headers.put(in.Blob, h) && in.layout != nil {
		in.layout.header.Store(h) // for as long as the request
	}
	return h, nil
}

func newHeader(ctx context.Context, src io.Reader, l *dicom.Layout) (*Header, error) {
	f, err := dicom.ReadHeader(ctx, src, dicom.Limits{})
	if err != nil {
		return nil, stored(err)
	}
	h := &Header{Data: f.Data, PixelData: l.Frames.Tag, Frames: l.Frames.Count, Native: l.Frames.Native}
	if h.PixelData == 0 {
		h.FormatErr = errNoPixels
		return h, nil
	}
	h.Format, h.FormatErr = pixel.FormatOf(f.Data, h.PixelData)
	return h, nil
}

// stored turns what a reader says of a file that somebody sends into what is to
// be said of one that is stored, and was understood when it came.
func stored(err error) error {
	switch fault.KindOf(err) {
	case fault.Invalid, fault.TooLarge:
		return fault.Wrap(fault.NotAcceptable, err, "the stored instance cannot be read as DICOM; ask with transfer-syntax=* for the bytes as stored")
	}
	return err
}

// maxValue is the largest value that is read into memory, in bytes.
const maxValue = 64 << 20

// Value returns the value of an element of the instance's data set, in the byte
// order of the data set: the one it holds, or else what is stored.
// fault.NotAcceptable for one larger than 64 MiB, and for encapsulated ones.
func (r *Reader) Value(ctx context.Context, in *Instance, e *dicom.Element) ([]byte, error) {
	switch {
	case e.Fragments != nil || e.Items != nil || e.Bulk && e.Length > maxValue:
		return nil, fault.New(fault.NotAcceptable, "a value of this instance is too large; retrieve the instance as it is stored")
	case !e.Bulk:
		return e.Value, nil
	}
	return r.readSpans(ctx, in, []dicom.Span{{Offset: e.Offset, Length: e.Length}})
}

// readSpans reads the spans into memory, which grows with what arrives.
func (r *Reader) readSpans(ctx context.Context, in *Instance, spans []dicom.Span) ([]byte, error) {
	var b bytes.Buffer
	if n := total(spans); in.Coding != archive.Deflated && n <= in.Size {
		b.Grow(int(n) + bytes.MinRead)
	}
	if err := r.writeSpans(ctx, &b, in, spans); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// Image returns frame n, from 1, decoded. fault.NotFound past the last frame,
// fault.NotAcceptable when it cannot be decoded.
func (r *Reader) Image(ctx context.Context, in *Instance, n int) (pixel.Image, error) {
	return r.image(ctx, in, n, nil)
}

// image is Image; with a scratch, the image is good until that is used again.
func (r *Reader) image(ctx context.Context, in *Instance, n int, scratch *[]byte) (pixel.Image, error) {
	h, err := r.Header(ctx, in)
	if err != nil {
		return pixel.Image{}, err
	}
	l, err := r.layoutOf(ctx, in)
	if err != nil {
		return pixel.Image{}, err
	}
	if err := decodable(h, in.Syntax, r.o.Codecs); err != nil {
		return pixel.Image{}, err
	}
	bits, err := frameBits(&l.Frames, n-1, scratch, r.appendSpans(ctx, in))
	if err != nil {
		return pixel.Image{}, err
	}
	return r.o.Codecs.Decode(ctx, pixelSyntax(in.Syntax, h.Native), h.Format, bits)
}

// appendSpans returns what reads spans of the instance's file to the end of a buffer.
func (r *Reader) appendSpans(ctx context.Context, in *Instance) func([]byte, []dicom.Span) ([]byte, error) {
	return func(buf []byte, spans []dicom.Span) ([]byte, error) {
		b := bytes.NewBuffer(buf)
		err := r.writeSpans(ctx, b, in, spans)
		return b.Bytes(), err
	}
}

// maxFrame bounds the stored bytes of a frame: those of the largest there may
// be decoded, coded as badly as an honest encoder does, and a word at each end.
const maxFrame = pixel.MaxFrameBytes + pixel.MaxFrameBytes/2

var errFrame = fault.New(fault.NotAcceptable, "a frame of this instance is too large to be decoded; retrieve it as it is stored")

// decodable says why frames of an instance cannot be decoded; nil when they can.
func decodable(h *Header, syntax string, c *pixel.Codecs) error {
	switch {
	case h.FormatErr != nil:
		return h.FormatErr
	case dicom.Syntax(syntax).Video:
		return errVideo
	case !c.Decodes(pixelSyntax(syntax, h.Native)):
		return errNoDecoder
	}
	_, err := h.Format.FrameBytes()
	return err
}

var (
	errVideo     = fault.New(fault.NotAcceptable, "this instance is a video, which is not decoded; ask with transfer-syntax=* for it as stored")
	errNoDecoder = fault.New(fault.NotAcceptable, "this server does not decode the transfer syntax of this instance; ask with transfer-syntax=* for it as stored")
)

// headerBytes bounds the headers held in memory; one of them may take half.
const headerBytes = 16 << 20

// headers keeps headers, those used last, up to a number of bytes.
type headers struct {
	together *held.Budget
	mu       sync.Mutex
	used     int64
	items    map[archive.BlobID]*list.Element
	lru      list.List // of *heldHeader, the latest first
}

type heldHeader struct {
	blob   archive.BlobID
	bytes  int64
	header *Header
}

func newHeaders(together *held.Budget) *headers {
	return &headers{together: together, items: make(map[archive.BlobID]*list.Element)}
}

func (c *headers) get(id archive.BlobID) *Header {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.items[id]
	if e == nil {
		return nil
	}
	c.lru.MoveToFront(e)
	return e.Value.(*heldHeader).header
}

// put keeps a header, unless it is too large.
func (c *headers) put(id archive.BlobID, h *Header) bool {
	const own = 400 // what the cache and the header itself need
	n := own + datasetBytes(h.Data)
	c.mu.Lock()
	defer c.mu.Unlock()
	if n > headerBytes/2 {
		return false
	}
	if c.items[id] != nil {
		return true
	}
	for c.used+n > headerBytes {
		c.drop(c.lru.Back())
	}
	for !c.together.Take(n) {
		if c.lru.Len() == 0 {
			return false
		}
		c.drop(c.lru.Back())
	}
	c.items[id] = c.lru.PushFront(&heldHeader{id, n, h})
	c.used += n
	return true
}

func (c *headers) drop(e *list.Element) *Header {
	it := c.lru.Remove(e).(*heldHeader)
	delete(c.items, it.blob)
	c.used -= it.bytes
	c.together.Give(it.bytes)
	return it.header
}

// forget drops what is held, and leaves its values to those who use them.
func (c *headers) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.lru.Len() > 0 {
		c.drop(c.lru.Back())
	}
}

// wipe clears the values of what is held.
func (c *headers) wipe() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.lru.Len() > 0 {
		wipeDataset(c.drop(c.lru.Back()).Data)
	}
}

// datasetBytes returns about the memory that a data set takes.
func datasetBytes(d *dicom.Dataset) int64 {
	n := int64(unsafe.Sizeof(*d)) + int64(len(d.Elements))*int64(unsafe.Sizeof(dicom.Element{}))
	for i := range d.Elements {
		e := &d.Elements[i]
		n += int64(len(e.Value)) + 16*int64(len(e.Fragments)) + 8*int64(len(e.Items))
		for _, item := range e.Items {
			n += datasetBytes(item)
		}
	}
	return n
}

func wipeDataset(d *dicom.Dataset) {
	for i := range d.Elements {
		clear(d.Elements[i].Value)
		for _, item := range d.Elements[i].Items {
			wipeDataset(item)
		}
	}
}
