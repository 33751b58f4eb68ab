// Package s3protocoltest is the examination of a client of package s3protocol on
// a real server: the driver's suite, uploads and their conditions, versions,
// and what a broken network does to them, by way of a proxy that breaks it.
package s3protocoltest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/testservers"
	"github.com/strata-pacs/strata/storage/driver"
	"github.com/strata-pacs/strata/storage/drivertest"
	"github.com/strata-pacs/strata/storage/faultstore"
	"github.com/strata-pacs/strata/storage/retrystore"
	"github.com/strata-pacs/strata/storage/s3protocol"
)

// Suite is a client and the server to examine it on.
type Suite struct {
	Scheme string // of the client's addresses
	// Open opens a store with the server's credentials. A nil clock is the real one.
	Open   func(ctx context.Context, address string, s testservers.S3, now func() time.Time) (*s3protocol.Store, error)
	Server testservers.S3
	// Versitygw is set for that server, with its dialect: it keeps objects as files,
	// and once an object of a versioned bucket is deleted it refuses to create it anew
	// under If-None-Match.
	Versitygw bool
}

// Names of the buckets that Run makes.
const (
	plain     = "strata-plain"
	versioned = "strata-versioned"
)

// Run runs the suite.
func (s Suite) Run(t *testing.T) {
	s.Server.NewBucket(t, plain, false)
	s.Server.NewBucket(t, versioned, true)
	for _, c := range []struct {
		name string
		test func(*testing.T)
		skip bool
	}{
		{name: "Driver", test: s.driver(plain, retrying)},
		{name: "DriverOverFaults", test: s.driver(plain, overFaults), skip: testing.Short()},
		{name: "DriverVersioned", test: s.driver(versioned, retrying), skip: s.Versitygw},
		{name: "Uploads", test: s.uploads},
		{name: "Sweep", test: s.sweep, skip: !s.Versitygw}, // MinIO lists uploads by their whole key alone
		{name: "Purge", test: s.purge},
		{name: "Check", test: s.check},
		{name: "Settings", test: s.settings},
		{name: "Tiers", test: s.tiers},
		{name: "WriteFaults", test: s.writeFaults},
		{name: "ReadFaults", test: s.readFaults},
		{name: "OtherFaults", test: s.otherFaults},
		{name: "Backpressure", test: s.backpressure},
		{name: "Storm", test: s.storm},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.skip {
				t.Skip("not on this server, or too long for a short test")
			}
			t.Parallel()
			c.test(t)
		})
	}
}

// retrying is the driver as it is used. A server that refuses a PUT may close the
// connection before it has read the body; the driver can then only say that it
// does not know, and the next try learns of the refusal.
func retrying(d *s3protocol.Store) driver.Driver {
	return retrystore.New(d, retrystore.Options{Hedge: true, Stall: time.Minute})
}

// overFaults injects faults between the driver and its retries, too.
func overFaults(d *s3protocol.Store) driver.Driver {
	// A large object is read by hundreds of calls, and read whole, in one go, to tell whether it is one's own.
	rates := map[faultstore.Name]float64{faultstore.Create: .1, faultstore.Commit: .2, faultstore.Open: .1,
		faultstore.Read: .0005, faultstore.Stat: .1, faultstore.List: .1, faultstore.Delete: .1}
	f := faultstore.New(d, faultstore.Random(1, rates, faultstore.FailBefore, faultstore.FailAfter, faultstore.Cut))
	return retrystore.New(f.Driver, retrystore.Options{Attempts: 20, First: time.Microsecond, Replay: 32 << 20})
}

func (s Suite) driver(bucket string, wrap func(*s3protocol.Store) driver.Driver) func(*testing.T) {
	return func(t *testing.T) {
		var prefix string // of the store that is examined
		open := func(t *testing.T) driver.Driver {
			return wrap(s.openAt(t, s.Server.Endpoint, bucket, prefix, ""))
		}
		drivertest.Run(t, drivertest.Harness{Untimed: true, Files: true, // neither lists what lies below another object

			New:    func(t *testing.T) driver.Driver { prefix = rand.Text(); return open(t) },
			Reopen: func(t *testing.T, _ driver.Driver) driver.Driver { return open(t) },
		})
	}
}

func (s Suite) openAt(t *testing.T, endpoint, bucket, prefix, query string) *s3protocol.Store {
	t.Helper()
	store, err := s.Open(t.Context(), s.address(endpoint, bucket, prefix, query), s.Server, nil)
	if err != nil {
		t.Fatal(err)
	}
	return store
}

func (s Suite) address(endpoint, bucket, prefix, query string) string {
	return fmt.Sprintf("%s://%s/%s?endpoint=%s&region=%s&pathstyle=true%s", s.Scheme, bucket, prefix, endpoint, s.Server.Region, query)
}

// pattern returns n bytes that differ by seed and position.
func pattern(n int, seed byte) []byte {
	p := make([]byte, n)
	_, _ = mathrand.NewChaCha8([32]byte{seed}).Read(p)
	return p
}

func put(ctx context.Context, d driver.Driver, key string, p []byte, o driver.CreateOptions) (driver.Attrs, error) {
	w, err := d.Create(ctx, key, o)
	if err != nil {
		return driver.Attrs{}, err
	}
	defer w.Abort()
	if _, err := w.Write(p); err != nil {
		return driver.Attrs{}, err
	}
	return w.Commit(ctx)
}

func mustPut(t *testing.T, d driver.Driver, key string, p []byte, o driver.CreateOptions) driver.Attrs {
	t.Helper()
	a, err := put(t.Context(), d, key, p, o)
	if err != nil {
		t.Fatalf("storing %s: %v", key, err)
	}
	return a
}

func get(ctx context.Context, d driver.Driver, key string, off, n int64) ([]byte, error) {
	r, err := d.Open(ctx, key, off, n)
	if err != nil {
		return nil, err
	}
	p, err := io.ReadAll(r)
	return p, errors.Join(err, r.Close())
}

func wantBytes(t *testing.T, d driver.Driver, key string, want []byte) {
	t.Helper()
	got, err := get(t.Context(), d, key, 0, -1)
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("%s: %d bytes, %v; want the %d stored", key, len(got), err, len(want))
	}
}

func wantKind(t *testing.T, err error, k fault.Kind) {
	t.Helper()
	if !fault.Is(err, k) {
		t.Fatalf("error %v is of kind %v, want %v", err, fault.KindOf(err), k)
	}
}
