package glaciertest

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/storage"
	"github.com/strata-pacs/strata/storage/driver"
	"github.com/strata-pacs/strata/storage/drivertest"
	"github.com/strata-pacs/strata/storage/retrystore"
	"github.com/strata-pacs/strata/storage/s3protocol"
	"github.com/strata-pacs/strata/storage/s3protocol/s3protocoltest"
)

// exam is a client of package s3protocol before an archive.
type exam struct {
	*testing.T
	*storage.Bucket // without retries
	suite           s3protocoltest.Suite
	clock           *Clock
	server          *Server
}

// Examine examines a client's classes and restores, before the suite's server.
func Examine(t *testing.T, suite s3protocoltest.Suite) {
	for name, test := range map[string]func(exam){
		"Driver":     exam.driver,
		"Restore":    exam.restore,
		"Speeds":     exam.speeds,
		"Tiering":    exam.tiering,
		"SetClass":   exam.setClass,
		"SlowDown":   exam.slowDown,
		"Lost":       exam.lost,
		"Copies":     exam.copies,
		"Lock":       exam.lock,
		"LockMoves":  exam.lockMoves,
		"InParts":    exam.inParts,
		"PartFaults": exam.partFaults,
		"LockKeeps":  exam.lockKeeps,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			clock := NewClock()
			x := exam{T: t, suite: suite, clock: clock, server: Start(t, suite.Server, Options{Now: clock.Now})}
			bucket := x.bucket()
			x.server.NewBucket(t, bucket, false)
			x.Bucket = storage.New(x.open(bucket, "", ""))
			test(x)
		})
	}
}

// bucket is a name for each test.
func (x exam) bucket() string {
	_, name, _ := strings.Cut(x.Name(), "/")
	return "glacier-" + strings.ToLower(name)
}

func (x exam) open(bucket, prefix, class string) *s3protocol.Store {
	x.Helper()
	address := strings.Replace(x.server.URL(bucket+"/"+prefix, class), "s3", x.suite.Scheme, 1)
	d, err := x.suite.Open(x.Context(), address, x.server.S3, nil)
	if err != nil {
		x.Fatal(err)
	}
	return d
}

func (x exam) put(key string, p []byte, class string) storage.Attrs {
	x.Helper()
	a, err := x.Put(x.Context(), key, p, storage.CreateOptions{Class: class, IfAbsent: true})
	if err != nil {
		x.Fatal(err)
	}
	return a
}

// want checks what Stat tells, and whether the bytes can be had.
func (x exam) want(key, class string, state driver.RestoreState, until time.Time) {
	x.Helper()
	a, err := x.Stat(x.Context(), key)
	if want := (driver.Restore{State: state, Until: until}); err != nil || a.Class != class || a.Restore != want {
		x.Errorf("%s is of class %q, %+v, %v; want %q, %+v", key, a.Class, a.Restore, err, class, want)
	}
	p, err := x.Get(x.Context(), key, 64<<20)
	if state == driver.Archived || state == driver.Restoring {
		x.wantKind(err, fault.Archived)
	} else if err != nil || int64(len(p)) != a.Size {
		x.Errorf("%s: read %d bytes of %d, %v", key, len(p), a.Size, err)
	}
}

func (x exam) wantKind(err error, k fault.Kind) {
	x.Helper()
	if !fault.Is(err, k) {
		x.Errorf("error %v is of kind %v, want %v", err, fault.KindOf(err), k)
	}
}

// thaw asks for a restore, and checks how many requests that took.
func (x exam) thaw(key string, keep time.Duration, speed string, requests int) error {
	x.Helper()
	before := x.server.Faults.Count("restore")
	err := x.Thaw(x.Context(), key, storage.ThawOptions{For: keep, Speed: speed})
	if n := x.server.Faults.Count("restore") - before; n != requests {
		x.Errorf("%s at %q: asked %d times, want %d", key, speed, n, requests)
	}
	return err
}

func (x exam) mustThaw(key string, keep time.Duration, speed string, requests int) {
	x.Helper()
	if err := x.thaw(key, keep, speed, requests); err != nil {
		x.Errorf("%s at %q: %v", key, speed, err)
	}
}

// midnight is when a copy ends that stays for some days from now.
func (x exam) midnight(days int) time.Time { return expiry(x.clock.Now(), days) }

const day = 24 * time.Hour

// driver: a class that can be read makes no difference.
func (x exam) driver() {
	var prefix string
	open := func(*testing.T) driver.Driver {
		return retrystore.New(x.open(x.bucket(), prefix, "GLACIER_IR"), retrystore.Options{Stall: time.Minute})
	}
	drivertest.Run(x.T, drivertest.Harness{Untimed: true, Files: true,
		New:    func(t *testing.T) driver.Driver { prefix = rand.Text(); return open(t) },
		Reopen: func(t *testing.T, _ driver.Driver) driver.Driver { return open(t) },
	})
}

