package dicomweb

import (
	"context"
	"encoding/json"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/fault/problem"
	"github.com/strata-pacs/strata/internal/retrieve"
	"github.com/strata-pacs/strata/internal/retrieve/retrievetest"
)

// vault is an archive tier whose restores end when the test says so.
type vault struct {
	rows *retrievetest.Archive

	mu       sync.Mutex
	asked    []archive.UIDs
	refusal  error // of recalls
	status   archive.RestoreStatus
	finished chan struct{}
}

const restoreID = "01JZZZZZZZZZZZZZZZZZZZZZZZ"

var restoreAsked = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)

func (v *vault) Recall(_ context.Context, _ archive.Tenant, sel archive.UIDs) (archive.RestoreStatus, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.asked = append(v.asked, sel)
	return v.status, v.refusal
}

func (v *vault) Wait(ctx context.Context, _ archive.Tenant, _ string) (archive.RestoreStatus, error) {
	select {
	case <-v.finished:
		v.mu.Lock()
		defer v.mu.Unlock()
		return v.status, nil
	case <-ctx.Done():
		return archive.RestoreStatus{}, ctx.Err()
	}
}

func (v *vault) Status(_ context.Context, _ archive.Tenant, id string) (archive.RestoreStatus, error) {
	if id != restoreID {
		return archive.RestoreStatus{}, fault.New(fault.NotFound, "there is no such restore")
	}
	return v.status, nil
}

// finish ends the restore: what lay in the archive can be read.
func (v *vault) finish(state archive.RestoreState) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.status.State = state
	if state == archive.RestoreDone {
		v.rows.Row(nativeUIDs).Tier = archive.Online
	}
	close(v.finished)
}

func (v *vault) recalls() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.asked)
}

// newVault serves the study of these tests, of which the native instance lies in an archive.
func newVault(t *testing.T) (*vault, *Server, *[]string) {
	rows := retrievetest.New()
	rows.Store(t, archive.DefaultTenant, nativeFile, jpegFile)
	rows.Row(nativeUIDs).Tier = archive.Nearline
	v := &vault{rows: rows, finished: make(chan struct{}), status: archive.RestoreStatus{ID: restoreID, State: archive.RestoreRunning, Priority: archive.Standard,
		Packs: 3, PacksIn: 1, Bytes: 300, BytesIn: 100, Asked: restoreAsked, Ready: restoreAsked.Add(4 * time.Hour)}}
	r := retrieve.New(retrieve.Options{Index: rows, Objects: rows, Secrets: rows})
	t.Cleanup(r.Close)
	accessed := new([]string)
	s := New(Options{Retrieve: r, Recall: v, Now: func() time.Time { return restoreAsked.Add(time.Hour) },
		PublicURL: "https://pacs.example", Accessed: func(study string) { *accessed = append(*accessed, study) }})
	return v, s, accessed
}

func send(s *Server, method, path string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, nil)
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

const (
	nearStudy    = Root + "/studies/1.2"
	nearSeries   = nearStudy + "/series/1.2.1"
	nearInstance = nearSeries + "/instances/1.2.1.1"
	restoreHref  = "https://pacs.example" + Root + "/restores/" + restoreID
)

