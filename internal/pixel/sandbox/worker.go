package sandbox

import (
	"context"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"time"
)

// marker is the environment variable of a worker; it has no other.
const marker = "STRATA_CODEC_WORKER"

// Main serves as a worker and exits when this process was started as one;
// otherwise it returns at once. It is the first call of main and of TestMain.
func Main() {
	if os.Getenv(marker) == "" {
		return
	}
	runtime.GOMAXPROCS(1) // the codecs are one thread
	debug.SetTraceback("none")
	if err := serve(context.Background(), descriptor(0), descriptor(1)); err != nil {
		os.Stderr.WriteString("fatal error: " + err.Error() + "\n")
		os.Exit(1)
	}
	os.Exit(0)
}

// serve greets and does jobs until the parent closes its end.
func serve(ctx context.Context, r io.Reader, w io.Writer) error {
	lower()
	attended := attend()
	m, hello, err := prepare(ctx, r)
	attended()
	if err != nil {
		_ = send(w, ready{Magic: magicReady, Outcome: broken}) // the exit status tells as well
		return err
	}
	kill, err := newDeadline()
	if err != nil {
		return err
	}
	debug.FreeOSMemory() // compiling took 200 MB
	debug.SetMemoryLimit(64 << 20)
	hello.Confined = confine()
	hello.Used = processorTime()
	if err := send(w, hello); err != nil {
		return err
	}
	for {
		var q request
		if err := receive(r, &q); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		if q.Magic != magicRequest {
			return errWire
		}
		if err := kill.after(q.Millis); err != nil {
			return err
		}
		if err := m.serve(ctx, &q, r, w); err != nil {
			return err
		}
		if err := kill.after(0); err != nil {
			return err
		}
	}
}

// attend ends this process when its parent is gone, until the function it
// returns is called: while codecs are compiled nobody reads the pipe whose end would tell.
func attend() (end func()) {
	parent, over, done := os.Getppid(), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-over:
				return
			case <-tick.C:
				if os.Getppid() != parent {
					os.Exit(1)
				}
			}
		}
	}()
	return func() {
		close(over)
		<-done
	}
}

// prepare reads the greeting and makes the codecs ready.
func prepare(ctx context.Context, r io.Reader) (*module, ready, error) {
	hello := ready{Magic: magicReady}
	var g greeting
	if err := receive(r, &g); err != nil {
		return nil, hello, err
	}
	if g.Magic != magicGreeting || g.Cache > 4096 {
		return nil, hello, errWire
	}
	folder := make([]byte, g.Cache)
	if _, err := io.ReadFull(r, folder); err != nil {
		return nil, hello, err
	}
	m, cached, err := load(ctx, string(folder))
	if err != nil {
		return nil, hello, err
	}
	hello.Cached = cached
	return m, hello, m.start(ctx)
}

// The most of the codecs' memory that a job may touch, beside the 45 MB of the
// process. Decoders are given what others made, so that one is to stay below
// 256 MB; encoders what has been decoded.
const (
	decodeMemory = 200 << 20
	encodeMemory = 448 << 20
)

// memoryOf is what a job may touch: what the greediest codec, JPEG 2000, needs
// for so many samples, and something for small ones.
func memoryOf(q *request) int {
	samples := uint64(q.Rows) * uint64(q.Columns) * uint64(q.Samples)
	data := min(q.Length, maxData)
	if !q.Op.decodes() {
		return int(min(32<<20+16*samples+2*data, encodeMemory))
	}
	return int(min(32<<20+12*samples+4*data, decodeMemory))
}

// serve does one job.
func (m *module) serve(ctx context.Context, q *request, r io.Reader, w io.Writer) error {
	if err := m.memory.limit(memoryOf(q)); err != nil {
		return err
	}
	rep, data, out, err := m.do(ctx, q, r)
	if err != nil {
		return err
	}
	if out == done && uint64(len(data)) > q.MaxOutput {
		out = oversized
	}
	if out != done {
		rep, data = reply{}, nil
	}
	rep.Magic, rep.Outcome, rep.Used, rep.Length = magicReply, out, processorTime(), uint64(len(data))
	if err := send(w, rep); err != nil {
		return err
	}
	if _, err := w.Write(data); err != nil {
		return err
	}
	return m.reset(ctx)
}

// do reads the job's data to where the codecs want it and runs them. The error
// is one of the pipe.
func (m *module) do(ctx context.Context, q *request, r io.Reader) (rep reply, data []byte, out outcome, err error) {
	if !q.Op.decodes() {
		return m.doEncode(ctx, q, r)
	}
	if out = errorless(m.open(ctx)); out == done {
		into, err := m.reserve(ctx, "Encoded", q.Length)
		if err == nil {
			if _, err := io.ReadFull(r, into); err != nil {
				return rep, nil, broken, err
			}
			rep, data, out = m.decode(ctx, q, into)
			return rep, data, out, nil
		}
		out = errorOutcome(err)
	}
	_, err = io.CopyN(io.Discard, r, int64(q.Length))
	return rep, nil, out, err
}

func (m *module) doEncode(ctx context.Context, q *request, r io.Reader) (rep reply, data []byte, out outcome, err error) {
	e, out := encodingOf(q)
	if out == done {
		out = errorless(m.open(ctx))
	}
	if out != done {
		_, err = io.CopyN(io.Discard, r, int64(q.Length))
		return rep, nil, out, err
	}
	var from []byte
	n := uint64(q.Rows) * uint64(q.Columns) * uint64(q.Samples) * uint64(e.bytes)
	if e.relaid(q) {
		from = make([]byte, q.Length)
		if _, err := io.ReadFull(r, from); err != nil {
			return rep, nil, broken, err
		}
		from = e.relay(q, from)
	}
	into, failed := m.reserve(ctx, "Decoded", n)
	switch {
	case failed != nil && from == nil:
		_, err = io.CopyN(io.Discard, r, int64(q.Length))
		return rep, nil, errorOutcome(failed), err
	case failed != nil:
		return rep, nil, errorOutcome(failed), nil
	case from != nil:
		copy(into, from)
	default:
		if _, err := io.ReadFull(r, into); err != nil {
			return rep, nil, broken, err
		}
	}
	rep.BitsStored, rep.Signed = uint32(q.BitsStored), q.Signed
	data, out = m.encode(ctx, q, &e, into)
	return rep, data, out, nil
}

func errorless(err error) outcome {
	if err != nil {
		return errorOutcome(err)
	}
	return done
}
