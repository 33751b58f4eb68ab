//go:build linux

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/strata-pacs/strata/test/stacktest"
)

// deeds are what is done to studies, each in a loop of its own while a round lasts.
func (f *fight) deeds() map[string]func(context.Context, *testing.T) {
	return map[string]func(context.Context, *testing.T){
		"store": f.store, "store too": f.store, "delete": f.remove, "undelete": f.undelete, "hold": f.hold, "release": f.release,
		"rules": f.rule, "apply": f.apply, "apply too": f.apply, "pause": f.pause, "restore": f.restore, "read": f.read, "read too": f.read,
	}
}

// paces are the pauses between two of a kind.
var paces = map[string]time.Duration{"store": 120 * time.Millisecond, "store too": 150 * time.Millisecond, "delete": 500 * time.Millisecond, "undelete": 400 * time.Millisecond,
	"hold": 900 * time.Millisecond, "release": 700 * time.Millisecond, "rules": 2 * time.Second, "apply": 150 * time.Millisecond, "apply too": 170 * time.Millisecond,
	"pause": 6 * time.Second, "restore": 400 * time.Millisecond, "read": 30 * time.Millisecond, "read too": 40 * time.Millisecond}

// brawl has all of it done until the context ends.
func (f *fight) brawl(ctx context.Context, t *testing.T) *sync.WaitGroup {
	var wg sync.WaitGroup
	for name, deed := range f.deeds() {
		wg.Go(func() {
			for ctx.Err() == nil && !t.Failed() {
				deed(ctx, t)
				select {
				case <-ctx.Done():
				case <-time.After(time.Duration(float64(paces[name]) * (0.5 + float64(f.n(100))/100))):
				}
			}
		})
	}
	return &wg
}

// node is any of them, be it alive or not.
func (f *fight) node() *stacktest.Node { return f.Nodes[f.n(len(f.Nodes))] }

// call sends a request as one of the operators and counts what became of it. Deeds are not cut
// off by the end of a round: it is to be known what became of them.
func (f *fight) call(t *testing.T, what, who string, n *stacktest.Node, method, path string, body any) (int, []byte, error) {
	b, err := json.Marshal(body)
	if err != nil {
		t.Error(err)
	}
	status, answer, err := f.doAs(context.WithoutCancel(t.Context()), f.tokens[who], method, n.URL+"/api/tenants/default"+path, "application/json", "application/json", b)
	f.count(what, err == nil && status < 300)
	return status, answer, err
}

func (f *fight) count(what string, done bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if done {
		f.done[what]++
	} else {
		f.failed[what]++
	}
}

// unanswered reports whether an answer does not say what became of the request.
func unanswered(status int, err error) bool {
	return err != nil || status >= 500 || status == http.StatusTooManyRequests
}

// store stores an instance: the first of a study, a late one, or one that was stored before.
func (f *fight) store(_ context.Context, t *testing.T) {
	s := f.some(nil)
	if s == nil || f.n(3) == 0 {
		s = f.study()
	}
	s.RLock()
	defer s.RUnlock()
	var im *contestedImage
	if f.n(6) == 0 {
		shown, _, _ := s.state()
		for _, im = range shown {
			break
		}
	}
	if im == nil {
		im = f.image(s)
	}
	n := f.node()
	status, body, err := f.do(context.WithoutCancel(t.Context()), "POST", n.URL+root+"/studies", "application/dicom", "application/dicom+json", im.file)
	f.count("store", err == nil && status == http.StatusOK)
	switch {
	case err == nil && status == http.StatusOK:
		s.know(func() { im.acked, im.since = true, time.Now(); s.tell("%s stored %s", n.Name(), im.Instance) })
	case !unanswered(status, err):
		t.Errorf("%s: storing: status %d: %.300s; %q", n.Name(), status, body, s.story)
	default:
		s.know(func() { s.tell("%s was told to store %s: %d %v", n.Name(), im.Instance, status, err) })
	}
}

