//go:build linux

package crash

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// moment is something that happens in the stores, of which a server may be killed.
type moment string

const (
	hotPack    moment = "a pack is in the hot store" // a settled one, or one that came back
	coldBegun  moment = "a copy is begun in the cold store"
	coldPack   moment = "a copy is in the cold store" // neither checked nor stated yet
	stated     moment = "a fact follows a pack"       // it is in the log and not in the index yet
	hotGone    moment = "a pack is removed from the hot store"
	coldGone   moment = "a copy is removed from the cold store"
	factGone   moment = "a fact is removed"
	someMoment moment = "some moment"
)

// moments are all that can be watched for.
var moments = []moment{hotPack, coldBegun, coldPack, stated, hotGone, coldGone, factGone}

// watch sees what happens in the stores as soon as it does, by inotify.
type watch struct {
	f         *os.File
	hot, cold string // folders of the stores
	mu        sync.Mutex
	dirs      map[int32]string
	files     map[string]bool
	seen      map[moment]int
	packed    bool // the last thing made was a pack
	armed     moment
	left      int // until then
	strike    func()
	wentOff   bool
}

const watched = unix.IN_CREATE | unix.IN_MOVED_TO | unix.IN_DELETE

// newWatch watches the folders of two file stores, which are there.
func newWatch(t *testing.T, hot, cold string) *watch {
	t.Helper()
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	w := &watch{f: os.NewFile(uintptr(fd), "inotify"), hot: hot, cold: cold, dirs: map[int32]string{}, files: map[string]bool{}, seen: map[moment]int{}}
	for _, dir := range []string{filepath.Join(hot, "objects"), filepath.Join(cold, "objects"), filepath.Join(cold, "tmp")} {
		w.add(dir)
	}
	var wg sync.WaitGroup
	wg.Go(func() { w.read(t) })
	t.Cleanup(func() {
		w.f.Close()
		wg.Wait()
	})
	return w
}

// add watches a folder and all below it. What came into a new one before it was watched counts.
func (w *watch) add(dir string) {
	_ = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error { // what is gone again is not watched
		if err != nil {
			return nil
		}
		if !e.IsDir() {
			w.event(path, false)
			return nil
		}
		n, err := unix.InotifyAddWatch(int(w.f.Fd()), path, watched|unix.IN_ONLYDIR)
		if err == nil {
			w.mu.Lock()
			w.dirs[int32(n)] = path
			w.mu.Unlock()
		}
		return nil
	})
}

func (w *watch) read(t *testing.T) {
	buf := make([]byte, 64<<10)
	for {
		n, err := w.f.Read(buf)
		if err != nil {
			if !errors.Is(err, os.ErrClosed) {
				t.Errorf("watching the stores: %v", err)
			}
			return
		}
		for at := 0; at+unix.SizeofInotifyEvent <= n; {
			wd, mask := int32(binary.NativeEndian.Uint32(buf[at:])), binary.NativeEndian.Uint32(buf[at+4:])
			length := int(binary.NativeEndian.Uint32(buf[at+12:]))
			name := string(bytes.TrimRight(buf[at+unix.SizeofInotifyEvent:at+unix.SizeofInotifyEvent+length], "\x00"))
			at += unix.SizeofInotifyEvent + length
			w.mu.Lock()
			path := filepath.Join(w.dirs[wd], name)
			w.mu.Unlock()
			if mask&unix.IN_ISDIR != 0 {
				if mask&unix.IN_CREATE != 0 {
					w.add(path)
				}
				continue
			}
			w.event(path, mask&unix.IN_DELETE != 0)
		}
	}
}

// event notes what became of a file.
func (w *watch) event(path string, gone bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !gone && w.files[path] {
		return
	}
	if w.files[path] = !gone; gone {
		delete(w.files, path)
	}
	cold := strings.HasPrefix(path, w.cold+"/")
	switch {
	case strings.HasPrefix(path, w.cold+"/tmp/"):
		if !gone {
			w.note(coldBegun)
		}
	case strings.Contains(path, "/pack/"):
		w.packed = w.packed || !gone
		w.note(map[[2]bool]moment{{false, false}: hotPack, {false, true}: hotGone, {true, false}: coldPack, {true, true}: coldGone}[[2]bool{cold, gone}])
	case strings.Contains(path, "/log/") && gone:
		w.note(factGone)
	case strings.Contains(path, "/log/") && w.packed:
		w.packed = false
		w.note(stated)
	}
}

func (w *watch) note(m moment) {
	w.seen[m]++
	if w.armed != m {
		return
	}
	if w.left--; w.left <= 0 {
		w.armed, w.wentOff = "", true
		w.strike()
	}
}

// arm has strike called, which must be quick, when the moment has come for the n-th time.
func (w *watch) arm(m moment, n int, strike func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.armed, w.left, w.strike, w.wentOff = m, n, strike, false
}

// disarm reports whether the moment came.
func (w *watch) disarm() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.armed = ""
	return w.wentOff
}
