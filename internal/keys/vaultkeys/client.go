package vaultkeys

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/strata-pacs/strata/internal/fault"
)

const maxAnswer = 1 << 20 // bytes

// newClient makes a client of Vault that takes nothing from the environment and
// tries nothing twice.
func newClient(o Options) (*api.Client, error) {
	u, err := url.Parse(o.Address)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fault.New(fault.Invalid, "the address of Vault is a URL such as https://vault.example.org:8200")
	}
	config, err := o.tls()
	if err != nil {
		return nil, err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = config
	transport.MaxIdleConnsPerHost = 32
	transport.IdleConnTimeout = time.Minute
	c, err := api.NewClient(&api.Config{
		Address: o.Address,
		Timeout: o.Timeout,
		HttpClient: &http.Client{
			Transport:     bounded{transport},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	})
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "the settings of Vault")
	}
	c.SetMaxRetries(0)
	c.SetToken("")
	c.ClearNamespace()
	if o.Namespace != "" {
		c.SetNamespace(o.Namespace)
	}
	return c, nil
}

func (o *Options) tls() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: o.ServerName}
	if o.CAFile != "" {
		pem, err := os.ReadFile(o.CAFile)
		if err != nil {
			return nil, fault.Wrap(fault.Invalid, err, "the CA file of Vault cannot be read")
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fault.New(fault.Invalid, "the CA file of Vault holds no certificate in PEM")
		}
	}
	if (o.ClientCert == "") != (o.ClientKey == "") {
		return nil, fault.New(fault.Invalid, "a client certificate for Vault needs its key, and the key its certificate")
	}
	if o.ClientCert != "" {
		load := func() (*tls.Certificate, error) {
			c, err := tls.LoadX509KeyPair(o.ClientCert, o.ClientKey)
			return &c, err
		}
		if _, err := load(); err != nil {
			return nil, fault.Wrap(fault.Invalid, err, "the client certificate for Vault cannot be read")
		}
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return load() }
	}
	return config, nil
}

// bounded cuts answers that no Vault gives.
type bounded struct{ next *http.Transport }

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := b.next.RoundTrip(r)
	if err == nil {
		res.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(res.Body, maxAnswer), res.Body}
	}
	return res, err
}

func (b bounded) CloseIdleConnections() { b.next.CloseIdleConnections() }
