package dicomweb

import (
	"context"
	"net/http"
	"sync"
	"time"
)

// line is a client's connection as both directions of one request see it. Who
// takes the tenant's keys away severs it: from then on nobody waits for the client.
type line struct {
	rc   *http.ResponseController
	conn *conn // nil: not known, or not of this request alone

	mu      sync.Mutex
	severed bool
	sent    bool // the answer has begun
}

// newLine is the connection of a request, on which bytes go as they may.
func newLine(w http.ResponseWriter, r *http.Request, may *leave) *line {
	l := &line{rc: http.NewResponseController(w)}
	if r.ProtoMajor == 1 { // by HTTP/2 it is not that of one answer
		l.conn = connOf(r.Context())
	}
	if l.conn != nil {
		l.conn.leave.Store(may)
	}
	return l
}

// past is a deadline that ends what waits already.
var past = time.Unix(1, 0)

// sever ends what waits for the client. An answer that has not begun may still
// say why.
func (l *line) sever() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.severed = true
	_ = l.rc.SetReadDeadline(past)
	switch {
	case !l.sent:
	case l.conn != nil:
		l.conn.drop() // with what the kernel holds of the answer
	default:
		_ = l.rc.SetWriteDeadline(past)
	}
}

// begin says that the answer begins, and reports whether it may.
func (l *line) begin() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.severed {
		return false
	}
	l.sent = true
	return true
}

// reading sets the deadline of what the client sends. Once severed it stays as it is.
func (l *line) reading(t time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.severed {
		return nil
	}
	return l.rc.SetReadDeadline(t)
}

// writing sets the deadline of what is sent.
func (l *line) writing(t time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.severed {
		return nil
	}
	return l.rc.SetWriteDeadline(t)
}

// mend lets the refusal out that ends a request whose line was severed.
func (l *line) mend() {
	l.free()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.severed = false
}

// free lets bytes go without anybody being asked.
func (l *line) free() {
	if l.conn != nil {
		l.conn.leave.Store(nil)
	}
}

// watch severs the line when a fault ends the context. The function it returns
// ends that, waits until nothing touches the connection any more, which is then
// the next request's, and reports whether the line was severed.
func (l *line) watch(ctx context.Context) func() bool {
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		if cutOff(ctx) {
			l.sever()
		}
	})
	return func() bool {
		if !stop() {
			<-done
		}
		l.free()
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.severed
	}
}

// cutOff reports whether the context was ended by a fault, and not by the client,
// which leaves it the context's own error.
func cutOff(ctx context.Context) bool {
	cause := context.Cause(ctx)
	return cause != nil && cause != context.Canceled && cause != context.DeadlineExceeded
}
