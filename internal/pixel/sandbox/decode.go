package sandbox

import (
	"context"
	"errors"
)

// What the codecs are like, as found by reading and trying them:
//
//   - A context has to be given the stream's dimensions and precision, not the
//     data set's: JPEG writes rows at the stride of BitsAllocated, JPEG 2000
//     copies Rows × Columns samples whatever the image has.
//   - JPEG precision is 8, 12 or 16 in what is encoded; any is decoded. It knows
//     no sign. Photometric numbers: 0 MONOCHROME1, 1 MONOCHROME2, 2 PALETTE
//     COLOR, 3 RGB, 4 YBR_FULL …; only 3 matters, to JPEG 2000's encoder.
//   - JPEG-LS comes back interleaved, except when it was coded a component a scan.
//   - JPEG 2000 has three components of at most 8 bits, or one of at most 16.
//     It undoes RCT and ICT. A stream cut short is an error.
//   - HTJ2K has one or three components of at most 16 bits. It clamps to the
//     sign and width that it is told, not to the precision, which what was coded
//     with loss exceeds. Three components without RCT or ICT come
//     back in the wrong places, so those go to OpenJPEG, which decodes HTJ2K too.
//     A stream cut short is filled with zeros without a word.

// Numbers of Photometric Interpretation in the codecs.
const (
	numberMonochrome2 = 1
	numberRGB         = 3
)

// errorOutcome is the outcome of a job whose call into the codecs failed.
func errorOutcome(err error) outcome {
	if errors.Is(err, errCodec) {
		return damaged
	}
	return trapped
}

// frame are the numbers of a CodecsContext.
type frame struct {
	rows, columns, samples, allocated, stored uint64
	signed, rgb                               bool
}

// open makes the job's CodecsContext.
func (m *module) open(ctx context.Context) (err error) {
	m.context, err = m.call(ctx, "CreateCodecsContext")
	return err
}

func flag(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

// describe fills the context.
func (m *module) describe(ctx context.Context, f frame) error {
	photometric := uint64(numberMonochrome2)
	if f.rgb {
		photometric = numberRGB
	}
	return m.set(ctx, m.context, []setting{{"SetColumns", f.columns}, {"SetRows", f.rows}, {"SetBitsAllocated", f.allocated},
		{"SetBitsStored", f.stored}, {"SetSamplesPerPixel", f.samples}, {"SetPixelRepresentation", flag(f.signed)},
		{"SetPlanarConfiguration", 0}, {"SetPhotometricInterpretation", photometric}})
}

type setting struct {
	function string
	value    uint64
}

func (m *module) set(ctx context.Context, object uint64, values []setting) error {
	for _, s := range values {
		if _, err := m.call(ctx, s.function, object, s.value); err != nil {
			return err
		}
	}
	return nil
}

// buffer is the context's Encoded or Decoded buffer.
func (m *module) buffer(ctx context.Context, which string) ([]byte, error) {
	at, err := m.call(ctx, "Get"+which+"Buffer", m.context)
	if err != nil {
		return nil, err
	}
	n, err := m.call(ctx, "Get"+which+"BufferSize", m.context)
	if err != nil {
		return nil, err
	}
	b, ok := m.view(at, n)
	if !ok || at == 0 && n > 0 {
		return nil, errExit
	}
	return b, nil
}

// reserve makes the context's Encoded or Decoded buffer of n bytes.
func (m *module) reserve(ctx context.Context, which string, n uint64) ([]byte, error) {
	if n == 0 || n > pages<<16 {
		return nil, errExit
	}
	if _, err := m.call(ctx, "Set"+which+"BufferSize", m.context, n); err != nil {
		return nil, err
	}
	b, err := m.buffer(ctx, which)
	if err == nil && uint64(len(b)) != n {
		err = errExit
	}
	return b, err
}

// plan says how a stream is decoded.
type plan struct {
	function string
	shape    shape
	frame    frame
}

// planOf reads the stream's headers and decides.
func planOf(q *request, b []byte) (p plan, out outcome) {
	switch q.Op {
	case DecodeJPEG:
		p.function = "DecodeJpeg"
		p.shape, out = jpegShape(b, false)
	case DecodeJPEGLS:
		p.function = "DecodeJpegLs"
		p.shape, out = jpegShape(b, true)
	case DecodeJPEG2000:
		p.function = "DecodeJpeg2000"
		p.shape, out = j2kShape(b)
	default:
		p.function = "DecodeHtJpeg2000"
		p.shape, out = j2kShape(b)
		if p.shape.samples == 3 && !p.shape.transform {
			p.function = "DecodeJpeg2000"
		}
	}
	s := &p.shape
	switch {
	case out != done:
		return p, out
	case !s.fits(q) || s.precision > int(q.BitsAllocated):
		return p, mismatched
	case p.function == "DecodeJpeg2000" && s.samples == 3 && s.precision > 8:
		return p, unsupported
	}
	p.frame = frame{rows: uint64(s.rows), columns: uint64(s.columns), samples: uint64(s.samples), allocated: 8,
		stored: uint64(s.precision), signed: s.signed}
	if s.precision > 8 || s.signed && p.function == "DecodeHtJpeg2000" {
		p.frame.allocated = 16
	}
	return p, done
}

// decode decodes the stream in the context's Encoded buffer. What it returns
// may lie in the module's memory.
func (m *module) decode(ctx context.Context, q *request, b []byte) (rep reply, pixels []byte, out outcome) {
	if q.Op == DecodeJPEG2000 || q.Op == DecodeHTJ2K {
		if c := codestream(b); len(c) != len(b) {
			c = append([]byte(nil), c...)
			into, err := m.reserve(ctx, "Encoded", uint64(len(c)))
			if err != nil {
				return rep, nil, damaged
			}
			copy(into, c)
			b = into
		}
	}
	p, out := planOf(q, b)
	if out != done {
		return rep, nil, out
	}
	if err := m.describe(ctx, p.frame); err != nil {
		return rep, nil, errorOutcome(err)
	}
	params, err := m.call(ctx, "CreateDecoderParameters")
	if err == nil {
		_, err = m.call(ctx, "SetConvertColorspaceToRgb", params, flag(q.ToRGB && q.Samples == 3))
	}
	if err == nil {
		_, err = m.call(ctx, p.function, m.context, params)
	}
	if err == nil {
		pixels, err = m.buffer(ctx, "Decoded")
	}
	if err != nil {
		return rep, nil, errorOutcome(err)
	}
	bytes := int(p.frame.allocated) / 8
	if len(pixels) != p.shape.rows*p.shape.columns*p.shape.samples*bytes {
		return rep, nil, damaged
	}
	rep = reply{Signed: p.shape.signed, RGB: p.shape.samples == 3 && p.shape.transform, BitsStored: uint32(p.shape.precision)}
	if q.Op == DecodeJPEG && q.ToRGB && q.Samples == 3 {
		photometric, err := m.call(ctx, "GetPhotometricInterpretation", m.context)
		if err != nil {
			return rep, nil, errorOutcome(err)
		}
		rep.RGB = photometric == numberRGB
	}
	if p.function == "DecodeHtJpeg2000" {
		saturate(pixels, bytes, p.shape.precision, p.shape.signed)
	}
	extend(pixels, bytes, p.shape.precision, q.Signed)
	if p.shape.planar {
		pixels = interleave(pixels, bytes, p.shape.samples)
	}
	switch want := int(q.BitsAllocated) / 8; {
	case bytes < want:
		pixels = widen(pixels, q.Signed)
	case bytes > want:
		pixels = narrow(pixels)
	}
	return rep, pixels, done
}
