package dicomweb

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"sync/atomic"
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
	if p.moved += n; p.moved >= p.bytes {
		p.moved, p.spent = 0, 0
		return
	}
	p.spent += time.Since(start)
}

// leave asks, before bytes move, whether they may: the keys of the tenant can be
// taken away at any moment, and then nothing goes out or comes in any more.
type leave struct {
	ctx   context.Context
	check func(context.Context) error            // nil: always
	pace  func(ctx context.Context, n int) error // nil: at any speed
}

func (l *leave) ask(n int) error {
	if l.check != nil {
		if err := l.check(l.ctx); err != nil {
			return err
		}
	}
	if l.pace != nil {
		return l.pace(l.ctx, n)
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
		b.deadline = time.Time{}
		_ = b.set(time.Time{})
	case err != nil:
		return n, transferError(err, "the client stopped sending; nothing arrived for too long", "the client went away while sending")
	case b.received > b.limit:
		return n, tooLarge(b.limit)
	}
	return n, err
}

func (b *watchedBody) drain() {
	b.leave = leave{}
	if b.received <= b.limit {
		_, _ = io.CopyN(io.Discard, b, drainLimit)
	}
}

// watchedWriter is the response's writer under its deadlines.
type watchedWriter struct {
	http.ResponseWriter
	progress
	leave
	rc   *http.ResponseController
	conn *conn       // nil: not known
	sent atomic.Bool // the answer has begun
}

// free lets the rest go without being asked for.
func (w *watchedWriter) free() {
	w.leave = leave{}
	if w.conn != nil {
		w.conn.leave.Store(nil)
	}
}

// WriteHeader implements [http.ResponseWriter].
func (w *watchedWriter) WriteHeader(status int) {
	w.sent.Store(true)
	w.ResponseWriter.WriteHeader(status)
}

func (w *watchedWriter) Write(p []byte) (int, error) {
	if err := w.ask(len(p)); err != nil {
		return 0, err
	}
	w.sent.Store(true)
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
	err := w.rc.Flush()
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

// watch puts body and response of the request under the limits. The function it
// returns ends that.
func (s *Server) watch(c echo.Context) (*watchedBody, *watchedWriter, func()) {
	r, w := c.Request(), c.Response()
	rc := http.NewResponseController(w.Writer)
	may := leave{r.Context(), s.o.Check, s.o.Pace}
	of := func(set func(time.Time) error) progress {
		return progress{set: set, stall: s.o.Limits.Stall, bytes: s.o.Limits.StallBytes}
	}
	body := &watchedBody{progress: of(rc.SetReadDeadline), leave: may, ReadCloser: r.Body, limit: s.o.Limits.RequestBytes}
	if r.Body == nil || r.Body == http.NoBody {
		body.ReadCloser, body.done = http.NoBody, true
	}
	r.Body = body
	out := &watchedWriter{ResponseWriter: w.Writer, progress: of(rc.SetWriteDeadline), leave: may, rc: rc, conn: connOf(r.Context())}
	w.Writer = out
	if out.conn != nil && r.ProtoMajor < 2 { // by HTTP/2 it is not that of one answer
		out.conn.leave.Store(&may)
	}
	// Who is cut off while it waits for a slow client must not wait on.
	stop := context.AfterFunc(r.Context(), func() {
		if !cutOff(r.Context()) {
			return
		}
		_ = rc.SetReadDeadline(time.Unix(1, 0))
		switch {
		case !out.sent.Load():
		case out.conn != nil:
			out.conn.drop()
		default:
			_ = rc.SetWriteDeadline(time.Unix(1, 0))
		}
	})
	return body, out, func() {
		stop()
		out.free()
	}
}

// cutOff reports whether the context was ended by a fault, not by the client.
func cutOff(ctx context.Context) bool {
	cause := context.Cause(ctx)
	return cause != nil && refused(cause)
}

// refused reports whether a fault is the reason, not the client or the network.
func refused(err error) bool {
	k := fault.KindOf(err)
	return k != fault.Canceled && k != fault.Timeout && k != fault.Internal
}
