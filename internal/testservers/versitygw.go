package testservers

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// versitygwVersion is the one that make setup builds.
const versitygwVersion = "v1.8.0"

// S3 is a server that speaks the protocol of Amazon S3. It has no buckets at first.
type S3 struct {
	Endpoint             string // "http://127.0.0.1:port"
	Region               string
	AccessKey, SecretKey string
}

// NewBucket makes a bucket, which may keep all versions of its objects.
func (s S3) NewBucket(t testing.TB, name string, versioned bool) {
	t.Helper()
	c := s.client(t)
	err := c.MakeBucket(t.Context(), name, minio.MakeBucketOptions{Region: s.Region})
	if err == nil && versioned {
		err = c.EnableVersioning(t.Context(), name)
	}
	if err != nil {
		t.Fatalf("making bucket %s: %v", name, err)
	}
}

// NewLockedBucket makes a bucket with object lock, whose objects are each retained for some
// days (mode COMPLIANCE: nobody can shorten it); for none unless they say so if that is 0.
func (s S3) NewLockedBucket(t testing.TB, name string, days uint) {
	t.Helper()
	c := s.client(t)
	err := c.MakeBucket(t.Context(), name, minio.MakeBucketOptions{Region: s.Region, ObjectLocking: true})
	if err == nil && days > 0 {
		mode, unit := minio.Compliance, minio.Days
		err = c.SetObjectLockConfig(t.Context(), name, &mode, &days, &unit)
	}
	if err != nil {
		t.Fatalf("making bucket %s: %v", name, err)
	}
}

// Lock retains the newest version of an object in a locked bucket (mode COMPLIANCE), where until is
// not zero, and puts it under a legal hold where hold is set.
func (s S3) Lock(t testing.TB, bucket, key string, until time.Time, hold bool) {
	t.Helper()
	c := s.client(t)
	var err error
	if !until.IsZero() {
		mode := minio.Compliance
		err = c.PutObjectRetention(t.Context(), bucket, key, minio.PutObjectRetentionOptions{Mode: &mode, RetainUntilDate: &until})
	}
	if on := minio.LegalHoldEnabled; err == nil && hold {
		err = c.PutObjectLegalHold(t.Context(), bucket, key, minio.PutObjectLegalHoldOptions{Status: &on})
	}
	if err != nil {
		t.Fatalf("locking an object in %s: %v", bucket, err)
	}
}

// Locked returns until when the newest version of an object is retained, zero if it is not, and
// whether there is a legal hold.
func (s S3) Locked(t testing.TB, bucket, key string) (until time.Time, hold bool) {
	t.Helper()
	o, err := s.client(t).StatObject(t.Context(), bucket, key, minio.StatObjectOptions{})
	if err != nil {
		t.Fatalf("looking for a lock: %v", err)
	}
	if date := o.Metadata.Get("X-Amz-Object-Lock-Retain-Until-Date"); date != "" {
		if until, err = time.Parse(time.RFC3339, date); err != nil {
			t.Fatalf("looking for a lock: %v", err)
		}
	}
	return until, o.Metadata.Get("X-Amz-Object-Lock-Legal-Hold") == "ON"
}

// Versions returns how many versions of an object, or of all where key is empty, a bucket has, marks of
// their deletion included.
func (s S3) Versions(t testing.TB, bucket, key string) int {
	t.Helper()
	n := 0
	for o := range s.client(t).ListObjects(t.Context(), bucket, minio.ListObjectsOptions{Prefix: key, Recursive: true, WithVersions: true}) {
		if o.Err != nil {
			t.Fatalf("listing versions: %v", o.Err)
		}
		if key == "" || o.Key == key {
			n++
		}
	}
	return n
}

func (s S3) client(t testing.TB) *minio.Client {
	t.Helper()
	c, err := minio.New(strings.TrimPrefix(s.Endpoint, "http://"), &minio.Options{
		Creds: credentials.NewStaticV4(s.AccessKey, s.SecretKey, ""), Region: s.Region, BucketLookup: minio.BucketLookupPath})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Versitygw starts a versitygw on a folder of the test's own.
func Versitygw(t testing.TB) S3 {
	t.Helper()
	path := binary(t, "versitygw-"+versitygwVersion)
	dir := t.TempDir()
	data, versions := filepath.Join(dir, "data"), filepath.Join(dir, "versions")
	for _, d := range []string{data, versions} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	addr := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	s := server(addr)
	cmd := exec.Command(path, "--port", addr, "--health", "/health", "--region", s.Region, "--keep-alive", "--quiet",
		"posix", "--versioning-dir", versions, data)
	cmd.Env = append(os.Environ(), "ROOT_ACCESS_KEY="+s.AccessKey, "ROOT_SECRET_KEY="+s.SecretKey)
	run(t, "versitygw", cmd, answers(s.Endpoint+"/health"))
	return s
}

// MinIO starts a MinIO where there is a binary of it; without one the test is
// skipped, under CI too: it is a dialect to pass, not the default.
func MinIO(t testing.TB) S3 {
	t.Helper()
	cache, _ := os.UserCacheDir()
	path := filepath.Join(cache, "strata-build", "bin", "minio")
	if _, err := os.Stat(path); err != nil {
		if path, err = exec.LookPath("minio"); err != nil {
			t.Skip("there is no minio: put one on PATH to test against it")
		}
	}
	addr := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	s := server(addr)
	cmd := exec.Command(path, "server", "--address", addr, "--console-address", fmt.Sprintf("127.0.0.1:%d", freePort(t)),
		filepath.Join(t.TempDir(), "d{1...4}"))
	cmd.Env = append(os.Environ(), "MINIO_ROOT_USER="+s.AccessKey, "MINIO_ROOT_PASSWORD="+s.SecretKey, "MINIO_CI_CD=1")
	run(t, "minio", cmd, answers(s.Endpoint+"/minio/health/cluster"))
	return s
}

func server(addr string) S3 {
	return S3{Endpoint: "http://" + addr, Region: "us-east-1", AccessKey: "strata-test", SecretKey: "strata-test-secret"}
}

// answers reports whether a URL answers 200.
func answers(url string) func() error {
	client := http.Client{Timeout: time.Second, Transport: &http.Transport{
		DisableKeepAlives: true, DialContext: (&net.Dialer{Timeout: time.Second}).DialContext}}
	return func() error {
		resp, err := client.Get(url)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("it answers %d", resp.StatusCode)
		}
		return nil
	}
}
