package dicomweb

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// publicBase knows under which URL clients reach the server. A configured URL
// wins; else trusted proxies tell; else the request itself does.
type publicBase struct {
	configured string
	trusted    []netip.Prefix
}

func newPublicBase(configured string, trusted []netip.Prefix) publicBase {
	if trusted == nil {
		trusted = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	}
	configured = strings.TrimRight(configured, "/")
	// People also write the URL of the service itself.
	return publicBase{strings.TrimSuffix(configured, Root), trusted}
}

// BaseURL returns the absolute URL of the DICOMweb service as this client knows
// it, without a slash at the end: "https://pacs.example/dicom-web". RetrieveURL,
// BulkDataURI and Location begin with it.
func (s *Server) BaseURL(r *http.Request) string { return s.public.root(r) + prefixOf(r) + Root }

// root is the URL without Root.
func (b *publicBase) root(r *http.Request) string {
	if b.configured != "" {
		return b.configured
	}
	scheme, host, prefix := "http", r.Host, ""
	if r.TLS != nil {
		scheme = "https"
	}
	if b.fromTrusted(r) {
		f := forwarded(r.Header)
		if f.proto != "" {
			scheme = f.proto
		}
		if f.host != "" {
			host = f.host
		}
		prefix = f.prefix
	}
	if !validHost(host) {
		host = localHost(r)
	}
	return scheme + "://" + host + prefix
}

func (b *publicBase) fromTrusted(r *http.Request) bool {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return false
	}
	a := peer.Addr().Unmap().WithZone("")
	for _, p := range b.trusted {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

type forwardedBy struct{ proto, host, prefix string }

// forwarded reads what the outermost proxy was asked for: the first element of
// Forwarded (RFC 7239), and what it does not say, of the X-Forwarded- headers.
func forwarded(h http.Header) forwardedBy {
	var f forwardedBy
	if v := h.Get("Forwarded"); v != "" {
		first, _ := cutUnquoted(v, ',')
		for first != "" {
			var pair string
			pair, first = cutUnquoted(first, ';')
			name, value, _ := strings.Cut(strings.TrimSpace(pair), "=")
			switch strings.ToLower(name) {
			case "proto":
				f.proto = unquote(value)
			case "host":
				f.host = unquote(value)
			}
		}
	}
	header := func(name string) string {
		v, _, _ := strings.Cut(h.Get(name), ",")
		return strings.TrimSpace(v)
	}
	if f.proto == "" {
		f.proto = header("X-Forwarded-Proto")
	}
	if f.host == "" {
		f.host = header("X-Forwarded-Host")
		if port := header("X-Forwarded-Port"); port != "" && f.host != "" && !strings.Contains(f.host, ":") &&
			!(port == "443" && strings.EqualFold(f.proto, "https") || port == "80" && strings.EqualFold(f.proto, "http")) {
			f.host += ":" + port
		}
	}
	f.prefix = strings.TrimRight(header("X-Forwarded-Prefix"), "/")
	if f.proto = strings.ToLower(f.proto); f.proto != "http" && f.proto != "https" {
		f.proto = ""
	}
	if !validHost(f.host) {
		f.host = ""
	}
	if !validPrefix(f.prefix) {
		f.prefix = ""
	}
	return f
}

// validHost reports whether the text may stand in a URL, in JSON and in XML as
// it is: a name or an address, perhaps with a port.
func validHost(h string) bool {
	if h == "" || len(h) > 300 {
		return false
	}
	for _, c := range []byte(h) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case c == '.', c == '-', c == '_', c == ':', c == '[', c == ']':
		default:
			return false
		}
	}
	return true
}

func validPrefix(p string) bool {
	if p == "" {
		return true
	}
	if p[0] != '/' || len(p) > 1000 || strings.HasPrefix(p, "//") {
		return false
	}
	for _, c := range []byte(p) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case c == '.', c == '-', c == '_', c == '~', c == '/', c == '%':
		default:
			return false
		}
	}
	return true
}

// localHost is the address that the client reached.
func localHost(r *http.Request) string {
	if a, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
		return a.String()
	}
	return "localhost"
}
