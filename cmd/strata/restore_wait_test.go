package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/strata-pacs/strata/api"
	"github.com/strata-pacs/strata/api/apitest"
)

// noticed is an output of which each write is told.
type noticed struct {
	bytes.Buffer
	then func()
}

func (w *noticed) Write(p []byte) (int, error) {
	if w.then != nil {
		w.then()
	}
	return w.Buffer.Write(p)
}

// TestRestoreWait: restore --wait ends when the restore does, says how it ended, and leaves it alone when it is interrupted.
func TestRestoreWait(t *testing.T) {
	home := t.TempDir()
	token := filepath.Join(home, "token")
	if err := os.WriteFile(token, []byte(adminToken+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	const id = "01JZ0000000000000000000001"
	for _, tt := range []struct {
		name           string
		then           func(*apitest.Memory, context.CancelFunc) // at the first word of how far it is
		code           int
		stdout, stderr string
		state          string
	}{
		{"done", nil, 0, "readable until  2026-07-08", "done: 4 of 4 objects", "done"},
		{"cancelled by another", func(m *apitest.Memory, _ context.CancelFunc) { _, _ = m.Restores().Cancel(t.Context(), "alpha", id) }, exitGaps, "", "strata: the restore is cancelled", "cancelled"},
		{"interrupted", func(_ *apitest.Memory, cancel context.CancelFunc) { cancel() }, exitFailed, "", "The restore goes on", "running"},
	} {
		m := apitest.New()
		s := httptest.NewServer(api.New(api.Options{Tenants: m, Keys: m, Jobs: m.Jobs(), Restores: m.Restores(), Authorize: func(*http.Request) error { return nil }}))
		ctx, cancel := context.WithCancel(t.Context())
		errs := &noticed{}
		if tt.then != nil {
			errs.then = func() { errs.then = nil; tt.then(m, cancel) }
		}
		var out bytes.Buffer
		code := run(ctx, []string{"restore", "1.2.3", "--wait", "--tenant", "alpha", "--server", s.URL, "--token-file", token}, []string{"HOME=" + home}, strings.NewReader(""), &out, errs)
		if code != tt.code || !strings.Contains(out.String(), tt.stdout) || tt.stdout == "" && out.Len() > 0 || !strings.Contains(errs.String(), tt.stderr) {
			t.Errorf("%s: status %d\n%s%s", tt.name, code, out.String(), errs.String())
		}
		out.Reset()
		var shown api.Restore
		code = run(t.Context(), []string{"restores", "show", id, "--json", "--tenant", "alpha", "--server", s.URL, "--token-file", token}, []string{"HOME=" + home}, strings.NewReader(""), &out, errs)
		if err := json.Unmarshal(out.Bytes(), &shown); code != 0 || err != nil || string(shown.State) != tt.state && tt.state != "running" || tt.state == "running" && shown.State != "running" && shown.State != "waiting" {
			t.Errorf("%s: it is %s afterwards, status %d, %v", tt.name, shown.State, code, err)
		}
		cancel()
		s.Close()
	}
}
