package sandbox

import (
	"os"

	"golang.org/x/sys/unix"
)

// enlarge lets pipes hold more than the usual 64 KiB, so that a frame takes
// fewer switches between the processes.
func enlarge(pipes ...any) {
	for _, p := range pipes {
		f, ok := p.(*os.File)
		if !ok {
			continue
		}
		c, err := f.SyscallConn()
		if err != nil {
			continue
		}
		_ = c.Control(func(fd uintptr) { // smaller pipes do as well
			_, _ = unix.FcntlInt(fd, unix.F_SETPIPE_SZ, 1<<20)
		})
	}
}
