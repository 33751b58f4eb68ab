package conformance

import (
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/strata-pacs/strata/dicomweb"
	"github.com/strata-pacs/strata/internal/testservers"
)

// TestViewer opens a study in OHIF, in a browser, before and after its restore. Run it with
// -artifacts to keep what was on the screen.
func TestViewer(t *testing.T) {
	t.Parallel()
	// Two series of three images each.
	const uid = "1.3.6.1.4.1.5962.1.1.0.0.0.1196533885.18148.0.1"
	dir, browser := scripts(t), testservers.Program(t, "chromium")
	c := newCold(t)
	c.fill()
	c.freeze()
	v := &viewer{c: c, app: testservers.Folder(t, "ohif-3.13.2"), config: filepath.Join(dir, "ohif-config.js"), asked: map[string]int{}}
	srv := httptest.NewServer(v)
	defer srv.Close()
	talk(t, dir, []string{"ohif.js", srv.URL, uid, browser, t.ArtifactDir()}, func() {
		// No frame was asked for twice, and one restore was asked for.
		if frames := v.frames(t); frames != 3 {
			t.Errorf("%d frames were asked for", frames)
		}
		c.wait(c.archived(c.get(t, "/studies/"+uid, partsStored)).Href)
	})
	if n := c.store.Faults.Count("restore"); n != 1 {
		t.Errorf("the archive was asked %d times to restore one pack", n)
	}
}

// viewer serves OHIF beside a world.
type viewer struct {
	c           *cold
	app, config string

	mu    sync.Mutex
	asked map[string]int // by path
}

func (v *viewer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case strings.HasPrefix(r.URL.Path, dicomweb.Root+"/"):
		v.mu.Lock()
		v.asked[r.URL.Path]++
		v.mu.Unlock()
		v.c.handler.Load().(http.Handler).ServeHTTP(w, r)
	case r.URL.Path == "/app-config.js":
		http.ServeFile(w, r, v.config)
	case r.URL.Path == "/viewer":
		http.ServeFile(w, r, filepath.Join(v.app, "index.html"))
	default:
		http.FileServer(http.Dir(v.app)).ServeHTTP(w, r)
	}
}

// frames returns how many different frames were asked for, each once.
func (v *viewer) frames(t *testing.T) (n int) {
	t.Helper()
	v.mu.Lock()
	defer v.mu.Unlock()
	for path, times := range v.asked {
		if !strings.Contains(path, "/frames/") {
			continue
		}
		if n++; times != 1 {
			t.Errorf("a frame was asked for %d times", times)
		}
	}
	return n
}
