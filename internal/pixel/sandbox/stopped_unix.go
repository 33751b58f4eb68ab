//go:build unix

package sandbox

import (
	"os"
	"syscall"
)

// stopped reports whether somebody ended the process from outside.
func stopped(s *os.ProcessState) bool {
	ws, ok := s.Sys().(syscall.WaitStatus)
	return ok && ws.Signaled() && (ws.Signal() == syscall.SIGKILL || ws.Signal() == syscall.SIGTERM)
}
