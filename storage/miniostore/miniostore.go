// Package miniostore is a driver for MinIO and other stores that are compatible
// with Amazon S3, on minio-go. What it promises, and how a bucket is to be set
// up, is told by package s3protocol, which it is a client for.
//
// Credentials are those given, or else the first found of: AWS_ACCESS_KEY_ID and
// the like, MINIO_ACCESS_KEY and the like, the shared file of AWS, the role of
// the machine or pod.
//
// MinIO has one class, STANDARD (and REDUCED_REDUNDANCY), no archive, and removes
// abandoned uploads by itself; it lists them only by their whole key, so that
// Sweep finds none.
package miniostore

import (
	"context"
	"net/http"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/minio/minio-go/v7/pkg/encrypt"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/storage/s3protocol"
)

// Options are what does not belong into an address. The zero value is useful.
type Options struct {
	// AccessKey and SecretKey, and SessionToken with temporary ones, are explicit
	// credentials; those of the environment if empty.
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
//	minio://bucket/prefix?endpoint=https://host:9000&region=…&pathstyle=true&class=…&sse=s3|kms&kmskey=…
//
// that answers. An error is fault.Invalid where the address is wrong, and names
// the part that is; otherwise it is what the store said. Endpoint must be given.
// Without pathstyle the bucket goes where minio-go thinks it belongs.
func Open(ctx context.Context, address string, o Options) (*s3protocol.Store, error) {
	at, err := s3protocol.Parse("minio", address)
	if err != nil {
		return nil, err
	}
	switch {
	case at.Endpoint == nil:
		return nil, fault.New(fault.Invalid, "the store's address: parameter endpoint is missing, like endpoint=https://host:9000")
	case (o.AccessKey == "") != (o.SecretKey == ""):
		return nil, fault.New(fault.Invalid, "the store's credentials: an access key and a secret key are given together, or neither")
	}
	if o.Transport == nil {
		o.Transport = s3protocol.NewTransport(nil)
	}
	lookup := minio.BucketLookupAuto
	if at.PathStyle {
		lookup = minio.BucketLookupPath
	}
	if at.Region == "" {
		at.Region = "us-east-1" // MinIO's own default; or it would be asked for
	}
	c := &client{at: at}
	switch {
	case at.SSE == "s3":
		c.sse = encrypt.NewSSE()
	case at.SSE == "kms":
		if c.sse, err = encrypt.NewSSEKMS(at.KMSKey, nil); err != nil {
			return nil, fault.Wrap(fault.Invalid, err, "the store's address: parameter kmskey")
		}
	}
	c.api, err = minio.NewCore(at.Endpoint.Host, &minio.Options{
		Creds:        provider(o),
		Secure:       at.Endpoint.Scheme == "https",
		Transport:    s3protocol.Reporting(o.Transport),
		Region:       at.Region,
		BucketLookup: lookup,
		MaxRetries:   1, // the first try counts
	})
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "the store's address: parameter endpoint")
	}
	s := s3protocol.New(c, at, s3protocol.Options{Now: o.Now})
	if o.Unasked {
		return s, nil
	}
	if err := s.Reach(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

func provider(o Options) *credentials.Credentials {
	if o.AccessKey != "" {
		return credentials.NewStaticV4(o.AccessKey, o.SecretKey, o.SessionToken)
	}
	return credentials.NewChainCredentials([]credentials.Provider{
		&credentials.EnvAWS{}, &credentials.EnvMinio{}, &credentials.FileAWSCredentials{}, &credentials.IAM{},
	})
}
