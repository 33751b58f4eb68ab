//go:build !linux

package index

import "testing"

func smallDisk(t *testing.T, _ int) string {
	t.Skip("a file system of a limited size is made on Linux only")
	return ""
}

func growDisk(*testing.T, string, int) {}
