package dicomweb

import (
	"context"
	"encoding/hex"
	"net/http"
	"strings"
	"sync"

	"github.com/labstack/echo/v4"
	"github.com/zeebo/blake3"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/pixel/render"
	"github.com/strata-pacs/strata/internal/retrieve"
	"github.com/strata-pacs/strata/internal/thumbnail"
)

// Retriever opens what is stored; a [retrieve.Reader] is one.
type Retriever interface {
	// Find returns the visible instances of the selection in order; none when there is nothing.
	Find(ctx context.Context, t archive.Tenant, sel archive.UIDs, d retrieve.Detail) ([]retrieve.Instance, error)
	// File returns the Part 10 file in a transfer syntax; "" is as stored.
	File(in *retrieve.Instance, syntax string) (*retrieve.Body, error)
	// Frame returns frame n, from 1, in a transfer syntax; "" is as stored. fault.NotFound past the last.
	Frame(in *retrieve.Instance, n int, syntax string) (*retrieve.Body, error)
	// Convertible says whether File and Frame give the instance in a transfer
	// syntax: nil, or fault.NotAcceptable with the reason.
	Convertible(ctx context.Context, in *retrieve.Instance, to string) error
	// Bulk returns the bulk value of a path as in BulkDataURI.
	Bulk(in *retrieve.Instance, path string) (*retrieve.Body, error)
	// Metadata returns the DICOM JSON of the selection. fault.NotFound when there is nothing.
	Metadata(ctx context.Context, t archive.Tenant, sel archive.UIDs) (*retrieve.Metadata, error)
	// Header returns the data set up to the pixel data.
	Header(ctx context.Context, in *retrieve.Instance) (*retrieve.Header, error)
	// Renderings lists the media types that an instance can be rendered as, the
	// best first; nil when there is nothing to be seen.
	Renderings(in *retrieve.Instance) []string
	// Rendered returns what a person sees of the frames, from 1; nil is the instance.
	Rendered(ctx context.Context, in *retrieve.Instance, frames []int, mediaType string, o render.Options) (*retrieve.Body, error)
	// Report returns a structured report as a page with links below the URL of the studies.
	Report(ctx context.Context, in *retrieve.Instance, studies string) (*retrieve.Body, error)
}

// Thumbnails makes small pictures; a [thumbnail.Maker] is one.
type Thumbnails interface {
	// Thumbnail returns a JPEG of what represents a study, a series or an instance,
	// or of a frame, from 1; 0 leaves that open. fault.NotAcceptable when there is
	// nothing to be seen.
	Thumbnail(ctx context.Context, t archive.Tenant, sel archive.UIDs, frame int, v thumbnail.Viewport) (*retrieve.Body, error)
}

// pathWADO is that of the URI service, beside Root and below it.
const pathWADO = "/wado"

var errNothing = fault.New(fault.NotFound, "there is no such study, series or instance here; search for it first")

// mountRetrieve mounts the resources of PS3.18 Tables 10.4.1-1 to 10.4.1-5, and
// WADO-URI (§9) at the same paths that other archives have it.
func (s *Server) mountRetrieve() {
	for _, path := range [...]string{pathStudy, pathSeries, pathInstance} {
		s.pixels(path, s.getInstances)
		s.get(path+"/metadata", s.getMetadata)
		s.pixels(path+"/bulkdata", s.getBulkdata)
		s.pixels(path+"/pixeldata", s.getPixeldata)
		s.pixels(path+"/rendered", s.getRendered)
	}
	s.pixels(pathFrames, s.getFrames)
	s.pixels(pathFrames+"/rendered", s.getRenderedFrames)
	s.pixels(pathInstance+"/bulkdata/*", s.getBulkValue)
	if s.o.Thumbnails != nil {
		for _, path := range [...]string{pathStudy, pathSeries, pathInstance, pathFrames} {
			s.get(path+"/thumbnail", s.getThumbnail)
		}
	}
	s.pixels(pathWADO, s.getWADOURI)
	s.e.GET(pathWADO, s.recalls(s.getWADOURI))
	s.e.HEAD(pathWADO, s.recalls(s.getWADOURI))
	if s.o.Recall != nil {
		s.get(pathRestore, s.getRestore)
	}
}

// find looks up what the path names. There is at least one instance without an error.
func (s *Server) find(c echo.Context, d retrieve.Detail) ([]retrieve.Instance, error) {
	sel, err := uids(c)
	if err != nil {
		return nil, err
	}
	return s.lookup(c, sel, d)
}

// Cache lifetimes. What a UID names can be deleted or, where the tenant wants it,
// replaced, so metadata is asked for again each time (and answered with 304);
// pixels, which are many and large, may be kept for a while. All of it is
// private to the user.
const (
	cacheMetadata = "private, no-cache"
	cachePixels   = "private, max-age=600"
)

var hashers = sync.Pool{New: func() any { return blake3.New() }}

// etagOf makes a strong entity tag of what distinguishes a representation.
func etagOf(parts ...string) string {
	h := hashers.Get().(*blake3.Hasher)
	defer hashers.Put(h)
	h.Reset()
	for _, p := range parts {
		_, _ = h.WriteString(p)
		_, _ = h.Write([]byte{0})
	}
	var sum [16]byte
	_, _ = h.Digest().Read(sum[:])
	return `"` + hex.EncodeToString(sum[:]) + `"`
}

// unchanged sets the validators and reports whether the client has the answer
// already (If-None-Match, RFC 9110 §13.1.2); then 304 has been answered.
func unchanged(c echo.Context, etag, cacheControl string) bool {
	h := c.Response().Header()
	h.Set("ETag", etag)
	h.Set("Cache-Control", cacheControl)
	for _, v := range c.Request().Header["If-None-Match"] {
		for v != "" {
			var item string
			item, v = cutUnquoted(v, ',')
			item = strings.TrimSpace(item)
			if item == "*" || strings.TrimPrefix(item, "W/") == strings.TrimPrefix(etag, "W/") {
				h.Add("Vary", "Accept")
				c.Response().WriteHeader(http.StatusNotModified)
				return true
			}
		}
	}
	return false
}

// syntaxName names a transfer syntax for people.
func syntaxName(uid string) string {
	if t := dicom.Syntax(uid); t.Name != "" {
		return t.Name + " (" + uid + ")"
	}
	return uid
}

// instanceURL is the absolute URL of the instance, without a slash at the end.
func instanceURL(base string, u *archive.UIDs) string {
	return base + "/studies/" + u.Study + "/series/" + u.Series + "/instances/" + u.Instance
}
