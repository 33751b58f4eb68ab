package sandbox

import (
	"errors"
	"io"
	"math"
	"sync/atomic"
	"time"

	"github.com/strata-pacs/strata/internal/fault"
)

// task is a job on its way through a worker. It is finished even when nobody
// waits for it any more: decoding a frame is cheaper than starting a worker.
type task struct {
	job    *Job // nil: none, a worker is to be ready
	state  atomic.Int32
	sent   chan struct{} // closed when the job's data is not needed any more
	answer chan answer   // has room for one
}

type answer struct {
	result Result
	err    error
}

// States of a task.
const (
	waiting int32 = iota
	sending
	abandoned
)

// giveUp returns when the job's data is not read any more.
func (t *task) giveUp() {
	if !t.state.CompareAndSwap(waiting, abandoned) {
		<-t.sent
	}
}

func (t *task) run(p *Pool) {
	w, err := p.worker()
	if err != nil {
		t.answer <- answer{err: err}
		return
	}
	if t.job == nil || !t.state.CompareAndSwap(waiting, sending) {
		p.release(w)
		t.answer <- answer{}
		return
	}
	limit := p.o.limit(t.job)
	var late atomic.Bool
	timer := time.AfterFunc(starved*limit, func() {
		late.Store(true)
		w.kill()
	})
	q := requestOf(t.job, uint32(min(max(limit.Milliseconds(), 1), math.MaxUint32)))
	err = t.send(w, &q)
	close(t.sent)
	var a answer
	if err == nil {
		var rep reply
		rep, a.result, a.err, err = receiveResult(w.out, t.job, &q)
		w.used = max(w.used, time.Duration(rep.Used)*time.Microsecond)
	}
	switch {
	case err == nil && timer.Stop():
		p.release(w)
	case err == nil: // just in time, and killed nevertheless
		p.lose(w, "took too long")
	default:
		timer.Stop()
		p.lose(w, "ended in the middle of a job")
		if late.Load() || stopped(w.cmd.ProcessState) && w.spent() >= limit*9/10 {
			a = answer{err: fault.New(fault.NotAcceptable, "the image took too long to %s", verb(t.job.Op))}
		} else {
			a = answer{err: p.blame(w)}
		}
	}
	t.answer <- a
}

func verb(o Op) string {
	if o.decodes() {
		return "decode"
	}
	return "encode"
}

// blame says whose fault it is that a worker ended in the middle of a job: the
// job's, or that of who stopped it.
func (p *Pool) blame(w *process) error {
	p.mu.Lock()
	closed := p.closed
	p.mu.Unlock()
	switch {
	case closed:
		return errClosed
	case stopped(w.cmd.ProcessState):
		return fault.New(fault.Unavailable, "the codecs were stopped by the system; try again")
	}
	return fault.New(fault.NotAcceptable, "the image is damaged, or needs more memory than is allowed")
}

func (t *task) send(w *process, q *request) error {
	if err := send(w.in, q); err != nil {
		return err
	}
	_, err := w.in.Write(t.job.Data)
	return err
}

// starved is how many times longer than on an idle machine a job may take: as
// workers stand back, a busy one leaves them little.
const starved = 10

// limit is the most processor time that a job may take. Encoding takes longer, and what is
// encoded was seen to be an image.
func (o *Options) limit(j *Job) time.Duration {
	each := o.PerSample
	if !j.Op.decodes() {
		each *= 2
	}
	return o.Timeout + time.Duration(j.Rows*j.Columns*j.Samples)*each
}

// receiveResult reads the answer to a job. failure is the job's, err that of a
// worker that is none.
func receiveResult(r io.Reader, j *Job, q *request) (rep reply, res Result, failure, err error) {
	if err := receive(r, &rep); err != nil {
		return rep, res, nil, err
	}
	switch {
	case rep.Magic != magicReply || rep.Outcome >= outcomes || rep.Outcome == broken || rep.Used > math.MaxInt64/1000:
		return reply{}, res, nil, errWire
	case rep.Outcome != done && rep.Length == 0:
		if rep.Outcome == unsupported && !j.Op.decodes() {
			return rep, res, fault.New(fault.NotAcceptable, "an image of this kind cannot be encoded so"), nil
		}
		return rep, res, fault.New(fault.NotAcceptable, "%s", rep.Outcome.reason()), nil
	case rep.Outcome != done || rep.Length == 0 || rep.Length > q.MaxOutput, rep.BitsStored < 1 || rep.BitsStored > 16:
		return reply{}, res, nil, errWire
	case j.Op.decodes() && rep.Length != uint64(j.Rows)*uint64(j.Columns)*uint64(j.Samples)*uint64(j.BitsAllocated/8):
		return reply{}, res, nil, errWire
	}
	res = Result{Rows: j.Rows, Columns: j.Columns, Samples: j.Samples, BitsAllocated: j.BitsAllocated, BitsStored: int(rep.BitsStored),
		Signed: rep.Signed, Photometric: j.Photometric, Data: make([]byte, rep.Length)}
	if rep.RGB {
		res.Photometric = "RGB"
	}
	if _, err := io.ReadFull(r, res.Data); err != nil {
		return reply{}, Result{}, nil, errors.Join(errWire, err)
	}
	return rep, res, nil, nil
}
