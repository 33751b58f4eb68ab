package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/keys/localkeys"
	"github.com/strata-pacs/strata/internal/node"
	"github.com/strata-pacs/strata/internal/pixel/sandbox/sandboxtest"
	"github.com/strata-pacs/strata/internal/retrieve/retrievetest"
	"github.com/strata-pacs/strata/internal/testservers"
)

// Tokens of a house.
const (
	ownerToken = "operator-0123456789abcdef" // alice's
	bobToken   = "operator-bob-0123456789abcdef"
	someToken  = "operator-some-0123456789abcdef" // nobody's in particular
	aToken     = "tenant-a-0123456789abcdef"
	bToken     = "tenant-b-0123456789abcdef"
)

// house is a server as serve wires it, with the tenants a and b.
type house struct {
	t    *testing.T
	node *node.Node
	url  string
	hc   *http.Client
}

// newHouse starts a house with settings of the environment on top.
func newHouse(t *testing.T, environ ...string) *house {
	t.Helper()
	dir := t.TempDir()
	sandboxtest.Warm(t, "", filepath.Join(dir, "data"))
	key, tokens := filepath.Join(dir, "kek"), filepath.Join(dir, "tokens")
	if err := localkeys.Create(key, nil); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(tokens, []byte("alice="+ownerToken+"\nbob="+bobToken+"\n"+someToken+"\na:"+aToken+"\nb:"+bToken+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, c, err := loadConfig("", append([]string{"STRATA_DATA=" + filepath.Join(dir, "data"), "STRATA_KEY_FILE=" + key,
		"STRATA_TOKEN_FILE=" + tokens, "STRATA_THUMBNAIL_AFTER=1h"}, environ...), nil)
	if err != nil {
		t.Fatal(err)
	}
	known, err := c.readTokens()
	if err != nil {
		t.Fatal(err)
	}
	authorize := known.authorizer()
	log, m := slog.New(slog.DiscardHandler), newMetrics()
	n, err := c.openServing(t.Context(), log, io.Discard, c.archiveHandler(log, m))
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(withAPI(administration(n, log, m, authorize, known.person), front(n, c.baseHandler(n, log, m, authorize), authorize)))
	h := &house{t, n, srv.URL, &http.Client{Transport: &http.Transport{DisableCompression: true}}}
	t.Cleanup(func() {
		h.hc.CloseIdleConnections()
		n.Shutdown()
		srv.Close()
		if err := n.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	for _, name := range []archive.Tenant{"a", "b"} {
		if _, err := n.Tenants().Create(t.Context(), name, archive.TenantSettings{State: archive.TenantActive}); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

// engines runs a test on both databases.
func engines(t *testing.T, test func(*testing.T, *house)) {
	t.Run("sqlite", func(t *testing.T) { test(t, newHouse(t)) })
	t.Run("postgres", func(t *testing.T) {
		dsn := testservers.Postgres(t).DSN("strata")
		test(t, newHouse(t, "STRATA_DATABASE="+dsn, "STRATA_STORE=file://"+t.TempDir()))
	})
}

// asked is a request that is sent to a tenant.
type asked struct {
	method, path, token string
	headers             []string
	body                []byte
}

// response is what came back.
type response struct {
	status int
	header http.Header
	body   string
}

func (h *house) do(q asked) response {
	h.t.Helper()
	r, err := http.NewRequest(q.method, h.url+q.path, bytes.NewReader(q.body))
	if err != nil {
		h.t.Fatal(err)
	}
	if q.token != "" {
		r.Header.Set("Authorization", "Bearer "+q.token)
	}
	for i := 0; i < len(q.headers); i += 2 {
		r.Header.Set(q.headers[i], q.headers[i+1])
	}
	resp, err := h.hc.Do(r)
	if err != nil {
		h.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		h.t.Fatalf("%s %s: %v", q.method, q.path, err)
	}
	return response{resp.StatusCode, resp.Header, string(b)}
}

// plain is the answer without what differs from request to request: the time, the
// request's name, and the boundaries of parts.
func (a response) plain() string {
	var b strings.Builder
	text := a.body
	if id := a.header.Get("X-Request-Id"); id != "" {
		text = strings.ReplaceAll(text, id, "(id)")
	}
	boundary := ""
	if _, rest, ok := strings.Cut(a.header.Get("Content-Type"), "boundary="); ok {
		boundary, _, _ = strings.Cut(rest, ";")
		boundary = strings.Trim(boundary, `"`)
	}
	fmt.Fprintln(&b, a.status)
	for _, name := range slices.Sorted(func(yield func(string) bool) {
		for name := range a.header {
			if name != "Date" && name != "X-Request-Id" && !yield(name) {
				return
			}
		}
	}) {
		fmt.Fprintln(&b, name, a.header[name])
	}
	out := b.String() + text
	if boundary != "" {
		out = strings.ReplaceAll(out, boundary, "(boundary)")
	}
	return out
}

// picture is an instance with its patient.
type picture struct {
	archive.UIDs
	name string
	size int
}

func (p picture) file() []byte {
	return retrievetest.Part10(retrievetest.Image{UIDs: p.UIDs, Rows: p.size, Columns: p.size, Name: p.name, Number: 1})
}

func pictureOf(study int, name string, size int) picture {
	u := archive.UIDs{Study: fmt.Sprintf("1.2.826.%d", study), Series: fmt.Sprintf("1.2.826.%d.1", study), Instance: fmt.Sprintf("1.2.826.%d.1.1", study)}
	return picture{u, name, size}
}

func (h *house) store(tenant, token string, p picture) response {
	h.t.Helper()
	return h.do(asked{"POST", "/t/" + tenant + "/dicom-web/studies", token, []string{"Content-Type", "application/dicom"}, p.file()})
}

// events follows the changes of a tenant; each string is the data of one.
func (h *house) events(tenant, token string) <-chan string {
	h.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r, err := http.NewRequestWithContext(ctx, "GET", h.url+"/t/"+tenant+"/dicom-web/changes", nil)
	if err != nil {
		h.t.Fatal(err)
	}
	r.Header.Set("Accept", "text/event-stream")
	r.Header.Set("Authorization", "Bearer "+token)
	resp, err := h.hc.Do(r)
	if err != nil {
		h.t.Fatal(err)
	}
	out, ended := make(chan string, 100), make(chan struct{})
	go func() {
		defer close(ended)
		lines := bufio.NewScanner(resp.Body)
		for lines.Scan() {
			if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				out <- data
			}
		}
	}()
	h.t.Cleanup(func() {
		cancel()
		<-ended
		_ = resp.Body.Close()
	})
	return out
}

func (h *house) next(events <-chan string) string {
	h.t.Helper()
	select {
	case e := <-events:
		return e
	case <-time.After(20 * time.Second):
		h.t.Fatal("no event")
		return ""
	}
}
