//go:build !linux

package sandbox

// lower is of Linux alone.
func lower() {}

// confine is of Linux alone: elsewhere WebAssembly and a process of their own
// are what confines the codecs.
func confine() bool { return false }

// deadline is of Linux alone: elsewhere a worker whose parent died ends after
// the job it is at.
type deadline struct{}

func newDeadline() (*deadline, error) { return nil, nil }

func (*deadline) after(uint32) error { return nil }

// processorTime is of Linux alone.
func processorTime() uint64 { return 0 }
