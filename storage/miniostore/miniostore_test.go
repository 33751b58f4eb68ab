package miniostore_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/testservers"
	"github.com/strata-pacs/strata/storage"
	"github.com/strata-pacs/strata/storage/miniostore"
	"github.com/strata-pacs/strata/storage/s3protocol"
	"github.com/strata-pacs/strata/storage/s3protocol/glaciertest"
	"github.com/strata-pacs/strata/storage/s3protocol/s3protocoltest"
	"github.com/strata-pacs/strata/storage/s3store"
)

func open(ctx context.Context, address string, s testservers.S3, now func() time.Time) (*s3protocol.Store, error) {
	return miniostore.Open(ctx, address, miniostore.Options{AccessKey: s.AccessKey, SecretKey: s.SecretKey, Now: now})
}

func TestVersitygw(t *testing.T) {
	s3protocoltest.Suite{Scheme: "minio", Open: open, Server: testservers.Versitygw(t), Versitygw: true}.Run(t)
}

// TestGlacier: classes, archives and restores, before a versitygw.
func TestGlacier(t *testing.T) {
	glaciertest.Examine(t, s3protocoltest.Suite{Scheme: "minio", Open: open, Server: testservers.Versitygw(t)})
}

func TestMinIO(t *testing.T) {
	s3protocoltest.Suite{Scheme: "minio", Open: open, Server: testservers.MinIO(t)}.Run(t)
}

// TestEnvironment: without credentials of its own it takes those of the environment.
func TestEnvironment(t *testing.T) {
	srv := testservers.Versitygw(t)
	srv.NewBucket(t, "bucket", false)
	t.Setenv("MINIO_ACCESS_KEY", srv.AccessKey)
	t.Setenv("MINIO_SECRET_KEY", srv.SecretKey)
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_ACCESS_KEY", "")
	if _, err := miniostore.Open(t.Context(), "minio://bucket?pathstyle=true&endpoint="+srv.Endpoint, miniostore.Options{}); err != nil {
		t.Error(err)
	}
	for address, say := range map[string]string{"minio://bucket": "endpoint", "s3://bucket": "minio://"} {
		if _, err := miniostore.Open(t.Context(), address, miniostore.Options{}); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), say) {
			t.Errorf("%s: %v; want it to say %q", address, err, say)
		}
	}
	_, err := miniostore.Open(t.Context(), "minio://bucket?endpoint="+srv.Endpoint, miniostore.Options{AccessKey: "a"})
	if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "secret key") {
		t.Errorf("half of the credentials: %v", err)
	}
}

// TestBothClients: what one client stores the other reads, with the same attributes.
func TestBothClients(t *testing.T) {
	srv := testservers.Versitygw(t)
	srv.NewBucket(t, "bucket", false)
	at := "://bucket/x?pathstyle=true&endpoint=" + srv.Endpoint
	ours, err := open(t.Context(), "minio"+at, srv, nil)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := s3store.Open(t.Context(), "s3"+at, s3store.Options{AccessKey: srv.AccessKey, SecretKey: srv.SecretKey})
	if err != nil {
		t.Fatal(err)
	}
	for i, pair := range [][2]*storage.Bucket{{storage.New(ours), storage.New(theirs)}, {storage.New(theirs), storage.New(ours)}} {
		for _, size := range []int{0, 1000, s3protocol.PartSize + 1000} {
			key, data := fmt.Sprintf("%d/%d", i, size), bytes.Repeat([]byte{byte(i + 1)}, size)
			if _, err := pair[0].Put(t.Context(), key, data, storage.CreateOptions{IfAbsent: true}); err != nil {
				t.Fatal(err)
			}
			got, err := pair[1].Get(t.Context(), key, 32<<20)
			if err != nil || !bytes.Equal(got, data) {
				t.Errorf("%s: %d bytes, %v", key, len(got), err)
			}
			a, err := pair[0].Stat(t.Context(), key)
			b, err2 := pair[1].Stat(t.Context(), key)
			if a != b || err != nil || err2 != nil {
				t.Errorf("%s: %+v, %v and %+v, %v", key, a, err, b, err2)
			}
			if _, err := pair[1].Put(t.Context(), key, []byte("new"), storage.CreateOptions{IfMatch: a.ETag}); err != nil {
				t.Errorf("%s: replacing the other's: %v", key, err)
			}
		}
	}
}
