//go:build linux

package sandbox

import (
	"bytes"
	"testing"
)

// TestReset: nothing of a job is left in the codecs' memory, and what they wrote
// when they started is.
func TestReset(t *testing.T) {
	if !Available() {
		t.Skip("the codecs are not built in: run make codecs")
	}
	ctx := t.Context()
	m, _, err := load(ctx, testCache(t))
	if err != nil {
		t.Fatal(err)
	}
	defer m.runtime.Close(ctx)
	if err := m.start(ctx); err != nil {
		t.Fatal(err)
	}
	fresh := bytes.Clone(m.memory.b[:2*initial])
	if zero(fresh) || !zero(fresh[initial/2:]) || !zero(m.memory.b[2*initial:64<<20]) {
		t.Error("the codecs write more than is kept when they start")
	}
	for range 2 {
		if err := m.open(ctx); err != nil {
			t.Fatal(err)
		}
		b, err := m.reserve(ctx, "Encoded", 4*initial)
		if err != nil {
			t.Fatal(err)
		}
		for i := range b {
			b[i] = 0x5A
		}
		clear(m.memory.b[:initial/2]) // even where a codec should not write
		if err := m.reset(ctx); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(m.memory.b[:2*initial], fresh) || !zero(m.memory.b[2*initial:64<<20]) {
			t.Fatal("something is left")
		}
	}
	if len(m.memory.Reallocate(pages<<16)) != pages<<16 || m.memory.Reallocate(pages<<16+1) != nil {
		t.Error("the memory can grow")
	}
}
