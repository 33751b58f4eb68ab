//go:build linux

package crash

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/pixel/sandbox/sandboxtest"
)

// Hours of a lifecycle in seconds.
const (
	quiet      = time.Second
	readGrace  = 4 * time.Second
	moveHold   = 3 * time.Second
	deleteHold = 3 * time.Second // and as much again until what was deleted goes
	reapGrace  = 8 * time.Second
)

// coldIn is a tier in a folder.
func coldIn(dir string) map[string]any {
	return map[string]any{"name": "cold", "store": "file://" + dir}
}

// tieredPlace is an archive with a second tier, in which what takes hours takes seconds.
func tieredPlace(t *testing.T, data string, second map[string]any) place {
	t.Helper()
	p := newPlace(t, data, "")
	sandboxtest.Warm(t, program, data)
	own := filepath.Dir(p.log)
	p.config, p.token = filepath.Join(own, "strata.yaml"), strings.Repeat("t", 32)
	tokens := filepath.Join(own, "token")
	config, err := json.Marshal(map[string]any{ // JSON is YAML
		"tiers":        []any{map[string]any{"name": "hot"}, second},
		"settle-after": quiet.String(), "lifecycle-every": "1s", "read-grace": readGrace.String(), "move-hold": moveHold.String(),
		"delete-hold": deleteHold.String(), "reap-grace": reapGrace.String(), "thumbnails": false, "pixel-workers": 1, "read-cache-bytes": 0, "token-file": tokens, "log": map[string]any{"level": "warn"},
	})
	if err == nil {
		err = os.WriteFile(p.config, config, 0o600)
	}
	if err == nil {
		err = os.WriteFile(tokens, []byte(p.token+"\n"), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestTiers kills the server while studies are stored, deleted, brought back, settled,
// moved to the cold tier and back, and let go of: at moments that are watched for in the stores, and at any.
func TestTiers(t *testing.T) {
	t.Parallel()
	seeds := 1
	if os.Getenv("STRATA_CRASH_ROUNDS") != "" {
		seeds = 3
	}
	for range seeds {
		t.Run("", testTiers)
	}
}

func testTiers(t *testing.T) {
	began := time.Now()
	w, cold := newWorld(t), t.TempDir()
	p := tieredPlace(t, t.TempDir(), coldIn(cold))
	s := start(t, p)
	look := newWatch(t, filepath.Join(p.data, "objects"), cold)
	n, kills := rounds(t, 7, 1), map[moment]int{}
	for round := range n {
		w.rules(t, s)
		m := someMoment
		if round%4 != 3 {
			m = moments[w.rnd.IntN(len(moments))]
		}
		if w.round(t, s, look, m) {
			kills[m]++
		} else {
			kills[someMoment]++
		}
		if t.Failed() {
			t.Fatal(s.tail())
		}
		if round%3 == 2 { // killed while it starts
			again, _ := launch(t, p)
			time.Sleep(time.Duration(w.rnd.IntN(300)) * time.Millisecond)
			again.kill()
			kills["it starts"]++
		}
		s = start(t, p)
		w.resolve(t, s)
		w.check(t, s, false, w.studies, nil)
		if round%4 == 0 {
			p.must(t, "verify") // beside the lifecycle
		}
	}

	// At rest nothing is left that is not needed.
	w.resend(t, s, live(w.studies))
	w.rules(t, s)
	w.rest(t, s, cold)
	w.check(t, s, true, w.studies, w.studies[:3])
	s.stop(t)
	p.must(t, "rebuild")
	s = start(t, p)
	w.check(t, s, true, w.studies, w.studies[:3])
	w.rest(t, s, cold)
	s.stop(t)
	gone := 0
	for _, st := range w.studies {
		if st.deleted {
			gone++
		}
	}
	t.Logf("%d rounds, %.0f s, kills: %v; seen in the stores: %v", n, time.Since(began).Seconds(), kills, look.seen)
	t.Logf("%d studies, %d of them deleted; %d instances acknowledged, %d deletions, %d undeletions, %d in doubt; %d times an instance read back",
		len(w.studies), gone, w.acked.Load(), w.did.deleted, w.did.undeleted, w.did.doubt, w.verified.Load())
}

// rules states where studies are to be: the small ones here, the others there, or all in one place.
func (w *world) rules(t *testing.T, s *server) {
	t.Helper()
	w.mu.Lock()
	tiers := []string{"cold", "hot"}
	w.rnd.Shuffle(2, func(i, j int) { tiers[i], tiers[j] = tiers[j], tiers[i] })
	limit := []string{"2kB", "6kB", "30kB"}[w.rnd.IntN(3)]
	w.mu.Unlock()
	s.state(t, fmt.Sprintf(`{"name":"small","when":{"size":{"under":%q}},"action":"move","to":%q},{"name":"others","action":"move","to":%q}`, limit, tiers[0], tiers[1]))
}

// moveAll is the rule that moves everything to a tier.
func moveAll(tier string) string { return fmt.Sprintf(`{"name":"all","action":"move","to":%q}`, tier) }

// state states rules; every study is due then.
func (s *server) state(t *testing.T, rules string) {
	t.Helper()
	body := `{"rules":[` + rules + `]}`
	if status, answer, err := s.api(t.Context(), http.MethodPut, "/lifecycle/rules", body); err != nil || status != http.StatusOK {
		t.Fatalf("stating rules: status %d, %v: %s\n%s", status, err, answer, s.tail())
	}
}

// api asks the API about the tenant.
func (s *server) api(ctx context.Context, method, path, body string) (int, string, error) {
	at := *s
	at.base = strings.TrimSuffix(s.base, "/dicom-web") + "/api/tenants/default"
	return at.do(ctx, method, path, "application/json", bytes.NewReader([]byte(body)))
}

// round has everything done at once until the server is killed, and reports whether that was at the moment asked for.
func (w *world) round(t *testing.T, s *server, look *watch, m moment) (came bool) {
	active := w.pick()
	dead := make(chan struct{})
	strike := sync.OnceFunc(func() {
		close(dead) // first: who is refused by the dead must know
		_ = s.cmd.Process.Kill()
	})
	w.mu.Lock()
	n, delay := 1+w.rnd.IntN(5), time.Duration(w.rnd.Int64N(int64(5*time.Second)))
	w.mu.Unlock()
	if m != someMoment {
		look.arm(m, n, strike)
		delay = 8 * time.Second // it may not come
	}
	late := time.AfterFunc(delay, strike)
	defer late.Stop()
	var wg sync.WaitGroup
	wg.Go(func() {
		// The moment may come before all is sent, or when it has been quiet for a while.
		(&load{clients: 4, requests: 4}).run(t, w, s, active)
	})
	wg.Go(func() { w.changes(t, s, active, dead) })
	wg.Go(func() { w.reads(t, s, active, dead) })
	wg.Wait()
	<-dead
	s.kill()
	return look.disarm()
}

// changes deletes studies and brings them back.
func (w *world) changes(t *testing.T, s *server, active []*study, dead <-chan struct{}) {
	for {
		select {
		case <-dead:
			return
		case <-time.After(150 * time.Millisecond):
		}
		st := w.choose(active, func(st *study) bool { return !st.deleted || time.Since(st.gone) < deleteHold-time.Second })
		switch {
		case st == nil:
		case st.deleted:
			w.undelete(t, s, st)
		case w.chance(3):
			w.forget(t, s, st)
		}
	}
}

// choose picks a study to which nobody stores.
func (w *world) choose(active []*study, is func(*study) bool) *study {
	w.mu.Lock()
	defer w.mu.Unlock()
	taken := map[*study]bool{}
	for _, st := range active {
		taken[st] = true
	}
	var all []*study
	for _, st := range w.studies {
		if !taken[st] && !st.doubt && len(st.objects) > 0 && is(st) {
			all = append(all, st)
		}
	}
	if len(all) == 0 {
		return nil
	}
	return all[w.rnd.IntN(len(all))]
}

// chance is one of n.
func (w *world) chance(n int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.rnd.IntN(n) == 0
}

// forget deletes a study; what the server did not answer to is in doubt.
func (w *world) forget(t *testing.T, s *server, st *study) {
	w.mark(st, func() { st.doubt, st.gone = true, time.Now() })
	status, body, err := s.do(t.Context(), http.MethodDelete, "/studies/"+st.uid, "", nil)
	switch {
	case err != nil:
		w.mark(st, func() { w.did.doubt++ })
	case status/100 == 2:
		w.mark(st, func() { st.deleted, st.doubt = true, false; w.did.deleted++ })
	case status == http.StatusNotFound && !st.anything(): // nothing of it was acknowledged
		w.mark(st, func() { st.doubt = false })
	default:
		t.Errorf("deleting: status %d: %s; %s", status, body, st.story)
	}
}

// undelete brings a study back that was deleted lately.
func (w *world) undelete(t *testing.T, s *server, st *study) {
	w.mark(st, func() { st.doubt = true })
	undone := 0
	for after := ""; ; {
		// The time in a fact is in whole milliseconds.
		question := map[string]any{"asOf": st.gone.Add(-time.Millisecond), "study": st.uid}
		if after != "" {
			question["after"] = after
		}
		body, err := json.Marshal(question)
		if err != nil {
			t.Error(err)
			return
		}
		status, answer, err := s.api(t.Context(), http.MethodPost, "/undelete", string(body))
		if err != nil {
			w.mark(st, func() { w.did.doubt++ })
			return
		}
		var page struct {
			Next      string
			Deletions int
		}
		if err := json.Unmarshal([]byte(answer), &page); err != nil || status != http.StatusOK {
			t.Errorf("undeleting: status %d: %s", status, answer)
			return
		}
		undone += page.Deletions
		if after = page.Next; after == "" {
			break
		}
	}
	if undone == 0 {
		t.Errorf("nothing was undeleted; %s", st.story)
	}
	w.mark(st, func() {
		st.deleted, w.did.undeleted = false, w.did.undeleted+1
		// Too late is no promise: what came back is seen later.
		st.doubt = time.Since(st.gone) > deleteHold
	})
}

// mark changes what is known of a study.
func (w *world) mark(st *study, f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
	st.tell("deleted %t, doubt %t", st.deleted, st.doubt)
}

// tell notes what has happened to a study.
func (s *study) tell(format string, args ...any) {
	s.story = append(s.story, time.Now().Format("04:05.000 ")+fmt.Sprintf(format, args...))
}

// anything reports whether something of the study was acknowledged.
func (s *study) anything() bool {
	for _, o := range s.objects {
		if o.acked {
			return true
		}
	}
	return false
}

// reads reads studies to which nothing is done but by rules: readers must never notice these.
func (w *world) reads(t *testing.T, s *server, active []*study, dead <-chan struct{}) {
	for {
		select {
		case <-dead:
			return
		case <-time.After(20 * time.Millisecond):
		}
		st := w.choose(active, func(st *study) bool { return !st.deleted })
		if st == nil {
			continue
		}
		got, err := s.retrieve(t.Context(), "/studies/"+st.uid)
		select {
		case <-dead:
			return // it may have been killed meanwhile
		default:
		}
		w.mu.Lock()
		if changed := st.doubt || st.deleted || time.Since(st.gone) < 10*time.Second; !changed {
			if err != nil {
				t.Errorf("reading a study beside the lifecycle: %v", err)
			}
			for _, o := range st.objects {
				if err == nil && o.acked && !got.sums[o.sum] {
					t.Error("reading a study beside the lifecycle: an acknowledged instance is not in it")
				}
			}
		}
		w.mu.Unlock()
	}
}

// resolve asks what became of changes that were not answered: all of it, or nothing.
func (w *world) resolve(t *testing.T, s *server) {
	t.Helper()
	for _, st := range w.studies {
		if !st.doubt {
			continue
		}
		got, err := s.retrieve(t.Context(), "/studies/"+st.uid)
		if err != nil {
			t.Fatalf("%v\n%s", err, s.tail())
		}
		st.doubt, st.deleted = false, len(got.sums) == 0
		st.tell("found with %d instances", len(got.sums))
	}
}
