package dicomweb

import (
	"io"
	"iter"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/labstack/echo/v4"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/retrieve"
)

// part is one part of a multipart answer.
type part struct {
	body        *retrieve.Body
	contentType string
	location    string // becomes Content-Location unless empty
}

// withSyntax is the Content-Type of a body in a transfer syntax.
func withSyntax(mediaType, syntax string) string { return mediaType + "; transfer-syntax=" + syntax }

// lateWriter begins the answer with the first byte of content, so that an
// error before it still becomes a problem document.
type lateWriter struct {
	c       echo.Context
	w       io.Writer // where the content goes
	status  int
	pending []byte // what comes before the content
	begun   bool
}

func (l *lateWriter) begin() error {
	if l.begun {
		return nil
	}
	l.begun = true
	l.c.Response().WriteHeader(l.status)
	if len(l.pending) == 0 {
		return nil
	}
	_, err := l.w.Write(l.pending)
	return err
}

func (l *lateWriter) Write(p []byte) (int, error) {
	if !l.begun {
		if err := l.begin(); err != nil {
			return 0, err
		}
	}
	return l.w.Write(p)
}

// sendParts answers with a multipart/related message. The size is that of the
// whole message when known, else -1. Decrypting the next bytes overlaps sending
// the last ones where ahead is set, which pays for long answers.
func sendParts(c echo.Context, status int, partType, boundary string, size int64, ahead bool, parts iter.Seq2[part, error]) (err error) {
	h := c.Response().Header()
	h.Set("Content-Type", multipartType(partType, boundary))
	h.Add("Vary", "Accept")
	if size >= 0 {
		h.Set("Content-Length", strconv.FormatInt(size, 10))
	}
	ctx := c.Request().Context()
	if c.Request().Method == http.MethodHead {
		c.Response().WriteHeader(status)
		return nil
	}
	l := &lateWriter{c: c, w: c.Response(), status: status}
	if ahead {
		s := newSender(c.Response())
		// The sender's goroutine ends before the answer does.
		defer func() {
			if e := s.close(err == nil); err == nil {
				err = e
			}
		}()
		l.w = s
	}
	first := true
	for p, err := range parts {
		if err != nil {
			return err
		}
		var head []byte
		if !l.begun {
			head = l.pending
		}
		head = appendPartHead(head, boundary, p.contentType, p.location, first)
		first = false
		if l.begun {
			if _, err := l.w.Write(head); err != nil {
				return err
			}
		} else {
			l.pending = head
		}
		if err := p.body.Write(ctx, l); err != nil {
			return err
		}
	}
	end := "\r\n--" + boundary + "--\r\n"
	if first {
		end = end[2:]
	}
	_, err = io.WriteString(l, end)
	return err
}

// sendBody answers with a single body: a range of it when asked (RFC 9110 §14),
// which a body of unknown size does not have. The entity tag is strong.
func sendBody(c echo.Context, contentType, etag string, b *retrieve.Body) error {
	h := c.Response().Header()
	h.Set("Content-Type", contentType)
	h.Add("Vary", "Accept")
	ctx, r := c.Request().Context(), c.Request()
	status, off, n := http.StatusOK, int64(0), b.Size
	if b.Size >= 0 {
		h.Set("Accept-Ranges", "bytes")
		if v := r.Header.Get("Range"); v != "" && r.Method == http.MethodGet && ifRange(r, etag) {
			switch from, length, ok, satisfiable := parseRange(v, b.Size); {
			case !ok: // not one range of bytes: the whole is a right answer
			case !satisfiable:
				h.Set("Content-Range", "bytes */"+strconv.FormatInt(b.Size, 10))
				return fault.New(fault.RangeInvalid, "the range is outside of the %d bytes there are", b.Size)
			default:
				status, off, n = http.StatusPartialContent, from, length
				h.Set("Content-Range", "bytes "+strconv.FormatInt(off, 10)+"-"+strconv.FormatInt(off+n-1, 10)+"/"+strconv.FormatInt(b.Size, 10))
			}
		}
		h.Set("Content-Length", strconv.FormatInt(n, 10))
	}
	if r.Method == http.MethodHead {
		c.Response().WriteHeader(status)
		return nil
	}
	l := &lateWriter{c: c, w: c.Response(), status: status}
	var err error
	if b.Size < 0 {
		err = b.Write(ctx, l)
	} else {
		err = b.WriteRange(ctx, l, off, n)
	}
	if err == nil {
		err = l.begin() // an empty body
	} else if !l.begun {
		h.Del("Content-Range")
	}
	return err
}

