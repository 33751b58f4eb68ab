// Package glaciertest puts before a real S3 server, in tests, what the small ones lack:
// the storage classes of Amazon S3, archives whose objects must be restored, and
// a provider that slows its users down. Hours are those of a clock that the test drives.
//
//	clock := glaciertest.NewClock()
//	s := glaciertest.Start(t, testservers.Versitygw(t), glaciertest.Options{Now: clock.Now})
//	s.NewBucket(t, "bucket", false)
//	d, err := s3store.Open(ctx, s.URL("bucket", "DEEP_ARCHIVE"), s3store.Options{AccessKey: s.AccessKey, SecretKey: s.SecretKey})
//	…                                     // store, d.Thaw(ctx, key, …)
//	clock.Advance(12 * time.Hour)         // restored
//
// A program of its own finds the credentials in [Server.Environment]. [Fast] gives
// a clock in which an hour takes a second, for what waits by itself.
//
// Trouble is made with [Server.SetRate] (503 SlowDown), [Server.SetExpedited] (503
// GlacierExpeditedRetrievalNotAvailable) and Faults, whose Script breaks chosen requests and
// whose Count tells how many there were of a kind:
//
//	s.Faults.Script(s3protocoltest.Times(2, "restore", s3protocoltest.Broken))
//	if n := s.Faults.Count("restore"); n != 1 { … }
//
// # What is like Amazon S3, and what is not
//
// The answers are those of the API Reference (RestoreObject, GetObject, HeadObject,
// CopyObject) and the User Guide (Working with archived objects, Upgrading the speed of an
// in-progress restore): see the tests. Restores take as long as the guide says at most; a
// copy onto itself writes the object anew, so that its ETag changes where it was uploaded in
// parts, and a bucket with versions gets one more, with the lock that the copy asks for. Where
// the documents give an error's words but no code (Expedited for DEEP_ARCHIVE), it is
// InvalidArgument.
//
// Object Lock is the server's own behind: versitygw has it, with the real clock, not with
// the test's. Operations not named here go to the server behind as they are. Only addresses in
// path style work. The signatures of a restore and of a copy onto itself are not verified. What is
// stored past this proxy counts as STANDARD.
package glaciertest

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/strata-pacs/strata/internal/testservers"
	"github.com/strata-pacs/strata/storage/s3protocol/s3protocoltest"
)

// Options configure the stand-in. The zero value is useful.
type Options struct {
	// Now is the clock of restores, of their expiry and of the rate; time.Now if nil.
	Now func() time.Time
	// Delay is how long a restore takes from a class at a tier; [AmazonDelay] if nil.
	Delay func(class, tier string) time.Duration
	// File keeps classes and restores, so that another Start with the same file and
	// server goes on with them, but for uploads that are not complete; nothing is kept if empty.
	File string
}

// Server is the stand-in, to be used like the server behind it: S3 has its
// address and the credentials.
type Server struct {
	testservers.S3
	// Faults is the proxy in front, which breaks and counts requests.
	Faults *s3protocoltest.Proxy

	behind http.RoundTripper
	own    *minio.Core // requests of our own to the server behind
	now    func() time.Time
	delay  func(class, tier string) time.Duration
	file   string

	mu        sync.Mutex
	records   map[name]record
	uploads   map[string]string // classes by upload
	begun     int               // restores
	expedited int               // how many may be under way; negative for no limit
	rate      float64           // requests in a second; 0 for no limit
	tokens    float64
	filled    time.Time // when tokens was right
}

// Start puts the stand-in before a server; it ends with the test.
func Start(t testing.TB, server testservers.S3, o Options) *Server {
	t.Helper()
	s := &Server{now: o.Now, delay: o.Delay, file: o.File, records: map[name]record{}, uploads: map[string]string{}, expedited: -1}
	if s.now == nil {
		s.now = time.Now
	}
	if s.delay == nil {
		s.delay = AmazonDelay
	}
	var err error
	s.own, err = minio.NewCore(strings.TrimPrefix(server.Endpoint, "http://"), &minio.Options{
		Creds:  credentials.NewStaticV4(server.AccessKey, server.SecretKey, ""),
		Region: server.Region, BucketLookup: minio.BucketLookupPath, MaxRetries: 1})
	if err != nil {
		t.Fatal(err)
	}
	if s.file != "" {
		if err := s.load(); err != nil {
			t.Fatalf("reading the stand-in's file: %v", err)
		}
	}
	s.Faults = s3protocoltest.NewProxyOver(t, server.Endpoint, func(behind http.RoundTripper) http.RoundTripper {
		s.behind = behind
		return s
	})
	s.S3 = server
	s.Endpoint = s.Faults.URL
	return s
}

// URL returns the address of a bucket, which a prefix may follow ("bucket/prefix"), for package
// s3store; objects that say nothing else are stored with the class, which is STANDARD if empty.
// For package miniostore "s3" becomes "minio".
func (s *Server) URL(bucket, class string) string {
	u := "s3://" + bucket + "?pathstyle=true&region=" + s.Region + "&endpoint=" + s.Endpoint
	if class != "" {
		u += "&class=" + class
	}
	return u
}

// Environment returns the credentials as variables of the environment, "NAME=value".
func (s *Server) Environment() []string {
	return []string{"AWS_ACCESS_KEY_ID=" + s.AccessKey, "AWS_SECRET_ACCESS_KEY=" + s.SecretKey, "AWS_REGION=" + s.Region}
}

// SetRate bounds the requests in a second of the clock; one that is too many is 503
// SlowDown. 0 is no limit, as at first.
func (s *Server) SetRate(perSecond float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rate, s.tokens, s.filled = perSecond, max(1, perSecond), s.now()
}

// SetExpedited bounds the expedited restores that are under way at once; one that is too
// many is 503 GlacierExpeditedRetrievalNotAvailable. A negative number is no limit, as at first.
func (s *Server) SetExpedited(atOnce int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expedited = atOnce
}

// Begun returns how many restores were begun: requests that made one faster or longer, or that
// never arrived, do not count.
func (s *Server) Begun() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.begun
}

// Archive moves an object of INTELLIGENT_TIERING, without versions, to one of its archive tiers, "ARCHIVE_ACCESS" or
// "DEEP_ARCHIVE_ACCESS", which Amazon S3 does by itself after months without access.
func (s *Server) Archive(t testing.TB, bucket, key, tier string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	n := name{Bucket: bucket, Key: key}
	if r := s.get(n); r.Class != intelligentTiering || tier != archiveAccess && tier != deepArchiveAccess {
		t.Fatalf("an object of class %s cannot go to %s", r.Class, tier)
	}
	if err := s.set(n, record{Class: intelligentTiering, Access: tier}); err != nil {
		t.Fatal(err)
	}
}

// slow reports whether a request is one too many.
func (s *Server) slow() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.rate <= 0 {
		return false
	}
	now := s.now()
	s.tokens = min(max(1, s.rate), s.tokens+s.rate*now.Sub(s.filled).Seconds())
	s.filled = now
	if s.tokens < 1 {
		return true
	}
	s.tokens--
	return false
}
