//go:build !linux

package index

import "syscall"

func giveUp(string, string, syscall.RawConn) error { return nil }
