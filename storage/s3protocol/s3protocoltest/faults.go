package s3protocoltest

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/storage/driver"
	"github.com/strata-pacs/strata/storage/retrystore"
	"github.com/strata-pacs/strata/storage/s3protocol"
)

const part = s3protocol.PartSize

// stallAfter is long for a loopback and short for a test.
const stallAfter = 200 * time.Millisecond

// broken returns a store behind a proxy.
func (s Suite) broken(t *testing.T) (*Proxy, *s3protocol.Store) {
	t.Helper()
	p := NewProxy(t, s.Server.Endpoint)
	return p, s.openAt(t, p.URL, plain, rand.Text(), "")
}

// retrying returns d with retries, which are impatient only where something stalls.
func retrying(d driver.Driver, a Action) driver.Driver {
	o := retrystore.Options{First: time.Millisecond, Stall: time.Minute}
	if a == Stall || a == StallBody {
		o.Stall = stallAfter
	}
	return retrystore.New(d, o)
}

// writeFaults: an object is stored whole or not at all, and once.
func (s Suite) writeFaults(t *testing.T) {
	p, bare := s.broken(t)
	small, large := pattern(100_000, 1), pattern(part+1000, 2)
	for i, c := range []struct {
		what   string
		action Action
		data   []byte
	}{
		{"put", Reset, small}, {"put", SlowDown, small}, {"put", Lost, small}, {"put", Stall, small}, {"put", FlipRequest, small}, {"put", Raced, small},
		{"start", Lost, large}, {"part", Reset, large}, {"part", SlowDown, large}, {"part", Lost, large}, {"part", Stall, large},
		{"part", FlipRequest, large}, {"complete", SlowDown, large}, {"complete", Lost, large}, {"complete", Truncate, large},
		{"complete", Raced, large},
	} {
		for _, o := range []driver.CreateOptions{{IfAbsent: true}, {Size: int64(len(c.data))}} {
			key := fmt.Sprintf("t/%d/%v", i, o.IfAbsent)
			p.Script(times(1, c.what, c.action))
			a, err := put(t.Context(), retrying(bare, c.action), key, c.data, o)
			if err != nil {
				t.Errorf("%s, action %d, if absent %v: %v", c.what, c.action, o.IfAbsent, err)
				continue
			}
			p.Script(nil)
			wantBytes(t, bare, key, c.data)
			if stat, err := bare.Stat(t.Context(), key); err != nil || stat.ETag != a.ETag || stat.Size != a.Size {
				t.Errorf("%s, action %d: Stat %+v, %v; Commit said %+v", c.what, c.action, stat, err, a)
			}
			if len(c.data) < part { // the very same bytes, but another's
				_, err = put(t.Context(), retrying(bare, Pass), key, c.data, driver.CreateOptions{IfAbsent: true})
				wantKind(t, err, fault.Exists)
			}
		}
		// Without retries it fails, as what may work when tried again.
		if c.action == Stall {
			continue
		}
		p.Script(times(1, c.what, c.action))
		_, err := put(t.Context(), bare, fmt.Sprintf("t/%d/bare", i), c.data, driver.CreateOptions{IfAbsent: true})
		if err != nil || c.what != "complete" || c.action != Truncate {
			wantKind(t, err, fault.Unavailable)
		}
		p.Script(nil)
	}
	// Another conditional write under way, which was over when it was looked at.
	p.Script(times(1, "put", Raced))
	_, err := put(t.Context(), bare, "t/0/true", small, driver.CreateOptions{IfAbsent: true})
	wantKind(t, err, fault.Exists)
	// A replacement whose answer was lost.
	again := retrying(bare, Pass)
	v := mustPut(t, again, "t/key", []byte("v1"), driver.CreateOptions{IfAbsent: true})
	for i := range 3 {
		p.Script(times(1, "put", Lost))
		v = mustPut(t, again, "t/key", fmt.Appendf(nil, "v%d", i+2), driver.CreateOptions{IfMatch: v.ETag})
	}
	p.Script(nil)
	wantBytes(t, bare, "t/key", []byte("v4"))
	_, err = put(t.Context(), again, "t/key", []byte("v5"), driver.CreateOptions{IfMatch: "x" + v.ETag})
	wantKind(t, err, fault.Conflict)
}

