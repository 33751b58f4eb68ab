package index

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// unheard is how long what was sent to the database may stay without an answer of its network.
const unheard = 10 * time.Second

// giveUp makes a connection break when the other side is cut off, rather than after the minutes that TCP takes.
func giveUp(network, _ string, c syscall.RawConn) error {
	if network == "unix" {
		return nil
	}
	var set error
	err := c.Control(func(fd uintptr) {
		set = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(unheard.Milliseconds()))
	})
	if err != nil {
		return err
	}
	return set
}
