package dicomweb

import (
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"
)

// Headers of every answer. What is not said to be cacheable must not be kept;
// what is retrieved must not run as a page or tell other sites its URL.
var (
	nosniff    = []string{"nosniff"}
	noStore    = []string{"no-store"}
	noPage     = []string{"default-src 'none'; frame-ancestors 'none'; sandbox"}
	noReferrer = []string{"no-referrer"}
)

// Lists for browsers (CORS).
const (
	corsMethods = "GET, HEAD, POST, DELETE, OPTIONS"
	corsHeaders = "Accept, Authorization, Content-Type, If-None-Match, If-Match, If-Range, Range, Prefer, Last-Event-ID, Cache-Control, X-Requested-With"
	corsExpose  = "Content-Location, Content-Length, Content-Range, Accept-Ranges, Content-Disposition, ETag, Link, Location, Preference-Applied, Retry-After, Warning, " + headerRequestID
	corsMaxAge  = "86400" // seconds
)

// guard sets the security headers, answers preflights, checks limits and asks
// for authorisation. Health checks pass.
func (s *Server) guard(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r, h := c.Request(), c.Response().Header()
		h["X-Content-Type-Options"] = nosniff
		h["Cache-Control"] = noStore
		h["Content-Security-Policy"] = noPage
		h["Referrer-Policy"] = noReferrer
		if origin := r.Header.Get("Origin"); origin != "" && s.cors(c, origin) {
			return c.NoContent(http.StatusNoContent)
		}
		if why := refusalOf(r); why.err != nil {
			return why.err
		}
		if p := r.URL.Path; p == pathHealth || p == pathReady {
			return next(c)
		}
		if err := s.o.Limits.checkRequest(r); err != nil {
			return err
		}
		if s.o.Authorize != nil {
			if err := s.o.Authorize(r); err != nil {
				return err
			}
		}
		return next(c)
	}
}

// cors tells browsers which pages may read the answer, and reports whether the
// request was a preflight, which is then answered (Fetch §3.2).
func (s *Server) cors(c echo.Context, origin string) (answered bool) {
	r, h := c.Request(), c.Response().Header()
	answered = preflight(r)
	h.Add("Vary", "Origin")
	if !s.allowsOrigin(origin) {
		return answered
	}
	h.Set("Access-Control-Allow-Origin", origin)
	h.Set("Access-Control-Expose-Headers", corsExpose)
	if answered {
		h.Set("Access-Control-Allow-Methods", corsMethods)
		h.Set("Access-Control-Allow-Headers", corsHeaders)
		h.Set("Access-Control-Max-Age", corsMaxAge)
		h.Set("Cache-Control", "private, max-age="+corsMaxAge)
		if r.Header.Get("Access-Control-Request-Private-Network") == "true" {
			h.Set("Access-Control-Allow-Private-Network", "true")
		}
	}
	return answered
}

// preflight reports whether a browser asks what a page may do (Fetch §4.8).
func preflight(r *http.Request) bool {
	return r.Method == http.MethodOptions && r.Header.Get("Origin") != "" && r.Header.Get("Access-Control-Request-Method") != ""
}

func (s *Server) allowsOrigin(origin string) bool {
	if s.o.Origins != nil {
		return slices.Contains(s.o.Origins, "*") || slices.ContainsFunc(s.o.Origins, func(o string) bool {
			return strings.EqualFold(strings.TrimSuffix(o, "/"), origin)
		})
	}
	u, err := url.Parse(origin)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" {
		return false
	}
	host := u.Hostname()
	if strings.EqualFold(host, "localhost") || strings.HasSuffix(strings.ToLower(host), ".localhost") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
