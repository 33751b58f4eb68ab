package pixel

import (
	"bytes"
	"context"

	"golang.org/x/sync/semaphore"

	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/pixel/sandbox"
)

// budget is the memory, in bytes, of all frames that are being decoded and
// encoded at once.
const budget = 512 << 20

// Codec decodes and encodes the frames of transfer syntaxes that are alike.
// Its callers have validated formats and know that a frame is no larger than
// MaxFrameBytes; it is safe for concurrent use.
type Codec interface {
	// Decode returns the frame in bits, the joined payload of its fragments,
	// which the data set describes by f. The image is as large as f says and
	// has as many samples; it shares memory with bits where nothing had to be
	// done. A stream that is damaged, cut short or does not fit f is
	// fault.NotAcceptable.
	Decode(ctx context.Context, f Format, bits []byte) (Image, error)
	// Encodes says whether Encode takes images of the format: nil, or
	// fault.NotAcceptable with the reason.
	Encodes(f Format) error
	// Encode returns the frame coded, and the format by which a data set has to
	// describe it.
	Encode(ctx context.Context, img Image, o EncodeOptions) ([]byte, Format, error)
}

// EncodeOptions say how to encode where a syntax leaves it open.
type EncodeOptions struct {
	// Quality of JPEG baseline, 1 to 100; 0 is 90. No other encoding loses anything.
	Quality int
}

// Codecs are the codecs by transfer syntax. They are safe for concurrent use.
type Codecs struct {
	table  map[string]entry
	memory *semaphore.Weighted
	pool   *sandbox.Pool
}

type entry struct {
	codec   Codec
	encode  bool // in this syntax too, not only from it
	verify  bool // what is encoded must come back the same
	sandbox bool // nothing goes without it
	costly  bool // frames of more than MaxEncodedBytes are not encoded
}

// New returns the codecs, those of p among them. With a nil p, and in a program
// that was built without them, nothing is decoded that needs the sandbox.
func New(p *sandbox.Pool) *Codecs {
	if !sandbox.Available() {
		p = nil
	}
	return &Codecs{pool: p, memory: semaphore.NewWeighted(budget), table: map[string]entry{
		dicom.ImplicitVRLittleEndian:         {codec: native{}, encode: true},
		dicom.ExplicitVRLittleEndian:         {codec: native{}, encode: true},
		dicom.ExplicitVRBigEndian:            {codec: native{}, encode: true},
		dicom.DeflatedExplicitVRLittleEndian: {codec: native{}, encode: true},
		dicom.EncapsulatedUncompressed:       {codec: native{}, encode: true},
		dicom.DeflatedImageFrame:             {codec: deflated{}, encode: true, verify: true},
		dicom.RLELossless:                    {codec: rle{}, encode: true, verify: true},
		dicom.JPEGBaseline8Bit:               {codec: jpegFamily{pool: p}, encode: true, costly: true},
		dicom.JPEGExtended12Bit:              {codec: jpegFamily{pool: p}},
		dicom.JPEGLossless:                   {codec: jpegFamily{pool: p, lossless: true}},
		dicom.JPEGLosslessSV1:                {codec: jpegFamily{pool: p, lossless: true}, encode: true, verify: true, costly: true},
		dicom.JPEGLSLossless:                 {codec: jpegLS{p}, encode: true, verify: true, sandbox: true, costly: true},
		dicom.JPEGLSNearLossless:             {codec: jpegLS{p}, sandbox: true},
		dicom.JPEG2000Lossless:               {codec: jpeg2000{pool: p, op: sandbox.EncodeJPEG2000}, encode: true, verify: true, sandbox: true, costly: true},
		dicom.JPEG2000:                       {codec: jpeg2000{pool: p, op: sandbox.EncodeJPEG2000}, sandbox: true},
		dicom.HTJ2KLossless:                  {codec: jpeg2000{pool: p, op: sandbox.EncodeHTJ2K}, encode: true, verify: true, sandbox: true, costly: true},
		dicom.HTJ2KLosslessRPCL:              {codec: jpeg2000{pool: p, op: sandbox.EncodeHTJ2K, rpcl: true}, encode: true, verify: true, sandbox: true, costly: true},
		dicom.HTJ2K:                          {codec: jpeg2000{pool: p, op: sandbox.EncodeHTJ2K}, sandbox: true},
	}}
}

