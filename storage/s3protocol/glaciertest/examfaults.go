package glaciertest

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/storage"
	"github.com/strata-pacs/strata/storage/driver"
	"github.com/strata-pacs/strata/storage/retrystore"
	"github.com/strata-pacs/strata/storage/s3protocol/s3protocoltest"
)

// slowDown: who asks too often waits, and gets through.
func (x exam) slowDown() {
	var waited time.Duration
	d := retrystore.New(x.open(x.bucket(), "", ""), retrystore.Options{Attempts: 10, Sleep: func(_ context.Context, d time.Duration) error {
		waited += d
		x.clock.Advance(d)
		return nil
	}})
	x.server.SetRate(3)
	b := storage.New(d)
	for i := range 10 {
		key := fmt.Sprint("x", i)
		_, err := b.Put(x.Context(), key, []byte("x"), storage.CreateOptions{Class: "GLACIER", IfAbsent: true})
		if err == nil {
			err = b.Thaw(x.Context(), key, storage.ThawOptions{})
		}
		if err != nil {
			x.Fatalf("%s: %v", key, err)
		}
	}
	// 30 requests, 3 of them at once.
	if waited < 8*time.Second {
		x.Errorf("it waited %s in all", waited)
	}
	_, err := x.Stat(x.Context(), "x0")
	for range 5 {
		if err == nil {
			_, err = x.Stat(x.Context(), "x0")
		}
	}
	x.wantKind(err, fault.Unavailable) // without retries
}

// lost: what is asked for again, because the answer was lost or an error, is done once.
func (x exam) lost() {
	b := storage.New(retrystore.New(x.open(x.bucket(), "", ""), retrystore.Options{First: time.Millisecond}))
	for _, action := range []s3protocoltest.Action{s3protocoltest.Lost, s3protocoltest.Broken, s3protocoltest.Reset} {
		key := fmt.Sprint("x", action)
		x.put(key, []byte("x"), "")
		x.server.Faults.Script(s3protocoltest.Times(2, "copy", action))
		if err := b.SetClass(x.Context(), key, "GLACIER"); err != nil {
			x.Errorf("action %d: %v", action, err)
		}
		x.server.Faults.Script(s3protocoltest.Times(2, "restore", action))
		if err := b.Thaw(x.Context(), key, storage.ThawOptions{}); err != nil {
			x.Errorf("action %d: %v", action, err)
		}
		x.server.Faults.Script(nil)
		x.want(key, "GLACIER", driver.Restoring, time.Time{})
	}
}

// copies: what is sent with a copy, and answers that are not what they seem.
func (x exam) copies() {
	x.put("x", []byte("x"), "")
	// Someone else replaces the object between the look and the copy.
	direct := x.suite
	past, err := direct.Open(x.Context(), strings.Replace(strings.Replace(x.server.URL(x.bucket(), ""), "s3", direct.Scheme, 1),
		x.server.Endpoint, direct.Server.Endpoint, 1), direct.Server, nil)
	if err != nil {
		x.Fatal(err)
	}
	x.server.Faults.Script(func(r *http.Request) s3protocoltest.Action {
		if s3protocoltest.Kind(r) == "copy" {
			if _, err := storage.New(past).Put(x.Context(), "x", []byte("another's"), storage.CreateOptions{}); err != nil {
				x.Error(err)
			}
		}
		return s3protocoltest.Pass
	})
	x.wantKind(x.SetClass(x.Context(), "x", "GLACIER"), fault.Conflict)
	x.server.Faults.Script(nil)
	x.want("x", "", driver.Online, time.Time{})

	// An error may come with 200, because a copy takes long.
	x.server.Faults.Answer(func(w http.ResponseWriter, r *http.Request) bool {
		if s3protocoltest.Kind(r) != "copy" {
			return false
		}
		w.Header().Set("Content-Type", "application/xml")
		_, err := io.WriteString(w, `<?xml version="1.0" encoding="UTF-8"?><Error><Code>InternalError</Code><Message>no</Message></Error>`)
		return err == nil
	})
	x.wantKind(x.SetClass(x.Context(), "x", "GLACIER"), fault.Unavailable)

	// The copy is encrypted as the address has it.
	var sent http.Header
	x.server.Faults.Answer(func(_ http.ResponseWriter, r *http.Request) bool {
		if s3protocoltest.Kind(r) == "copy" {
			sent = r.Header.Clone()
		}
		return false
	})
	kms := storage.New(x.open(x.bucket(), "", "GLACIER&sse=kms&kmskey=k1"))
	if err := kms.SetClass(x.Context(), "x", ""); err != nil {
		x.Error(err)
	}
	for name, want := range map[string]string{"x-amz-storage-class": "GLACIER", "x-amz-server-side-encryption": "aws:kms",
		"x-amz-server-side-encryption-aws-kms-key-id": "k1"} {
		if got := sent.Get(name); got != want {
			x.Errorf("the copy was asked for with %s %q, want %q", name, got, want)
		}
	}
}

