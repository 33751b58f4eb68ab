package dicomweb

import (
	"context"
	"io"
	"iter"
	"net/http"
	"strconv"
	"strings"

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

func (p part) content() *retrieve.Body { return p.body }

// withSyntax is the Content-Type of a body in a transfer syntax.
func withSyntax(mediaType, syntax string) string { return mediaType + "; transfer-syntax=" + syntax }

// partWriter is where a multipart answer goes. Nothing is sent, the answer's
// status included, before the first content is there, so that an error until
// then still becomes a problem document.
type partWriter interface {
	io.Writer              // content
	head(p []byte) error   // what stands before content
	close(err error) error // ends the answer; err is what went wrong so far
}

// lateWriter begins the answer with the first byte of content.
type lateWriter struct {
	c       echo.Context
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
	_, err := l.c.Response().Write(l.pending)
	return err
}

func (l *lateWriter) Write(p []byte) (int, error) {
	if err := l.begin(); err != nil {
		return 0, err
	}
	return l.c.Response().Write(p)
}

func (l *lateWriter) head(p []byte) error {
	if !l.begun {
		l.pending = append(l.pending, p...)
		return nil
	}
	_, err := l.c.Response().Write(p)
	return err
}

func (l *lateWriter) close(err error) error {
	if err == nil {
		err = l.begin()
	}
	return err
}

// sendParts answers with a multipart/related message. The size is that of the
// whole message when known, else -1. Decrypting the next bytes overlaps sending
// the last ones where ahead is set, which pays for long answers.
func sendParts(c echo.Context, status int, partType, boundary string, size int64, ahead bool, parts iter.Seq2[part, error]) error {
	if err := here(c); err != nil {
		return err
	}
	h := c.Response().Header()
	h.Set("Content-Type", multipartType(partType, boundary))
	h.Add("Vary", "Accept")
	if size >= 0 {
		h.Set("Content-Length", strconv.FormatInt(size, 10))
	}
	if c.Request().Method == http.MethodHead {
		c.Response().WriteHeader(status)
		return nil
	}
	if ahead {
		s := newSender(c.Response(), func() { c.Response().WriteHeader(status) })
		return s.close(writeParts(c.Request().Context(), s, boundary, parts))
	}
	l := &lateWriter{c: c, status: status}
	return l.close(writeParts(c.Request().Context(), l, boundary, parts))
}

func writeParts(ctx context.Context, w partWriter, boundary string, parts iter.Seq2[part, error]) error {
	var head []byte
	first := true
	for p, err := range parts {
		if err != nil {
			return err
		}
		head = appendPartHead(head[:0], boundary, p.contentType, p.location, first)
		first = false
		if err := w.head(head); err != nil {
			return err
		}
		if err := p.body.Write(ctx, w); err != nil {
			return err
		}
	}
	head = append(head[:0], "\r\n--"+boundary+"--\r\n"...)
	return w.head(head)
}

// sendBody answers with a single body: a range of it when asked (RFC 9110 §14),
// which a body of unknown size does not have. The entity tag is strong.
func sendBody(c echo.Context, contentType, etag string, b *retrieve.Body) error {
	if err := here(c); err != nil {
		return err
	}
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
	l := &lateWriter{c: c, status: status}
	var err error
	if b.Size < 0 {
		err = b.Write(ctx, l)
	} else {
		err = b.WriteRange(ctx, l, off, n)
	}
	if err != nil && !l.begun {
		h.Del("Content-Range")
	}
	return l.close(err)
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
