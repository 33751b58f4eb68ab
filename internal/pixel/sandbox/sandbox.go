package sandbox

import (
	"log/slog"
	"time"
)

// Op is what a job asks of the codecs.
type Op uint8

// The operations. JPEG is all of ISO/IEC 10918-1: baseline, extended and
// lossless; the decoder reads from the stream which it is.
const (
	DecodeJPEG Op = iota + 1
	DecodeJPEGLS
	DecodeJPEG2000
	DecodeHTJ2K
	EncodeJPEG // lossless unless Job.Lossy, which is 8-bit baseline
	EncodeJPEGLS
	EncodeJPEG2000
	EncodeHTJ2K
)

var opNames = [...]string{"", "decode JPEG", "decode JPEG-LS", "decode JPEG 2000", "decode HTJ2K",
	"encode JPEG", "encode JPEG-LS", "encode JPEG 2000", "encode HTJ2K"}

// String names the operation for logs and messages.
func (o Op) String() string {
	if o.valid() {
		return opNames[o]
	}
	return "unknown operation"
}

func (o Op) valid() bool { return o >= DecodeJPEG && o <= EncodeHTJ2K }

func (o Op) decodes() bool { return o <= DecodeHTJ2K }

// Progression is the order of packets in a JPEG 2000 or HTJ2K code stream
// (ISO/IEC 15444-1 Table A.16).
type Progression uint8

// The progressions.
const (
	LRCP Progression = iota
	RLCP
	RPCL
	PCRL
	CPRL
)

// Job is one frame to decode or encode.
type Job struct {
	Op Op

	// What the data set says of the frame. A code stream of other dimensions or
	// another number of components is refused; its precision may differ, and
	// Result tells it.
	Rows, Columns int // 1 to 65535
	Samples       int // per pixel: 1 or 3
	BitsAllocated int // 8 or 16: of the decoded samples
	BitsStored    int // 1 to BitsAllocated
	Signed        bool
	Planar        bool // of samples to encode; what was decoded is always interleaved
	// Photometric is the Photometric Interpretation of what is encoded
	// (PS3.3 §C.7.6.3.1.2). For JPEG it says which conversion ToRGB is.
	Photometric string

	// ToRGB asks a lossy JPEG of YCbCr components to come back as RGB.
	// JPEG 2000 and HTJ2K undo their own transform (RCT, ICT) always.
	ToRGB bool

	// Of encoders.
	Lossy          bool
	Quality        int         // lossy JPEG: 1 to 100
	Predictor      int         // lossless JPEG: selection value, 1 to 7; 0 is 1
	PointTransform int         // lossless JPEG: 0 to 15; bits that are lost
	AllowedError   int         // lossy JPEG-LS: NEAR
	Progression    Progression // JPEG 2000 and HTJ2K
	Rate           int         // lossy JPEG 2000: compression ratio
	MCT            bool        // JPEG 2000, HTJ2K: three samples are RGB and coded as YBR_RCT

	Data []byte // the code stream, or little-endian samples

	// MaxOutput is the most bytes that the result may have. For a decoder 0
	// means as many as the fields above make, and that is the most there can
	// be anyway; for an encoder 0 means twice the input and a little.
	MaxOutput int64
}

// Result is a decoded or encoded frame.
type Result struct {
	Rows, Columns, Samples int
	// BitsAllocated is the job's. BitsStored is, after decoding, the precision
	// in the code stream: it may differ from the data set's.
	BitsAllocated, BitsStored int
	// Signed is, after decoding JPEG 2000 and HTJ2K, what the code stream says;
	// the samples are as the job's Signed asks whatever it says.
	Signed bool
	Planar bool // after decoding always false: R1 G1 B1 R2 …
	// Photometric is RGB, YBR_FULL or as the job has it; empty where the stream
	// does not tell.
	Photometric string
	Data        []byte
}

// Options configure a Pool. The zero value works, without a cache.
type Options struct {
	// Cache is the folder of compiled code; it is made with mode 0700 when it
	// is missing. Compiling takes seconds, loading what was compiled tenths.
	// Empty: each worker compiles.
	Cache string
	// Workers is the most processes at once; 0 as many as there are cores.
	Workers int
	// Queue is how many jobs may wait beyond those running; 0 is 64 a worker.
	// More are refused as fault.Busy.
	Queue int
	// Timeout and PerSample bound what a job may use of a processor: Timeout plus
	// PerSample for each sample, twice that for an encoder. 0: 3 s and 2 µs. On a
	// busy machine it may take ten times as long.
	Timeout, PerSample time.Duration
	// Idle is how long a worker without work is kept; 0: three minutes.
	Idle time.Duration
	// Log hears of workers that were lost; nil: nobody.
	Log *slog.Logger
}
