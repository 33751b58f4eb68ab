//go:build linux

package crash

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// program is the binary under test.
var program string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "strata-crash-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	program = filepath.Join(dir, "strata")
	if out, err := exec.Command("go", "build", "-o", program, "github.com/strata-pacs/strata/cmd/strata").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building strata: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// place is where an archive lies.
type place struct {
	data, index, key, log string
	config                string   // file of further settings, or empty
	token                 string   // that it wants of requests, or empty
	env                   []string // beyond the ordinary
}

// newPlace keeps key and log outside of what breaks.
func newPlace(t *testing.T, data, index string) place {
	own := t.TempDir()
	return place{data: data, index: index, key: filepath.Join(own, "key", "local.key"), log: filepath.Join(own, "server.log")}
}

func (p place) args(verb string, more ...string) []string {
	args := append([]string{verb, "--data", p.data, "--key-file", p.key}, more...)
	if p.index != "" {
		args = append(args, "--index", p.index)
	}
	if p.config != "" {
		args = append(args, "--config", p.config)
	}
	return args
}

// command is the program with no configuration but the arguments.
func command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = []string{"HOME=/nonexistent", "PATH=" + os.Getenv("PATH"), "TMPDIR=" + os.TempDir()}
	return cmd
}

// server is a running child.
type server struct {
	place
	cmd   *exec.Cmd
	base  string // URL of the DICOMweb root
	http  *http.Client
	ended chan struct{}
}

var address = regexp.MustCompile(`serves DICOMweb at (http://\S+)`)

// launch starts the program and does not wait for it to serve.
func launch(t *testing.T, p place) (*server, io.Reader) {
	t.Helper()
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	s := &server{place: p, ended: make(chan struct{}), http: &http.Client{Timeout: time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: 32}}}
	s.cmd = command(context.Background(), p.args("serve", "--listen", "127.0.0.1:0", "--reconcile-every", "2s")...)
	s.cmd.Env = append(s.cmd.Env, p.env...)
	s.cmd.Stderr = log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // nothing of a test that was killed stays
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	s.cmd.Stdout = in
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // the child is told when this thread ends, not when the process does
		defer runtime.UnlockOSThread()
		err := s.cmd.Start()
		started <- err
		if err == nil {
			_ = s.cmd.Wait() // how it ended is in ProcessState
			close(s.ended)
		}
	}()
	err = <-started
	in.Close()
	if err != nil {
		out.Close()
		t.Fatal(err)
	}
	t.Cleanup(func() { out.Close() })
	t.Cleanup(s.kill)
	return s, out
}

// start returns a server that serves.
func start(t *testing.T, p place) *server {
	t.Helper()
	s, out := launch(t, p)
	late := time.AfterFunc(2*time.Minute, s.kill)
	defer late.Stop()
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if m := address.FindStringSubmatch(lines.Text()); m != nil {
			s.base = m[1]
			return s
		}
	}
	s.kill()
	t.Fatalf("the server did not start: %v\n%s", s.cmd.ProcessState, p.tail())
	return nil
}

// kill is kill -9. It returns when the process is gone.
func (s *server) kill() {
	_ = s.cmd.Process.Kill() // it may have ended already
	<-s.ended
	s.http.CloseIdleConnections()
}

// stop asks the server to end, and holds it to that.
func (s *server) stop(t *testing.T) {
	t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-s.ended
	if !s.cmd.ProcessState.Success() {
		t.Errorf("the server did not end well: %v\n%s", s.cmd.ProcessState, s.tail())
	}
}

// tail is the end of the server's log, for failures.
func (p place) tail() string {
	b, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	lines := slices.DeleteFunc(strings.Split(string(b), "\n"), func(l string) bool { return strings.Contains(l, "msg=request") && strings.Contains(l, "kind=archived") })
	return "end of the server's log:\n" + strings.Join(lines[max(0, len(lines)-25):], "\n")
}

// must runs a command of the program, holds it to status 0 and returns what it wrote.
func (p place) must(t *testing.T, verb string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	var out bytes.Buffer
	cmd := command(ctx, p.args(verb)...)
	cmd.Env = append(cmd.Env, p.env...)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		t.Fatalf("strata %s: %v\n%s\n%s", verb, err, out.Bytes(), p.tail())
	}
	return out.String()
}
