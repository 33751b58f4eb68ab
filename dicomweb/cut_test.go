package dicomweb

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/strata-pacs/strata/internal/fault"
)

// ward is a hospital in whose tenant north requests can be held still.
type ward struct {
	*hospital
	denied atomic.Bool   // what Check says
	inside chan struct{} // a handler has got somewhere
	resume chan struct{} // lets it go on
	ended  chan error    // how it ended
}

const long = 20 * time.Second // for what should not take a moment

func newWard(t *testing.T, stall time.Duration) *ward {
	t.Helper()
	w := &ward{inside: make(chan struct{}, 1), resume: make(chan struct{}), ended: make(chan error, 1)}
	w.hospital = newHospital(t, func(o *Options) {
		o.Limits.Stall = stall
		o.Check = func(context.Context) error {
			if w.denied.Load() {
				return errTaken
			}
			return nil
		}
	})
	s := w.tenants["north"]
	handle := func(method, path string, h echo.HandlerFunc) {
		s.handle(method, path, func(c echo.Context) error {
			err := h(c)
			w.ended <- err
			return err
		})
	}
	handle("GET", "/before", func(c echo.Context) error { // cut off before the answer begins
		w.pause()
		<-c.Request().Context().Done()
		return c.Request().Context().Err()
	})
	after := func(c echo.Context) error { // when the answer is there already
		<-w.pause()
		return c.String(200, "all of it")
	}
	handle("GET", "/after", after)
	handle("POST", "/after", after) // which no client repeats
	handle("GET", "/midway", func(c echo.Context) error {
		if _, err := c.Response().Write([]byte("the beginning")); err != nil {
			return err
		}
		c.Response().Flush()
		<-w.pause()
		_, err := c.Response().Write([]byte("and the rest"))
		return err
	})
	handle("GET", "/much", func(c echo.Context) error { // more than all buffers hold
		w.pause()
		for range 1 << 10 {
			if _, err := c.Response().Write(make([]byte, 1<<20)); err != nil {
				return err
			}
		}
		return errors.New("everything was sent")
	})
	handle("POST", "/sink", func(c echo.Context) error {
		w.pause()
		n, err := io.Copy(io.Discard, c.Request().Body)
		if err != nil {
			return err
		}
		return c.String(200, fmt.Sprint(n))
	})
	return w
}

func (w *ward) pause() chan struct{} {
	w.inside <- struct{}{}
	return w.resume
}

func (w *ward) wait(what string, c <-chan struct{}) {
	w.t.Helper()
	select {
	case <-c:
	case <-time.After(long):
		w.t.Fatal(what + ": not in time")
	}
}

func (w *ward) how() error {
	w.t.Helper()
	select {
	case err := <-w.ended:
		return err
	case <-time.After(long):
		w.t.Fatal("the request does not end")
		return nil
	}
}

// caller is one connection to the server.
type caller struct {
	net.Conn
	t *testing.T
	r *bufio.Reader
}

func (w *ward) call() *caller {
	w.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(w.url, "http://"))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(2 * long))
	return &caller{conn, w.t, bufio.NewReader(conn)}
}

func (c *caller) send(method, path, more string) {
	c.t.Helper()
	if _, err := fmt.Fprintf(c, "%s /t/north/dicom-web%s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer north\r\n%s\r\n", method, path, more); err != nil {
		c.t.Fatal(err)
	}
}

// answer reads the next answer; an error is one of its body.
func (c *caller) answer() (reply, error) {
	c.t.Helper()
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	b, err := io.ReadAll(resp.Body)
	return reply{resp, string(b)}, err
}

