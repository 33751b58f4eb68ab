package api

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/strata-pacs/strata/api/apitest"
)

var noon = apitest.Noon

// harness is a server over memory, and what it logged and measured.
type harness struct {
	t       *testing.T
	memory  *apitest.Memory
	url     string
	client  *ClientWithResponses
	log     *lockedBuffer
	metrics *metrics
}

func serve(t *testing.T, authorize func(*http.Request) error) *harness {
	t.Helper()
	h := &harness{t: t, memory: apitest.New(), log: &lockedBuffer{}, metrics: &metrics{}}
	m := h.memory
	s := httptest.NewServer(New(Options{Tenants: m, Keys: m, Rewraps: m, Escrows: m, Shredder: m, Jobs: m.Jobs(), Retention: m.Retention(), Rewinder: m.Retention(), Lifecycle: m.Lifecycle(), Drills: m.Drills(), Restores: m.Restores(), Usage: m.Usage(),
		Authorize: authorize, Person: func(r *http.Request) string { return r.Header.Get("Person") },
		Log: slog.New(slog.NewTextHandler(h.log, nil)), Metrics: h.metrics, Now: func() time.Time { return noon }}))
	t.Cleanup(s.Close)
	h.url = s.URL + Root
	c, err := NewClientWithResponses(h.url)
	if err != nil {
		t.Fatal(err)
	}
	h.client = c
	return h
}

type reply struct {
	*http.Response
	body string
}

// do sends a body as it is; one that begins with a brace is JSON.
func (h *harness) do(method, path, body string) reply {
	h.t.Helper()
	r, err := http.NewRequest(method, h.url+path, strings.NewReader(body))
	if err != nil {
		h.t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
		if method == http.MethodPatch {
			r.Header.Set("Content-Type", "application/merge-patch+json")
		}
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		h.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	return reply{resp, string(b)}
}

type metrics struct {
	mu     sync.Mutex
	routes []string
}

func (m *metrics) Request(method, route string, _ int, _ time.Duration, _, _ int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.routes = append(m.routes, method+" "+route)
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
