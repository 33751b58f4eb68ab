//go:build linux

package e2e

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/strata-pacs/strata/test/stacktest"
)

// rows asks a node for matches; whatever stops it from answering is an error.
func (f *fight) rows(t *testing.T, n *stacktest.Node, path string) ([]map[string]struct{ Value []any }, error) {
	status, body, err := f.do(t.Context(), "GET", n.URL+root+path, "", "application/dicom+json", nil)
	switch {
	case err != nil:
		return nil, err
	case status == http.StatusNoContent || status == http.StatusNotFound:
		return nil, nil
	case status != http.StatusOK:
		return nil, fmt.Errorf("status %d: %.300s", status, body)
	}
	var rows []map[string]struct{ Value []any }
	err = json.Unmarshal(body, &rows)
	return rows, err
}

// found are the instances of a study that a node finds, and how often.
func (f *fight) found(t *testing.T, n *stacktest.Node, s *contested) (map[string]int, error) {
	rows, err := f.rows(t, n, "/studies/"+s.uid+"/instances?limit=5000")
	if err != nil {
		return nil, err
	}
	times := map[string]int{}
	for _, r := range rows {
		if v := r["00080018"].Value; len(v) == 1 {
			times[fmt.Sprint(v[0])]++
		}
	}
	return times, nil
}

// finds holds a node to what it finds of a study, of which nothing is deleted meanwhile.
func (f *fight) finds(t *testing.T, n *stacktest.Node, s *contested, trouble bool) {
	shown, hidden, _ := s.state()
	times, err := f.found(t, n, s)
	f.count("search", err == nil)
	if err != nil {
		if !trouble {
			t.Errorf("%s: searching: %v", n.Name(), err)
		}
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for uid := range shown {
		if times[uid] != 1 {
			t.Errorf("%s: an acknowledged instance is found %d times: %s in %q", n.Name(), times[uid], uid, s.story)
		}
	}
	sent := map[string]bool{}
	for _, im := range s.images {
		sent[im.Instance] = true
	}
	for uid := range times {
		if hidden[uid] != nil {
			t.Errorf("%s: a deleted instance is found: %s in %q", n.Name(), uid, s.story)
		}
		if !sent[uid] {
			t.Errorf("%s: an instance is found that was never sent: %s in %q", n.Name(), uid, s.story)
		}
	}
}

// settleDoubts asks what became of that which was not answered, once whatever was left of it is indexed.
func (f *fight) settleDoubts(t *testing.T) {
	var holds map[string]contestedHold
	for _, s := range f.studies {
		if _, _, doubt := s.state(); doubt {
			first, err := f.found(t, f.Nodes[0], s)
			for _, n := range f.Nodes[1:] {
				other, err2 := f.found(t, n, s)
				if err != nil || err2 != nil || fmt.Sprint(first) != fmt.Sprint(other) {
					t.Errorf("%s finds %v (%v) and %s %v (%v): %q", f.Nodes[0].Name(), first, err, n.Name(), other, err2, s.story)
				}
			}
			s.know(func() {
				f.doubts++
				s.doubt = false
				for _, im := range s.images {
					im.doubt = false
					if im.acked {
						im.hidden = first[im.Instance] == 0
					}
				}
				s.tell("found with %d", len(first))
			})
		}
		s.mu.Lock()
		for _, h := range s.holds {
			if !h.doubt {
				continue
			}
			if holds == nil {
				holds = f.listHolds(t)
			}
			is, ok := holds[h.reason]
			h.doubt, h.id, h.released, h.lifted = false, is.id, is.released, is.lifted || !ok
			f.doubts++
			s.tell("hold there: %v, released by %d", ok, is.released)
		}
		s.mu.Unlock()
	}
}

// listHolds are all holds, by their reasons.
func (f *fight) listHolds(t *testing.T) map[string]contestedHold {
	all := map[string]contestedHold{}
	for after := ""; ; {
		status, body, err := f.call(t, "holds", "alice", f.node(), "GET", "/holds?limit=100"+after, nil)
		var page struct {
			Holds []struct {
				ID, Reason string
				Lifted     bool
				Releases   []struct{ By string }
			}
			Next string
		}
		if err == nil {
			err = json.Unmarshal(body, &page)
		}
		if err != nil || status != http.StatusOK {
			t.Fatalf("listing holds: status %d, %v: %s", status, err, body)
		}
		for _, h := range page.Holds {
			all[h.Reason] = contestedHold{id: h.ID, reason: h.Reason, released: len(h.Releases), lifted: h.Lifted}
		}
		if page.Next == "" {
			return all
		}
		after = "&after=" + page.Next
	}
}

// check holds each node to what is known of the studies: it finds that and nothing else, and reads it
// back byte for byte where it says that it can. At rest it says that of all that can be read.
func (f *fight) check(t *testing.T, studies []*contested, rest bool) {
	t.Helper()
	type question struct {
		n *stacktest.Node
		s *contested
	}
	var all []question
	for _, s := range studies {
		for _, n := range f.Nodes {
			all = append(all, question{n, s})
		}
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(all)) && t.Context().Err() == nil; i = next.Add(1) - 1 {
				f.finds(t, all[i].n, all[i].s, false)
				f.reads(t, all[i].n, all[i].s, rest)
			}
		})
	}
	wg.Wait()
}

