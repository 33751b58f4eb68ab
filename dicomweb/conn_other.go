//go:build !linux

package dicomweb

import "syscall"

// hold does nothing: what the kernel has taken goes out.
func hold(syscall.RawConn) {}

func (c *conn) write(l *leave, p []byte) (int, error) {
	if err := l.check(l.ctx); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}
