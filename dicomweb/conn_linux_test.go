package dicomweb

import (
	"context"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/fault"
)

// dialled returns both ends of a connection that Conns accepted.
func dialled(t *testing.T) (server *conn, client net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	accepted := make(chan net.Conn, 1)
	go func() {
		c, err := Conns(l).Accept()
		if err != nil {
			t.Error(err)
		}
		accepted <- c
	}()
	if client, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	c := <-accepted
	t.Cleanup(func() { client.Close(); c.Close() })
	if server = connOf(KnowConn(t.Context(), c)); server == nil {
		t.Fatal("a request does not find its connection")
	}
	return server, client
}

// TestConnAsks: bytes that were allowed when they were written, and that the
// client is slow to take, do not go when they may not any more.
func TestConnAsks(t *testing.T) {
	server, client := dialled(t)
	denied := fault.New(fault.KeyDenied, "revoked")
	var revoked atomic.Bool
	var asked atomic.Int64
	server.leave.Store(&leave{ctx: t.Context(), check: func(context.Context) error {
		asked.Add(1)
		if revoked.Load() {
			return denied
		}
		return nil
	}})
	type outcome struct {
		n   int
		err error
	}
	done := make(chan outcome, 1)
	go func() {
		n, err := server.Write(make([]byte, 64<<20))
		done <- outcome{n, err}
	}()
	for last := int64(-1); asked.Load() != last || last < 2; time.Sleep(50 * time.Millisecond) {
		last = asked.Load() // until nothing more fits
	}
	revoked.Store(true)
	go func() { _, _ = io.CopyN(io.Discard, client, 64<<20) }()
	got := <-done
	if !errors.Is(got.err, denied) || got.n == 0 || got.n == 64<<20 {
		t.Errorf("%d bytes went, %v", got.n, got.err)
	}
	server.leave.Store(nil)
	if _, err := server.Write([]byte("why")); err != nil {
		t.Errorf("the reason may be said: %v", err)
	}
}

// TestConnDrop: what the kernel has and has not sent is lost with the connection.
func TestConnDrop(t *testing.T) {
	server, client := dialled(t)
	_ = server.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
	n, err := server.Write(make([]byte, 64<<20))
	if err == nil {
		t.Fatal("all of it fits into the kernel")
	}
	server.drop()
	time.Sleep(50 * time.Millisecond)
	got, err := io.Copy(io.Discard, client)
	if !errors.Is(err, syscall.ECONNRESET) || got > int64(n) {
		t.Errorf("the client got %d of %d bytes, %v", got, n, err)
	}
}
