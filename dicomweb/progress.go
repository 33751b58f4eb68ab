package dicomweb

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/strata-pacs/strata/internal/fault"
)

// progress gives one direction of a connection its deadlines: while waiting for
// the other side, so many bytes must move in each period. Time that the server
// spends on its own does not count, and neither does the length of the whole.
type progress struct {
	set   func(time.Time) error
	stall time.Duration
	bytes int
	timer bool // the deadline strikes whether or not the other side is waited for, as that of an HTTP/2 stream does

	deadline time.Time     // in force
	moved    int           // bytes since the last full step
	spent    time.Duration // waiting since then
}

func (p *progress) before() (start time.Time) {
	start = time.Now()
	allowed := p.stall - p.spent
	if p.deadline.Sub(start) < allowed-p.stall/8 {
		p.deadline = start.Add(allowed)
		_ = p.set(p.deadline) // a writer that knows no deadlines, as in tests, goes without
	}
	return start
}

func (p *progress) after(start time.Time, n int) {
	if p.timer {
		p.clear()
	}
	if p.moved += n; p.moved >= p.bytes {
		p.moved, p.spent = 0, 0
		return
	}
	p.spent += time.Since(start)
}

// clear takes the deadline back.
func (p *progress) clear() {
	p.deadline = time.Time{}
	_ = p.set(p.deadline)
}

// leave asks, before bytes move, whether they may: the keys of the tenant can be
// taken away at any moment, and then nothing goes out or comes in any more.
type leave struct {
	ctx   context.Context
	check func(context.Context) error            // nil: always
	pace  func(ctx context.Context, n int) error // nil: at any speed
}

func (l *leave) ask(n int) error {
	if l.ctx != nil && cutOff(l.ctx) {
		return context.Cause(l.ctx)
	}
	if l.pace != nil {
		if err := l.pace(l.ctx, n); err != nil {
			return err
		}
	}
	if l.check != nil {
		return l.check(l.ctx) // last: the keys may have gone in the meantime
	}
	return nil
}

// watchedBody is the request's body under its deadlines and its size limit.
type watchedBody struct {
	io.ReadCloser
	progress
	leave
	limit    int64
	received int64
	done     bool
}

// drainLimit is how much of a refused body is still read, so that a client that
// sends before it listens gets its answer.
const drainLimit = 32 << 20

func (b *watchedBody) Read(p []byte) (int, error) {
	if b.done {
		return 0, io.EOF
	}
	start := b.before()
	n, err := b.ReadCloser.Read(p)
	b.after(start, n)
	b.received += int64(n)
	if lerr := b.ask(n); lerr != nil {
		return 0, lerr
	}
	switch {
	case err == io.EOF:
		// A deadline left in force would end a handler that works longer.
		b.done = true
		b.clear()
	case err != nil:
		return n, transferError(err, "the client stopped sending; nothing arrived for too long", "the client went away while sending")
	case b.received > b.limit:
		return n, tooLarge(b.limit)
	}
	return n, err
}

// drain reads the rest, for no longer than d or a stall.
func (b *watchedBody) drain(d time.Duration) {
	b.leave = leave{}
	set, end := b.set, time.Now().Add(min(d, b.stall))
	b.set = func(t time.Time) error {
		if t.After(end) {
			t = end
		}
		return set(t)
	}
	b.deadline = time.Time{} // the one in force may be later
	if b.received <= b.limit {
		_, _ = io.CopyN(io.Discard, b, drainLimit)
	}
}

// watchedWriter is the response's writer under its deadlines.
type watchedWriter struct {
	http.ResponseWriter
	progress
	leave
	line *line
}

// free lets the rest go without being asked for.
func (w *watchedWriter) free() {
	w.leave = leave{}
	w.line.mend()
}

// WriteHeader implements [http.ResponseWriter].
func (w *watchedWriter) WriteHeader(status int) {
	w.line.begin() // a line that is severed takes no more; the first Write says so
	w.ResponseWriter.WriteHeader(status)
}

func (w *watchedWriter) Write(p []byte) (int, error) {
	if err := w.ask(len(p)); err != nil {
		return 0, err
	}
	if !w.line.begin() {
		return 0, context.Cause(w.ctx)
	}
	start := w.before()
	n, err := w.ResponseWriter.Write(p)
	w.after(start, n)
	if err != nil {
		err = transferError(err, "the client stopped reading", "the client went away while reading")
	}
	return n, err
}

// FlushError sends what is buffered (see http.ResponseController).
func (w *watchedWriter) FlushError() error {
	start := w.before()
	err := w.line.rc.Flush()
	w.after(start, 0)
	if err != nil {
		err = transferError(err, "the client stopped reading", "the client went away while reading")
	}
	return err
}

// Unwrap is for http.ResponseController.
func (w *watchedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// finish leaves time for what net/http still has buffered.
func (w *watchedWriter) finish() { w.before() }

func transferError(err error, slow, gone string) error {
	if refused(err) {
		return err // by who was asked whether bytes may move
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fault.Wrap(fault.Timeout, err, "%s", slow)
	}
	if errors.Is(err, http.ErrContentLength) || errors.Is(err, http.ErrBodyNotAllowed) {
		return err // a defect of a handler
	}
	return fault.Wrap(fault.Canceled, err, "%s", gone)
}

// watch puts body and response of the request under the limits, and cuts it off
// when its context is. The function it returns ends that, and reports whether the
// request was cut off.
func (s *Server) watch(c echo.Context) (*watchedBody, *watchedWriter, func() bool) {
	r, w := c.Request(), c.Response()
	may := leave{r.Context(), s.o.Check, s.o.Pace}
	l := newLine(w.Writer, r, &may)
	of := func(set func(time.Time) error) progress {
		return progress{set: set, stall: s.o.Limits.Stall, bytes: s.o.Limits.StallBytes, timer: r.ProtoMajor > 1}
	}
	body := &watchedBody{progress: of(l.reading), leave: may, ReadCloser: r.Body, limit: s.o.Limits.RequestBytes}
	if r.Body == nil || r.Body == http.NoBody {
		body.ReadCloser, body.done = http.NoBody, true
	}
	// A copy: net/http looks at the body it gave to see what is left of it.
	r = r.WithContext(r.Context())
	r.Body = body
	c.SetRequest(r)
	out := &watchedWriter{ResponseWriter: w.Writer, progress: of(l.writing), leave: may, line: l}
	w.Writer = out
	return body, out, l.watch(r.Context())
}

// refused reports whether a fault is the reason, not the client or the network.
func refused(err error) bool {
	k := fault.KindOf(err)
	return k != fault.Canceled && k != fault.Timeout && k != fault.Internal
}
