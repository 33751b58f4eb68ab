package s3protocoltest

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/storage/driver"
	"github.com/strata-pacs/strata/storage/s3protocol"
)

// uploads: objects around the size of a part, conditions, and what is left behind.
func (s Suite) uploads(t *testing.T) {
	p := NewProxy(t, s.Server.Endpoint)
	prefix := rand.Text()
	d := s.openAt(t, p.URL, plain, prefix, "")
	for i, size := range []int{part - 1, part, part + 1, 2*part + 12345} {
		key := fmt.Sprintf("t/%d", i)
		data := pattern(size, byte(i))
		before := p.Count("start")
		a := mustPut(t, d, key, data, driver.CreateOptions{IfAbsent: true})
		if got := p.Count("start") > before; got != (size > part) {
			t.Errorf("%d bytes in parts: %v", size, got)
		}
		if a.Size != int64(size) {
			t.Errorf("Commit says %+v", a)
		}
		wantBytes(t, d, key, data)
		if got, err := get(t.Context(), d, key, int64(size)-1000, 1000); err != nil || string(got) != string(data[size-1000:]) {
			t.Errorf("the end of %d bytes: %d, %v", size, len(got), err)
		}
	}
	large := pattern(part+10, 9)
	_, err := put(t.Context(), d, "t/3", large, driver.CreateOptions{IfAbsent: true})
	wantKind(t, err, fault.Exists)
	_, err = put(t.Context(), d, "t/none", large, driver.CreateOptions{IfMatch: "0.1"})
	wantKind(t, err, fault.Conflict)
	a, err := d.Stat(t.Context(), "t/0")
	if err != nil {
		t.Fatal(err)
	}
	b := mustPut(t, d, "t/0", large, driver.CreateOptions{IfMatch: a.ETag})
	_, err = put(t.Context(), d, "t/0", large, driver.CreateOptions{IfMatch: a.ETag})
	wantKind(t, err, fault.Conflict)
	wantBytes(t, d, "t/0", large)
	// The store itself refuses, when another was faster after the look.
	direct := s.openAt(t, s.Server.Endpoint, plain, prefix, "")
	p.Script(func(r *http.Request) Action {
		if Kind(r) == "complete" {
			if _, err := put(t.Context(), direct, "t/0", []byte("faster"), driver.CreateOptions{}); err != nil {
				t.Error(err)
			}
		}
		return Pass
	})
	_, err = put(t.Context(), d, "t/0", large, driver.CreateOptions{IfMatch: b.ETag})
	wantKind(t, err, fault.Conflict)
	wantBytes(t, d, "t/0", []byte("faster"))
	p.Script(nil)
}

// sweep: nothing is left of what was aborted or refused; what a crash leaves, Sweep finds.
func (s Suite) sweep(t *testing.T) {
	p := NewProxy(t, s.Server.Endpoint)
	prefix := rand.Text()
	d := s.openAt(t, p.URL, plain, prefix, "")
	clock := func() time.Time { return time.Now().Add(s3protocol.StaleAfter + time.Minute) }
	late, err := s.Open(t.Context(), s.address(s.Server.Endpoint, plain, prefix, ""), s.Server, clock)
	if err != nil {
		t.Fatal(err)
	}
	abort := func() {
		parts := p.Count("part")
		w, err := d.Create(t.Context(), "t/aborted", driver.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(pattern(2*part, 1)); err != nil {
			t.Fatal(err)
		}
		_, err = d.Stat(t.Context(), "t/aborted")
		wantKind(t, err, fault.NotFound)
		if page, err := d.List(t.Context(), "t/aborted", "", 10); err != nil || len(page.Objects) != 0 {
			t.Errorf("an unfinished upload is listed: %+v, %v", page, err)
		}
		p.Await(t, "part", parts+1) // or it could arrive after its upload was dropped, and bring it back
		w.Abort()
	}
	wantSwept := func(d *s3protocol.Store, limit, want int) {
		t.Helper()
		if n, err := d.Sweep(t.Context(), limit); err != nil || n != want {
			t.Errorf("%d uploads were removed, %v; want %d", n, err, want)
		}
	}
	abort()
	mustPut(t, d, "t/x", pattern(part+1, 1), driver.CreateOptions{IfAbsent: true})
	_, err = put(t.Context(), d, "t/x", pattern(part+1, 2), driver.CreateOptions{IfAbsent: true})
	wantKind(t, err, fault.Exists)
	wantSwept(late, 100, 0)
	p.Script(Times(100, "drop", Reset))
	for range 3 {
		abort()
	}
	p.Script(nil)
	wantSwept(d, 100, 0) // they are young
	wantSwept(late, 2, 2)
	wantSwept(late, 100, 1)
	wantSwept(late, 100, 0)
	wantBytes(t, d, "t/x", pattern(part+1, 1))
}

// purge: no version is left, in a bucket that keeps them and in one that does not.
func (s Suite) purge(t *testing.T) {
	for _, bucket := range []string{plain, versioned} {
		prefix := rand.Text()
		d := s.openAt(t, s.Server.Endpoint, bucket, prefix, "")
		for i := range 3 {
			mustPut(t, d, "t/key", pattern(100, byte(i)), driver.CreateOptions{})
		}
		mustPut(t, d, "t/key2", []byte("neighbour"), driver.CreateOptions{})
		mustPut(t, d, "t/deleted", []byte("1"), driver.CreateOptions{})
		if err := d.Delete(t.Context(), "t/deleted"); err != nil {
			t.Fatal(err)
		}
		for _, key := range []string{"t/key", "t/deleted", "t/none"} {
			if err := d.Purge(t.Context(), key); err != nil {
				t.Fatalf("%s: purging %s: %v", bucket, key, err)
			}
			_, err := d.Stat(t.Context(), key)
			wantKind(t, err, fault.NotFound)
			if left := s.Server.Versions(t, bucket, prefix+"/"+key); left != 0 {
				t.Errorf("%s: %d versions of %s are left", bucket, left, key)
			}
		}
		wantBytes(t, d, "t/key2", []byte("neighbour"))
		mustPut(t, d, "t/deleted", []byte("anew"), driver.CreateOptions{IfAbsent: true})
	}
}