// lock: what is retained can be hidden, not purged.
func (x exam) lock() {
	bucket := x.bucket() + "ed"
	x.server.NewLockedBucket(x.T, bucket, 1)
	b := storage.New(x.open(bucket, "", ""))
	if _, err := b.Put(x.Context(), "x", []byte("x"), storage.CreateOptions{IfAbsent: true}); err != nil {
		x.Fatal(err)
	}
	x.wantKind(b.Purge(x.Context(), "x"), fault.Conflict)
	if _, err := b.Stat(x.Context(), "x"); err != nil {
		x.Errorf("after the refusal: %v", err)
	}
	if err := b.Delete(x.Context(), "x"); err != nil {
		x.Error(err)
	}
	_, err := b.Stat(x.Context(), "x")
	x.wantKind(err, fault.NotFound)
	x.wantKind(b.Purge(x.Context(), "x"), fault.Conflict)
	if n := x.server.Versions(x.T, bucket, "x"); n < 1 {
		x.Errorf("%d versions are left", n)
	}
}

// lockMoves: an object that changes its class stays under its lock; one that is over does not hinder.
func (x exam) lockMoves() {
	bucket := x.bucket() + "ed"
	x.server.NewLockedBucket(x.T, bucket, 0)
	b := storage.New(x.open(bucket, "", "").CopyingAtMost(few))
	until := time.Now().Add(time.Hour).Truncate(time.Second)
	for size, large := range map[int]string{1: "", few + 1: "-large"} {
		for _, key := range []string{"retained", "held", "free"} {
			if _, err := b.Put(x.Context(), key+large, make([]byte, size), storage.CreateOptions{}); err != nil {
				x.Fatal(err)
			}
		}
		x.server.Lock(x.T, bucket, "retained"+large, until, false)
		x.server.Lock(x.T, bucket, "held"+large, time.Time{}, true)
		for _, key := range []string{"retained", "held", "free"} {
			if err := b.SetClass(x.Context(), key+large, "GLACIER_IR"); err != nil {
				x.Fatalf("%s%s: %v", key, large, err)
			}
		}
		if got, held := x.server.Locked(x.T, bucket, "retained"+large); !got.Equal(until) || held {
			x.Errorf("moved%s, it is retained until %s, held %v; want %s", large, got, held, until)
		}
		if got, held := x.server.Locked(x.T, bucket, "held"+large); !got.IsZero() || !held && large == "" { // versitygw forgets the hold of an upload
			x.Errorf("moved%s, it is retained until %s, held %v", large, got, held)
		}
		if got, held := x.server.Locked(x.T, bucket, "free"+large); !got.IsZero() || held {
			x.Errorf("moved%s, it is retained until %s, held %v", large, got, held)
		}
	}
	// By the clock of a driver in two hours' time the retention is over.
	late, err := x.suite.Open(x.Context(), strings.Replace(x.server.URL(bucket, ""), "s3", x.suite.Scheme, 1), x.server.S3,
		func() time.Time { return until.Add(time.Hour) })
	if err != nil {
		x.Fatal(err)
	}
	if err := late.SetClass(x.Context(), "retained", "STANDARD_IA"); err != nil {
		x.Fatal(err)
	}
	if got, held := x.server.Locked(x.T, bucket, "retained"); !got.IsZero() || held {
		x.Errorf("moved after its time, it is retained until %s, held %v", got, held)
	}
}
