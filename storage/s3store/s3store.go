// Package s3store is a driver for Amazon S3 and stores that are compatible with
// it, on the AWS SDK. What it promises, and how a bucket is to be set up, is told
// by package s3protocol, which it is a client for.
//
// Credentials are those given, or else those of the SDK's default chain: the
// environment, the shared files, the role of the container, pod or machine. The
// authorities trusted are the system's, or those of AWS_CA_BUNDLE.
package s3store

import (
	"context"
	"crypto/x509"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/logging"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/storage/s3protocol"
)

// Options are what does not belong into an address. The zero value is useful.
type Options struct {
	// AccessKey and SecretKey, and SessionToken with temporary ones, are explicit
	// credentials; the default chain's if empty.
	AccessKey, SecretKey, SessionToken string
	// Transport carries the requests; one with keep-alive and without timeouts but
	// for connecting if nil.
	Transport http.RoundTripper
	// Now is compared with the store's times; time.Now if nil.
	Now func() time.Time
	// Unasked opens the store without asking whether it answers.
	Unasked bool
}

// Open returns the store at an address
//
//	s3://bucket/prefix?region=…&endpoint=https://…&pathstyle=true&class=…&sse=s3|kms&kmskey=…
//
// that answers. An error is fault.Invalid where the address is wrong, and names
// the part that is; otherwise it is what the store said. A region is needed, in
// the address or in the environment, except with an endpoint.
func Open(ctx context.Context, address string, o Options) (*s3protocol.Store, error) {
	at, err := s3protocol.Parse("s3", address)
	if err != nil {
		return nil, err
	}
	if (o.AccessKey == "") != (o.SecretKey == "") {
		return nil, fault.New(fault.Invalid, "the store's credentials: an access key and a secret key are given together, or neither")
	}
	load := []func(*config.LoadOptions) error{config.WithLogger(logging.Nop{})} // errors say it all
	if at.Region != "" {
		load = append(load, config.WithRegion(at.Region))
	}
	if o.AccessKey != "" {
		load = append(load, config.WithCredentialsProvider(
			credentials.NewStaticCredentialsProvider(o.AccessKey, o.SecretKey, o.SessionToken)))
	}
	cfg, err := config.LoadDefaultConfig(ctx, load...)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "the store's settings in the environment or the shared files of AWS cannot be read")
	}
	if cfg.Region == "" {
		if at.Endpoint == nil {
			return nil, fault.New(fault.Invalid, "the store's address: parameter region is missing, and AWS_REGION is not set")
		}
		cfg.Region = "us-east-1"
	}
	if o.Transport == nil {
		o.Transport = s3protocol.NewTransport(roots(cfg.HTTPClient))
	}
	// From here on the client is for the bucket; before it was for credentials.
	cfg.HTTPClient = &http.Client{
		Transport:     s3protocol.Reporting(o.Transport),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	s := s3protocol.New(newClient(cfg, at), at, s3protocol.Options{Now: o.Now})
	if o.Unasked {
		return s, nil
	}
	if err := s.Reach(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// roots returns the authorities that AWS_CA_BUNDLE names; nil for the system's.
func roots(c aws.HTTPClient) *x509.CertPool {
	b, ok := c.(*awshttp.BuildableClient)
	if !ok {
		return nil
	}
	if t := b.GetTransport(); t.TLSClientConfig != nil {
		return t.TLSClientConfig.RootCAs
	}
	return nil
}

func newClient(cfg aws.Config, at s3protocol.Location) *client {
	return &client{at: at, api: s3.NewFromConfig(cfg, func(o *s3.Options) {
		if at.Endpoint != nil {
			o.BaseEndpoint = aws.String(at.Endpoint.String())
		}
		o.UsePathStyle = at.PathStyle
		o.Retryer = aws.NopRetryer{}
		// Checksums are s3protocol's.
		o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
		o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
		o.ContinueHeaderThresholdBytes = -1 // a round trip more for each part
	})}
}
