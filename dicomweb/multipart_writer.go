package dicomweb

import (
	"crypto/rand"
	"encoding/hex"
	"io"
	"net/http"
	"strconv"

	"github.com/labstack/echo/v4"
)

// multipartWriter writes a multipart/related message (RFC 2387) as clients in
// the field read it: the boundary always in the Content-Type, in every part the
// "Content-Type:" header last and in exactly this case, then an empty line.
type multipartWriter struct {
	w        io.Writer
	boundary string
	began    bool
	head     []byte
}

// newBoundary returns a boundary that no content holds, but by a chance of 2^-128.
func newBoundary() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// multipartType is the Content-Type of a message whose parts are of partType.
// The type is quoted as RFC 2387 asks for, the boundary needs no quotes.
func multipartType(partType, boundary string) string {
	return `multipart/related; type="` + partType + `"; boundary=` + boundary
}

// beginMultipart begins a 200 answer whose parts are of partType (without
// parameters). The size is that of the whole body when known (see
// partOverhead), else -1. Of a HEAD request only the header is answered, and
// the writer discards.
func beginMultipart(c echo.Context, partType, boundary string, size int64) *multipartWriter {
	h := c.Response().Header()
	h.Set("Content-Type", multipartType(partType, boundary))
	h.Add("Vary", "Accept")
	if size >= 0 {
		h.Set("Content-Length", strconv.FormatInt(size, 10))
	}
	c.Response().WriteHeader(http.StatusOK)
	m := &multipartWriter{w: c.Response(), boundary: boundary}
	if c.Request().Method == http.MethodHead {
		m.w = io.Discard
	}
	return m
}

// Part begins the next part and returns the writer of its content, good until
// the next call. The location becomes Content-Location unless empty.
func (m *multipartWriter) Part(contentType, location string) (io.Writer, error) {
	m.head = appendPartHead(m.head[:0], m.boundary, contentType, location, !m.began)
	m.began = true
	_, err := m.w.Write(m.head)
	return m.w, err
}

// Close ends the message. Without any part it is still well formed.
func (m *multipartWriter) Close() error {
	_, err := io.WriteString(m.w, "\r\n--"+m.boundary+"--\r\n")
	return err
}

func appendPartHead(b []byte, boundary, contentType, location string, first bool) []byte {
	if !first {
		b = append(b, "\r\n"...)
	}
	b = append(append(append(b, "--"...), boundary...), "\r\n"...)
	if location != "" {
		b = append(append(append(b, "Content-Location: "...), location...), "\r\n"...)
	}
	return append(append(append(b, "Content-Type: "...), contentType...), "\r\n\r\n"...)
}

// partOverhead is how many bytes of the message a part takes beside its content.
func partOverhead(boundary, contentType, location string, first bool) int64 {
	n := len("--\r\n") + len(boundary) + len("Content-Type: \r\n\r\n") + len(contentType)
	if !first {
		n += len("\r\n")
	}
	if location != "" {
		n += len("Content-Location: \r\n") + len(location)
	}
	return int64(n)
}

// closeOverhead is the size of what Close writes.
func closeOverhead(boundary string) int64 { return int64(len("\r\n----\r\n") + len(boundary)) }
