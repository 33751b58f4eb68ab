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

// broken returns a store behind a proxy.
func (s Suite) broken(t *testing.T) (*Proxy, *s3protocol.Store) {
	t.Helper()
	p := NewProxy(t, s.Server.Endpoint)
	return p, s.openAt(t, p.URL, plain, rand.Text(), "")
}

// retrying returns d with retries; what stands still is given up by the proxy's clock.
func (p *Proxy) retrying(d driver.Driver, attempts int) driver.Driver {
	return retrystore.New(d, retrystore.Options{Attempts: attempts, First: time.Millisecond,
		Stall: 30 * time.Second, Now: p.clock.now, AfterFunc: p.clock.afterFunc})
}

// writeFaults: an object is stored whole or not at all, and once.
func (s Suite) writeFaults(t *testing.T) {
	p, bare := s.broken(t)
	again := p.retrying(bare, 5)
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
		options := []driver.CreateOptions{{IfAbsent: true}, {Size: int64(len(c.data))}}
		if len(c.data) > part {
			options = options[:1]
		}
		for _, o := range options {
			key := fmt.Sprintf("t/%d/%v", i, o.IfAbsent)
			p.Script(Times(1, c.what, c.action))
			a, err := put(t.Context(), again, key, c.data, o)
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
				_, err = put(t.Context(), again, key, c.data, driver.CreateOptions{IfAbsent: true})
				wantKind(t, err, fault.Exists)
			}
		}
		// Without retries it fails, as what may work when tried again.
		if c.action == Stall {
			continue
		}
		p.Script(Times(1, c.what, c.action))
		_, err := put(t.Context(), bare, fmt.Sprintf("t/%d/bare", i), c.data, driver.CreateOptions{IfAbsent: true})
		if err != nil || c.what != "complete" || c.action != Truncate {
			wantKind(t, err, fault.Unavailable)
		}
		p.Script(nil)
	}
	// Another conditional write under way, which was over when it was looked at.
	p.Script(Times(1, "put", Raced))
	_, err := put(t.Context(), bare, "t/0/true", small, driver.CreateOptions{IfAbsent: true})
	wantKind(t, err, fault.Exists)
	// No room is final, unless an earlier attempt may still have found some.
	for i, c := range []struct {
		actions []Action
		want    fault.Kind // Internal: it succeeds
	}{
		{[]Action{NoRoom}, fault.Full},
		{[]Action{Lost, NoRoom}, fault.Internal},
		{[]Action{Reset, NoRoom, NoRoom, NoRoom, NoRoom}, fault.Unavailable},
		{[]Action{Reset, NoRoom}, fault.Internal},
	} {
		p.Script(Series("put", c.actions...))
		_, err := put(t.Context(), again, fmt.Sprintf("t/full/%d", i), small, driver.CreateOptions{IfAbsent: true})
		if c.want != fault.Internal {
			wantKind(t, err, c.want)
		} else if err != nil {
			t.Errorf("%v: %v", c.actions, err)
		}
	}
	// A replacement whose answer was lost.
	v := mustPut(t, again, "t/key", []byte("v1"), driver.CreateOptions{IfAbsent: true})
	for i := range 3 {
		p.Script(Times(1, "put", Lost))
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
	again := p.retrying(bare, 5)
	small, large := pattern(200_000, 1), pattern(part+500_000, 2)
	mustPut(t, bare, "t/small", small, driver.CreateOptions{})
	mustPut(t, bare, "t/large", large, driver.CreateOptions{})
	for _, a := range []Action{Reset, SlowDown, Lost, Truncate, Stall, StallBody} {
		for _, c := range []struct {
			key    string
			data   []byte
			off, n int64
		}{
			{"t/small", small, 0, -1}, {"t/large", large, 1000, 1 << 20}, {"t/small", small, 199_000, 1000},
		} {
			want := c.data[c.off:]
			if c.n >= 0 {
				want = want[:c.n]
			}
			p.Script(Times(1, "get", a))
			got, err := get(t.Context(), again, c.key, c.off, c.n)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("action %d, %s from %d: %d bytes of %d, %v", a, c.key, c.off, len(got), len(want), err)
			}
			if a == Stall || a == StallBody {
				continue
			}
			p.Script(Times(1, "get", a))
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
	p.Script(Times(1000, "get", StallBody))
	_, err := get(t.Context(), p.retrying(bare, 3), "t/small", 0, 100_000)
	wantKind(t, err, fault.Unavailable)
	// An answer that does not say where it ends is not read at all.
	p.Script(nil)
	p.Answer(func(w http.ResponseWriter, r *http.Request) bool {
		if Kind(r) != "get" {
			return false
		}
		w.Header().Set("Last-Modified", "Fri, 21 Dec 2012 00:00:00 GMT")
		_, _ = w.Write(small[:1000])
		_ = http.NewResponseController(w).Flush() // chunked from here on
		return true
	})
	_, err = get(t.Context(), again, "t/small", 0, -1)
	wantKind(t, err, fault.Internal)
	p.Answer(nil)
	// Wrong bytes of a whole object are found, whether it was uploaded in parts or not.
	for _, key := range []string{"t/small", "t/large"} {
		p.Script(Times(1, "get", FlipAnswer))
		_, err := get(t.Context(), again, key, 0, -1)
		wantKind(t, err, fault.Corrupt)
	}
}

func (s Suite) otherFaults(t *testing.T) {
	p, bare := s.broken(t)
	again := p.retrying(bare, 5)
	for i := range 3 {
		mustPut(t, bare, fmt.Sprintf("t/%d", i), []byte("x"), driver.CreateOptions{})
	}
	for _, a := range []Action{Reset, SlowDown, Lost, Truncate, Stall} {
		p.Script(Times(1, "list", a))
		page, err := again.List(t.Context(), "t/", "", 10)
		if err != nil || len(page.Objects) != 3 {
			t.Errorf("action %d: listed %d, %v", a, len(page.Objects), err)
		}
		if a == Truncate {
			continue // the others have no body
		}
		p.Script(Times(1, "head", a))
		if _, err := again.Stat(t.Context(), "t/0"); err != nil {
			t.Errorf("action %d: Stat: %v", a, err)
		}
		p.Script(Times(1, "delete", a))
		if err := again.Delete(t.Context(), "t/none"); err != nil {
			t.Errorf("action %d: Delete: %v", a, err)
		}
	}
	// The library retries nothing by itself.
	p.Script(Times(1000, "head", SlowDown))
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
	p.Script(Times(1000, "part", Stuck))
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