func (r reply) wantsRevoked(t *testing.T) {
	t.Helper()
	if p := r.problem(t); r.StatusCode != 403 || p.Type != "urn:strata:problem:key-revoked" {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
}

// TestCutBefore: before its first byte an answer can still say why, and the
// connection, whose reading may have been cut off too, is not used again.
func TestCutBefore(t *testing.T) {
	w := newWard(t, time.Minute)
	c := w.call()
	c.send("GET", "/before", "")
	w.wait("inside", w.inside)
	w.revoke()
	r, err := c.answer()
	if err != nil {
		t.Fatal(err)
	}
	r.wantsRevoked(t)
	if !r.Close {
		t.Error("the connection is to be used again")
	}
	if _, err := c.r.ReadByte(); err != io.EOF {
		t.Errorf("behind the answer: %v", err)
	}
	_ = w.how()
}

// TestCutAfter: a whole answer that has not left is not let out any more.
func TestCutAfter(t *testing.T) {
	w := newWard(t, time.Minute)
	c := w.call()
	c.send("GET", "/after", "")
	w.wait("inside", w.inside)
	w.revoke()
	close(w.resume)
	if err := w.how(); err == nil {
		t.Error("the handler could write")
	}
	if b, err := io.ReadAll(c.r); strings.Contains(string(b), "all of it") {
		t.Errorf("it got out: %q, %v", b, err)
	}
}

func TestCutMidway(t *testing.T) {
	for name, how := range map[string]func(*ward){
		"by the context": func(w *ward) { w.revoke() },
		"by the check":   func(w *ward) { w.denied.Store(true) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWard(t, time.Minute)
			c := w.call()
			c.send("GET", "/midway", "")
			w.wait("inside", w.inside)
			how(w)
			close(w.resume)
			r, err := c.answer()
			if r.StatusCode != 200 || err == nil || strings.Contains(r.body, "rest") {
				t.Errorf("%d %q, %v: it must be broken off", r.StatusCode, r.body, err)
			}
			_ = w.how()
			line := logLine(t, &w.log, 0)
			if line["aborted"] != true || line["status"] != float64(403) {
				t.Errorf("logged: %v", line)
			}
		})
	}
}

// TestCutSlowReader: a write to a client that does not read ends with the cut,
// not when the client has been given up.
func TestCutSlowReader(t *testing.T) {
	w := newWard(t, time.Hour)
	c := w.call()
	c.send("GET", "/much", "")
	w.wait("inside", w.inside)
	time.Sleep(50 * time.Millisecond) // the write has begun to wait, mostly
	began := time.Now()
	w.revoke()
	if err := w.how(); err == nil {
		t.Error("nothing was cut off")
	}
	if d := time.Since(began); d > long/2 {
		t.Errorf("it took %v", d)
	}
}

// TestCutSlowSender: neither is a client waited for that has half sent something,
// and it is told why.
func TestCutSlowSender(t *testing.T) {
	for _, headers := range []string{"Content-Length: 1000000\r\n", "Transfer-Encoding: chunked\r\n"} {
		w := newWard(t, time.Hour)
		c := w.call()
		c.send("POST", "/sink", headers)
		fmt.Fprint(c, "5\r\nabcde\r\n") // as a chunk, or as bytes
		w.wait("inside", w.inside)
		time.Sleep(20 * time.Millisecond)
		w.revoke()
		if err := w.how(); err == nil {
			t.Error("nothing was cut off")
		}
		r, err := c.answer()
		if err != nil {
			t.Fatal(err)
		}
		r.wantsRevoked(t)
	}
}

// TestRefusedSlowSender: nor, for more than a moment, is one that is refused before its context ends, on its
// way in or by who is asked whether bytes may move.
func TestRefusedSlowSender(t *testing.T) {
	for _, c := range []struct {
		name string
		deny func(*ward)
		let  bool // into the archive, at first
	}{
		{"on its way in", func(w *ward) { w.refuse(errTaken) }, false},
		{"in its middle", func(w *ward) { w.denied.Store(true) }, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWard(t, time.Hour)
			if !c.let {
				c.deny(w)
			}
			client := w.call()
			client.send("POST", "/sink", "Content-Length: 1000000\r\n")
			fmt.Fprint(client, "abc")
			if c.let {
				w.wait("inside", w.inside)
				c.deny(w)
				fmt.Fprint(client, "def")
			}
			r, err := client.answer()
			if err != nil {
				t.Fatal(err)
			}
			r.wantsRevoked(t)
			if !r.Close {
				t.Error("the connection is kept, with the rest of the request on it")
			}
		})
	}
}

