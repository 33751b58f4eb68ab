package miniostore_test

import (
	"context"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/testservers"
	"github.com/strata-pacs/strata/storage/miniostore"
	"github.com/strata-pacs/strata/storage/s3protocol"
	"github.com/strata-pacs/strata/storage/s3protocol/s3protocoltest"
)

func open(ctx context.Context, address string, s testservers.S3, now func() time.Time) (*s3protocol.Store, error) {
	return miniostore.Open(ctx, address, miniostore.Options{AccessKey: s.AccessKey, SecretKey: s.SecretKey, Now: now})
}

func TestVersitygw(t *testing.T) {
	s3protocoltest.Suite{Scheme: "minio", Open: open, Server: testservers.Versitygw(t), Versitygw: true}.Run(t)
}

func TestMinIO(t *testing.T) {
	s3protocoltest.Suite{Scheme: "minio", Open: open, Server: testservers.MinIO(t)}.Run(t)
}