// TestArchivedPixels: whatever needs pixels out of an archive says when they
// come and starts their restore; whatever does not, answers.
func TestArchivedPixels(t *testing.T) {
	for _, path := range []string{nearStudy, nearSeries, nearInstance, nearInstance + "/frames/2", nearInstance + "/bulkdata/7FE00010",
		nearInstance + "/rendered", nearInstance + "/frames/1/rendered", nearSeries + "/pixeldata", nearSeries + "/bulkdata",
		"/wado?requestType=WADO&studyUID=1.2&seriesUID=1.2.1&objectUID=1.2.1.1&contentType=application/dicom"} {
		v, s, accessed := newVault(t)
		w := send(s, "GET", path)
		var d problem.Document
		if err := json.Unmarshal(w.Body.Bytes(), &d); err != nil || w.Code != 503 || d.Type != problem.TypePrefix+"archived" {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
			continue
		}
		if got := w.Header().Get("Retry-After"); got != "10800" {
			t.Errorf("%s: Retry-After: %s, want the three hours that are left", path, got)
		}
		if got := w.Header().Get("Link"); got != "<"+restoreHref+`>; rel="monitor"` {
			t.Errorf("%s: Link: %s", path, got)
		}
		want := problem.Restore{Href: restoreHref, State: "running", Priority: "standard", Objects: 3, ObjectsReady: 1, Bytes: 300, BytesReady: 100,
			Asked: "2026-03-01T08:00:00Z", Ready: "2026-03-01T12:00:00Z"}
		if d.Restore == nil || *d.Restore != want {
			t.Errorf("%s: the restore is %+v", path, d.Restore)
		}
		if d.Detail != "this lies in an archive and is being restored; it is expected at 2026-03-01 12:00 UTC; metadata, thumbnails and searches answer at once" {
			t.Errorf("%s: %s", path, d.Detail)
		}
		if v.recalls() != 1 || v.asked[0].Study != "1.2" || len(*accessed) != 0 {
			t.Errorf("%s: recalls of %v", path, v.asked)
		}
		if strings.Contains(w.Header().Get("Content-Disposition"), "1.2.1.1") {
			t.Errorf("%s: the refusal still has the headers of the answer", path)
		}
		if w := send(s, "HEAD", path); w.Code != 503 || v.recalls() != 1 {
			t.Errorf("HEAD %s: %d, %d restores", path, w.Code, v.recalls())
		}
	}
}

func TestOnlineBesideArchived(t *testing.T) {
	v, s, accessed := newVault(t)
	for _, path := range []string{nearStudy + "/metadata", nearStudy + "/series/1.2.2", nearStudy + "/series/1.2.2/instances/1.2.2.1/frames/1"} {
		w := send(s, "GET", path, "Accept", "*/*;q=0.5, multipart/related; type=\"application/dicom\"; transfer-syntax=*", "Accept", "multipart/related; type=\"application/octet-stream\"; transfer-syntax=*")
		if w.Code != 200 {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
	if v.recalls() != 0 {
		t.Errorf("restores of %v", v.asked)
	}
	if got := strings.Join(*accessed, " "); got != "1.2 1.2" {
		t.Errorf("accessed %q, want the two that read pixels", got)
	}
}

// TestArchivedUnchanged: what a client has already needs no restore.
func TestArchivedUnchanged(t *testing.T) {
	v, s, _ := newVault(t)
	v.rows.Row(nativeUIDs).Tier = archive.Online
	etag := send(s, "GET", nearInstance).Header().Get("ETag")
	v.rows.Row(nativeUIDs).Tier = archive.Nearline
	if w := send(s, "GET", nearInstance, "If-None-Match", etag); etag == "" || w.Code != 304 || v.recalls() != 0 {
		t.Errorf("%d, %d restores, entity tag %q", w.Code, v.recalls(), etag)
	}
}

func TestRespondAsync(t *testing.T) {
	v, s, _ := newVault(t)
	w := send(s, "GET", nearStudy, "Prefer", "handling=lenient", "Prefer", "respond-async")
	var r problem.Restore
	if err := json.Unmarshal(w.Body.Bytes(), &r); err != nil || w.Code != 202 || r.State != "running" {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	for name, want := range map[string]string{"Location": restoreHref, "Preference-Applied": "respond-async", "Retry-After": "10800", "Content-Type": "application/json", "Etag": ""} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if w = send(s, "GET", strings.TrimPrefix(r.Href, "https://pacs.example")); w.Code != 200 || w.Header().Get("Retry-After") != "10800" {
		t.Errorf("the restore: %d %s", w.Code, w.Body)
	}
	v.finish(archive.RestoreDone)
	if w = send(s, "GET", Root+"/restores/"+restoreID); w.Code != 200 || w.Header().Get("Retry-After") != "" || !strings.Contains(w.Body.String(), `"state":"done"`) {
		t.Errorf("the restore that is done: %d %s", w.Code, w.Body)
	}
	if w = send(s, "GET", Root+"/restores/other"); w.Code != 404 {
		t.Errorf("another restore: %d", w.Code)
	}
	// It is there now: the preference has nothing to apply to.
	if w = send(s, "GET", nearInstance, "Prefer", "respond-async"); w.Code != 200 || w.Header().Get("Preference-Applied") != "" {
		t.Errorf("once restored: %d", w.Code)
	}
}

func TestPreferWait(t *testing.T) {
	for _, c := range []struct {
		name, prefer string
		after        time.Duration // the restore ends
		state        archive.RestoreState
		status       int
		waited       time.Duration
		applied      string
	}{
		{"in time", "wait=60", 20 * time.Second, archive.RestoreDone, 200, 20 * time.Second, "wait=60"},
		{"too late", "wait=10", time.Hour, archive.RestoreDone, 503, 10 * time.Second, "wait=10"},
		{"too late, then in its own time", "respond-async, wait=10", time.Hour, archive.RestoreDone, 202, 10 * time.Second, "wait=10, respond-async"},
		{"as long as the server lets", "wait=100000", time.Hour, archive.RestoreDone, 503, maxWait, "wait=600"},
		{"failed", "wait=60", 5 * time.Second, archive.RestoreFailed, 503, 5 * time.Second, "wait=60"},
		{"nonsense", "wait=soon", time.Second, archive.RestoreDone, 503, 0, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v, s, _ := newVault(t)
				done := time.AfterFunc(c.after, func() { v.finish(c.state) })
				defer done.Stop()
				start := time.Now()
				w := send(s, "GET", nearInstance, "Prefer", c.prefer, "Accept", "application/dicom; transfer-syntax=*")
				if w.Code != c.status || time.Since(start) != c.waited || w.Header().Get("Preference-Applied") != c.applied {
					t.Errorf("%d after %v, applied %q", w.Code, time.Since(start), w.Header().Get("Preference-Applied"))
				}
				if c.status == 200 && w.Body.String() != string(nativeFile) {
					t.Error("the instance differs")
				}
				if c.state == archive.RestoreFailed && w.Header().Get("Retry-After") != "2" {
					t.Errorf("Retry-After %q of a restore that failed", w.Header().Get("Retry-After"))
				}
			})
		})
	}
}

