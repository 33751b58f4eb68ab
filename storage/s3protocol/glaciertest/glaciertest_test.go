package glaciertest_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/strata-pacs/strata/internal/testservers"
	"github.com/strata-pacs/strata/storage/s3protocol/glaciertest"
)

// world is the stand-in seen by Amazon's own client, without retries.
type world struct {
	*testing.T
	*s3.Client
	clock  *glaciertest.Clock
	server *glaciertest.Server
}

const bucket, locked = "glacier-plain", "glacier-versioned"

func start(t *testing.T, behind testservers.S3, clock *glaciertest.Clock, file string) world {
	srv := glaciertest.Start(t, behind, glaciertest.Options{Now: clock.Now, File: file})
	return world{t, s3.New(s3.Options{
		BaseEndpoint: &srv.Endpoint, Region: srv.Region, UsePathStyle: true, Retryer: aws.NopRetryer{},
		Credentials: credentials.NewStaticCredentialsProvider(srv.AccessKey, srv.SecretKey, ""),
	}), clock, srv}
}

func newWorld(t *testing.T) world {
	t.Parallel()
	w := start(t, testservers.Versitygw(t), glaciertest.NewClock(), "")
	w.server.NewBucket(t, bucket, false)
	return w
}

func (w world) put(key string, class types.StorageClass) {
	w.Helper()
	_, err := w.PutObject(w.Context(), &s3.PutObjectInput{Bucket: aws.String(bucket), Key: &key, Body: bytes.NewReader([]byte("bytes of " + key)),
		StorageClass: class, Metadata: map[string]string{"kept": "yes"}})
	if err != nil {
		w.Fatal(err)
	}
}

// state returns class, restore and archive status as HeadObject tells them.
func (w world) state(key string) string {
	w.Helper()
	out, err := w.HeadObject(w.Context(), &s3.HeadObjectInput{Bucket: aws.String(bucket), Key: &key})
	if err != nil {
		w.Fatal(err)
	}
	return fmt.Sprintf("%s|%s|%s", out.StorageClass, aws.ToString(out.Restore), out.ArchiveStatus)
}

func (w world) wantState(key, want string) {
	w.Helper()
	if got := w.state(key); got != want {
		w.Errorf("%s: %s; want %s", key, got, want)
	}
}

func (w world) get(key string) error {
	out, err := w.GetObject(w.Context(), &s3.GetObjectInput{Bucket: aws.String(bucket), Key: &key})
	if err != nil {
		return err
	}
	defer out.Body.Close()
	if got, err := io.ReadAll(out.Body); err != nil || string(got) != "bytes of "+key {
		return fmt.Errorf("read %q, %v", got, err)
	}
	return nil
}

// restore returns the status of the answer, and its error.
func (w world) restore(key string, days int32, tier types.Tier) (int, error) {
	var status int
	seen := func(o *s3.Options) { o.HTTPClient = &statusClient{o.HTTPClient, &status} }
	in := &types.RestoreRequest{}
	if days > 0 {
		in.Days = &days
	}
	if tier != "" {
		in.GlacierJobParameters = &types.GlacierJobParameters{Tier: tier}
	}
	_, err := w.RestoreObject(w.Context(), &s3.RestoreObjectInput{Bucket: aws.String(bucket), Key: &key, RestoreRequest: in}, seen)
	return status, err
}

func (w world) wantRestored(key string, days int32, tier types.Tier, want string) {
	w.Helper()
	status, err := w.restore(key, days, tier)
	got := fmt.Sprint(status)
	if err != nil {
		got = refusal(err)
	}
	if got != want {
		w.Errorf("restoring %s for %d days at %q: %s (%v); want %s", key, days, tier, got, err, want)
	}
}

func (w world) copyTo(key string, class types.StorageClass) (*s3.CopyObjectOutput, error) {
	return w.CopyObject(w.Context(), &s3.CopyObjectInput{Bucket: aws.String(bucket), Key: &key, CopySource: aws.String(bucket + "/" + key), StorageClass: class})
}

// refusal is the answer in words, "403 InvalidObjectState"; empty for no error.
func refusal(err error) string {
	if err == nil {
		return ""
	}
	status, code := 0, err.Error()
	if r := (*smithyhttp.ResponseError)(nil); errors.As(err, &r) {
		status = r.HTTPStatusCode()
	}
	if a := smithy.APIError(nil); errors.As(err, &a) {
		code = a.ErrorCode()
	}
	return fmt.Sprintf("%d %s", status, code)
}

func (w world) wantRefused(err error, want string) {
	w.Helper()
	if got := refusal(err); got != want {
		w.Errorf("%s (%v); want %s", got, err, want)
	}
}

// statusClient keeps the status of the last answer, which the client itself does not tell.
type statusClient struct {
	s3.HTTPClient
	status *int
}

func (c *statusClient) Do(r *http.Request) (*http.Response, error) {
	resp, err := c.HTTPClient.Do(r)
	if err == nil {
		*c.status = resp.StatusCode
	}
	return resp, err
}
