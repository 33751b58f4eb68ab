package dicomweb

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	unsent   = 128 << 10 // most bytes that the kernel holds of a connection and has not sent yet
	onePiece = 256 << 10 // most bytes that it is given at a time
)

func hold(c syscall.RawConn) {
	_ = c.Control(func(fd uintptr) { // an old kernel holds more
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, unsent)
	})
}

// write writes p, and asks each time before the kernel takes more of it.
func (c *conn) write(l *leave, p []byte) (n int, err error) {
	for n < len(p) {
		werr := c.raw.Write(func(fd uintptr) bool {
			if err = l.check(l.ctx); err != nil {
				return true
			}
			var m int
			m, err = unix.Write(int(fd), p[n:min(len(p), n+onePiece)])
			switch {
			case errors.Is(err, unix.EINTR):
				err = nil
			case errors.Is(err, unix.EAGAIN):
				err = nil
				return false
			case err != nil:
				err = os.NewSyscallError("write", err)
			default:
				n += m
			}
			return true
		})
		if err == nil {
			err = werr
		}
		if err != nil {
			return n, err
		}
	}
	return n, nil
}
