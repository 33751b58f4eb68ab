package dicomweb

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/labstack/echo/v4"
)

// Media types of answers.
const (
	typeJSON  = "application/dicom+json"
	typeXML   = "application/dicom+xml"
	typeDICOM = "application/dicom"
)

// gzipFrom is the size below which compression gains nothing.
const gzipFrom = 1400

var gzips = sync.Pool{New: func() any {
	w, _ := gzip.NewWriterLevel(io.Discard, gzip.BestSpeed)
	return w
}}

// takesGzip reports whether the client accepts gzip (RFC 9110 §12.5.3).
func takesGzip(r *http.Request) bool {
	for _, v := range r.Header["Accept-Encoding"] {
		for v != "" {
			var item string
			item, v = cutUnquoted(v, ',')
			name, q, _ := strings.Cut(item, ";")
			if name = strings.TrimSpace(name); strings.EqualFold(name, "gzip") || name == "*" {
				_, q, _ = strings.Cut(q, "=")
				return quality(strings.TrimSpace(q)) > 0
			}
		}
	}
	return false
}

// respondText answers with a text held whole, compressed when the client takes
// it and it is worth it.
func respondText(c echo.Context, status int, contentType string, body []byte) error {
	w, err := beginText(c, status, contentType, int64(len(body)))
	if err != nil {
		return err
	}
	if _, err := w.Write(body); err != nil {
		return err
	}
	return w.Close()
}

// beginText begins an answer of JSON or XML, compressed when the client takes
// it. The size is in bytes, -1 when unknown; it decides whether compression is
// worth it, and becomes the Content-Length of what is not compressed. Close
// ends the answer; on an error, return it without Close.
func beginText(c echo.Context, status int, contentType string, size int64) (io.WriteCloser, error) {
	h := c.Response().Header()
	h.Set("Content-Type", contentType)
	h.Add("Vary", "Accept, Accept-Encoding")
	if (size < 0 || size >= gzipFrom) && takesGzip(c.Request()) {
		h.Set("Content-Encoding", "gzip")
		h.Del("Content-Length")
		c.Response().WriteHeader(status)
		if c.Request().Method == http.MethodHead {
			return discard{}, nil
		}
		g := gzips.Get().(*gzip.Writer)
		g.Reset(c.Response())
		return &gzipBody{g}, nil
	}
	if size >= 0 {
		h.Set("Content-Length", strconv.FormatInt(size, 10))
	}
	c.Response().WriteHeader(status)
	if c.Request().Method == http.MethodHead {
		return discard{}, nil
	}
	return plainBody{c.Response()}, nil
}

type gzipBody struct{ w *gzip.Writer }

func (b *gzipBody) Write(p []byte) (int, error) { return b.w.Write(p) }

func (b *gzipBody) Close() error {
	err := b.w.Close()
	b.w.Reset(io.Discard)
	gzips.Put(b.w)
	b.w = nil
	return err
}

type plainBody struct{ io.Writer }

func (plainBody) Close() error { return nil }

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
func (discard) Close() error                { return nil }

// warn adds a Warning header as PS3.18 has it: "299" for the service at base,
// with a sentence. ASCII, no quotes.
func warn(c echo.Context, base, text string) {
	c.Response().Header().Add("Warning", `299 `+base+` "`+strings.ReplaceAll(text, `"`, "'")+`"`)
}