// restore: from the archive and back, whatever the object's size.
func (x exam) restore() {
	for class, takes := range map[string]time.Duration{"GLACIER": 5 * time.Hour, "DEEP_ARCHIVE": 12 * time.Hour} {
		for _, size := range []int{0, 1000, s3protocol.PartSize + 1000} {
			key := fmt.Sprintf("%s/%d", strings.ToLower(class), size)
			if a := x.put(key, bytes.Repeat([]byte("x"), size), class); a.Class != class {
				x.Errorf("stored with class %q, want %q", a.Class, class)
			}
			x.want(key, class, driver.Archived, time.Time{})
			x.mustThaw(key, 25*time.Hour, "", 1)
			x.want(key, class, driver.Restoring, time.Time{})
			x.mustThaw(key, 25*time.Hour, "", 0)
			x.clock.Advance(takes)
			x.want(key, class, driver.Restored, x.midnight(2))
			x.mustThaw(key, 9*day, "Bulk", 1) // for longer
			x.want(key, class, driver.Restored, x.midnight(9))
			x.clock.Advance(11 * day)
			x.want(key, class, driver.Archived, time.Time{})
		}
	}
	x.put("hot", []byte("x"), "")
	x.put("instant", []byte("x"), "GLACIER_IR")
	x.mustThaw("hot", day, "", 0)
	x.mustThaw("instant", day, "Expedited", 0)
	x.want("instant", "GLACIER_IR", driver.Online, time.Time{})
	x.wantKind(x.thaw("none", day, "", 0), fault.NotFound)
}

// speeds: what the archive does not have, now or ever, and what hastens a restore.
func (x exam) speeds() {
	for _, key := range []string{"first", "second"} {
		x.put(key, []byte("x"), "GLACIER")
	}
	x.put("deep", []byte("x"), "DEEP_ARCHIVE")
	x.wantKind(x.thaw("deep", day, "Expedited", 0), fault.Invalid)
	x.want("deep", "DEEP_ARCHIVE", driver.Archived, time.Time{})

	x.server.SetExpedited(1)
	x.mustThaw("first", day, "Expedited", 1)
	again := storage.New(retrystore.New(x.open(x.bucket(), "", ""), retrystore.Options{First: time.Millisecond}))
	before := x.server.Faults.Count("restore")
	x.wantKind(again.Thaw(x.Context(), "second", storage.ThawOptions{Speed: "Expedited"}), fault.Busy)
	if n := x.server.Faults.Count("restore") - before; n != 1 {
		x.Errorf("what lacks capacity was asked for %d times", n)
	}
	x.mustThaw("second", day, "Bulk", 1)
	x.mustThaw("second", day, "Bulk", 0)
	x.mustThaw("second", 2*day, "Standard", 1) // it is not hastened, and goes on
	x.mustThaw("second", day, "Standard", 1)   // it is
	x.clock.Advance(5 * time.Minute)
	x.want("first", "GLACIER", driver.Restored, x.midnight(1))
	x.mustThaw("second", day, "Expedited", 1)
	x.clock.Advance(5 * time.Minute)
	x.want("second", "GLACIER", driver.Restored, x.midnight(1))
}

// tiering: what comes back from the archive tiers stays.
func (x exam) tiering() {
	for tier, takes := range map[string]time.Duration{"ARCHIVE_ACCESS": 5 * time.Hour, "DEEP_ARCHIVE_ACCESS": 12 * time.Hour} {
		x.put(tier, []byte("x"), "INTELLIGENT_TIERING")
		x.want(tier, "INTELLIGENT_TIERING", driver.Online, time.Time{})
		x.server.Archive(x.T, x.bucket(), tier, tier)
		x.want(tier, "INTELLIGENT_TIERING", driver.Archived, time.Time{})
		x.mustThaw(tier, day, "", 1)
		x.want(tier, "INTELLIGENT_TIERING", driver.Restoring, time.Time{})
		x.clock.Advance(takes)
		x.want(tier, "INTELLIGENT_TIERING", driver.Online, time.Time{})
	}
}

// setClass: bytes and metadata stay.
func (x exam) setClass() {
	for i, size := range []int{0, 1000, s3protocol.PartSize + 1000} {
		key := fmt.Sprint("x", i)
		p := bytes.Repeat([]byte{byte(i)}, size)
		before := x.put(key, p, "")
		for _, class := range []string{"STANDARD_IA", "STANDARD_IA", "", "GLACIER_IR"} {
			if err := x.SetClass(x.Context(), key, class); err != nil {
				x.Fatalf("%d bytes to class %q: %v", size, class, err)
			}
			x.want(key, class, driver.Online, time.Time{})
			got, err := x.Get(x.Context(), key, 64<<20)
			if err != nil || !bytes.Equal(got, p) {
				x.Errorf("%d bytes in class %q: read %d, %v", size, class, len(got), err)
			}
			a, err := x.Stat(x.Context(), key)
			if _, version, _ := strings.Cut(before.ETag, "."); err != nil || !strings.HasSuffix(a.ETag, "."+version) {
				x.Errorf("version %s became %s, %v", before.ETag, a.ETag, err)
			}
		}
		if err := x.SetClass(x.Context(), key, "DEEP_ARCHIVE"); err != nil {
			x.Fatal(err)
		}
		x.want(key, "DEEP_ARCHIVE", driver.Archived, time.Time{})
		x.wantKind(x.SetClass(x.Context(), key, ""), fault.Archived)
		x.mustThaw(key, day, "", 1)
		x.wantKind(x.SetClass(x.Context(), key, ""), fault.Archived)
		x.clock.Advance(12 * time.Hour)
		if err := x.SetClass(x.Context(), key, ""); err != nil {
			x.Error(err)
		}
		x.want(key, "", driver.Online, time.Time{})
	}
	x.wantKind(x.SetClass(x.Context(), "none", "GLACIER"), fault.NotFound)
	x.wantKind(x.SetClass(x.Context(), "x0", "BANANAS"), fault.Invalid)
	// The default is that of the address.
	if err := x.open(x.bucket(), "", "ONEZONE_IA").SetClass(x.Context(), "x0", ""); err != nil {
		x.Error(err)
	}
	x.want("x0", "ONEZONE_IA", driver.Online, time.Time{})
}
