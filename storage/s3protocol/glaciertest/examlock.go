package glaciertest

import (
	"strings"
	"time"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/storage"
)

// lockKeeps: what is locked cannot be purged, a lock only grows, and a store that was not told to lock does nothing.
func (x exam) lockKeeps() {
	bucket := x.bucket() + "ed"
	x.server.NewLockedBucket(x.T, bucket, 0)
	with := func(parameter string) *storage.Bucket {
		url := strings.Replace(x.server.URL(bucket, ""), "s3", x.suite.Scheme, 1) + parameter
		d, err := x.suite.Open(x.Context(), url, x.server.S3, time.Now)
		if err != nil {
			x.Fatal(err)
		}
		return storage.New(d)
	}
	plain, governed, strict := with(""), with("&lock=governance"), with("&lock=compliance")
	for _, key := range []string{"x", "y"} {
		if _, err := plain.Put(x.Context(), key, []byte("x"), storage.CreateOptions{}); err != nil {
			x.Fatal(err)
		}
	}
	soon := time.Now().Add(time.Hour).Truncate(time.Second)
	lock := func(b *storage.Bucket, until time.Time, want time.Time) {
		x.Helper()
		if err := b.Lock(x.Context(), "x", until); err != nil {
			x.Fatal(err)
		}
		if got, _ := x.server.Locked(x.T, bucket, "x"); got.Before(want) || got.After(want.Add(time.Second)) {
			x.Errorf("locked until %s, want %s", got, want)
		}
	}
	lock(plain, soon, time.Time{})
	lock(governed, time.Now().Add(-time.Hour), time.Time{}) // what is past needs no lock
	lock(governed, soon, soon)
	lock(governed, soon.Add(-time.Minute), soon)
	lock(governed, soon.Add(time.Hour), soon.Add(time.Hour))
	lock(strict, soon, soon.Add(time.Hour)) // stricter, and no shorter
	lock(governed, soon.Add(2*time.Hour), soon.Add(2*time.Hour))
	x.wantKind(governed.Purge(x.Context(), "x"), fault.Conflict)
	if b, err := plain.Get(x.Context(), "x", 9); err != nil || string(b) != "x" {
		x.Errorf("%q, %v", b, err)
	}
	if err := governed.Purge(x.Context(), "y"); err != nil {
		x.Errorf("what is not locked: %v", err)
	}
	x.wantKind(governed.Lock(x.Context(), "z", soon), fault.NotFound)
}