// TestWaitEndsWithServer: who waits for a restore does not keep a server from stopping.
func TestWaitEndsWithServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, s, _ := newVault(t)
		time.AfterFunc(3*time.Second, s.Shutdown)
		start := time.Now()
		if w := send(s, "GET", nearInstance, "Prefer", "wait=60"); w.Code != 503 || time.Since(start) != 3*time.Second {
			t.Errorf("%d after %v", w.Code, time.Since(start))
		}
	})
}

func TestUnreachableTier(t *testing.T) {
	v, s, _ := newVault(t)
	v.rows.Row(nativeUIDs).Tier = archive.Unavailable
	if w := send(s, "GET", nearInstance); w.Code != 503 || v.recalls() != 0 || !strings.Contains(w.Body.String(), "operator") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// full is the refusal of one restore too many.
type full struct{ error }

func (f full) Unwrap() error           { return f.error }
func (full) RetryAfter() time.Duration { return time.Minute }

// TestTooManyRestores: a viewer is told that it asks for too much, and when to come back.
func TestTooManyRestores(t *testing.T) {
	v, s, _ := newVault(t)
	v.refusal = full{fault.New(fault.TooMany, "as many as there may be")}
	for _, prefer := range []string{"", "respond-async", "wait=5"} {
		w := send(s, "GET", nearInstance, "Prefer", prefer)
		if w.Code != 429 || w.Header().Get("Retry-After") != "60" || !strings.Contains(w.Body.String(), "as many as there may be") || w.Header().Get("Preference-Applied") != "" {
			t.Errorf("%q: %d %v %s", prefer, w.Code, w.Header(), w.Body)
		}
	}
}

func TestWithoutRecall(t *testing.T) {
	v, s, _ := newVault(t)
	s.o.Recall = nil
	if w := send(s, "GET", nearInstance); w.Code != 503 || w.Header().Get("Retry-After") == "" || v.recalls() != 0 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
