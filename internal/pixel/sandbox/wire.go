package sandbox

import (
	"encoding/binary"
	"errors"
	"io"
)

// What goes over the pipes. The parent writes a greeting with the cache's
// folder, the worker answers that it is ready; then it is one request, one
// reply. Both sides are the same binary, so the layout needs no versions; the
// magic numbers find a process that is not a worker at all.
const (
	magicGreeting = 0x53474c31
	magicReady    = 0x53474c32
	magicRequest  = 0x53474c33
	magicReply    = 0x53474c34
)

type greeting struct {
	Magic uint32
	Cache uint32 // length of the folder's name, which follows
}

type ready struct {
	Magic    uint32
	Outcome  outcome
	Confined bool // the system call filter is in place
	Cached   bool // compiled code was loaded, not made
	_        byte
	Used     uint64 // processor time until now, in µs
}

type request struct {
	Magic uint32
	Op    Op
	Signed, Planar, ToRGB, Lossy, MCT,
	RGB bool
	Progression                                Progression
	Rows, Columns                              uint32
	Samples, BitsAllocated, BitsStored         uint16
	Quality, Predictor, Transform, AllowedLoss uint16
	Rate                                       uint32
	Millis                                     uint32 // of processor time, after which the worker has itself killed
	MaxOutput                                  uint64
	Length                                     uint64 // of the data that follows
}

type reply struct {
	Magic      uint32
	Outcome    outcome
	Signed     bool
	RGB        bool // the samples are RGB whatever was coded
	_          byte
	BitsStored uint32
	Used       uint64 // processor time until now, in µs
	Length     uint64 // of the data that follows; 0 unless the outcome is done
}

// outcome says how a job ended. A worker says no more than that: its words are
// not to be trusted, and never reach a user or a log.
type outcome uint8

const (
	done        outcome = iota
	damaged             // the codec refuses the stream
	trapped             // the codec ran wild
	mismatched          // the stream's dimensions or components are not the job's
	unsupported         // a kind of stream that the codecs cannot do
	oversized           // more output than the job allows
	broken              // the worker itself is at fault
	outcomes
)

// reason is what a user reads of an outcome.
func (o outcome) reason() string {
	switch o {
	case damaged, trapped:
		return "the image is damaged: it cannot be decoded"
	case mismatched:
		return "the coded image has another size or other samples than its attributes say"
	case unsupported:
		return "this kind of coded image is not supported"
	case oversized:
		return "the result would be larger than is allowed"
	}
	return "the codecs failed"
}

// errWire says that the other side is not what it should be.
var errWire = errors.New("not an answer of a codec worker")

func send(w io.Writer, v any) error { return binary.Write(w, binary.LittleEndian, v) }

func receive(r io.Reader, v any) error { return binary.Read(r, binary.LittleEndian, v) }

func requestOf(j *Job, millis uint32) request {
	return request{Magic: magicRequest, Op: j.Op, Signed: j.Signed, Planar: j.Planar, ToRGB: j.ToRGB, Lossy: j.Lossy, MCT: j.MCT,
		RGB: j.Photometric == "RGB", Progression: j.Progression, Rows: uint32(j.Rows), Columns: uint32(j.Columns),
		Samples: uint16(j.Samples), BitsAllocated: uint16(j.BitsAllocated), BitsStored: uint16(j.BitsStored),
		Quality: uint16(j.Quality), Predictor: uint16(j.Predictor), Transform: uint16(j.PointTransform), AllowedLoss: uint16(j.AllowedError),
		Rate: uint32(j.Rate), Millis: millis, MaxOutput: uint64(j.MaxOutput), Length: uint64(len(j.Data))}
}
