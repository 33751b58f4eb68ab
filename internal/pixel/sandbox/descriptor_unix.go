//go:build unix

package sandbox

import (
	"io"

	"golang.org/x/sys/unix"
)

// descriptor is a pipe that is read and written without Go's poller, which
// would need more of the kernel than a worker has.
type descriptor int

func (d descriptor) Read(b []byte) (int, error) {
	for {
		n, err := unix.Read(int(d), b)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return 0, err
		case n == 0 && len(b) > 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}

func (d descriptor) Write(b []byte) (done int, err error) {
	for done < len(b) {
		n, err := unix.Write(int(d), b[done:])
		if err != nil && err != unix.EINTR {
			return done, err
		}
		done += max(n, 0)
	}
	return done, nil
}
