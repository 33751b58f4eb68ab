// Package dicomweb serves the DICOMweb services of PS3.18 over HTTP: Store
// (STOW-RS), Search (QIDO-RS), Retrieve (WADO-RS and WADO-URI), the deletion of
// studies, series and instances, a change feed, and capabilities.
//
// Handlers are thin: they read the request, ask a use case through one of the
// small interfaces of [Options], and write the answer. Errors become problem
// documents (RFC 9457) in one place, by their [fault.Kind].
//
// Nothing a client sends is trusted: sizes, counts and lengths are limited by
// [Limits], and a connection that makes no progress is ended. What is conformed
// to, and where the standard leaves a choice, is in CONFORMANCE.md.
package dicomweb

import (
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/strata-pacs/strata/internal/archive"
)

// Root is the path of the DICOMweb service below the public URL.
const Root = "/dicom-web"

// Options says what a server serves. The zero value of a use case leaves its
// routes out: they answer 404.
type Options struct {
	// Tenant owns everything that this server stores and shows.
	Tenant archive.Tenant

	Store    Storer    // STOW-RS
	Search   Searcher  // QIDO-RS
	Retrieve Retriever // WADO-RS and WADO-URI
	// Thumbnails makes the thumbnails of what Retrieve has, which is needed too.
	Thumbnails Thumbnails
	Remove     Remover // DELETE
	Feed       Feed    // GET /changes
	// Recall restores what lies in an archive. Nil: nothing can be restored, and pixels there answer 503.
	Recall Recaller
	// Partial reports whether searches may miss what is there, because the index is
	// being filled anew: a Warning then says so. Nil is never.
	Partial func() bool
	// Accessed is told of a study whose pixels were given; nil: nobody wants to know.
	Accessed func(study string)

	Limits Limits
	// Shares are what servers have in common, so that memory does not grow with
	// their number. Nil: what the limits say, for this one.
	Shares *Shares

	// PublicURL is the URL under which clients reach the server, without Root
	// ("https://pacs.example/imaging"). When empty, the request tells.
	PublicURL string
	// TrustedProxies may say what the client asked for, by Forwarded and
	// X-Forwarded-* headers. Nil means loopback addresses; an empty list nobody.
	TrustedProxies []netip.Prefix
	// Origins are the web origins whose pages may use the server from a browser
	// ("https://viewer.example"); "*" is any. Nil means pages from loopback hosts.
	Origins []string

	// Authorize refuses a request with a fault (Unauthenticated, Forbidden).
	// Nil lets everyone in. Health checks are never refused.
	Authorize func(*http.Request) error
	// Check is asked before every piece that is sent or taken in, and stops the
	// request with its fault: the tenant's keys may have been taken away. Nil is never.
	Check func(context.Context) error
	// Pace waits until so many bytes more may move. Nil is at any speed.
	Pace func(ctx context.Context, n int) error
	// Ready says why the server cannot work; it answers GET /readyz.
	Ready func(context.Context) error
	// Impaired names what does not work of a server that is ready; GET /readyz tells, a line each.
	Impaired func(context.Context) []string
	// Handlers are further resources, by absolute path ("/metrics"), behind the
	// same authorisation.
	Handlers map[string]http.Handler

	// TempDir is where bulk data that a store sends beside metadata waits, sealed;
	// empty means the system's folder.
	TempDir string

	Log     *slog.Logger // nil discards
	Metrics Metrics      // nil measures nothing
	Now     func() time.Time
	Version string // of the software, for capabilities
}

// Metrics is told about every answered request.
type Metrics interface {
	// Request is called once per request. The route is a pattern, never a path:
	// "/dicom-web/studies/:study". Sizes are of bodies, in bytes.
	Request(method, route string, status int, d time.Duration, received, sent int64)
	// Stored is called per instance of a store request: "stored", "known", "refused".
	Stored(outcome string, instances int)
}

// Server is the HTTP handler. It is safe for concurrent use.
type Server struct {
	o         Options
	e         *echo.Echo
	log       *slog.Logger
	public    publicBase
	shares    *Shares
	heartbeat time.Duration

	stopping chan struct{}
	stop     sync.Once
}

// New returns the server of the options.
func New(o Options) *Server {
	if o.Tenant == "" {
		o.Tenant = archive.DefaultTenant
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	o.Limits = o.Limits.withDefaults()
	if o.Shares == nil {
		o.Shares = NewShares(o.Limits)
	}
	s := &Server{o: o, log: o.Log, stopping: make(chan struct{}), shares: o.Shares, heartbeat: heartbeat}
	s.public = newPublicBase(o.PublicURL, o.TrustedProxies)

	s.e = echo.New()
	s.e.HideBanner, s.e.HidePort = true, true
	s.e.HTTPErrorHandler = func(err error, c echo.Context) { s.problem(c, err) }
	s.e.Use(s.observe, s.guard)
	s.routes()
	return s
}

// Shutdown ends event streams, which would otherwise last as long as their
// clients. It is to be called before or while the http.Server shuts down.
func (s *Server) Shutdown() { s.stop.Do(func() { close(s.stopping) }) }

// ServeHTTP implements [http.Handler].
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if p := r.URL.Path; len(p) > 1 && strings.HasSuffix(p, "/") {
		r.URL.Path = strings.TrimRight(p, "/")
	}
	r.URL.RawPath = "" // routes and parameters come from the path as decoded: "frames/1%2C2"
	s.e.ServeHTTP(w, r)
}

// Paths of the resources of PS3.18 Table 10.3-1, below Root.
const (
	pathStudies   = "/studies"
	pathStudy     = "/studies/:study"
	pathSeries    = "/studies/:study/series/:series"
	pathInstance  = "/studies/:study/series/:series/instances/:instance"
	pathFrames    = pathInstance + "/frames/:frames"
	paramStudy    = "study"
	paramSeries   = "series"
	paramInstance = "instance"
)

// routes mounts every resource. A file that holds handlers has a mount method
// that names its resources.
func (s *Server) routes() {
	s.mountHealth()
	if s.o.Search != nil {
		s.mountSearch()
	}
	if s.o.Retrieve != nil {
		s.mountRetrieve()
	}
	if s.o.Store != nil {
		s.mountStore()
	}
	if s.o.Remove != nil {
		s.mountRemove()
	}
	if s.o.Feed != nil {
		s.mountChanges()
	}
	for path, h := range s.o.Handlers {
		s.e.GET(path, echo.WrapHandler(h))
	}
	s.mountCapabilities()
}

// get mounts a handler for GET and HEAD below Root. A path may hold ":study",
// ":series" and ":instance", which [uids] reads.
func (s *Server) get(path string, h echo.HandlerFunc) {
	s.e.GET(Root+path, h)
	s.e.HEAD(Root+path, h)
}

// handle mounts a handler for one method below Root.
func (s *Server) handle(method, path string, h echo.HandlerFunc) { s.e.Add(method, Root+path, h) }
