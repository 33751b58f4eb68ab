package dicomweb

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
)

// fakeFeed is a feed in memory.
type fakeFeed struct {
	mu    sync.Mutex
	list  []archive.Change
	grown chan struct{}
	asked []archive.ChangeQuery
}

func (f *fakeFeed) add(action string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := int64(len(f.list) + 1)
	f.list = append(f.list, archive.Change{Sequence: n, Time: time.Unix(n, 0), Action: action,
		UIDs: archive.UIDs{Study: "1.2", Series: "1.3", Instance: "1.4"}})
	if f.grown != nil {
		close(f.grown)
		f.grown = nil
	}
}

func (f *fakeFeed) Changes(ctx context.Context, _ archive.Tenant, q archive.ChangeQuery) ([]archive.Change, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, q)
	var out []archive.Change
	for _, c := range f.list {
		if c.Sequence > q.After && (len(q.Actions) == 0 || slices.Contains(q.Actions, c.Action)) {
			out = append(out, c)
		}
	}
	if q.Newest {
		slices.Reverse(out)
	}
	return out[:min(len(out), q.Limit)], ctx.Err()
}

func (f *fakeFeed) Last(context.Context, archive.Tenant) (int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return int64(len(f.list)), nil
}

func (f *fakeFeed) Watch(archive.Tenant) <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.grown == nil {
		f.grown = make(chan struct{})
	}
	return f.grown
}

func TestChanges(t *testing.T) {
	feed := &fakeFeed{}
	for _, a := range []string{"create", "create", "delete", "undelete"} {
		feed.add(a)
	}
	url := serve(t, New(Options{Feed: feed})) + Root + "/changes"
	page := func(query string) changePage {
		t.Helper()
		r := do(t, "GET", url+query, nil)
		var p changePage
		if err := json.Unmarshal([]byte(r.body), &p); err != nil || r.StatusCode != 200 {
			t.Fatalf("%d %s", r.StatusCode, r.body)
		}
		return p
	}
	p := page("?limit=3")
	if len(p.Changes) != 3 || p.Last != 4 || !p.More || !strings.HasSuffix(p.Next, "/changes?after=3&limit=3") {
		t.Errorf("%+v", p)
	}
	if c := p.Changes[0]; c.Sequence != 1 || c.Action != "create" || !strings.HasSuffix(c.URL, "/dicom-web/studies/1.2/series/1.3/instances/1.4") {
		t.Errorf("%+v", c)
	}
	if p := page("?after=3"); len(p.Changes) != 1 || p.More || p.Next != "" {
		t.Errorf("%+v", p)
	}
	if p := page("?after=4"); p.Changes == nil || len(p.Changes) != 0 {
		t.Errorf("%+v", p)
	}
	if p := page("?order=newest&limit=1"); p.Changes[0].Sequence != 4 {
		t.Errorf("%+v", p)
	}
	if p := page("?action=delete,undelete"); len(p.Changes) != 2 {
		t.Errorf("%+v", p)
	}
	page("?from=2026-01-31T12:00:00Z&to=2026-02-01T00:00:00+01:00")
	if q := feed.asked[len(feed.asked)-1]; q.From.IsZero() || !q.To.Equal(time.Date(2026, 1, 31, 23, 0, 0, 0, time.UTC)) {
		t.Errorf("%+v", q)
	}
	for _, bad := range []string{"?after=x", "?after=-1", "?limit=0", "?limit=100000", "?from=yesterday", "?action=explode", "?order=random", "?after=%zz"} {
		if r := do(t, "GET", url+bad, nil); r.StatusCode != 400 {
			t.Errorf("%s: %d", bad, r.StatusCode)
		}
	}
	if r := do(t, "GET", url, nil, "Accept", "image/png"); r.StatusCode != 406 {
		t.Errorf("image/png: %d", r.StatusCode)
	}
	if r := do(t, "HEAD", url, nil); r.StatusCode != 200 || r.body != "" {
		t.Errorf("HEAD: %d", r.StatusCode)
	}
}

// events reads n events of a stream.
func events(t *testing.T, b *bufio.Scanner, n int) (out []string) {
	t.Helper()
	for len(out) < n && b.Scan() {
		if line := b.Text(); strings.HasPrefix(line, "id: ") || strings.HasPrefix(line, ": ") {
			out = append(out, line)
		}
	}
	return out
}

func TestEvents(t *testing.T) {
	feed := &fakeFeed{}
	feed.add("create")
	feed.add("create")
	allowed := make(chan error, 1)
	s := New(Options{Feed: feed, Limits: Limits{Streams: 1}, Authorize: func(*http.Request) error {
		select {
		case err := <-allowed:
			return err
		default:
			return nil
		}
	}})
	s.heartbeat = 20 * time.Millisecond
	url := serve(t, s) + Root + "/changes"
	open := func(headers ...string) (*http.Response, *bufio.Scanner) {
		r, _ := http.NewRequest("GET", url, nil)
		r.Header.Set("Accept", "text/event-stream")
		for i := 0; i < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		return resp, bufio.NewScanner(resp.Body)
	}

	resp, lines := open("Last-Event-ID", "1")
	if ct := resp.Header.Get("Content-Type"); ct != "text/event-stream" {
		t.Fatalf("Content-Type %s", ct)
	}
	if got := events(t, lines, 2); !slices.Equal(got, []string{"id: 2", ": "}) {
		t.Errorf("resumed: %q", got)
	}
	feed.add("delete")
	for {
		got := events(t, lines, 1)
		if len(got) == 0 {
			t.Fatal("the stream ended")
		}
		if got[0] == "id: 3" {
			break
		}
	}
	if r := do(t, "GET", url, nil, "Accept", "text/event-stream"); r.StatusCode != 503 {
		t.Errorf("a stream too many: %d", r.StatusCode)
	}
	allowed <- fault.New(fault.Unauthenticated, "the token was withdrawn")
	for lines.Scan() {
	}
	_ = resp.Body.Close()

	var r reply
	for range 100 { // until the server has noticed
		if r = do(t, "GET", url, nil, "Accept", "text/event-stream", "Last-Event-ID", "x"); r.StatusCode != 503 {
			break
		}
	}
	if r.StatusCode != 400 {
		t.Errorf("Last-Event-ID x: %d", r.StatusCode)
	}
	resp, lines = open()
	s.Shutdown()
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "id:") {
			t.Errorf("an event from before: %s", lines.Text())
		}
	}
	if err := lines.Err(); err != nil {
		t.Errorf("the stream did not end well: %v", err)
	}
	_ = resp.Body.Close()
}
