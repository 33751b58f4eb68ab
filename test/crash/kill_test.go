//go:build linux

package crash

import (
	"net/http"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/pixel/sandbox/sandboxtest"
)

// TestKill kills the server at a random moment under load, again and again on
// one data folder, and now and then while it is still starting.
func TestKill(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := newPlace(t, t.TempDir(), "")
	sandboxtest.Warm(t, program, p.data)
	n := rounds(t, 12, 1)
	for round := range n {
		if round%4 == 3 {
			s, _ := launch(t, p)
			time.Sleep(time.Duration(w.rnd.IntN(150)) * time.Millisecond)
			s.kill()
		}
		s := start(t, p)
		active := w.pick()
		victim := w.bury(t, s)
		if round%8 == 0 {
			w.large = active[0].add(large)
		}
		l := &load{clients: normalClients, requests: 6}
		done := make(chan struct{})
		go func() {
			defer close(done)
			l.run(t, w, s, active)
		}()
		w.wait(l, done)
		s.kill()
		<-done
		if t.Failed() {
			t.Fatal(s.tail())
		}
		w.settle(t, p, append(active, victim)).kill()
	}
	// A clean end, and an index made anew, change nothing.
	s := start(t, p)
	w.check(t, s, true, w.studies, nil)
	s.stop(t)
	p.must(t, "verify")
	p.must(t, "rebuild")
	s = start(t, p)
	w.check(t, s, true, w.studies, w.studies[:3])
	s.stop(t)
	t.Logf("%d rounds, %d studies, %d instances acknowledged, %d times an instance read back", n, len(w.studies), w.acked.Load(), w.verified.Load())
}

// wait returns at a random moment of a load: after a number of acknowledgements,
// or, where a large instance is on its way, after a time.
func (w *world) wait(l *load, done <-chan struct{}) {
	w.mu.Lock()
	acks, delay := w.rnd.Int64N(int64(l.clients*l.requests)), time.Duration(w.rnd.Int64N(int64(4*time.Millisecond)))
	if w.large != nil && !w.large.acked {
		acks, delay = 0, time.Duration(w.rnd.Int64N(int64(600*time.Millisecond)))
	}
	w.mu.Unlock()
	for l.acked.Load() < acks {
		select {
		case <-done:
			return
		case <-time.After(200 * time.Microsecond):
		}
	}
	time.Sleep(delay)
}

// bury stores a study and deletes it.
func (w *world) bury(t *testing.T, s *server) *study {
	t.Helper()
	st := w.study()
	if status, body, err := w.store(t.Context(), s, st.add(tiny), st.add(tiny)); err != nil || status != http.StatusOK {
		t.Fatalf("storing: status %d, %v: %s", status, err, body)
	}
	w.remove(t, s, st)
	return st
}

// remove deletes a study.
func (w *world) remove(t *testing.T, s *server, st *study) {
	t.Helper()
	status, body, err := s.do(t.Context(), http.MethodDelete, "/studies/"+st.uid, "", nil)
	if err != nil || status/100 != 2 {
		t.Fatalf("deleting: status %d, %v: %s\n%s", status, err, body, s.tail())
	}
	st.deleted = true
}

// settle starts the server again and holds it to its promises.
func (w *world) settle(t *testing.T, p place, touched []*study) *server {
	t.Helper()
	s := start(t, p)
	w.check(t, s, false, w.studies, touched)
	p.must(t, "verify")
	w.resend(t, s, live(touched))
	if w.large != nil && w.large.acked {
		w.large = nil
	}
	w.check(t, s, true, touched, nil)
	return s
}

func live(studies []*study) (l []*study) {
	for _, st := range studies {
		if !st.deleted {
			l = append(l, st)
		}
	}
	return l
}
