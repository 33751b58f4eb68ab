package s3store_test

import (
	"crypto/rand"
	"fmt"
	"testing"

	"github.com/strata-pacs/strata/internal/testservers"
	"github.com/strata-pacs/strata/storage/driver"
	"github.com/strata-pacs/strata/storage/drivertest"
	"github.com/strata-pacs/strata/storage/retrystore"
	"github.com/strata-pacs/strata/storage/s3protocol"
	"github.com/strata-pacs/strata/storage/s3store"
)

// open returns a driver with a prefix of its own.
func open(t *testing.T, srv testservers.S3, bucket string) *s3protocol.Store {
	t.Helper()
	address := fmt.Sprintf("s3://%s/%s?endpoint=%s&region=%s&pathstyle=true", bucket, rand.Text(), srv.Endpoint, srv.Region)
	s, err := s3store.Open(t.Context(), address, s3store.Options{AccessKey: srv.AccessKey, SecretKey: srv.SecretKey})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestVersitygw(t *testing.T) { testDriver(t, testservers.Versitygw(t), true) }

func TestMinIO(t *testing.T) { testDriver(t, testservers.MinIO(t), false) }

func testDriver(t *testing.T, srv testservers.S3, files bool) {
	srv.NewBucket(t, "plain", false)
	srv.NewBucket(t, "versioned", true)
	for _, bucket := range []string{"plain", "versioned"} {
		t.Run(bucket, func(t *testing.T) {
			drivertest.Run(t, drivertest.Harness{Untimed: true, Files: files,
				New: func(t *testing.T) driver.Driver { return open(t, srv, bucket) }})
		})
	}
	t.Run("Retrying", func(t *testing.T) {
		drivertest.Run(t, drivertest.Harness{Untimed: true, Files: files, New: func(t *testing.T) driver.Driver {
			return retrystore.New(open(t, srv, "plain"), retrystore.Options{Hedge: true})
		}})
	})
}
