package glaciertest

import (
	"context"
	"fmt"
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
