package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/pixel/sandbox"
	"github.com/strata-pacs/strata/internal/retrieve/retrievetest"
	"github.com/strata-pacs/strata/internal/testservers"
)

func TestMain(m *testing.M) {
	sandbox.Main()
	testscript.Main(m, map[string]func(){"strata": func() {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		code := run(ctx, os.Args[1:], os.Environ(), os.Stdin, os.Stdout, os.Stderr)
		stop()
		os.Exit(code)
	}})
}

// TestCommands runs the scripts of testdata. Each has a home of its own.
func TestCommands(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(e *testscript.Env) error {
			port, err := testservers.Port()
			if err != nil {
				return err
			}
			e.Setenv("HOME", e.WorkDir+"/home")
			e.Setenv("XDG_CONFIG_HOME", e.WorkDir+"/home/config")
			e.Setenv("XDG_DATA_HOME", e.WorkDir+"/home/data")
			e.Setenv("ADDR", fmt.Sprintf("127.0.0.1:%d", port))
			unhurried(e)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"mkdicom": mkdicom, "ready": ready, "live": live, "http": get, "delete": remove, "held": held,
		},
	})
}

// unhurried has it that a command that is watched for races does not wait for a second at its end.
func unhurried(e *testscript.Env) { e.Setenv("GORACE", "atexit_sleep_ms=10") }

// mkdicom FILE STUDY N writes instance N of a study, with patient Zebra^Zoe.
func mkdicom(ts *testscript.TestScript, neg bool, args []string) {
	n, err := strconv.Atoi(args[2])
	ts.Check(err)
	u := archive.UIDs{Study: "1.2.826." + args[1], Series: "1.2.826." + args[1] + ".1", Instance: fmt.Sprintf("1.2.826.%s.1.%d", args[1], n)}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), retrievetest.Part10(retrievetest.Image{UIDs: u, Rows: 8, Columns: 8, Name: "Zebra^Zoe"}), 0o600))
}

// ready waits until the server at ADDR is.
func ready(ts *testscript.TestScript, neg bool, args []string) { answers(ts, "/readyz") }

// live waits until the server at ADDR answers, ready or not.
func live(ts *testscript.TestScript, neg bool, args []string) { answers(ts, "/healthz") }

// held DATA has the folder for the rest of the script, as a server that has not started yet.
func held(ts *testscript.TestScript, neg bool, args []string) {
	f, err := os.Open(filepath.Join(ts.MkAbs(args[0]), "lock"))
	ts.Check(err)
	ts.Defer(func() { f.Close() })
	ts.Check(unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB))
}

func answers(ts *testscript.TestScript, path string) {
	for range 200 {
		resp, err := http.Get("http://" + ts.Getenv("ADDR") + path)
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
	ts.Fatalf("the server did not become ready")
}

// delete PATH deletes what is there of the server at ADDR.
func remove(ts *testscript.TestScript, neg bool, args []string) {
	r, err := http.NewRequest("DELETE", "http://"+ts.Getenv("ADDR")+args[0], nil)
	ts.Check(err)
	resp, err := http.DefaultClient.Do(r)
	ts.Check(err)
	resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		ts.Fatalf("%s: %d", args[0], resp.StatusCode)
	}
}

// http PATH STATUS [TOKEN] gets a path of the server at ADDR and wants a status.
func get(ts *testscript.TestScript, neg bool, args []string) {
	r, err := http.NewRequest("GET", "http://"+ts.Getenv("ADDR")+args[0], nil)
	ts.Check(err)
	if len(args) > 2 {
		r.Header.Set("Authorization", "Bearer "+args[2])
	}
	resp, err := http.DefaultClient.Do(r)
	ts.Check(err)
	defer resp.Body.Close()
	if fmt.Sprint(resp.StatusCode) != args[1] {
		ts.Fatalf("%s: %d, want %s", args[0], resp.StatusCode, args[1])
	}
}
