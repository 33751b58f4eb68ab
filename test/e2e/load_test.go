//go:build linux

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/strata-pacs/strata/test/stacktest"
)

// load stores through the load balancer from several clients until it is stopped.
// What is refused or lost is sent again until it is acknowledged.
type load struct {
	stop    context.CancelFunc
	done    sync.WaitGroup
	acked   atomic.Int64
	refused atomic.Int64 // answers other than 200, and lost ones

	mu    sync.Mutex
	last  time.Time     // of an acknowledgement
	pause time.Duration // longest without one
}

// sizes are the rows and columns of images, in turn: of 8 KB, now and then one that
// does not fit into a fact and has a pack of its own.
func sizes(i int) int {
	switch {
	case i%400 == 40:
		return 3000
	case i%20 == 5:
		return 512
	}
	return 64
}

// pace is between two stores of a client: it is about faults, not speed.
const pace = 100 * time.Millisecond

func (w *world) load(t *testing.T, clients int) *load {
	ctx, cancel := context.WithCancel(t.Context())
	l := &load{stop: cancel, last: time.Now()}
	for client := range clients {
		l.done.Go(func() {
			study := ""
			for i := 25 * client; ctx.Err() == nil; i++ {
				if i%50 == 0 {
					study = "" // a new one
				}
				u, file := w.image(study, sizes(i))
				study = u.Study
				if !l.send(ctx, t, func() (int, []byte, error) {
					// Not cut off by the end of the load: it is to be known what became of it.
					return w.store(t.Context(), w.Balancer.URL, u, file)
				}) {
					return
				}
				time.Sleep(pace)
			}
		})
	}
	return l
}

// send sends until it is acknowledged, and returns false when it is refused for good.
func (l *load) send(ctx context.Context, t *testing.T, store func() (int, []byte, error)) bool {
	for ctx.Err() == nil {
		status, body, err := store()
		if err == nil && status == http.StatusOK {
			l.ack()
			return true
		}
		l.refused.Add(1)
		if err == nil && status < 500 {
			t.Errorf("a store is answered %d: %.300s", status, body)
			return false
		}
		time.Sleep(50 * time.Millisecond)
	}
	return true
}

func (l *load) ack() {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	l.pause = max(l.pause, now.Sub(l.last))
	l.last = now
	l.acked.Add(1)
}

// more waits until n further instances are acknowledged, and returns how long that took.
func (l *load) more(t *testing.T, n int64, when string) time.Duration {
	t.Helper()
	began, want := time.Now(), l.acked.Load()+n
	for l.acked.Load() < want {
		if time.Since(began) > 90*time.Second {
			t.Fatalf("%s: only %d of %d stores are acknowledged in 90 s", when, l.acked.Load()-want+n, n)
		}
		time.Sleep(10 * time.Millisecond)
	}
	return time.Since(began)
}

// end stops the load and waits for its clients.
func (l *load) end(t *testing.T) {
	l.stop()
	l.done.Wait()
	t.Logf("%d stores acknowledged, %d refused or lost on the way, none acknowledged for at most %.1f s", l.acked.Load(), l.refused.Load(), l.pause.Seconds())
}

// memory is what nodes occupy, sampled.
type memory struct {
	mu        sync.Mutex
	now, over int64 // since begin, and at all
}

func watchMemory(t *testing.T, nodes []*stacktest.Node) *memory {
	m := &memory{}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			for _, n := range nodes {
				m.see(n.Memory())
			}
			time.Sleep(200 * time.Millisecond)
		}
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
	return m
}

func (m *memory) see(bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now, m.over = max(m.now, bytes), max(m.over, bytes)
}

func (m *memory) begin() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now = 0
}

func (m *memory) most() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.now
}

func (m *memory) ever() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.over
}

// feed follows the change feed all the while, through whichever node answers.
type feed struct {
	mu      sync.Mutex
	last    int64
	skipped int
	created map[string]int // by SOP Instance UID
}

func (w *world) follow(t *testing.T) *feed {
	f := &feed{created: map[string]int{}}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			_, _ = f.read(ctx, w) // who does not answer is asked again
			time.Sleep(100 * time.Millisecond)
		}
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
	return f
}

// read reads a page and returns how many changes are left.
func (f *feed) read(ctx context.Context, w *world) (left int64, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	status, body, err := w.do(ctx, "GET", fmt.Sprintf("%s%s/changes?limit=1000&after=%d", w.Balancer.URL, root, f.last), "", "application/json", nil)
	if err != nil {
		return 0, err
	}
	if status != http.StatusOK {
		return 0, fmt.Errorf("status %d: %.300s", status, body)
	}
	var page struct {
		Last    int64
		Changes []struct {
			Sequence int64
			Action   string
			Instance string `json:"sopInstanceUID"`
		}
	}
	if err := json.Unmarshal(body, &page); err != nil {
		return 0, err
	}
	for _, c := range page.Changes {
		if c.Sequence != f.last+1 {
			f.skipped++
		}
		f.last = c.Sequence
		if c.Action == "create" {
			f.created[c.Instance]++
		}
	}
	return page.Last - f.last, nil
}

// holds holds the feed to what was acknowledged: each instance was told once, and
// no number was left out.
func (f *feed) holds(t *testing.T, w *world) {
	t.Helper()
	for {
		left, err := f.read(t.Context(), w)
		if err != nil {
			t.Fatalf("reading the change feed: %v", err)
		}
		if left <= 0 {
			break
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	w.mu.Lock()
	defer w.mu.Unlock()
	if f.skipped > 0 {
		t.Errorf("the change feed skips %d times", f.skipped)
	}
	for u := range w.acked {
		if f.created[u.Instance] != 1 {
			t.Errorf("the change feed tells %d times of an acknowledged instance", f.created[u.Instance])
		}
	}
}
