//go:build linux

package e2e

import (
	"crypto/sha256"
	"fmt"
	"sync"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/retrieve/retrievetest"
)

// contested is a study that all fight for. Who changes or deletes all of it holds the lock; who
// adds to it or reads it, the lock for reading.
type contested struct {
	sync.RWMutex
	uid string

	mu     sync.Mutex // guards what follows
	images []*contestedImage
	last   []*contestedImage // that the last deletion hid, empty when it cannot be undone in this test
	gone   time.Time         // when that was asked for
	doubt  bool              // a deletion or its undoing was not answered
	holds  []*contestedHold
	story  []string
}

// contestedImage is an instance and what is known of it.
type contestedImage struct {
	archive.UIDs
	file          []byte
	acked, hidden bool
	since         time.Time // of the acknowledgement
	doubt         bool      // it may be hidden or not
}

// contestedHold is a legal hold.
type contestedHold struct {
	id, reason string // id is empty until the answer came
	released   int    // by so many persons
	doubt      bool
	lifted     bool
	since      time.Time
}

// tell notes what has happened; mu is held.
func (s *contested) tell(format string, args ...any) {
	s.story = append(s.story, time.Now().Format("04:05.000 ")+fmt.Sprintf(format, args...))
}

// know changes what is known.
func (s *contested) know(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

// state is what must be found, and what must not.
func (s *contested) state() (shown, hidden map[string]*contestedImage, doubt bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	shown, hidden = map[string]*contestedImage{}, map[string]*contestedImage{}
	for _, im := range s.images {
		switch {
		case im.doubt || !im.acked:
		case im.hidden:
			hidden[im.Instance] = im
		default:
			shown[im.Instance] = im
		}
	}
	return shown, hidden, s.doubt
}

// held reports whether a hold surely stands, and whether one may.
func (s *contested) held() (surely, perhaps bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range s.holds {
		if h.lifted && !h.doubt {
			continue
		}
		perhaps = true
		surely = surely || !h.doubt
	}
	return surely, perhaps
}

// study starts a study.
func (f *fight) study() *contested {
	s := &contested{uid: f.uid()}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.studies = append(f.studies, s)
	return s
}

// image makes an instance of a study, of one of two series.
func (f *fight) image(s *contested) *contestedImage {
	u := archive.UIDs{Study: s.uid, Series: fmt.Sprintf("%s.%d", s.uid, 1+f.n(2)), Instance: f.uid()}
	size := []int{16, 64, 64, 200}[f.n(4)]
	im := &contestedImage{UIDs: u, file: retrievetest.Part10(retrievetest.Image{UIDs: u, Rows: size, Columns: size, Name: "Doe^Jane"})}
	s.know(func() { s.images = append(s.images, im) })
	return im
}

func (im *contestedImage) is(b []byte) bool { return sha256.Sum256(b) == sha256.Sum256(im.file) }

// some is any study of which that is so, or nil.
func (f *fight) some(is func(*contested) bool) *contested {
	f.mu.Lock()
	all := f.studies
	f.mu.Unlock()
	for range 20 {
		// The newest ones more often: what was stored lately is settled and moved.
		if len(all) == 0 {
			return nil
		}
		at := f.n(len(all))
		if f.n(2) == 0 {
			at = max(len(all)-1-f.n(12), 0)
		}
		if s := all[at]; is == nil || is(s) {
			return s
		}
	}
	return nil
}
