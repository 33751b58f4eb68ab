//go:build linux

package dark

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// matcher finds many texts in one pass.
type matcher struct {
	maybe  [1 << 16]bool // hashes of the first four bytes
	starts map[uint32][]pattern
	most   int // longest pattern, in bytes
}

type pattern struct {
	name  string
	bytes []byte
}

func newMatcher() *matcher { return &matcher{starts: map[uint32][]pattern{}} }

func hash(v uint32) uint16 { return uint16(v * 2654435761 >> 16) }

func (m *matcher) add(name string, b []byte) {
	if len(b) < 4 {
		panic("a pattern of less than four bytes")
	}
	v := binary.LittleEndian.Uint32(b)
	m.maybe[hash(v)] = true
	m.starts[v] = append(m.starts[v], pattern{name, bytes.Clone(b)})
	m.most = max(m.most, len(b))
}

// each calls f for every place in b where a pattern begins.
func (m *matcher) each(b []byte, f func(name string, at int)) {
	for i := 0; i+4 <= len(b); i++ {
		v := binary.LittleEndian.Uint32(b[i:])
		if !m.maybe[hash(v)] {
			continue
		}
		for _, p := range m.starts[v] {
			if bytes.HasPrefix(b[i:], p.bytes) {
				f(p.name, i)
			}
		}
	}
}

func (m *matcher) count(b []byte) map[string]int {
	found := map[string]int{}
	m.each(b, func(name string, _ int) { found[name]++ })
	return found
}

func seedMatcher() *matcher {
	m := newMatcher()
	for _, seed := range seeds {
		for how, form := range forms(seed) {
			m.add(seed+" "+how, form)
		}
	}
	m.add("渡辺幽玄 in ISO 2022", []byte("EOJUM)8<"))
	return m
}

// noFile fails the test for every place in a file below the folders, and in
// their names, that holds a seed. It returns how many bytes were looked at.
func noFile(t *testing.T, m *matcher, folders ...string) (looked int64) {
	t.Helper()
	for _, folder := range folders {
		err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
			if os.IsNotExist(err) {
				return nil // a server at work makes and removes files
			}
			if err != nil {
				return err
			}
			rel, _ := filepath.Rel(folder, path)
			clean(t, m, "the name of "+rel, []byte(rel))
			if !d.Type().IsRegular() {
				return nil
			}
			b, err := os.ReadFile(path)
			if os.IsNotExist(err) {
				return nil
			}
			looked += int64(len(b))
			clean(t, m, rel, b)
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
	return looked
}

// clean fails the test where b holds a seed.
func clean(t *testing.T, m *matcher, where string, b []byte) {
	t.Helper()
	told := 0
	m.each(b, func(name string, at int) {
		if told++; told <= 5 {
			t.Errorf("%s holds %s: …%.120q", where, name, b[max(0, at-40):])
		}
	})
}

// found is what the memory of processes holds: how often, by pattern.
type found map[string]int

// memory looks for the patterns in all that the processes have mapped and that can be read.
func memory(t *testing.T, m *matcher, pids ...int) (f found, looked int64) {
	t.Helper()
	f = found{}
	for _, pid := range pids {
		n, err := mapped(pid, func(b []byte) { m.each(b, func(name string, _ int) { f[name]++ }) }, m.most)
		if err != nil {
			t.Errorf("reading the memory of a process: %v", err)
		}
		looked += n
	}
	return f, looked
}

// mapped calls f with the memory of a process, piece by piece; pieces overlap by
// less than the longest pattern.
func mapped(pid int, f func([]byte), longest int) (looked int64, err error) {
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return 0, err
	}
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		return 0, err
	}
	defer mem.Close()
	const piece = 1 << 20
	buf := make([]byte, longest+piece)
	for lines := bufio.NewScanner(bytes.NewReader(maps)); lines.Scan(); {
		var from, to int64
		var mode string
		if n, _ := fmt.Sscanf(lines.Text(), "%x-%x %s", &from, &to, &mode); n < 3 || !strings.HasPrefix(mode, "r") || strings.Contains(lines.Text(), "[v") {
			continue
		}
		keep := 0
		for at := from; at < to; {
			n, err := mem.ReadAt(buf[keep:keep+int(min(piece, to-at))], at)
			if n == 0 || err != nil {
				at, keep = at+piece, 0 // not in memory
				continue
			}
			looked += int64(n)
			f(buf[:keep+n])
			at += int64(n)
			tail := min(longest-1, keep+n)
			copy(buf, buf[keep+n-tail:keep+n])
			keep = tail
		}
	}
	return looked, nil
}
