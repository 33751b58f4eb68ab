package testservers

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"syscall"
)

// Port takes a TCP port of loopback for a server, for as long as this process lives. It is none
// of those that the system gives to whoever connects or wants any port: a server that is
// started later, or is away for a while, finds it free.
func Port() (int, error) {
	first, least := 20000, 32768 // Linux's own choice
	if b, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range"); err == nil {
		_, _ = fmt.Sscan(string(b), &least)
	}
	if least < first+1000 {
		first, least = 61000, 65536 // what the system leaves at the other end, if it does
	}
	for range 1000 {
		port := first + rand.IntN(least-first)
		taken, err := reserve(port)
		if err != nil {
			return 0, fmt.Errorf("taking a port: %w", err)
		}
		if !taken {
			continue
		}
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue // a server that is not of these tests
		}
		return port, l.Close()
	}
	return 0, errors.New("no port of loopback is free")
}

// reserve binds a name to this process, which no other can then: names like it are no
// files, and go with the process. It reports false where another has it.
func reserve(port int) (bool, error) {
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return false, err
	}
	if err = syscall.Bind(fd, &syscall.SockaddrUnix{Name: fmt.Sprintf("@strata-test-port-%d", port)}); err == nil {
		return true, nil // left open
	}
	_ = syscall.Close(fd)
	if errors.Is(err, syscall.EADDRINUSE) {
		return false, nil
	}
	return false, err
}