// Decodes reports whether frames of the transfer syntax can be decoded.
func (c *Codecs) Decodes(syntax string) bool {
	e, ok := c.table[syntax]
	return ok && (!e.sandbox || c.pool != nil)
}

// Encodes reports whether images of the format can be encoded in the transfer
// syntax: nil, or fault.NotAcceptable with the reason.
func (c *Codecs) Encodes(syntax string, f Format) error {
	e, ok := c.table[syntax]
	switch {
	case !ok || !e.encode:
		return fault.New(fault.NotAcceptable, "this server does not encode pixels in the transfer syntax asked for; ask for another")
	case e.sandbox && c.pool == nil:
		return errNotBuilt
	}
	switch n, err := f.FrameBytes(); {
	case err != nil:
		return err
	case e.costly && n > MaxEncodedBytes:
		return errCostly
	}
	return e.codec.Encodes(f)
}

var errCostly = fault.New(fault.NotAcceptable, "a frame of this image has more than %d MiB, which is too much to compress like this; ask for an uncompressed transfer syntax, or for it as it is stored", MaxEncodedBytes>>20)

var errNotBuilt = fault.New(fault.NotAcceptable, "this server was built without the codec that the image needs; retrieve it as it is stored")

// Decode decodes a frame: bits is the joined payload of its fragments, or of a
// native frame its bytes in little endian, beginning with its first sample at
// the least significant bit, whatever the transfer syntax.
//
// The image has Photometric Interpretation MONOCHROME1 or 2, PALETTE COLOR, RGB,
// or YBR_FULL: chrominance is upsampled, the transforms of JPEG 2000 are undone;
// no other conversion of colours is made. It shares memory with bits where it
// can. The error is fault.NotAcceptable when the frame cannot be decoded.
func (c *Codecs) Decode(ctx context.Context, syntax string, f Format, bits []byte) (Image, error) {
	e, ok := c.table[syntax]
	switch {
	case !ok:
		return Image{}, fault.New(fault.NotAcceptable, "this server does not decode the transfer syntax of this image; retrieve it as it is stored")
	case e.sandbox && c.pool == nil:
		return Image{}, errNotBuilt
	}
	n, err := f.FrameBytes()
	if err != nil {
		return Image{}, err
	}
	if _, ok := e.codec.(native); ok && int64(len(bits)) >= n { // takes no memory
		return e.codec.Decode(ctx, f, bits)
	}
	release, err := c.hold(ctx, 2*n+int64(len(bits)))
	if err != nil {
		return Image{}, err
	}
	defer release()
	return e.codec.Decode(ctx, f, bits)
}

// hold waits for memory.
func (c *Codecs) hold(ctx context.Context, n int64) (release func(), err error) {
	n = min(n, budget)
	if err := c.memory.Acquire(ctx, n); err != nil {
		return nil, err
	}
	return func() { c.memory.Release(n) }, nil
}

// Encode encodes an image in the transfer syntax. The format is what the data
// set has to say of the encoded frame: Photometric Interpretation and Planar
// Configuration may be others than the image's. What is encoded without loss
// has been decoded again and compared. The error is fault.NotAcceptable when it
// cannot be encoded, see Encodes.
func (c *Codecs) Encode(ctx context.Context, syntax string, img Image, o EncodeOptions) (bits []byte, f Format, err error) {
	if err := c.Encodes(syntax, img.Format); err != nil {
		return nil, Format{}, err
	}
	n, err := img.FrameBytes()
	if err != nil {
		return nil, Format{}, err
	}
	if int64(len(img.Data)) != n {
		return nil, Format{}, fault.New(fault.Internal, "pixel: image of %d bytes that should have %d", len(img.Data), n)
	}
	release, err := c.hold(ctx, 3*n)
	if err != nil {
		return nil, Format{}, err
	}
	defer release()
	e := c.table[syntax]
	if bits, f, err = e.codec.Encode(ctx, img, o); err != nil || !e.verify {
		return bits, f, err
	}
	back, err := e.codec.Decode(ctx, f, bits)
	if err != nil {
		return nil, Format{}, err
	}
	if !bytes.Equal(back.Data, img.Interleaved().Data) {
		return nil, Format{}, errLossy
	}
	return bits, f, nil
}