// remove deletes a study, now and then at two nodes at once.
func (f *fight) remove(_ context.Context, t *testing.T) {
	s := f.some(func(s *contested) bool { shown, _, doubt := s.state(); return !doubt && len(shown) > 0 })
	if s == nil || f.n(2) == 0 {
		return
	}
	s.Lock()
	defer s.Unlock()
	shown, _, doubt := s.state()
	surely, perhaps := s.held()
	if doubt || len(shown) == 0 {
		return
	}
	gone := time.Now()
	at := []*stacktest.Node{f.node()}
	if f.n(4) == 0 {
		at = append(at, f.node())
	}
	var mu sync.Mutex
	var yes, no, unknown int
	var wg sync.WaitGroup
	for _, n := range at {
		wg.Go(func() {
			status, body, err := f.do(context.WithoutCancel(t.Context()), "DELETE", n.URL+root+"/studies/"+s.uid, "", "", nil)
			f.count("delete", err == nil && status < 300)
			mu.Lock()
			defer mu.Unlock()
			s.know(func() { s.tell("%s was told to delete: %d %v", n.Name(), status, err) })
			switch {
			case unanswered(status, err):
				unknown++
			case status < 300:
				yes++
			case status == http.StatusConflict && perhaps:
				no++
			case status == http.StatusNotFound && len(at) > 1: // the other one was first
				no++
			default:
				t.Errorf("%s: deleting: status %d: %.300s; %q", n.Name(), status, body, s.story)
			}
		})
	}
	wg.Wait()
	if surely && yes > 0 {
		t.Errorf("a study was deleted that is held: %q", s.story)
	}
	s.know(func() {
		// The deletion before it must be out of what is asked to be undone.
		asOf := f.before(gone)
		alone := s.gone.Before(f.before(asOf))
		switch {
		case yes > 0:
			s.last, s.gone = nil, gone
			for _, im := range s.images {
				if im.acked && !im.hidden {
					im.hidden = true
					s.last = append(s.last, im)
					alone = alone && im.since.Before(f.before(asOf)) // or it was not there then
				}
			}
			if !alone || unknown > 0 {
				s.last = nil
			}
		case unknown > 0:
			s.last, s.gone, s.doubt = nil, gone, true
		}
	})
}

// undelete brings back what the last deletion hid, while that is promised.
func (f *fight) undelete(_ context.Context, t *testing.T) {
	s := f.some(func(s *contested) bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return !s.doubt && len(s.last) > 0 && time.Since(s.gone) < fightDelete-3*fightSkew
	})
	if s == nil {
		return
	}
	s.Lock()
	defer s.Unlock()
	var gone time.Time
	var last []*contestedImage
	s.know(func() { gone, last = s.gone, s.last })
	if len(last) == 0 || time.Since(gone) >= fightDelete-3*fightSkew {
		return
	}
	n := f.node()
	undone := 0
	for after := ""; ; {
		// By the clock of whoever deleted.
		question := map[string]any{"asOf": f.before(gone), "study": s.uid}
		if after != "" {
			question["after"] = after
		}
		status, answer, err := f.call(t, "undelete", "", n, "POST", "/undelete", question)
		if unanswered(status, err) {
			s.know(func() { s.doubt, s.last = true, nil; s.tell("%s was told to undelete: %d %v", n.Name(), status, err) })
			return
		}
		var page struct {
			Next               string
			Deletions, TooLate int
		}
		if err := json.Unmarshal(answer, &page); err != nil || status != http.StatusOK {
			t.Errorf("%s: undeleting: status %d: %s; %q", n.Name(), status, answer, s.story)
			return
		}
		undone += page.Deletions
		if page.TooLate > 0 && time.Since(gone) < fightDelete-2*fightSkew {
			t.Errorf("%s: too late to undelete after %v; %q", n.Name(), time.Since(gone), s.story)
		}
		if after = page.Next; after == "" {
			break
		}
	}
	s.know(func() {
		s.tell("%s undid %d deletions", n.Name(), undone)
		late := time.Since(gone) > fightDelete-2*fightSkew // no promise any more
		if undone == 0 && !late {
			t.Errorf("%s: nothing was undeleted: %q", n.Name(), s.story)
		}
		for _, im := range last {
			im.hidden, im.doubt = false, late
		}
		s.last, s.doubt = nil, late
	})
}