// ifRange reports whether a Range is to be honoured (RFC 9110 §13.1.5).
func ifRange(r *http.Request, etag string) bool {
	v := r.Header.Get("If-Range")
	return v == "" || v == etag && !strings.HasPrefix(etag, "W/")
}

// parseRange reads a Range header of one range; ok is false for anything else.
func parseRange(v string, size int64) (off, n int64, ok, satisfiable bool) {
	spec, found := strings.CutPrefix(v, "bytes=")
	first, last, dash := strings.Cut(strings.TrimSpace(spec), "-")
	if !found || !dash || strings.Contains(last, ",") {
		return 0, 0, false, false
	}
	if first == "" { // the last so many bytes
		k, err := strconv.ParseInt(last, 10, 64)
		if err != nil || k < 0 || last[0] == '+' {
			return 0, 0, false, false
		}
		k = min(k, size)
		return size - k, k, true, k > 0
	}
	off, err := strconv.ParseInt(first, 10, 64)
	if err != nil || off < 0 || first[0] == '+' {
		return 0, 0, false, false
	}
	end := size - 1
	if last != "" {
		k, err := strconv.ParseInt(last, 10, 64)
		if err != nil || k < off || last[0] == '+' {
			return 0, 0, false, false
		}
		end = min(end, k)
	}
	return off, end - off + 1, true, off < size
}

// Buffers of a sender: large enough that system calls cost nothing, and as many
// as let both cores work.
const (
	sendBuffer  = 256 << 10
	sendBuffers = 4
)

var sendPool = sync.Pool{New: func() any { return new([sendBuffer]byte) }}

// sender writes in a goroutine of its own what has been written to it, so that
// its user makes the next bytes meanwhile.
type sender struct {
	cur  *[sendBuffer]byte
	n    int
	free chan *[sendBuffer]byte
	full chan filled
	done chan struct{}
	// failed says that err is set, which is the goroutine's until then.
	failed atomic.Bool
	err    error
}

type filled struct {
	buf *[sendBuffer]byte
	n   int
}

func newSender(w io.Writer) *sender {
	s := &sender{free: make(chan *[sendBuffer]byte, sendBuffers), full: make(chan filled, sendBuffers), done: make(chan struct{})}
	for range sendBuffers {
		s.free <- nil // made when first needed
	}
	go func() {
		defer close(s.done)
		for f := range s.full {
			if s.err == nil {
				if _, s.err = w.Write(f.buf[:f.n]); s.err != nil {
					s.failed.Store(true)
				}
			}
			s.free <- f.buf
		}
	}()
	return s
}

func (s *sender) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		if s.failed.Load() {
			return 0, s.err
		}
		if s.cur == nil {
			if s.cur = <-s.free; s.cur == nil {
				s.cur = sendPool.Get().(*[sendBuffer]byte)
			}
		}
		k := copy(s.cur[s.n:], p)
		p, s.n = p[k:], s.n+k
		if s.n == sendBuffer {
			s.flush()
		}
	}
	return n, nil
}

func (s *sender) flush() {
	s.full <- filled{s.cur, s.n}
	s.cur, s.n = nil, 0
}

// close sends what is left, if it is to be sent, and waits for the goroutine.
func (s *sender) close(send bool) error {
	if s.n > 0 && send {
		s.flush()
	}
	close(s.full)
	<-s.done
	if s.cur != nil {
		sendPool.Put(s.cur)
	}
	for len(s.free) > 0 {
		if b := <-s.free; b != nil {
			sendPool.Put(b)
		}
	}
	return s.err
}
