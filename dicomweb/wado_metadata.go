package dicomweb

import (
	"io"
	"net/http"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/labstack/echo/v4"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/retrieve"
)

// getMetadata answers with the metadata of a study, series or instance (PS3.18
// §10.4.1.1.4). JSON unless the client asks for XML alone or likes it better:
// viewers send all sorts of Accept headers here.
func (s *Server) getMetadata(c echo.Context) error {
	sel, err := uids(c)
	if err != nil {
		return err
	}
	form, err := metadataForm(ParseAccept(c.Request()))
	if err != nil {
		return err
	}
	ctx := c.Request().Context()
	m, err := s.o.Retrieve.Metadata(ctx, s.o.Tenant, sel)
	if err != nil {
		return err
	}
	base := s.BaseURL(c.Request())
	if form == formXMLSingle && m.Len() > 1 {
		form = formXML
	}
	if unchanged(c, "W/"+etagOf(m.Version, base, string(form)), cacheMetadata) {
		return nil
	}
	switch form {
	case formXML:
		return s.sendXML(c, m, base)
	case formXMLSingle:
		return m.XML(ctx, base, func(xml []byte) error { return respondText(c, http.StatusOK, typeXML, xml) })
	}
	w := newTextWriter(c, string(form))
	defer w.release()
	if c.Request().Method != http.MethodHead {
		if err := m.WriteJSON(ctx, w, base); err != nil {
			return err
		}
	}
	return w.Close()
}

// metaForm is the media type of metadata.
type metaForm string

const (
	formDICOMJSON metaForm = typeJSON
	formJSON      metaForm = "application/json"
	formXML       metaForm = "multipart/related; type=" + typeXML
	formXMLSingle metaForm = typeXML
)

func metadataForm(a Accept) (metaForm, error) {
	if len(a) == 0 {
		return formDICOMJSON, nil
	}
	for _, m := range a {
		if m.Q == 0 {
			continue
		}
		switch m.Type {
		case typeJSON, "*/*", "application/*", "multipart/*":
			return formDICOMJSON, nil
		case "application/json", "text/json":
			return formJSON, nil
		case typeXML, "application/xml", "text/xml":
			return formXMLSingle, nil
		case "multipart/related":
			switch m.Related {
			case typeXML, "application/xml":
				return formXML, nil
			case typeJSON, "application/json", "", "*/*":
				return formDICOMJSON, nil
			}
		}
	}
	return "", fault.New(fault.NotAcceptable, "metadata is given as application/dicom+json, or as multipart/related; type=\"application/dicom+xml\"; ask for one of them")
}

// sendXML answers with one part an instance (PS3.18 §8.7.3.2).
func (s *Server) sendXML(c echo.Context, m *retrieve.Metadata, base string) error {
	boundary := newBoundary()
	w := newTextWriter(c, multipartType(typeXML, boundary))
	defer w.release()
	if c.Request().Method == http.MethodHead {
		return w.Close()
	}
	first := true
	var head []byte
	err := m.XML(c.Request().Context(), base, func(xml []byte) error {
		head = appendPartHead(head[:0], boundary, typeXML, "", first)
		first = false
		if _, err := w.Write(head); err != nil {
			return err
		}
		_, err := w.Write(xml)
		return err
	})
	if err == nil {
		_, err = io.WriteString(w, "\r\n--"+boundary+"--\r\n")
	}
	if err != nil {
		return err
	}
	return w.Close()
}

// textBuffer is how much text is gathered before it is sent.
const textBuffer = 256 << 10

var textBuffers = sync.Pool{New: func() any { b := make([]byte, 0, textBuffer); return &b }}

// textWriter answers with text of unknown size that is written in small pieces.
// Nothing is sent before a buffer is full, so that an early error is still a
// problem document, and a text that fits in is sent with its length.
type textWriter struct {
	c           echo.Context
	contentType string
	buf         *[]byte
	begun       bool
	gzip        *gzip.Writer
}

func newTextWriter(c echo.Context, contentType string) *textWriter {
	return &textWriter{c: c, contentType: contentType, buf: textBuffers.Get().(*[]byte)}
}

func (w *textWriter) Write(p []byte) (int, error) {
	b := *w.buf
	if len(b)+len(p) > cap(b) {
		if err := w.flush(); err != nil {
			return 0, err
		}
		if b = *w.buf; len(p) > cap(b)/2 {
			return w.out().Write(p)
		}
	}
	*w.buf = append(b, p...)
	return len(p), nil
}

// begin sends the header of an answer whose length is not known.
func (w *textWriter) begin() {
	h := w.c.Response().Header()
	h.Set("Content-Type", w.contentType)
	h.Add("Vary", "Accept, Accept-Encoding")
	if takesGzip(w.c.Request()) {
		h.Set("Content-Encoding", "gzip")
		w.gzip = gzips.Get().(*gzip.Writer)
		w.gzip.Reset(w.c.Response())
	}
	w.c.Response().WriteHeader(http.StatusOK)
	w.begun = true
}

func (w *textWriter) out() io.Writer {
	if w.gzip != nil {
		return w.gzip
	}
	return w.c.Response()
}

func (w *textWriter) flush() error {
	if !w.begun {
		w.begin()
	}
	_, err := w.out().Write(*w.buf)
	*w.buf = (*w.buf)[:0]
	return err
}

// Close sends what is left.
func (w *textWriter) Close() error {
	if w.begun {
		err := w.flush()
		if w.gzip != nil && err == nil {
			err = w.gzip.Close()
		}
		return err
	}
	if w.c.Request().Method == http.MethodHead {
		h := w.c.Response().Header()
		h.Set("Content-Type", w.contentType)
		h.Add("Vary", "Accept, Accept-Encoding")
		w.c.Response().WriteHeader(http.StatusOK)
		return nil
	}
	return respondText(w.c, http.StatusOK, w.contentType, *w.buf)
}

// release gives back what the writer holds, whatever became of the answer.
func (w *textWriter) release() {
	used := *w.buf // it names patients
	if w.begun {
		used = used[:cap(used)]
	}
	clear(used)
	*w.buf = (*w.buf)[:0]
	textBuffers.Put(w.buf)
	if w.gzip != nil {
		w.gzip.Reset(io.Discard)
		gzips.Put(w.gzip)
	}
}