// hold has a study held.
func (f *fight) hold(_ context.Context, t *testing.T) {
	s := f.some(func(s *contested) bool { _, perhaps := s.held(); return !perhaps })
	if s == nil {
		return
	}
	s.Lock()
	defer s.Unlock()
	h := &contestedHold{reason: fmt.Sprintf("case %d", f.last.Add(1)), doubt: true, since: time.Now()}
	n := f.node()
	status, body, err := f.call(t, "hold", "alice", n, "POST", "/holds", map[string]any{"study": s.uid, "reason": h.reason})
	var answer struct{ ID string }
	if err == nil && status == http.StatusCreated {
		err = json.Unmarshal(body, &answer)
		h.id, h.doubt = answer.ID, false
	} else if !unanswered(status, err) {
		t.Errorf("%s: holding: status %d: %s", n.Name(), status, body)
	}
	s.know(func() { s.holds = append(s.holds, h); s.tell("%s was told to hold: %d %v", n.Name(), status, err) })
}

// release has one person, then another, say that a hold may go.
func (f *fight) release(_ context.Context, t *testing.T) {
	s := f.some(func(s *contested) bool { surely, _ := s.held(); return surely })
	if s == nil {
		return
	}
	s.Lock()
	defer s.Unlock()
	s.mu.Lock()
	at := slices.IndexFunc(s.holds, func(h *contestedHold) bool { return !h.doubt && !h.lifted })
	if at < 0 {
		s.mu.Unlock()
		return
	}
	h := s.holds[at]
	s.mu.Unlock()
	who, n := []string{"alice", "bob"}[h.released], f.node()
	status, body, err := f.call(t, "release", who, n, "POST", "/holds/"+h.id+"/release", map[string]any{"reason": "settled"})
	s.know(func() {
		s.tell("%s was told by %s to release: %d %v", n.Name(), who, status, err)
		switch {
		case unanswered(status, err):
			h.doubt = true
		case status != http.StatusOK:
			t.Errorf("%s: releasing: status %d: %s; %q", n.Name(), status, body, s.story)
		default:
			h.released++
			h.lifted = h.released == 2
		}
	})
}

// rule states other rules at one node, and asks another one for them.
func (f *fight) rule(_ context.Context, t *testing.T) {
	f.ruling.Lock()
	defer f.ruling.Unlock()
	tiers := [][]string{{"cold", "hot"}, {"archive", "cold"}, {"hot", "archive"}, {"cold", "cold"}, {"archive", "archive"}, {"hot", "cold"}}[f.n(6)]
	name := fmt.Sprintf("small %d", f.last.Add(1))
	f.state(t, f.node(), []any{map[string]any{"name": name, "when": map[string]any{"size": map[string]any{"under": []string{"6kB", "20kB", "60kB"}[f.n(3)]}}, "action": "move", "to": tiers[0]},
		map[string]any{"name": "others", "action": "move", "to": tiers[1]}})
}

// state states rules, and holds another node to them; ruling is held.
func (f *fight) state(t *testing.T, n *stacktest.Node, rules []any) bool {
	b, err := json.Marshal(rules)
	if err != nil {
		t.Error(err)
	}
	status, body, err := f.call(t, "rules", "", n, "PUT", "/lifecycle/rules", map[string]any{"rules": rules})
	if unanswered(status, err) {
		return false
	}
	if status != http.StatusOK {
		t.Errorf("%s: stating rules: status %d: %s", n.Name(), status, body)
		return false
	}
	other := f.node()
	status, body, err = f.call(t, "asking for rules", "", other, "GET", "/lifecycle/rules", nil)
	var there struct{ Rules []struct{ Name string } }
	if err == nil && status == http.StatusOK {
		if err := json.Unmarshal(body, &there); err != nil || len(there.Rules) == 0 || there.Rules[0].Name != rules[0].(map[string]any)["name"] {
			t.Errorf("%s took the rules %s and %s has %s", n.Name(), b, other.Name(), body)
		}
	}
	return true
}

// pause pauses the lifecycle for a moment, at one node, and resumes it at another.
func (f *fight) pause(ctx context.Context, t *testing.T) {
	f.ruling.Lock()
	defer f.ruling.Unlock()
	n := f.node()
	if status, body, err := f.call(t, "pause", "", n, "POST", "/lifecycle/pause", nil); !unanswered(status, err) {
		if status != http.StatusOK {
			t.Errorf("%s: pausing: status %d: %s", n.Name(), status, body)
		}
		f.paused(t, f.node(), true)
	}
	select {
	case <-ctx.Done():
	case <-time.After(time.Duration(f.n(1000)) * time.Millisecond):
	}
	f.resume(t)
}