// reads reads a study at a node, and compares that with what the node says of its availability: NEARLINE is what has anything in the
// archive, be it deleted, not acknowledged, or, unless at rest, of two who have settled it at once the one who was slower.
func (f *fight) reads(t *testing.T, n *stacktest.Node, s *contested, rest bool) {
	shown, hidden, _ := s.state()
	for _, im := range hidden {
		status, b, err := f.get(t.Context(), n.URL, im.UIDs)
		f.judge(t, n, s, im, true, status, b, err)
		f.verified.Add(1)
	}
	if len(shown) == 0 {
		return
	}
	s.mu.Lock()
	sent := len(s.images)
	s.mu.Unlock()
	var said string
	var away int
	// A restore may end between the two.
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(200 * time.Millisecond) {
		rows, err := f.rows(t, n, "/studies?includefield=00080056&StudyInstanceUID="+s.uid)
		if err != nil || len(rows) != 1 || len(rows[0]["00080056"].Value) != 1 {
			t.Errorf("%s: a study is found %d times, %v", n.Name(), len(rows), err)
			return
		}
		said, away = fmt.Sprint(rows[0]["00080056"].Value[0]), 0
		wrong := false
		for _, im := range shown {
			status, b, err := f.get(t.Context(), n.URL, im.UIDs)
			f.judge(t, n, s, im, false, status, b, err)
			switch {
			case err != nil || status >= 500 && status != http.StatusServiceUnavailable:
				wrong = true
			case status == http.StatusServiceUnavailable:
				away++
			default:
				f.verified.Add(1)
			}
		}
		more := said == "NEARLINE" && away == 0
		if !wrong && (said == "ONLINE" && away == 0 || said == "NEARLINE" && (away > 0 || len(shown) < sent || !rest)) || t.Failed() {
			f.count("availability", !more)
			return
		}
		if time.Now().After(end) {
			s.mu.Lock()
			defer s.mu.Unlock()
			t.Errorf("%s: a study is said to be %s, and %d of %d instances cannot be read: %q", n.Name(), said, away, len(shown), s.story)
			return
		}
	}
}

// counted holds the usage to a listing, which nothing is moved beside for long, and returns how much no fact names.
func (f *fight) counted(t *testing.T) (unnamed int64) {
	t.Helper()
	// What was being removed when the lifecycle was paused is removed to the end.
	for end := time.Now().Add(time.Minute); ; time.Sleep(500 * time.Millisecond) {
		status, body, err := f.call(t, "recount", "", f.node(), "POST", "/usage/recount", nil)
		var is struct {
			Equal, Moving bool
			Stores        []struct{ Unnamed struct{ Objects int64 } }
		}
		if err == nil {
			err = json.Unmarshal(body, &is)
		}
		if err == nil && status == http.StatusOK && is.Equal {
			for _, s := range is.Stores {
				unnamed += s.Unnamed.Objects
			}
			return unnamed
		}
		if time.Now().After(end) {
			t.Errorf("the usage is not what a listing says: status %d, %v: %s", status, err, body)
			return 0
		}
	}
}

// rest waits until nothing is due and all graces are over, and holds the stores to what is needed.
func (f *fight) rest(t *testing.T) {
	t.Helper()
	f.settled(t)
	var left string
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(time.Second) {
		if left = f.leftovers(t); left == "" {
			return
		}
		if time.Now().After(end) {
			t.Errorf("at rest %s", left)
			return
		}
	}
}

// leftovers says what is in the buckets that should not be; nothing where all is well.
func (f *fight) leftovers(t *testing.T) string {
	t.Helper()
	packs := map[string]string{}
	for _, bucket := range []string{stacktest.ObjectBucket, "cold", "archive"} {
		dir := filepath.Join(f.S3.Folder, bucket, "default")
		var wrong string
		_ = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error { // what is not there is removed meanwhile, or was never
			if err != nil || e.IsDir() {
				return nil
			}
			rel, _ := filepath.Rel(dir, path)
			kind, _, _ := strings.Cut(rel, "/")
			switch other := packs[e.Name()]; {
			case kind == "pack" && other != "":
				wrong = fmt.Sprintf("the pack %s lies in %s and in %s", e.Name(), other, bucket)
			case kind == "pack":
				packs[e.Name()] = bucket
			case bucket != stacktest.ObjectBucket:
				wrong = fmt.Sprintf("%s is in %s", rel, bucket)
			}
			return nil
		})
		if wrong != "" {
			return wrong
		}
	}
	if n := f.counted(t); n != 0 {
		return fmt.Sprintf("%d objects are there that no fact names", n)
	}
	if report := f.verify(t); !strings.Contains(report, fmt.Sprintf(" packs %d ", len(packs))) {
		return fmt.Sprintf("%d packs are there, and verify says %s", len(packs), report)
	}
	return ""
}
