package s3store_test

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/testservers"
	"github.com/strata-pacs/strata/storage/s3protocol"
	"github.com/strata-pacs/strata/storage/s3protocol/glaciertest"
	"github.com/strata-pacs/strata/storage/s3protocol/s3protocoltest"
	"github.com/strata-pacs/strata/storage/s3store"
)

func open(ctx context.Context, address string, s testservers.S3, now func() time.Time) (*s3protocol.Store, error) {
	return s3store.Open(ctx, address, s3store.Options{AccessKey: s.AccessKey, SecretKey: s.SecretKey, Now: now})
}

func TestVersitygw(t *testing.T) {
	s3protocoltest.Suite{Scheme: "s3", Open: open, Server: testservers.Versitygw(t), Versitygw: true}.Run(t)
}

// TestGlacier: classes, archives and restores, before a versitygw.
func TestGlacier(t *testing.T) {
	glaciertest.Examine(t, s3protocoltest.Suite{Scheme: "s3", Open: open, Server: testservers.Versitygw(t)})
}

func TestMinIO(t *testing.T) {
	s3protocoltest.Suite{Scheme: "s3", Open: open, Server: testservers.MinIO(t)}.Run(t)
}

// TestEnvironment: without credentials of its own it takes those of the environment.
func TestEnvironment(t *testing.T) {
	srv := testservers.Versitygw(t)
	srv.NewBucket(t, "bucket", false)
	t.Setenv("AWS_ACCESS_KEY_ID", srv.AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", srv.SecretKey)
	t.Setenv("AWS_REGION", srv.Region)
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(t.TempDir(), "none"))
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(t.TempDir(), "none"))
	if _, err := s3store.Open(t.Context(), "s3://bucket?pathstyle=true&endpoint="+srv.Endpoint, s3store.Options{}); err != nil {
		t.Error(err)
	}
	t.Setenv("AWS_REGION", "")
	t.Setenv("AWS_DEFAULT_REGION", "")
	for address, say := range map[string]string{"s3://bucket": "region", "minio://bucket": "s3://"} {
		if _, err := s3store.Open(t.Context(), address, s3store.Options{}); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), say) {
			t.Errorf("%s: %v; want it to say %q", address, err, say)
		}
	}
	_, err := s3store.Open(t.Context(), "s3://bucket?endpoint="+srv.Endpoint, s3store.Options{AccessKey: "a"})
	if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "secret key") {
		t.Errorf("half of the credentials: %v", err)
	}
}
