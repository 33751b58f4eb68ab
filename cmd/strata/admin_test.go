package main

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/strata-pacs/strata/api"
	"github.com/strata-pacs/strata/api/apitest"
	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
)

const adminToken = "0123456789abcdef0123456789abcdef"

// TestAdministration runs the scripts of testdata/admin: the commands of
// administration, speaking to the API of an administration in memory, at SERVER.
func TestAdministration(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/admin",
		Setup: func(e *testscript.Env) error {
			m := apitest.New()
			s := httptest.NewServer(api.New(api.Options{Tenants: m, Keys: m, Rewraps: m, Escrows: m, Shredder: m, Jobs: m.Jobs(), Retention: m.Retention(), Rewinder: m.Retention(), Lifecycle: m.Lifecycle(), Drills: m.Drills(), Restores: m.Restores(), Usage: m.Usage(), Currency: "EUR",
				Person: func(*http.Request) (who string) { m.Do(func() { who = m.Who }); return who },
				Authorize: func(r *http.Request) error {
					if r.Header.Get("Authorization") != "Bearer "+adminToken {
						return fault.New(fault.Unauthenticated, "send a valid token")
					}
					return nil
				}}))
			e.Defer(s.Close)
			e.Values["memory"] = m
			e.Setenv("HOME", e.WorkDir+"/home")
			e.Setenv("XDG_CONFIG_HOME", e.WorkDir+"/home/config")
			e.Setenv("XDG_DATA_HOME", e.WorkDir+"/home/data")
			e.Setenv("SERVER", s.URL)
			unhurried(e)
			return os.WriteFile(filepath.Join(e.WorkDir, "token"), []byte("alpha:"+adminToken[1:]+"\n"+adminToken+"\n"), 0o600)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"behind": behind},
	})
}

// TestDoneInPart: what was done, and something of it failed, ends with status 2 and says so.
func TestDoneInPart(t *testing.T) {
	m := apitest.New()
	m.FailedStudies, m.Away = 1, "beta"
	s := httptest.NewServer(api.New(api.Options{Tenants: m, Keys: m, Rewraps: m, Escrows: m, Shredder: m, Jobs: m.Jobs(), Retention: m.Retention(), Rewinder: m.Retention(), Lifecycle: m.Lifecycle(), Drills: m.Drills(), Restores: m.Restores(), Usage: m.Usage(), Currency: "EUR",
		Authorize: func(*http.Request) error { return nil }}))
	defer s.Close()
	home := t.TempDir()
	token := filepath.Join(home, "token")
	if err := os.WriteFile(token, []byte(adminToken+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args   string
		code   int
		stderr string
	}{
		{"lifecycle apply alpha", exitGaps, "some studies failed"},
		{"usage --recount", exitFailed, "tenant beta could not be compared"},
		{"usage alpha --recount", 0, ""},
		{"restore 1.2.3 --tenant alpha", 0, ""},
		{"restores cancel 01JZ0000000000000000000001 --tenant alpha", 0, ""},
		{"restores wait 01JZ0000000000000000000001 --tenant alpha", exitGaps, "the restore is cancelled"},
		{"restores wait 01JZ0000000000000000000009 --tenant alpha", exitFailed, ""},
	} {
		var out, errs bytes.Buffer
		args := append(strings.Fields(tt.args), "--server", s.URL, "--token-file", token)
		code := run(t.Context(), args, []string{"HOME=" + home}, strings.NewReader(""), &out, &errs)
		if code != tt.code || !strings.Contains(errs.String(), tt.stderr) {
			t.Errorf("%s: status %d, %s%s", tt.args, code, out.String(), errs.String())
		}
	}
}

// behind WHAT… changes what is behind the API, or holds that it has changed.
func behind(ts *testscript.TestScript, neg bool, args []string) {
	m := ts.Value("memory").(*apitest.Memory)
	what, ok := strings.Join(args, " "), true
	m.Do(func() {
		switch what {
		case "drills fail":
			m.FailedDrill = 1
		case "objects are damaged":
			m.Damaged = true
		case "stores of beta are away":
			m.Away = "beta"
		case "jobs fail":
			m.FailedJobs = true
		case "alice calls":
			m.Who = "alice"
		case "bob calls":
			m.Who = "bob"
		case "much is due":
			m.Due = 7
		case "study is held":
			m.Fail = fault.New(fault.Conflict, "the study is under legal hold")
		case "alpha is disabled at its provider":
			ok = m.Disabled && m.Tenants["alpha"].State == archive.TenantRevoked
		default:
			ok = false
		}
	})
	if !ok {
		ts.Fatalf("not so: %s", what)
	}
}

func TestRemoteRefusesWhatWouldShowTheToken(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("tenant:x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ server, file, want string }{
		{"http://pacs.example", file, "--server"},
		{"pacs.example", file, "--server"},
		{"ftp://pacs.example", file, "--server"},
		{"https://pacs.example", "", "--token-file"},
		{"https://pacs.example", file + "x", "cannot be read"},
		{"https://pacs.example", file, "no operator's token"},
	} {
		if _, err := remote(tt.server, tt.file); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", tt.server, err)
		}
	}
}

// TestTokenStaysWithItsServer: a redirect is an error, and the token does not follow it.
func TestTokenStaysWithItsServer(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the redirect was followed") }))
	defer other.Close()
	s := httptest.NewServer(http.RedirectHandler(other.URL, http.StatusTemporaryRedirect))
	defer s.Close()
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(adminToken), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := remote(s.URL, file)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := read[api.Tenant](c.GetTenant(t.Context(), "alpha")); err == nil || !strings.Contains(err.Error(), "307") {
		t.Errorf("%v", err)
	}
}

// TestInterruptedWait: who stops waiting is told that the job does not stop.
func TestInterruptedWait(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var stderr bytes.Buffer
	s := &session{stderr: &stderr}
	err := s.wait(ctx, api.Job{State: api.JobStateRunning, Done: 1, Total: 2}, "rotation")
	if !fault.Is(err, fault.Canceled) || !strings.Contains(stderr.String(), "rotation is not undone") {
		t.Errorf("%v %q", err, stderr.String())
	}
}