// TestDrainEnds: what a refused client goes on sending is not read for ever.
func TestDrainEnds(t *testing.T) {
	const stall = 200 * time.Millisecond
	s := New(Options{Limits: Limits{Stall: stall, StallBytes: 1}})
	s.e.POST("/sink", func(c echo.Context) error { return fault.New(fault.Invalid, "not this") })
	pr, pw := io.Pipe()
	ended := make(chan struct{})
	go func() {
		for { // never a stall
			if _, err := pw.Write(make([]byte, 100)); err != nil {
				return
			}
			select {
			case <-time.After(stall / 20):
			case <-ended:
				_ = pw.Close()
				return
			}
		}
	}()
	defer close(ended)
	ctx, cancel := context.WithTimeout(t.Context(), long)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "POST", serve(t, s)+"/sink", pr)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != 400 {
		t.Errorf("status %d", resp.StatusCode)
	}
}

// TestConnectionIsClean: requests follow one another on one connection; of those
// that were nearly cut off, or cut off just as they ended, nothing is left over
// for the next.
func TestConnectionIsClean(t *testing.T) {
	w := newWard(t, time.Minute)
	go func() {
		for range w.ended {
		}
	}()
	t.Cleanup(func() { close(w.ended) })
	client := &http.Client{Transport: &http.Transport{MaxConnsPerHost: 1}}
	t.Cleanup(client.CloseIdleConnections)
	ask := func(method, path string) (string, error) {
		r, err := http.NewRequest(method, w.url+"/t/north/dicom-web"+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer north")
		resp, err := client.Do(r)
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		return fmt.Sprint(resp.StatusCode, " ", string(b)), err
	}
	for i := range 200 {
		// At its end, or a moment before or after: each time another one.
		var wg sync.WaitGroup
		wg.Go(func() {
			<-w.inside
			if i%2 == 0 {
				time.Sleep(time.Duration(i) * time.Microsecond)
			}
			w.revoke()
		})
		wg.Go(func() {
			time.Sleep(time.Duration(i%50) * 10 * time.Microsecond)
			w.resume <- struct{}{}
		})
		_, _ = ask("POST", "/after") // whatever came of it
		wg.Wait()
		if body, err := ask("GET", "/where"); err != nil || !strings.HasPrefix(body, "200 north") {
			t.Fatalf("the request after %d: %q, %v", i, body, err)
		}
	}
}

// TestDeadlineOfTheLastRequest: a connection that was idle for longer than a stall
// can still be told to go on.
func TestDeadlineOfTheLastRequest(t *testing.T) {
	const stall = 60 * time.Millisecond
	w := newWard(t, stall)
	c := w.call()
	c.send("GET", "/where", "")
	if r, err := c.answer(); err != nil || r.StatusCode != 200 {
		t.Fatalf("%d, %v", r.StatusCode, err)
	}
	time.Sleep(2 * stall)
	c.send("POST", "/sink", "Content-Length: 3\r\nExpect: 100-continue\r\n")
	w.wait("inside", w.inside)
	if r, err := http.ReadResponse(c.r, nil); err != nil || r.StatusCode != 100 {
		t.Fatalf("%v, %v", r, err)
	}
	fmt.Fprint(c, "abc")
	if r, err := c.answer(); err != nil || r.StatusCode != 200 || r.body != "3" {
		t.Errorf("%d %s, %v", r.StatusCode, r.body, err)
	}
}

// TestExpectRefused: who waits for "100 Continue" gets the refusal instead, at
// once, wherever it comes from.
func TestExpectRefused(t *testing.T) {
	w := newWard(t, time.Minute)
	w.refuse(errTaken)
	for _, path := range []string{"/t/north/dicom-web/sink", "/t/nobody/dicom-web/sink", "/nothing", "/metrics"} {
		c := w.call()
		fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\nExpect: 100-continue\r\nAuthorization: Bearer operator\r\n\r\n", path)
		if r, err := c.answer(); err != nil || r.StatusCode < 400 || r.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %d, %v", path, r.StatusCode, err)
		}
	}
}

