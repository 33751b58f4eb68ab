//go:build !unix

package sandbox

import "os"

// descriptor is standard input (0) or output (1).
type descriptor int

func (d descriptor) Read(b []byte) (int, error) { return os.Stdin.Read(b) }

func (d descriptor) Write(b []byte) (int, error) { return os.Stdout.Write(b) }
