package dicomweb

import (
	"context"
	"net/http"
	"strings"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
)

// TenantRoot is the path below which each tenant has its services:
// /t/{tenant}/dicom-web and /t/{tenant}/wado. Those of the default tenant are at
// the top, too.
const TenantRoot = "/t/"

// Stay is a request's stay in a tenant's archive.
type Stay struct {
	Handler http.Handler    // serves the request, at Root
	Context context.Context // ends with the request, and when the archive is cut off
	Leave   func()
}

// FrontOptions say how requests find their tenant. Enter and Base are required.
type FrontOptions struct {
	Tenant archive.Tenant // whose service is at Root
	// Enter lets a request into a tenant's archive. fault.NotFound: there is no such tenant.
	Enter func(ctx context.Context, t archive.Tenant) (Stay, error)
	// Authorize refuses a request for a tenant with a fault; nil lets everyone in.
	Authorize func(r *http.Request, t archive.Tenant) error
	// Base answers what belongs to no tenant: health, metrics, refusals.
	Base *Server
}

// Front leads each request to the archive of its tenant. A tenant that does not
// exist, and one that the client may not know of, are the same 404.
type Front struct{ o FrontOptions }

// NewFront returns the handler of the options.
func NewFront(o FrontOptions) *Front { return &Front{o} }

// ServeHTTP implements [http.Handler].
func (f *Front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	tenant, prefix, path, ok := f.split(r.URL.Path)
	if !ok || preflight(r) { // which a browser sends without credentials
		f.o.Base.ServeHTTP(w, r)
		return
	}
	if f.o.Authorize != nil {
		if err := f.o.Authorize(r, tenant); err != nil {
			f.refuse(w, r, refusal{err: err})
			return
		}
	}
	stay, err := f.o.Enter(r.Context(), tenant)
	if err != nil {
		if fault.Is(err, fault.NotFound) {
			f.refuse(w, r, refusal{err: errNoTenant})
		} else {
			f.refuse(w, r, refusal{err, tenant})
		}
		return
	}
	defer stay.Leave()
	inner := r.WithContext(context.WithValue(stay.Context, prefixKey{}, prefix))
	u := *r.URL
	u.Path = path
	inner.URL = &u
	stay.Handler.ServeHTTP(w, inner)
}

var errNoTenant = fault.New(fault.NotFound, "there is no such resource; "+Root+" has the DICOMweb service")

// split finds the tenant of a path, and the path below its prefix.
func (f *Front) split(path string) (t archive.Tenant, prefix, below string, ok bool) {
	if serves(path) {
		return f.o.Tenant, "", path, true
	}
	rest, ok := strings.CutPrefix(path, TenantRoot)
	name, below, _ := strings.Cut(rest, "/")
	if below = "/" + below; !ok || name == "" || !serves(below) {
		return "", "", "", false
	}
	return archive.Tenant(name), TenantRoot + name, below, true
}

// serves reports whether the path is of a tenant's services.
func serves(path string) bool {
	for _, root := range [...]string{Root, pathWADO} {
		if rest, ok := strings.CutPrefix(path, root); ok && (rest == "" || rest[0] == '/') {
			return true
		}
	}
	return false
}

// refuse has the base server answer with the problem, so that it is logged and
// measured like every answer.
func (f *Front) refuse(w http.ResponseWriter, r *http.Request, why refusal) {
	f.o.Base.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), refusalKey{}, why)))
}

// refusal is why a request does not get to its tenant.
type refusal struct {
	err    error
	tenant archive.Tenant // when there is one of the name: else it is the client's own text
}

type (
	prefixKey  struct{}
	refusalKey struct{}
)

// refusalOf returns why the request was refused before it came here; without an
// error it was not.
func refusalOf(r *http.Request) refusal {
	why, _ := r.Context().Value(refusalKey{}).(refusal)
	return why
}

// prefixOf returns what preceded the services' roots in the path as the client sent it.
func prefixOf(r *http.Request) string {
	prefix, _ := r.Context().Value(prefixKey{}).(string)
	return prefix
}