// readFaults: a read ends with an error or with all its bytes.
func (s Suite) readFaults(t *testing.T) {
	p, bare := s.broken(t)
	small, large := pattern(200_000, 1), pattern(part+500_000, 2)
	mustPut(t, bare, "t/small", small, driver.CreateOptions{})
	mustPut(t, bare, "t/large", large, driver.CreateOptions{})
	for _, a := range []Action{Reset, SlowDown, Lost, Truncate, Stall, StallBody} {
		for _, c := range []struct {
			key    string
			data   []byte
			off, n int64
		}{
			{"t/small", small, 0, -1}, {"t/large", large, 0, -1}, {"t/large", large, 1000, 6 << 20}, {"t/small", small, 199_000, 1000},
		} {
			want := c.data[c.off:]
			if c.n >= 0 {
				want = want[:c.n]
			}
			p.Script(times(1, "get", a))
			got, err := get(t.Context(), retrying(bare, a), c.key, c.off, c.n)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("action %d, %s from %d: %d bytes of %d, %v", a, c.key, c.off, len(got), len(want), err)
			}
			if a == Stall || a == StallBody {
				continue
			}
			p.Script(times(1, "get", a))
			got, err = get(t.Context(), bare, c.key, c.off, c.n)
			switch {
			case err != nil:
				wantKind(t, err, fault.Unavailable)
			case a == Reset || a == Lost:
				// net/http may have asked again by itself, because a connection that it
				// used again broke before an answer began.
				if !bytes.Equal(got, want) {
					t.Errorf("action %d without retries, %s from %d: %d bytes of %d", a, c.key, c.off, len(got), len(want))
				}
			default:
				t.Errorf("action %d without retries, %s from %d: no error, %d bytes of %d", a, c.key, c.off, len(got), len(want))
			}
		}
	}
	// What stays broken ends too, after attempts that end each.
	p.Script(times(1000, "get", StallBody))
	began := time.Now()
	_, err := get(t.Context(), retrystore.New(bare, retrystore.Options{Attempts: 2, First: time.Millisecond, Stall: stallAfter}), "t/small", 0, 100_000)
	wantKind(t, err, fault.Unavailable)
	if d := time.Since(began); d > 20*stallAfter {
		t.Errorf("a store that stands still was waited for %v", d)
	}
	// Wrong bytes of a whole object are found, whether it was uploaded in parts or not.
	for _, key := range []string{"t/small", "t/large"} {
		p.Script(times(1, "get", FlipAnswer))
		_, err := get(t.Context(), retrying(bare, Pass), key, 0, -1)
		wantKind(t, err, fault.Corrupt)
	}
}

func (s Suite) otherFaults(t *testing.T) {
	p, bare := s.broken(t)
	for i := range 3 {
		mustPut(t, bare, fmt.Sprintf("t/%d", i), []byte("x"), driver.CreateOptions{})
	}
	for _, a := range []Action{Reset, SlowDown, Lost, Truncate, Stall} {
		p.Script(times(1, "list", a))
		page, err := retrying(bare, a).List(t.Context(), "t/", "", 10)
		if err != nil || len(page.Objects) != 3 {
			t.Errorf("action %d: listed %d, %v", a, len(page.Objects), err)
		}
		if a == Truncate {
			continue // the others have no body
		}
		p.Script(times(1, "head", a))
		if _, err := retrying(bare, a).Stat(t.Context(), "t/0"); err != nil {
			t.Errorf("action %d: Stat: %v", a, err)
		}
		p.Script(times(1, "delete", a))
		if err := retrying(bare, a).Delete(t.Context(), "t/none"); err != nil {
			t.Errorf("action %d: Delete: %v", a, err)
		}
	}
	// The library retries nothing by itself.
	p.Script(times(1000, "head", SlowDown))
	before := p.Count("head")
	_, err := bare.Stat(t.Context(), "t/0")
	wantKind(t, err, fault.Unavailable)
	if n := p.Count("head") - before; n != 1 {
		t.Errorf("one Stat made %d requests", n)
	}
}

// backpressure: a writer takes no more than it may hold when nothing leaves.
func (s Suite) backpressure(t *testing.T) {
	p, bare := s.broken(t)
	p.Script(times(1000, "part", Stall))
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	w, err := bare.Create(ctx, "t/x", driver.CreateOptions{IfAbsent: true})
	if err != nil {
		t.Fatal(err)
	}
	taken, piece := 0, pattern(1<<20, 1)
	for {
		n, err := w.Write(piece)
		taken += n
		if err != nil {
			wantKind(t, err, fault.Timeout) // the context's own end
			break
		}
	}
	if most := 6 * part; taken > most {
		t.Errorf("it took %d bytes, more than %d", taken, most)
	}
	w.Abort()
	_, err = bare.Stat(t.Context(), "t/x")
	wantKind(t, err, fault.NotFound)
}

// storm: many writers and readers while a third of everything fails.
func (s Suite) storm(t *testing.T) {
	p, store := s.broken(t)
	d := retrystore.New(store, retrystore.Options{Attempts: 30, First: time.Millisecond, Longest: 10 * time.Millisecond, Stall: time.Minute, Hedge: true})
	n := 0
	p.Script(func(*http.Request) Action { // one at a time, by the proxy's lock
		n++
		if n%3 != 0 {
			return Pass
		}
		return []Action{Reset, SlowDown, Lost, Truncate}[n/3%4]
	})
	var wg sync.WaitGroup
	for g := range 6 {
		wg.Go(func() {
			size := 50_000 * (g + 1)
			if g == 0 {
				size = 2*part + 5
			}
			data := pattern(size, byte(g))
			for i := range 4 {
				key := fmt.Sprintf("t/%d/%d", g, i)
				if _, err := put(t.Context(), d, key, data, driver.CreateOptions{IfAbsent: true}); err != nil {
					t.Errorf("storing: %v", err)
					return
				}
				got, err := get(t.Context(), d, key, 0, -1)
				if err != nil || !bytes.Equal(got, data) {
					t.Errorf("reading: %d bytes of %d, %v", len(got), len(data), err)
				}
			}
		})
	}
	wg.Wait()
	p.Script(nil)
	page, err := store.List(t.Context(), "t/", "", 1000)
	if err != nil || len(page.Objects) != 24 {
		t.Errorf("%d objects are there, %v", len(page.Objects), err)
	}
}
