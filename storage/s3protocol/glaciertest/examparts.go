package glaciertest

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/storage"
	"github.com/strata-pacs/strata/storage/driver"
	"github.com/strata-pacs/strata/storage/retrystore"
	"github.com/strata-pacs/strata/storage/s3protocol"
	"github.com/strata-pacs/strata/storage/s3protocol/s3protocoltest"
)

// few is how many bytes are copied at once in these tests: the least that a part may have.
const few = 5 << 20

// inParts: what is too large for one copy changes its class in parts, as it was, or not at all.
func (x exam) inParts() {
	store := x.open(x.bucket(), "", "").CopyingAtMost(few)
	small := storage.New(store)
	p := bytes.Repeat([]byte("0123456789abcde\n"), (2*few+1000)/16)
	before := x.put("x", p, "")
	x.put("y", p[:few], "")
	for _, class := range []string{"STANDARD_IA", "STANDARD_IA", "", "DEEP_ARCHIVE"} {
		copies := x.server.Faults.Count("part")
		a, err := x.Stat(x.Context(), "x")
		if err != nil {
			x.Fatal(err)
		}
		if err := small.SetClass(x.Context(), "x", class); err != nil {
			x.Fatalf("to class %q: %v", class, err)
		}
		if n, want := x.server.Faults.Count("part")-copies, map[bool]int{true: 0, false: 3}[a.Class == class]; n != want {
			x.Errorf("to class %q: %d copies of parts, want %d", class, n, want)
		}
		if class == "DEEP_ARCHIVE" {
			break
		}
		x.want("x", class, driver.Online, time.Time{})
		got, err := x.Get(x.Context(), "x", 64<<20)
		if err != nil || !bytes.Equal(got, p) {
			x.Errorf("in class %q: read %d bytes, %v", class, len(got), err)
		}
		a, err = x.Stat(x.Context(), "x")
		if _, version, _ := strings.Cut(before.ETag, "."); err != nil || !strings.HasSuffix(a.ETag, "."+version) {
			x.Errorf("version %s became %s, %v", before.ETag, a.ETag, err)
		}
	}
	x.want("x", "DEEP_ARCHIVE", driver.Archived, time.Time{})
	x.wantKind(small.SetClass(x.Context(), "x", ""), fault.Archived)
	x.wantKind(small.SetClass(x.Context(), "none", "GLACIER"), fault.NotFound)
	copies := x.server.Faults.Count("part")
	if err := small.SetClass(x.Context(), "y", "GLACIER_IR"); err != nil || x.server.Faults.Count("part") != copies {
		x.Errorf("as much as is copied at once: %v", err)
	}
	x.none(store)
}

// none checks that no upload is left, as old as it may be.
func (x exam) none(s *s3protocol.Store) {
	x.Helper()
	late, err := x.suite.Open(x.Context(), strings.Replace(x.server.URL(x.bucket(), ""), "s3", x.suite.Scheme, 1), x.server.S3,
		func() time.Time { return time.Now().Add(2 * s3protocol.StaleAfter) })
	if err != nil {
		x.Fatal(err)
	}
	if n, err := late.Sweep(x.Context(), 100); err != nil || n != 0 {
		x.Errorf("%d uploads were left, %v", n, err)
	}
}

// another is what somebody else stores instead: as large, or the range would be refused and not the entity tag.
var another = strings.Repeat("another's", (few+1000)/9+1)

// partFaults: copies in parts over a network that breaks, and beside another who replaces the object.
func (x exam) partFaults() {
	store := x.open(x.bucket(), "", "").CopyingAtMost(few)
	b := storage.New(retrystore.New(store, retrystore.Options{First: time.Millisecond}))
	p := bytes.Repeat([]byte{7}, few+1000)
	for _, kind := range []string{"start", "part", "complete"} {
		for _, action := range []s3protocoltest.Action{s3protocoltest.Lost, s3protocoltest.Broken, s3protocoltest.Reset} {
			key := fmt.Sprint(kind, action)
			x.put(key, p, "")
			x.server.Faults.Script(s3protocoltest.Times(2, kind, action))
			if err := b.SetClass(x.Context(), key, "GLACIER_IR"); err != nil {
				x.Errorf("%s, action %d: %v", kind, action, err)
			}
			x.server.Faults.Script(nil)
			x.want(key, "GLACIER_IR", driver.Online, time.Time{})
		}
	}
	// Someone else replaces the object before a part is copied, or before the whole is there.
	for _, kind := range []string{"part", "complete"} {
		key := "replaced-" + kind
		x.put(key, p, "")
		var replaced atomic.Bool
		x.server.Faults.Answer(func(_ http.ResponseWriter, r *http.Request) bool {
			if s3protocoltest.Kind(r) == kind && replaced.CompareAndSwap(false, true) {
				x.past(key)
			}
			return false
		})
		x.wantKind(storage.New(store).SetClass(x.Context(), key, "GLACIER"), fault.Conflict)
		x.server.Faults.Answer(nil)
		if got, err := x.Get(x.Context(), key, 64<<20); err != nil || string(got) != another {
			x.Errorf("replaced before %s, and then %d bytes, %v", kind, len(got), err)
		}
	}
}

// past replaces an object past the stand-in.
func (x exam) past(key string) {
	direct, err := x.suite.Open(x.Context(), strings.Replace(strings.Replace(x.server.URL(x.bucket(), ""), "s3", x.suite.Scheme, 1),
		x.server.Endpoint, x.suite.Server.Endpoint, 1), x.suite.Server, nil)
	if err == nil {
		_, err = storage.New(direct).Put(x.Context(), key, []byte(another), storage.CreateOptions{})
	}
	if err != nil {
		x.Error(err)
	}
}