// TestPacedIsNotStalled: time that the server itself takes, because the tenant
// has had its bytes, does not count against the client. Over HTTP/2, too, where
// deadlines strike by themselves.
func TestPacedIsNotStalled(t *testing.T) {
	const stall = 200 * time.Millisecond
	s := New(Options{Limits: Limits{Stall: stall}, Pace: func(_ context.Context, n int) error {
		if n > 0 {
			time.Sleep(stall * 3 / 2)
		}
		return nil
	}})
	s.e.POST("/echo", func(c echo.Context) error {
		b := make([]byte, 6000)
		if _, err := io.ReadFull(c.Request().Body, b); err != nil {
			return err
		}
		for _, part := range [][]byte{b[:3000], b[3000:]} {
			if _, err := c.Response().Write(part); err != nil {
				return err
			}
			c.Response().Flush()
		}
		return nil
	})
	for _, version := range []int{1, 2} {
		hs := httptest.NewUnstartedServer(s)
		hs.EnableHTTP2 = version == 2
		hs.StartTLS()
		sent := strings.Repeat("x", 6000)
		pr, pw := io.Pipe()
		go func() { // in two pieces, so that reading goes on after a wait
			_, _ = io.WriteString(pw, sent[:2000])
			_, _ = io.WriteString(pw, sent[2000:])
			_ = pw.Close()
		}()
		resp, err := hs.Client().Post(hs.URL+"/echo", "text/plain", pr)
		if err != nil {
			t.Fatalf("HTTP/%d: %v", version, err)
		}
		b, err := io.ReadAll(resp.Body)
		if err != nil || string(b) != sent || resp.ProtoMajor != version {
			t.Errorf("HTTP/%d: %d bytes by HTTP/%d, status %d, %v", version, len(b), resp.ProtoMajor, resp.StatusCode, err)
		}
		_ = resp.Body.Close()
		hs.Close()
	}
}

// TestPaceThenCheck: keys that went while bytes waited for their turn stay shut.
func TestPaceThenCheck(t *testing.T) {
	var denied atomic.Bool
	s := New(Options{
		Pace: func(context.Context, int) error { denied.Store(true); return nil },
		Check: func(context.Context) error {
			if denied.Load() {
				return errTaken
			}
			return nil
		}})
	s.e.GET("/secret", func(c echo.Context) error { return c.String(200, "secret") })
	resp, err := http.Get(serve(t, s) + "/secret")
	if err != nil {
		return // broken off
	}
	defer resp.Body.Close()
	if b, err := io.ReadAll(resp.Body); err == nil {
		t.Errorf("%d %q got out", resp.StatusCode, b)
	}
}

// TestTooManyIsNotReadOn: who is over the limit does not get to send a large body
// all the same.
func TestTooManyIsNotReadOn(t *testing.T) {
	w := newWard(t, time.Minute)
	w.refuse(fault.New(fault.TooMany, "slower"))
	before := len(w.log.String())
	c := w.call()
	c.send("POST", "/sink", "Content-Length: 30000000\r\n")
	if r, err := c.answer(); err != nil || r.StatusCode != 429 || r.Header.Get("Retry-After") == "" {
		t.Errorf("%d %v, %v", r.StatusCode, r.Header, err)
	}
	if line := logLine(t, &w.log, before); line["received"] != float64(0) {
		t.Errorf("logged: %v", line)
	}
}

// slowDeadline is a response writer that takes its time to set a deadline.
type slowDeadline struct {
	http.ResponseWriter
	setting, resume chan struct{}
	set             atomic.Bool
}

func (w *slowDeadline) SetReadDeadline(time.Time) error {
	close(w.setting)
	<-w.resume
	w.set.Store(true)
	return nil
}

// TestWatchEnds: when the request ends, nothing touches its connection any more.
func TestWatchEnds(t *testing.T) {
	w := &slowDeadline{ResponseWriter: httptest.NewRecorder(), setting: make(chan struct{}), resume: make(chan struct{})}
	ctx, cut := context.WithCancelCause(t.Context())
	l := &line{rc: http.NewResponseController(w)}
	unwatch := l.watch(ctx)
	cut(errTaken)
	<-w.setting
	time.AfterFunc(20*time.Millisecond, func() { close(w.resume) })
	if !unwatch() || !w.set.Load() {
		t.Error("the connection is touched when the request has ended")
	}

	// A client that has gone is no reason to do anything.
	ctx, gone := context.WithCancel(t.Context())
	l = &line{rc: http.NewResponseController(w)}
	unwatch = l.watch(ctx)
	gone()
	if unwatch() {
		t.Error("severed because the client is gone")
	}
}
