package sandbox

import (
	"context"
	"log/slog"
	"runtime"
	"sync"
	"time"

	"github.com/strata-pacs/strata/internal/fault"
)

// Pool is a set of worker processes. It is safe for concurrent use.
type Pool struct {
	o     Options
	slots chan struct{} // one for each worker that may be
	queue chan struct{} // one for each job that runs or waits

	owned sync.WaitGroup // every goroutine of the pool
	stop  chan struct{}

	mu     sync.Mutex
	closed bool
	idle   []*process // last used last
	busy   map[*process]bool
	reaper bool
	warned bool // that workers are not confined
}

// New returns a pool. It costs nothing: workers start when there is work.
func New(o Options) *Pool {
	if o.Workers <= 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	if o.Queue <= 0 {
		o.Queue = 64 * o.Workers
	}
	if o.Timeout <= 0 {
		o.Timeout = 3 * time.Second
	}
	if o.PerSample <= 0 {
		o.PerSample = 2 * time.Microsecond
	}
	if o.Idle <= 0 {
		o.Idle = 3 * time.Minute
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Pool{o: o, slots: make(chan struct{}, o.Workers), queue: make(chan struct{}, o.Workers+o.Queue),
		stop: make(chan struct{}), busy: make(map[*process]bool)}
}

var (
	errBusy    = fault.New(fault.Busy, "too many images are being decoded at once; try again")
	errClosed  = fault.New(fault.Unavailable, "the server is stopping")
	errMissing = fault.New(fault.NotAcceptable, "this server was built without the codecs: compressed images cannot be decoded")
)

// Warm starts a worker, compiling the codecs if that was not done before.
func (p *Pool) Warm(ctx context.Context) error {
	_, err := p.run(ctx, nil)
	return err
}

// Do runs a job on the next free worker, in the order of asking. The job's Data
// is not read after Do returned. The error is fault.NotAcceptable for what
// cannot be decoded or encoded, or takes too long; fault.Busy when too many
// wait; fault.Unavailable when no worker can be had.
func (p *Pool) Do(ctx context.Context, j Job) (Result, error) {
	if err := j.check(); err != nil {
		return Result{}, err
	}
	return p.run(ctx, &j)
}

// run has a worker do the job; without a job it only has one ready.
func (p *Pool) run(ctx context.Context, j *Job) (Result, error) {
	if !Available() {
		return Result{}, errMissing
	}
	if err := ctx.Err(); err != nil {
		return Result{}, err
	}
	select {
	case p.queue <- struct{}{}:
	default:
		return Result{}, errBusy
	}
	// The runtime queues senders on a channel in the order of their coming.
	select {
	case p.slots <- struct{}{}:
	case <-ctx.Done():
		<-p.queue
		return Result{}, ctx.Err()
	case <-p.stop:
		<-p.queue
		return Result{}, errClosed
	}
	t := &task{job: j, sent: make(chan struct{}), answer: make(chan answer, 1)}
	if !p.own(func() {
		t.run(p)
		<-p.slots
		<-p.queue
	}) {
		<-p.slots
		<-p.queue
		return Result{}, errClosed
	}
	select {
	case a := <-t.answer:
		return a.result, a.err
	case <-ctx.Done():
		t.giveUp()
		return Result{}, ctx.Err()
	}
}

// own runs f in a goroutine that Close waits for; false when the pool is closed.
func (p *Pool) own(f func()) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.owned.Go(f)
	return true
}

// worker returns an idle worker, or starts one.
func (p *Pool) worker() (*process, error) {
	p.mu.Lock()
	if n := len(p.idle); n > 0 {
		w := p.idle[n-1]
		p.idle = p.idle[:n-1]
		p.busy[w] = true
		p.mu.Unlock()
		return w, nil
	}
	p.mu.Unlock()
	w, err := spawn()
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, err, "the codecs could not be started; the log says why")
	}
	p.mu.Lock()
	p.busy[w] = true
	closed := p.closed
	p.mu.Unlock()
	if closed {
		w.kill()
	}
	if err := w.greet(p.o.Cache); err != nil {
		p.lose(w, "could not be started")
		return nil, fault.Wrap(fault.Unavailable, err, "the codecs could not be started; the log says why")
	}
	p.mu.Lock()
	warn := !w.hello.Confined && !p.warned
	p.warned = p.warned || warn
	p.mu.Unlock()
	if warn {
		p.o.Log.Warn("the system does not confine the codecs' processes further: WebAssembly alone does")
	}
	p.o.Log.Debug("a codec worker started", "cached", w.hello.Cached, "confined", w.hello.Confined)
	return w, nil
}

// release puts a worker back, or ends it when the pool is closed.
func (p *Pool) release(w *process) {
	w.since = time.Now()
	p.mu.Lock()
	delete(p.busy, w)
	keep := !p.closed
	if keep {
		p.idle = append(p.idle, w)
		if !p.reaper {
			p.reaper = true
			p.owned.Go(p.reap)
		}
	}
	p.mu.Unlock()
	if !keep {
		w.end()
	}
}

// lose ends a worker that cannot be used any more and says so.
func (p *Pool) lose(w *process, why string) {
	p.mu.Lock()
	delete(p.busy, w)
	closed := p.closed
	p.mu.Unlock()
	w.kill()
	w.wait()
	if !closed {
		p.o.Log.Warn("a codec worker was lost", "why", why, "exit", w.exit(), "said", w.said.line())
	}
}

// reap ends workers that had nothing to do for a while.
func (p *Pool) reap() {
	tick := time.NewTicker(max(p.o.Idle/4, time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-p.stop:
			return
		case now := <-tick.C:
			for _, w := range p.stale(now) {
				w.end()
			}
		}
	}
}

func (p *Pool) stale(now time.Time) []*process {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for n < len(p.idle) && now.Sub(p.idle[n].since) >= p.o.Idle { // the first were used longest ago
		n++
	}
	old := append([]*process(nil), p.idle[:n]...)
	p.idle = append(p.idle[:0], p.idle[n:]...)
	return old
}

// Close stops the workers and waits for them. Jobs that run or wait fail.
func (p *Pool) Close() error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		p.owned.Wait()
		return nil
	}
	p.closed = true
	close(p.stop)
	idle := p.idle
	p.idle = nil
	for w := range p.busy {
		w.kill()
	}
	p.mu.Unlock()
	for _, w := range idle {
		w.end()
	}
	p.owned.Wait()
	return nil
}
