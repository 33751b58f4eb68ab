package pixel

import (
	"context"
	"encoding/binary"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/pixel/sandbox"
)

// decodeJob decodes a frame in the sandbox, into samples of one byte, or of two
// where the precision needs them, and settles them.
func decodeJob(ctx context.Context, p *sandbox.Pool, op sandbox.Op, f Format, precision int, signed bool, bits []byte) (Image, error) {
	if p == nil {
		return Image{}, errNotBuilt
	}
	allocated := 8
	if precision > 8 {
		allocated = 16
	}
	n := f.pixels() * f.Samples * allocated / 8
	r, err := p.Do(ctx, sandbox.Job{
		Op: op, Rows: f.Rows, Columns: f.Columns, Samples: f.Samples,
		BitsAllocated: allocated, BitsStored: precision, Signed: signed,
		Photometric: string(f.Photometric), Data: bits, MaxOutput: int64(n),
	})
	switch {
	case err != nil:
		return Image{}, err
	case r.Rows != f.Rows || r.Columns != f.Columns || r.Samples != f.Samples || len(r.Data) != n:
		return Image{}, errShort
	}
	f.Planar, f.Photometric = false, upsampled(f.Photometric)
	return settle(Image{Format: f, Data: r.Data}, precision, signed), nil
}

// encodeJob encodes interleaved samples of so many bits in the sandbox. Where
// the coding knows no signs those are cut off.
func encodeJob(ctx context.Context, p *sandbox.Pool, j sandbox.Job, img Image, precision int, signs bool) ([]byte, error) {
	if p == nil {
		return nil, errNotBuilt
	}
	data := img.Data
	j.BitsAllocated = img.BitsAllocated
	switch {
	case precision <= 8 && img.BitsAllocated == 16:
		j.BitsAllocated = 8
		data = make([]byte, len(img.Data)/2)
		for i := range data {
			data[i] = img.Data[2*i]
		}
		if img.Signed && !signs {
			mask8(data, precision)
		}
	case img.Signed && !signs && precision < img.BitsAllocated:
		data = append([]byte(nil), data...)
		if img.BitsAllocated == 16 {
			mask16(data, precision)
		} else {
			mask8(data, precision)
		}
	}
	j.Rows, j.Columns, j.Samples, j.BitsStored = img.Rows, img.Columns, img.Samples, precision
	j.Signed, j.Photometric, j.Data = img.Signed && signs, string(img.Photometric), data
	r, err := p.Do(ctx, j)
	return r.Data, err
}

func mask8(data []byte, bits int) {
	for i := range data {
		data[i] &= 1<<bits - 1
	}
}

// codable reports what no code stream but run-length coding takes.
func codable(f Format) error {
	switch {
	case f.Float:
		return refuse("floating-point samples cannot be coded like this; ask for an uncompressed transfer syntax")
	case f.BitsAllocated == 1 || f.BitsAllocated > 16:
		return refuse("samples of %d bits are not coded like this; ask for an uncompressed transfer syntax", f.BitsAllocated)
	case f.Samples != 1 && f.Samples != 3:
		return refuse("images of %d samples a pixel are not coded like this; ask for an uncompressed transfer syntax", f.Samples)
	}
	return nil
}

// jpegLS is JPEG-LS, without and nearly without loss (PS3.5 §8.2.3).
type jpegLS struct{ pool *sandbox.Pool }

func (c jpegLS) Decode(ctx context.Context, f Format, bits []byte) (Image, error) {
	h, err := readJPEG(bits)
	switch {
	case err != nil:
		return Image{}, err
	case h.sof != markSOF55:
		return jpegFamily{pool: c.pool}.Decode(ctx, f, bits)
	case h.subsampled():
		return Image{}, refuse("the components of a frame are coded in different sizes")
	}
	if err := h.check(f); err != nil {
		return Image{}, err
	}
	if h.end == 0 { // the decoder tells whether the last pixel was there
		bits = append(bits[:len(bits):len(bits)], 0xFF, markEOI)
	} else {
		bits = bits[:h.end]
	}
	return decodeJob(ctx, c.pool, sandbox.DecodeJPEGLS, f, h.precision, false, bits)
}

func (jpegLS) Encodes(f Format) error {
	if f.BitsStored < 2 {
		return refuse("samples of one bit are not coded like this")
	}
	return codable(f)
}

