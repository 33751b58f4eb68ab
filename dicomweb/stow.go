package dicomweb

import (
	"context"
	"io"
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/ingest"
)

// Storer begins a store request of a tenant. The study is the UID that the URL
// names, or empty.
type Storer func(t archive.Tenant, study string) StoreRequest

// StoreRequest takes the instances of one request; an [ingest.Request] is one.
type StoreRequest interface {
	// Add takes one Part 10 file, read to its end. What it returns is final
	// only when it is not ingest.Stored.
	Add(ctx context.Context, file io.Reader) ingest.Result
	// Commit makes what was added durable and visible, and returns the final
	// results in the order of Add.
	Commit(ctx context.Context) []ingest.Result
	// Abort lets go of everything not committed. After Commit it does nothing.
	Abort()
}

func (s *Server) mountStore() {
	s.handle(http.MethodPost, pathStudies, s.store)
	s.handle(http.MethodPost, pathStudy, s.store)
}

// store is the Store transaction (PS3.18 §10.5).
func (s *Server) store(c echo.Context) error {
	r := c.Request()
	ctx := r.Context()
	sel, err := uids(c)
	if err != nil {
		return err
	}
	message, err := storeMessageOf(r)
	if err != nil {
		return err
	}
	answer, _ := ParseAccept(r).Choose(storeAnswers...)
	if answer < 0 {
		return fault.New(fault.NotAcceptable, "a store is answered in %s or %s; accept one of them", typeJSON, typeXML)
	}
	release, err := s.shares.budget.acquire(ctx, r.ContentLength)
	if err != nil {
		return err
	}
	defer release()

	req := s.o.Store(s.o.Tenant, sel.Study)
	defer req.Abort()
	in := &intake{s: s, req: req, message: message}
	defer in.close()
	if err := in.read(ctx, r.Body); err != nil {
		return err
	}
	results := in.finish(req.Commit(ctx))
	if len(results) == 0 {
		return fault.New(fault.Invalid, "the request holds no instance; send each DICOM file as a part of a multipart/related message")
	}
	return s.answerStore(c, results, storeAnswers[answer].Type)
}

// storeAnswers are the forms of the response (PS3.18 §10.5.3.3). Who accepts
// only parts is given the body alone.
var storeAnswers = []Offer{
	{Type: typeJSON, Alias: []string{"application/json", "text/json"}},
	{Type: typeXML, Alias: []string{"application/xml", "text/xml"}},
	{Type: typeJSON, Multipart: true},
	{Type: typeXML, Multipart: true},
}

// storeMessage is what the Content-Type says of a store request's payload.
type storeMessage struct {
	kind     string // typeDICOM, typeJSON or typeXML; "" when the first part tells
	boundary string // of a multipart message
	parts    bool
	gzip     bool
}

func storeMessageOf(r *http.Request) (storeMessage, error) {
	var m storeMessage
	media, params := parseMediaType(r.Header.Get("Content-Type"))
	kind := media
	if strings.HasPrefix(media, "multipart/") {
		m.parts = true
		m.boundary, _ = param(params, "boundary")
		kind, _ = param(params, "type")
	}
	var ok bool
	m.kind, ok = payloadKind(kind)
	switch {
	case m.parts && media == "multipart/related" && (ok || kind == ""):
	case !m.parts && ok:
	default:
		return m, fault.New(fault.UnsupportedMedia, "this content type cannot be stored; send multipart/related with type=%q, %q or %q, or one instance as %s",
			typeDICOM, typeJSON, typeXML, typeDICOM)
	}
	switch enc := strings.ToLower(strings.TrimSpace(r.Header.Get("Content-Encoding"))); enc {
	case "", "identity":
	case "gzip", "x-gzip":
		m.gzip = true
	default:
		return m, fault.New(fault.UnsupportedMedia, "the request's Content-Encoding is unknown here; send it as it is, or in gzip")
	}
	return m, nil
}

// payloadKind classifies a media type that can be stored.
func payloadKind(media string) (string, bool) {
	media, _ = parseMediaType(media)
	switch media {
	case typeDICOM:
		return typeDICOM, true
	case typeJSON, "application/json":
		return typeJSON, true
	case typeXML, "application/xml", "text/xml":
		return typeXML, true
	}
	return "", false
}
