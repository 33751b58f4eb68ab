package sandbox

import "context"

// What the encoders are like:
//
//   - JPEG takes a byte a sample up to 8 bits and two beyond, and codes with a
//     precision of 8, 12 or 16. Lossy is 8 bits alone.
//   - JPEG-LS codes with the precision of BitsAllocated, so it is told BitsStored.
//   - JPEG 2000 takes signed numbers of 8 bits for unsigned, and three components
//     of 8 bits alone; a single row or column it cannot do at all, and noise of
//     one bit overflows its buffer. HTJ2K codes with the precision of
//     BitsAllocated, takes signed bytes for unsigned, applies RCT to three
//     components always and has those of 8 bits alone.
//     So both are given numbers of a kind they can do, shifted so that what they
//     transform is the same, and precision and sign go into the header
//     afterwards. What it says of the quantization of each subband stays that of
//     the greater precision, which is allowed.
//   - An HTJ2K stream has TLM, a tile-part for each resolution and blocks of
//     64×64. For the levels see FitsRPCL.

// FitsRPCL reports whether EncodeHTJ2K with the progression RPCL makes of an
// image of this size what HTJ2K Lossless RPCL wants: levels enough for a
// smallest resolution of at most 64 rows or columns (PS3.5 §10.18). The codec
// halves rounding down to find how many, six at most, and resolutions are
// rounded up: 513×513 ends at 65×65.
func FitsRPCL(rows, columns int) bool {
	levels := 0
	for r, c := rows, columns; r > 64 && c > 64; r, c = r/2, c/2 {
		levels++
	}
	levels = min(max(levels, 1), 6)
	return (rows-1)>>levels < 64 || (columns-1)>>levels < 64
}

// encoding says how samples are encoded.
type encoding struct {
	function string
	frame    frame
	bytes    int    // of a sample as the codec takes it
	bits     int    // of a sample that count
	center   bool   // JPEG 2000: they are centered and precision and sign restated
	plus     uint16 // of center
}

// encodingOf decides; out is unsupported when the codecs cannot do it.
func encodingOf(q *request) (e encoding, out outcome) {
	stored := int(q.BitsStored)
	e = encoding{bytes: (stored + 7) / 8, bits: stored}
	e.frame = frame{rows: uint64(q.Rows), columns: uint64(q.Columns), samples: uint64(q.Samples), stored: uint64(stored)}
	switch q.Op {
	case EncodeJPEG:
		e.function = "EncodeJpeg"
		if q.Lossy && (stored != 8 || q.Signed || q.Samples == 3 && !q.RGB) {
			return e, unsupported
		}
		e.bits = 16 // of the codec: more than BitsStored are kept when they are there
		if stored <= 12 {
			e.bits = 12
		}
		if stored <= 8 {
			e.bits = 8
		}
	case EncodeJPEGLS:
		e.function = "EncodeJpegLs"
		e.bits = max(stored, 2)
		e.frame.allocated = uint64(e.bits)
	case EncodeJPEG2000:
		e.function = "EncodeJpeg2000"
		if q.Rows == 1 || q.Columns == 1 || q.Samples == 3 && stored > 8 {
			return e, unsupported
		}
		e.unsigned(max(stored, 8))
		e.frame.rgb = q.MCT && q.Samples == 3
	default:
		e.function = "EncodeHtJpeg2000"
		switch {
		case q.Samples == 3 && (stored > 8 || !q.MCT):
			return e, unsupported
		case stored <= 8:
			e.unsigned(8)
		default:
			e.center, e.frame.signed = true, true // of 16 bits
		}
	}
	if e.frame.allocated == 0 {
		e.frame.allocated = uint64(8 * e.bytes)
	}
	return e, done
}

// unsigned has the codec take unsigned numbers of so many bits.
func (e *encoding) unsigned(precision int) {
	e.frame.stored, e.center, e.plus = uint64(precision), true, 1<<(precision-1)
}

// relaid reports whether the samples have to be moved before they are encoded.
func (e *encoding) relaid(q *request) bool {
	return q.Planar && q.Samples > 1 || e.bytes != int(q.BitsAllocated)/8
}

// relay makes of the job's samples what the codec takes.
func (e *encoding) relay(q *request, b []byte) []byte {
	bytes := int(q.BitsAllocated) / 8
	if q.Planar && q.Samples > 1 {
		b = interleave(b, bytes, int(q.Samples))
	}
	switch {
	case bytes > e.bytes:
		b = narrow(b)
	case bytes < e.bytes:
		b = widen(b, q.Signed)
	}
	return b
}

// encode encodes the samples in the context's Decoded buffer. What it returns
// lies in the module's memory.
func (m *module) encode(ctx context.Context, q *request, e *encoding, b []byte) (stream []byte, out outcome) {
	if e.center {
		center(b, e.bytes, e.bits, q.Signed, e.plus)
	} else {
		extend(b, e.bytes, e.bits, false)
	}
	if err := m.describe(ctx, e.frame); err != nil {
		return nil, errorOutcome(err)
	}
	params, err := m.call(ctx, "CreateEncoderParameters")
	if err == nil {
		rate := uint64(0)
		if q.Lossy {
			rate = uint64(q.Rate)
		}
		err = m.set(ctx, params, []setting{{"SetLossy", flag(q.Lossy)}, {"SetQuality", uint64(q.Quality)}, {"SetSmoothingFactor", 0},
			{"SetSampleFactor", 0}, {"SetPredictor", uint64(max(q.Predictor, 1))}, {"SetPointTransform", uint64(q.Transform)},
			{"SetAllowedLossyError", uint64(q.AllowedLoss)}, {"SetProgressionOrder", uint64(q.Progression)}, {"SetRate", rate},
			{"SetAllowMct", flag(q.MCT)}})
	}
	if err == nil {
		_, err = m.call(ctx, e.function, m.context, params)
	}
	if err == nil {
		stream, err = m.buffer(ctx, "Encoded")
	}
	if err != nil {
		return nil, errorOutcome(err)
	}
	if e.center && !restate(stream, int(q.BitsStored), q.Signed) {
		return nil, broken
	}
	return stream, done
}