// resume ends a pause, however long it takes; ruling is held.
func (f *fight) resume(t *testing.T) {
	for end := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		n := f.node()
		status, body, err := f.call(t, "resume", "", n, "POST", "/lifecycle/resume", nil)
		if err == nil && status == http.StatusOK {
			f.paused(t, f.node(), false)
			return
		}
		if time.Now().After(end) || !unanswered(status, err) {
			t.Errorf("%s: resuming: status %d, %v: %s", n.Name(), status, err, body)
			return
		}
	}
}

// paused holds a node to what another was told.
func (f *fight) paused(t *testing.T, n *stacktest.Node, want bool) {
	status, body, err := f.call(t, "asking for the lifecycle", "", n, "GET", "/lifecycle", nil)
	var state struct{ Paused bool }
	if err != nil || status != http.StatusOK {
		return
	}
	if err := json.Unmarshal(body, &state); err != nil || state.Paused != want {
		t.Errorf("%s: the lifecycle is said to be paused: %v, wanted %v; %v", n.Name(), state.Paused, want, err)
	}
}

// apply has a node carry out the rules at once.
func (f *fight) apply(_ context.Context, t *testing.T) {
	n := f.node()
	if status, body, err := f.call(t, "apply", "", n, "POST", "/lifecycle/apply", nil); !unanswered(status, err) && status != http.StatusOK {
		t.Errorf("%s: applying: status %d: %s", n.Name(), status, body)
	}
}

// restore asks for some studies, and at times takes that back.
func (f *fight) restore(_ context.Context, t *testing.T) {
	var uids []string
	for range 1 + f.n(8) {
		if s := f.some(nil); s != nil && !slices.Contains(uids, s.uid) {
			uids = append(uids, s.uid)
		}
	}
	if len(uids) == 0 {
		return
	}
	n := f.node()
	status, body, err := f.call(t, "restore", "", n, "POST", "/restores", map[string]any{"studies": uids})
	if unanswered(status, err) || status == http.StatusNotFound { // deleted ones are not there
		return
	}
	var answer struct{ ID string }
	if err := json.Unmarshal(body, &answer); err != nil || status >= 300 {
		t.Errorf("%s: restoring: status %d: %s", n.Name(), status, body)
		return
	}
	if answer.ID != "" && f.n(5) == 0 {
		status, body, err := f.call(t, "cancel", "", f.node(), "DELETE", "/restores/"+answer.ID, nil)
		if !unanswered(status, err) && status != http.StatusOK && status != http.StatusConflict {
			t.Errorf("cancelling: status %d: %s", status, body)
		}
	}
}

// read reads an instance, or looks for all of a study, at any node that answers.
func (f *fight) read(_ context.Context, t *testing.T) {
	s := f.some(func(s *contested) bool { _, _, doubt := s.state(); return !doubt })
	if s == nil {
		return
	}
	s.RLock()
	defer s.RUnlock()
	if _, _, doubt := s.state(); doubt {
		return
	}
	n := f.node()
	if f.n(4) == 0 {
		f.finds(t, n, s, true)
		return
	}
	s.mu.Lock()
	var im *contestedImage
	if len(s.images) > 0 {
		im = s.images[f.n(len(s.images))]
	}
	known := im != nil && im.acked && !im.doubt
	hidden := known && im.hidden
	s.mu.Unlock()
	if !known {
		return
	}
	status, b, err := f.get(t.Context(), n.URL, im.UIDs)
	f.count("read", err == nil && status == http.StatusOK)
	f.judge(t, n, s, im, hidden, status, b, err)
}

// judge holds a node to what it answered to the question for an instance.
func (f *fight) judge(t *testing.T, n *stacktest.Node, s *contested, im *contestedImage, hidden bool, status int, b []byte, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err != nil || status >= 500:
	case hidden && status != http.StatusNotFound:
		t.Errorf("%s: an instance that was deleted is answered with status %d; %s in %q", n.Name(), status, im.Instance, s.story)
	case hidden:
	case status != http.StatusOK:
		t.Errorf("%s: an acknowledged instance is answered with status %d: %.200s; %s in %q", n.Name(), status, b, im.Instance, s.story)
	case !im.is(b):
		t.Errorf("%s: an instance comes back as other %d bytes; %s in %q", n.Name(), len(b), im.Instance, s.story)
	}
}
