package main

import (
	"context"
	"log/slog"
	"net/http"
	"strings"

	"github.com/strata-pacs/strata/api"
	"github.com/strata-pacs/strata/dicomweb"
	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/ingest"
	"github.com/strata-pacs/strata/internal/node"
)

// archiveHandler returns what serves the archive of a tenant that has been opened.
func (c *Config) archiveHandler(log *slog.Logger, m *metrics) func(*node.Archive) http.Handler {
	shares := dicomweb.NewShares(c.webLimits())
	return func(a *node.Archive) http.Handler {
		o := c.webOptions(log.With("tenant", string(a.Tenant)), m)
		o.Tenant, o.Shares = a.Tenant, shares
		o.Store = func(_ archive.Tenant, study string) dicomweb.StoreRequest {
			return a.Store.Begin(ingest.RequestOptions{Study: study})
		}
		o.Search, o.Retrieve, o.Thumbnails, o.Remove, o.Feed = a.Search, a.Retrieve, a.Thumbnail, a.Remove, a.Index
		o.Check, o.Pace, o.Partial, o.Recall = a.Check, a.Pace, a.Partial, a.Restores()
		o.Accessed = a.Accessed
		return dicomweb.New(o)
	}
}

// baseHandler returns what answers requests for no tenant.
func (c *Config) baseHandler(n *node.Node, log *slog.Logger, m *metrics, authorize authorizer) *dicomweb.Server {
	o := c.webOptions(log, m)
	o.Ready, o.Impaired, o.Handlers = n.Ready, n.Impaired, map[string]http.Handler{"/metrics": m.handler()}
	if authorize != nil {
		o.Authorize = func(r *http.Request) error { return authorize(r, "") }
	}
	return dicomweb.New(o)
}

func (c *Config) webOptions(log *slog.Logger, m *metrics) dicomweb.Options {
	return dicomweb.Options{
		Limits:    c.webLimits(),
		PublicURL: c.PublicURL, TrustedProxies: c.TrustedProxies, Origins: c.Origins,
		Log: log, Metrics: m, Version: version,
	}
}

func (c *Config) webLimits() dicomweb.Limits {
	return dicomweb.Limits{RequestBytes: c.RequestBytes, StoreMemory: c.StoreMemory, Results: c.Results, Stall: c.Idle}
}

// administration returns the API. person says who sends a request.
func administration(n *node.Node, log *slog.Logger, m *metrics, authorize authorizer, person func(*http.Request) string) http.Handler {
	o := api.Options{Tenants: n.Tenants(), Keys: n.Keys(), Rewraps: n.Custody, Escrows: n.Custody, Shredder: n.Shredder(), Jobs: n.Jobs(),
		Lifecycle: n.Lifecycle(), Drills: n.Drills(), Restores: n.Restores(), Usage: n.Usage(), Retention: n.Retention(), Rewinder: n.Rewinder(), Currency: n.Currency(), Person: person, Log: log, Metrics: m}
	if authorize != nil {
		o.Authorize = func(r *http.Request) error { return authorize(r, "") }
	}
	return api.New(o)
}

// withAPI serves the API beside what else there is. It decides by the path as it
// was sent: a mux would answer other spellings with redirections.
func withAPI(admin, rest http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == api.Root || strings.HasPrefix(r.URL.Path, api.Root+"/") {
			admin.ServeHTTP(w, r)
			return
		}
		rest.ServeHTTP(w, r)
	})
}

// front leads requests to the archives of their tenants.
func front(n *node.Node, base *dicomweb.Server, authorize authorizer) http.Handler {
	o := dicomweb.FrontOptions{Tenant: n.Tenant, Base: base, Authorize: authorize,
		Enter: func(ctx context.Context, t archive.Tenant) (dicomweb.Stay, error) {
			v, err := n.Enter(ctx, t)
			if err != nil {
				return dicomweb.Stay{}, err
			}
			end, err := v.Begin()
			if err != nil {
				v.Leave()
				return dicomweb.Stay{}, err
			}
			within, cancel := v.Within(ctx)
			return dicomweb.Stay{Handler: v.Handler, Context: within, Leave: func() { cancel(); end(); v.Leave() }}, nil
		}}
	return dicomweb.NewFront(o)
}

// authorizer refuses a request for a tenant; no tenant stands for what belongs
// to none, which is the operator's.
type authorizer func(r *http.Request, t archive.Tenant) error

// errOtherTenant is what a tenant's token gets of another tenant, whether there
// is one of the name or not.
var errOtherTenant = fault.New(fault.NotFound, "there is no such resource; "+dicomweb.Root+" has the DICOMweb service")