func (c jpegLS) Encode(ctx context.Context, img Image, _ EncodeOptions) ([]byte, Format, error) {
	img = img.Interleaved()
	bits, err := encodeJob(ctx, c.pool, sandbox.Job{Op: sandbox.EncodeJPEGLS}, img, depth(img), false)
	return bits, img.Format, err
}

// jpeg2000 is JPEG 2000 and HTJ2K (PS3.5 §8.2.4, §8.2.14): which block coder a
// frame uses, its stream tells.
type jpeg2000 struct {
	pool *sandbox.Pool
	op   sandbox.Op // what Encode makes
	rpcl bool       // HTJ2K with what its RPCL syntax demands
}

func (c jpeg2000) Decode(ctx context.Context, f Format, bits []byte) (Image, error) {
	h, err := readJ2K(bits)
	if err != nil {
		return Image{}, err
	}
	if err := h.check(f); err != nil {
		return Image{}, err
	}
	precision, signed := h.precision[0], h.signed[0]
	op := sandbox.DecodeJPEG2000
	if h.ht {
		op = sandbox.DecodeHTJ2K
	} else if f.Samples > 1 && precision > 8 {
		return Image{}, refuse("colours of %d bits coded as JPEG 2000 are not decoded here", precision)
	}
	img, err := decodeJob(ctx, c.pool, op, f, precision, signed, h.stream)
	if err != nil {
		return Image{}, err
	}
	if h.ht && !h.reversible && !signed && img.BitsAllocated == 16 && precision > 8 {
		limit16(img.Data, 1<<precision-1)
	}
	return img, nil
}

// limit16 brings samples past the greatest value down to it, which what was
// coded with loss may exceed.
func limit16(data []byte, greatest uint16) {
	for i := 0; i+2 <= len(data); i += 2 {
		if binary.LittleEndian.Uint16(data[i:]) > greatest {
			binary.LittleEndian.PutUint16(data[i:], greatest)
		}
	}
}

func (c jpeg2000) Encodes(f Format) error {
	ht := c.op == sandbox.EncodeHTJ2K
	switch {
	case f.Samples > 1 && f.BitsAllocated > 8:
		return refuse("colours of more than 8 bits are not coded like this; ask for another transfer syntax")
	case f.Samples > 1 && ht && f.Photometric != RGB:
		return refuse("colours other than RGB are not coded like this; ask for another transfer syntax")
	case !ht && min(f.Rows, f.Columns) < 2:
		return refuse("an image of one line is not coded like this; ask for another transfer syntax")
	case c.rpcl && !sandbox.FitsRPCL(f.Rows, f.Columns):
		return errNoThumbnail
	}
	return codable(f)
}

var errNoThumbnail = fault.New(fault.NotAcceptable, "an image of this size cannot be coded with the thumbnail that HTJ2K Lossless RPCL demands; ask for HTJ2K Lossless")

// thumbnail reports whether the lowest of so many resolutions is no wider, or
// no higher, than the 64 pixels that PS3.5 §10.18 demands.
func (jpeg2000) thumbnail(rows, columns, levels int) bool {
	return (min(rows, columns)-1)>>levels+1 <= 64
}

func (c jpeg2000) Encode(ctx context.Context, img Image, _ EncodeOptions) ([]byte, Format, error) {
	img = img.Interleaved()
	j := sandbox.Job{Op: c.op, MCT: img.Photometric == RGB}
	if c.rpcl {
		j.Progression = sandbox.RPCL
	}
	bits, err := encodeJob(ctx, c.pool, j, img, depth(img), true)
	if err != nil {
		return nil, Format{}, err
	}
	h, err := readJ2K(bits)
	switch {
	case err != nil:
		return nil, Format{}, errLossy
	case !h.reversible || h.ht != (c.op == sandbox.EncodeHTJ2K):
		return nil, Format{}, errLossy
	case c.rpcl && !c.thumbnail(img.Rows, img.Columns, h.levels):
		return nil, Format{}, errNoThumbnail
	case c.rpcl && (h.progression != byte(sandbox.RPCL) || !h.tlm):
		return nil, Format{}, errLossy
	}
	if h.transform {
		img.Photometric = YBRRCT
	}
	return bits, img.Format, nil
}

var errLossy = fault.New(fault.NotAcceptable, "a frame did not come back the same after it was coded in the transfer syntax asked for; ask for another")
