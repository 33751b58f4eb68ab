package dicomweb

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/strata-pacs/strata/internal/fault"
)

func TestStoreBudget(t *testing.T) {
	b := newStoreBudget(Limits{StoreMemory: 2 * maxStoreMemory, StoreWait: time.Millisecond})
	ctx := context.Background()
	first, err := b.acquire(ctx, -1)
	if err != nil {
		t.Fatal(err)
	}
	second, err := b.acquire(ctx, 1<<40)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.acquire(ctx, 1); !fault.Is(err, fault.Busy) {
		t.Errorf("past the budget: %v", err)
	}
	gone, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := b.acquire(gone, 1); !fault.Is(err, fault.Canceled) {
		t.Errorf("of a client that is gone: %v", err)
	}
	first()
	var small []func()
	for range maxStoreMemory / minStoreMemory {
		r, err := b.acquire(ctx, 100)
		if err != nil {
			t.Fatal(err)
		}
		small = append(small, r)
	}
	second()
	for _, r := range small {
		r()
	}
	if !b.sem.TryAcquire(b.total) {
		t.Error("some of the budget is lost")
	}
}

func TestStoreBusy(t *testing.T) {
	fake := &fakeStore{}
	s := New(Options{Store: fake.begin, Limits: Limits{StoreWait: time.Millisecond}})
	url := serve(t, s)
	if !s.shares.budget.sem.TryAcquire(s.shares.budget.total) {
		t.Fatal("not idle")
	}
	r := do(t, "POST", url+Root+"/studies", strings.NewReader("x"), "Content-Type", typeDICOM)
	if r.StatusCode != 503 || r.Header.Get("Retry-After") == "" {
		t.Errorf("%d %v", r.StatusCode, r.Header)
	}
	r.problem(t)
}

// TestSlowSender stops in the middle of a body: the server ends the request.
func TestSlowSender(t *testing.T) {
	fake := &fakeStore{}
	url := serve(t, New(Options{Store: fake.begin, Limits: Limits{Stall: 50 * time.Millisecond}}))
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST %s/studies HTTP/1.1\r\nHost: x\r\nContent-Type: application/dicom\r\nContent-Length: 1000000\r\n\r\nabc", Root)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusRequestTimeout {
		t.Errorf("status %d", resp.StatusCode)
	}
}

// TestSlowButSteady sends for longer than the stall limit, always enough of it.
func TestSlowButSteady(t *testing.T) {
	s := New(Options{Limits: Limits{Stall: 300 * time.Millisecond, StallBytes: 10}})
	s.e.POST("/sink", func(c echo.Context) error {
		n, err := io.Copy(io.Discard, c.Request().Body)
		if err != nil {
			return err
		}
		return c.String(200, fmt.Sprint(n))
	})
	url := serve(t, s)
	pr, pw := io.Pipe()
	go func() {
		for range 10 {
			time.Sleep(60 * time.Millisecond)
			_, _ = pw.Write(make([]byte, 20))
		}
		_ = pw.Close()
	}()
	if r := do(t, "POST", url+"/sink", pr); r.body != "200" {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
}

// TestSlowReader never reads the answer: the handler is let go.
func TestSlowReader(t *testing.T) {
	s := New(Options{Limits: Limits{Stall: 50 * time.Millisecond}})
	ended := make(chan error, 1)
	s.get("/flood", func(c echo.Context) error {
		b := make([]byte, 1<<20)
		var err error
		for err == nil {
			_, err = c.Response().Write(b)
		}
		ended <- err
		return err
	})
	url := serve(t, s)
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET %s/flood HTTP/1.1\r\nHost: x\r\n\r\n", Root)
	if err := <-ended; !fault.Is(err, fault.Timeout) {
		t.Errorf("%v", err)
	}
}

// TestLongWork does not count against the client, neither while its body waits
// to be read nor after it was.
func TestLongWork(t *testing.T) {
	s := New(Options{Limits: Limits{Stall: 40 * time.Millisecond}})
	s.e.POST("/work", func(c echo.Context) error {
		time.Sleep(100 * time.Millisecond)
		if _, err := io.Copy(io.Discard, c.Request().Body); err != nil {
			return err
		}
		time.Sleep(100 * time.Millisecond)
		if err := c.Request().Context().Err(); err != nil {
			return err
		}
		return c.String(200, "done")
	})
	url := serve(t, s)
	if r := do(t, "POST", url+"/work", strings.NewReader(strings.Repeat("x", 1<<20))); r.body != "done" {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
}

// TestShares: servers that share take memory and places from the same.
func TestShares(t *testing.T) {
	shares := NewShares(Limits{Streams: 1, StoreWait: time.Millisecond})
	feed := &fakeFeed{}
	var urls []string
	for range 2 {
		s := New(Options{Store: new(fakeStore).begin, Feed: feed, Limits: Limits{StoreWait: time.Millisecond}, Shares: shares})
		urls = append(urls, serve(t, s)+Root)
	}
	stream := func(url string) *http.Response {
		r, err := http.NewRequest("GET", url+"/changes", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Accept", "text/event-stream")
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = resp.Body.Close() })
		return resp
	}
	if r := stream(urls[0]); r.StatusCode != 200 {
		t.Fatalf("the first stream: %d", r.StatusCode)
	}
	if r := stream(urls[1]); r.StatusCode != 503 {
		t.Errorf("one more than all may have: %d", r.StatusCode)
	}
	release, err := shares.budget.acquire(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	store := func(url string) int {
		return do(t, "POST", url+"/studies", strings.NewReader("x"), "Content-Type", typeDICOM).StatusCode
	}
	if got := store(urls[0]); got == 503 {
		t.Errorf("with room: %d", got)
	}
	release()
	if !shares.budget.sem.TryAcquire(shares.budget.total) {
		t.Fatal("not idle")
	}
	for _, url := range urls {
		if got := store(url); got != 503 {
			t.Errorf("with none: %d", got)
		}
	}
}
