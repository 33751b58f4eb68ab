//go:build linux

package dark

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// limit is how long after a revocation a byte may still come.
const limit = 5 * time.Second

// stream is something that goes on while the key is taken away.
type stream struct {
	what string
	mu   sync.Mutex // guards what follows
	last time.Time  // when bytes last came
	n    int64      // bytes, all in all
	err  error
	done bool
}

func (s *stream) took(n int) {
	if n > 0 {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.n, s.last = s.n+int64(n), time.Now()
	}
}

func (s *stream) end(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err, s.done = err, true
}

func (s *stream) state() (last time.Time, n int64, done bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last, s.n, s.done, s.err
}

// ends says whether the stream is one that notices that it was cut off.
func (s *stream) ends() bool {
	return !strings.HasPrefix(s.what, "polling") && !strings.Contains(s.what, "reads nothing")
}

// open says whether a stream that ought to end goes on.
func (w *watch) open() bool {
	for _, st := range w.streams {
		if _, _, done, _ := st.state(); !done && st.ends() {
			return true
		}
	}
	return false
}

// watch is a number of streams of one server, and of requests asked again and again.
type watch struct {
	s       *server
	ctx     context.Context
	stop    context.CancelFunc
	wg      sync.WaitGroup
	streams []*stream
	store   struct { // of the store that never ends by itself
		status int
		body   []byte
		at     time.Time
	}
}

// narrow is a client with little room for bytes that nobody has read.
var narrow = &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DisableCompression: true, DialContext: (&net.Dialer{
	Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { _ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 32<<10) })
	}}).DialContext}}

// begin starts the streams and returns when each has moved something.
func begin(t *testing.T, s *server) *watch {
	t.Helper()
	w := &watch{s: s}
	w.ctx, w.stop = context.WithCancel(t.Context())
	t.Cleanup(w.end)
	w.read(t, "a download by a slow client", route{path: pathOf(longImage), accept: anyDICOM}, 100*time.Millisecond)
	w.read(t, "a study by a slow client", route{path: "/studies/" + longImage.Study, accept: `multipart/related; type="application/dicom"; transfer-syntax=*`}, 100*time.Millisecond)
	w.read(t, "a frame by a client that reads nothing", route{path: pathOf(longImage) + "/frames/1", accept: `multipart/related; type="application/octet-stream"; transfer-syntax=*`}, time.Hour)
	w.read(t, "events", route{path: "/changes?after=0", accept: "text/event-stream"}, 0)
	w.post(t)
	for _, r := range reads() {
		w.poll(r)
	}
	for _, st := range w.streams {
		for end := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
			if _, n, done, err := st.state(); n > 0 && !done {
				break
			} else if done || time.Now().After(end) {
				t.Fatalf("%s: %s: %d bytes, then %v", s.name, st.what, n, err)
			}
		}
	}
	return w
}

func (w *watch) end() {
	w.stop()
	w.wg.Wait()
}

func (w *watch) add(what string) *stream {
	st := &stream{what: what}
	w.streams = append(w.streams, st)
	return st
}

// read reads an answer 32 KiB at a time, and rests between.
func (w *watch) read(t *testing.T, what string, r route, rest time.Duration) {
	st := w.add(what)
	req, err := w.s.request(w.ctx, r, nil)
	if err != nil {
		t.Fatal(err)
	}
	w.wg.Go(func() {
		resp, err := narrow.Do(req)
		if err != nil {
			st.end(err)
			return
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			st.end(fmt.Errorf("status %d", resp.StatusCode))
			return
		}
		buf := make([]byte, 32<<10)
		for {
			n, err := resp.Body.Read(buf)
			st.took(n)
			if err != nil {
				st.end(err)
				return
			}
			select {
			case <-time.After(rest):
			case <-w.ctx.Done():
				return
			}
		}
	})
}

// post sends the beginning of an instance, and then a little now and then.
func (w *watch) post(t *testing.T) {
	st := w.add("a store")
	body, feed := io.Pipe()
	req, err := w.s.request(w.ctx, route{method: http.MethodPost, path: "/studies", contentType: "application/dicom", accept: textJSON}, body)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	w.wg.Go(func() {
		defer close(ended)
		defer body.Close()
		resp, err := client.Do(req)
		if err != nil {
			st.end(err)
			return
		}
		defer resp.Body.Close()
		w.store.status, w.store.at = resp.StatusCode, time.Now()
		w.store.body, err = io.ReadAll(resp.Body)
		st.end(err)
	})
	w.wg.Go(func() {
		defer feed.Close()
		file := image(neverStored, "ISO_IR 192", "Quetzlkranich^Nie", "Wölfflinshügel", 3000, "1")
		for r := bytes.NewReader(file); ; {
			n, err := io.CopyN(feed, r, 16<<10)
			if err != nil {
				return
			}
			st.took(int(n))
			select {
			case <-time.After(50 * time.Millisecond):
			case <-ended:
				return
			case <-w.ctx.Done():
				return
			}
		}
	})
}

// poll asks again and again, and counts what is answered with anything but a refusal.
func (w *watch) poll(r route) {
	st := w.add("polling " + r.String())
	w.wg.Go(func() {
		for w.ctx.Err() == nil {
			status, b, err := w.s.do(w.ctx, r)
			if err == nil && status < 300 {
				st.took(len(b) + 1)
			}
			select {
			case <-time.After(200 * time.Millisecond):
			case <-w.ctx.Done():
			}
		}
	})
}

// darkness waits until nothing has come for a while after the key was taken away,
// and returns when the last byte of each stream came.
func (w *watch) darkness(t *testing.T, denied time.Time) (latest time.Duration) {
	t.Helper()
	select {
	case <-time.After(time.Until(denied.Add(limit + time.Second))):
	case <-t.Context().Done():
	}
	store := "no answer"
	for _, st := range w.streams {
		last, n, done, err := st.state()
		after := max(0, last.Sub(denied))
		latest = max(latest, after)
		switch {
		case after > limit:
			t.Errorf("%s: %s: bytes came %.1f s after the key was taken away", w.s.name, st.what, after.Seconds())
		case !done && st.ends():
			t.Errorf("%s: %s goes on", w.s.name, st.what)
		}
		if done && !strings.HasPrefix(st.what, "polling") {
			t.Logf("%s: %s: %d bytes, the last %.1f s after, then %v", w.s.name, st.what, n, after.Seconds(), err)
		}
	}
	w.end()
	if w.store.status != 0 {
		store = fmt.Sprintf("status %d %s, %.1f s after", w.store.status, problem(w.store.body), w.store.at.Sub(denied).Seconds())
	}
	t.Logf("%s: dark after %.1f s; the store under way: %s", w.s.name, latest.Seconds(), store)
	if w.store.status >= 200 && w.store.status < 300 {
		t.Errorf("%s: a store without its end was acknowledged", w.s.name)
	}
	return latest
}

// nothingStored holds that the store which was cut off left nothing.
func nothingStored(t *testing.T, s *server) {
	t.Helper()
	s.must(t, http.StatusNotFound, route{path: pathOf(neverStored) + "/metadata", accept: textJSON})
	if b := s.must(t, http.StatusOK, route{path: "/studies?StudyInstanceUID=" + neverStored.Study, accept: textJSON}); !bytes.Equal(bytes.TrimSpace(b), []byte("[]")) {
		t.Errorf("%s: what was cut off is found: %s", s.name, b)
	}
}
