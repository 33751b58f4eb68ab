//go:build !linux

package sandbox

// memory is the linear memory of the module, in Go's heap.
type memory struct {
	b    []byte
	kept []byte
}

func newMemory(size int) (*memory, error) { return &memory{b: make([]byte, size)}, nil }

// Reallocate is called for the memory's first size and for growth, up to what
// was reserved.
func (m *memory) Reallocate(size uint64) []byte {
	if size > uint64(len(m.b)) {
		return nil
	}
	return m.b[:size:size]
}

// Free is called when the module is closed.
func (m *memory) Free() { m.b = nil }

// keep makes the present content what restore returns to.
func (m *memory) keep() error {
	last := len(m.b)
	for last > 0 && m.b[last-1] == 0 {
		last--
	}
	m.kept = append([]byte(nil), m.b[:last]...)
	return nil
}

func (m *memory) restore() error {
	copy(m.b, m.kept)
	clear(m.b[len(m.kept):])
	return nil
}

// limit is of Linux alone.
func (m *memory) limit(int) error { return nil }
