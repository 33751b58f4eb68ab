//go:build linux

package e2e

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// databaseDies kills PostgreSQL under load and starts it again.
func databaseDies(t *testing.T, w *world) {
	l := w.load(t, 4)
	defer l.end(t)
	var longest time.Duration
	for range times(3, 20) {
		l.more(t, 10, "before")
		w.Postgres.Kill()
		if err := w.Postgres.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		longest = max(longest, l.more(t, 1, "PostgreSQL was killed"))
	}
	t.Logf("the next store is acknowledged at most %.1f s after PostgreSQL answers", longest.Seconds())
}

// databaseCut cuts the nodes off from PostgreSQL under load: all of them, or one
// alone, for a moment, or until the others take it for dead.
func databaseCut(t *testing.T, w *world) {
	if w.Network == nil {
		t.Skip("needs root, and the programs ip and nft of make setup")
	}
	l := w.load(t, 4)
	defer l.end(t)
	all := []int{0, 1, 2}
	var longest time.Duration
	for i := range times(3, 20) {
		whom := [][]int{all, {i % nodes}, {(i + 1) % nodes}}[i%3]
		off := []time.Duration{2 * time.Second, lasting(7*time.Second, 25*time.Second), lasting(2*time.Second, 5*time.Second), lasting(2*time.Second, 12*time.Second)}[i%4]
		l.more(t, 10, "before")
		if err := w.Network.Cut(whom...); err != nil {
			t.Fatal(err)
		}
		cut := time.Now()
		if off >= 5*time.Second {
			w.unready(t, whom[0], "database")
		}
		if len(whom) == 1 {
			l.more(t, 10, "a node is cut off")
		}
		time.Sleep(time.Until(cut.Add(off)))
		if err := w.Network.Heal(whom...); err != nil {
			t.Fatal(err)
		}
		longest = max(longest, w.ready(t, whom))
		l.more(t, 10, "after")
	}
	t.Logf("every node is ready, and takes a store, at most %.1f s after the cut is over", longest.Seconds())
}

// unready waits until a node says that it cannot work, and which part is wrong.
func (w *world) unready(t *testing.T, node int, part string) {
	t.Helper()
	for began := time.Now(); ; time.Sleep(100 * time.Millisecond) {
		status, body, err := w.do(t.Context(), "GET", w.Nodes[node].URL+"/readyz", "", "", nil)
		if err == nil && status == http.StatusServiceUnavailable && strings.Contains(string(body), part+":") {
			return
		}
		if time.Since(began) > 5*time.Second {
			t.Fatalf("%s does not say that %s is wrong: status %d, %v: %s", w.Nodes[node].Name(), part, status, err, body)
		}
	}
}

// ready waits until the nodes take stores, and returns how long that took.
func (w *world) ready(t *testing.T, which []int) time.Duration {
	t.Helper()
	began := time.Now()
	for _, i := range which {
		n := w.Nodes[i]
		for {
			ready, body, err := w.do(t.Context(), "GET", n.URL+"/readyz", "", "", nil)
			if err == nil && ready == http.StatusOK {
				u, file := w.image("", 64)
				var status int
				if status, body, err = w.store(t.Context(), n.URL, u, file); err == nil && status == http.StatusOK {
					break
				}
			}
			if time.Since(began) > 60*time.Second {
				t.Fatalf("%s is not back: %v: %s", n.Name(), err, body)
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
	return time.Since(began)
}
