//go:build linux

package crash

import (
	"path/filepath"
	"testing"
	"time"
)

const diskSize = 1 << 30 // of the image files, which are sparse

// TestPower cuts the power of the one file system with everything on it.
func TestPower(t *testing.T) {
	t.Parallel()
	d := newDisk(t, diskSize)
	power(t, newPlace(t, filepath.Join(d.dir, "data"), ""), d)
}

// TestPowerTwo cuts the power of data and index, each on its own file system, in either order.
func TestPowerTwo(t *testing.T) {
	t.Parallel()
	data, index := newDisk(t, diskSize), newDisk(t, diskSize)
	power(t, newPlace(t, filepath.Join(data.dir, "data"), filepath.Join(index.dir, "index.db")), data, index)
}

func power(t *testing.T, p place, disks ...*disk) {
	w := newWorld(t)
	n := rounds(t, 3, 4)
	for round := range n {
		s := start(t, p)
		active := w.pick()
		victim := w.bury(t, s)
		if round%8 == 1 {
			w.large = active[0].add(large)
		}
		// Without its disk the server says no, in whatever way.
		l := &load{clients: normalClients, requests: 6, other: func(status int) bool { return status >= 500 }}
		done := make(chan struct{})
		go func() {
			defer close(done)
			l.run(t, w, s, active)
		}()
		w.wait(l, done)
		for i := range disks {
			disks[(i+round)%len(disks)].cut(t)
			if i+1 < len(disks) {
				w.mu.Lock()
				pause := time.Duration(w.rnd.Int64N(int64(100 * time.Millisecond)))
				w.mu.Unlock()
				time.Sleep(pause)
			}
		}
		<-done
		s.kill()
		for _, d := range disks {
			d.again(t)
		}
		if t.Failed() {
			t.Fatal(s.tail())
		}
		s = w.settle(t, p, append(active, victim))
		if round%2 == 0 {
			s.stop(t)
		} else {
			s.kill()
		}
	}
	s := start(t, p)
	w.check(t, s, true, w.studies, nil)
	s.stop(t)
	p.must(t, "verify")
	t.Logf("%d rounds, %d studies, %d instances acknowledged, %d times an instance read back", n, len(w.studies), w.acked.Load(), w.verified.Load())
}
