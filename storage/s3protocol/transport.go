package s3protocol

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/strata-pacs/strata/storage/driver"
)

// NewTransport returns a transport with keep-alive. It has no timeout but for
// connecting: a store may take long for what it does, and who waits for it
// watches the progress. roots are the authorities trusted; the system's if nil.
func NewTransport(roots *x509.CertPool) *http.Transport {
	return &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSClientConfig:     &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout: 10 * time.Second,
		MaxIdleConnsPerHost: 64,
		IdleConnTimeout:     90 * time.Second,
		DisableCompression:  true,
	}
}

// Reporting returns a transport that reports the bytes that move through base to
// whoever watches the progress (driver.Moved).
func Reporting(base http.RoundTripper) http.RoundTripper { return transport{base} }

type transport struct{ base http.RoundTripper }

func (t transport) RoundTrip(req *http.Request) (*http.Response, error) {
	moved := func() { driver.Moved(req.Context()) }
	if req.Body != nil && req.Body != http.NoBody {
		req = req.Clone(req.Context())
		req.Body = movingBody{req.Body, moved}
		req.GetBody = nil // nothing is sent twice down here
	}
	resp, err := t.base.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	moved()
	resp.Body = movingBody{resp.Body, moved}
	return resp, nil
}

type movingBody struct {
	io.ReadCloser
	moved func()
}

func (b movingBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if n > 0 {
		b.moved()
	}
	return n, err
}
