package dicomweb

import (
	"context"
	"crypto/tls"
	"net"
	"sync/atomic"
	"syscall"
)

// Conns returns a listener whose connections let no byte of an answer go that may not
// go any more. What the kernel has taken of an answer would otherwise reach a
// client that reads slowly for as long as it likes, whatever has been revoked
// meanwhile. It is for a server that has [KnowConn] as its ConnContext.
func Conns(l net.Listener) net.Listener { return listener{l} }

type listener struct{ net.Listener }

func (l listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	t, ok := c.(*net.TCPConn)
	if !ok {
		return c, nil
	}
	raw, err := t.SyscallConn()
	if err != nil {
		return c, nil
	}
	hold(raw)
	return &conn{Conn: t, tcp: t, raw: raw}, nil
}

type connKey struct{}

// KnowConn lets requests find the connection they came by.
func KnowConn(ctx context.Context, c net.Conn) context.Context {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	if c, ok := c.(*conn); ok {
		return context.WithValue(ctx, connKey{}, c)
	}
	return ctx
}

func connOf(ctx context.Context) *conn {
	c, _ := ctx.Value(connKey{}).(*conn)
	return c
}

// conn is a client's connection. It hides what else a TCP connection can do:
// every byte goes through Write.
type conn struct {
	net.Conn
	tcp *net.TCPConn // the same
	raw syscall.RawConn
	// leave is asked each time before the kernel takes more, while a request is answered.
	leave atomic.Pointer[leave]
}

// Write implements [net.Conn].
func (c *conn) Write(p []byte) (int, error) {
	if l := c.leave.Load(); l != nil && l.check != nil {
		return c.write(l, p)
	}
	return c.Conn.Write(p)
}

// CloseWrite is for net/http, which ends a connection in two steps.
func (c *conn) CloseWrite() error { return c.tcp.CloseWrite() }

// drop ends the connection at once, with all that was not sent yet.
func (c *conn) drop() {
	_ = c.tcp.SetLinger(0)
	_ = c.Close()
}
