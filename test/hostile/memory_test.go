//go:build linux

package hostile

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// family lists a process and its descendants.
func family(pid int) []int {
	all := []int{pid}
	for i := 0; i < len(all); i++ {
		tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", all[i]))
		for _, f := range tasks {
			b, _ := os.ReadFile(f) // one that ended meanwhile has none
			for v := range strings.FieldsSeq(string(b)) {
				if n, err := strconv.Atoi(v); err == nil {
					all = append(all, n)
				}
			}
		}
	}
	return all
}

// private returns the resident memory of a process that is not a file's, in bytes.
func private(pid int) int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	var n int64
	for _, name := range []string{"RssAnon:", "RssShmem:"} {
		if i := bytes.Index(b, []byte(name)); i >= 0 {
			f := strings.Fields(string(b[i+len(name):]))
			kb, _ := strconv.ParseInt(f[0], 10, 64)
			n += kb << 10
		}
	}
	return n
}

func resident(pids []int) (n int64) {
	for _, p := range pids {
		n += private(p)
	}
	return n
}

// worked returns how long processors have worked for a process and those of
// its children that ended, in hundredths of a second.
func worked(pid int) (ticks int64) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	for _, v := range f[11:15] { // utime, stime, cutime, cstime
		n, _ := strconv.ParseInt(v, 10, 64)
		ticks += n
	}
	return ticks
}

// meter samples the memory of a process and its descendants until stop, and
// how long processors work for them.
type meter struct {
	pid        int
	from, most int64
	ticks      int64
	done, over chan struct{}
}

func watch(pid int) *meter {
	all := family(pid)
	m := &meter{pid: pid, from: resident(all), done: make(chan struct{}), over: make(chan struct{})}
	for _, p := range all {
		m.ticks += worked(p)
	}
	go func() {
		defer close(m.over)
		for i := 1; ; i++ {
			if i%8 == 0 { // who is there costs more to know than how large it is
				all = family(pid)
			}
			m.most = max(m.most, resident(all))
			select {
			case <-m.done:
				return
			case <-time.After(4 * time.Millisecond):
			}
		}
	}()
	return m
}

// stop returns by how many bytes the memory grew at most, and the work.
func (m *meter) stop() (grew int64, work time.Duration) {
	close(m.done)
	<-m.over
	ticks := -m.ticks
	for _, p := range family(m.pid) {
		ticks += worked(p)
	}
	return m.most - m.from, time.Duration(ticks) * 10 * time.Millisecond
}
