//go:build linux

package dark

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/strata-pacs/strata/dicomweb"
	"github.com/strata-pacs/strata/internal/pixel/sandbox/sandboxtest"
	"github.com/strata-pacs/strata/internal/testservers"
	"github.com/strata-pacs/strata/test/stacktest"
)

// server is one `strata serve`, of a stack or alone.
type server struct {
	name, url, token string
	pid              func() int
	log              string // path
}

// built returns the program under test, built once, or the one that STRATA_PROGRAM
// names; with cgo where an HSM is to be reached (STRATA_PROGRAM_CGO).
func built(t *testing.T, cgo bool) string {
	t.Helper()
	once, given := plain, os.Getenv("STRATA_PROGRAM")
	if cgo {
		once, given = withCgo, os.Getenv("STRATA_PROGRAM_CGO")
	}
	if given != "" {
		return given
	}
	program, err := once()
	if err != nil {
		t.Fatal(err)
	}
	return program
}

var (
	programs = sync.OnceValues(func() (string, error) { return os.MkdirTemp("", "strata-dark-") })
	plain    = sync.OnceValues(func() (string, error) { return build("plain", "CGO_ENABLED=0") })
	withCgo  = sync.OnceValues(func() (string, error) { return build("cgo", "CGO_ENABLED=1") })
)

func build(name, env string) (string, error) {
	dir, err := programs()
	if err != nil {
		return "", err
	}
	program := filepath.Join(dir, name)
	cmd := exec.Command("go", "build", "-o", program, "github.com/strata-pacs/strata/cmd/strata")
	cmd.Env = append(os.Environ(), env)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building strata: %w\n%s", err, out)
	}
	return program, nil
}

func TestMain(m *testing.M) {
	code := m.Run()
	if dir, err := programs(); err == nil {
		_ = os.RemoveAll(dir)
	}
	os.Exit(code)
}

// alone starts a server on SQLite and a folder, with the settings given, in a
// home of its own: everything it writes is below dir.
func alone(t *testing.T, program, dir string, settings map[string]any, env ...string) *server {
	t.Helper()
	for _, sub := range []string{"home", "tmp"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	port, err := testservers.Port()
	if err != nil {
		t.Fatal(err)
	}
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	sandboxtest.Warm(t, program, filepath.Join(dir, "data"))
	all := map[string]any{"data": filepath.Join(dir, "data"), "listen": addr, "log": map[string]any{"level": "debug"},
		"thumbnail-after": "500ms", "pixel-workers": 1, "key-grace": "4s"}
	maps.Copy(all, settings)
	b, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "strata.yaml")
	if err := os.WriteFile(config, b, 0o600); err != nil {
		t.Fatal(err)
	}
	s := &server{name: "strata", url: "http://" + addr, log: filepath.Join(dir, "log")}
	log, err := os.Create(s.log)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(program, "serve", "--config", config)
	cmd.Env = append([]string{"HOME=" + filepath.Join(dir, "home"), "PATH=/usr/bin:/bin", "TMPDIR=" + filepath.Join(dir, "tmp")}, env...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.pid = func() int { return cmd.Process.Pid }
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // it is killed
	}()
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		<-ended
		if t.Failed() {
			b, _ := os.ReadFile(s.log)
			t.Logf("end of the server's log:\n%s", b[max(0, len(b)-4000):])
		}
	})
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if status, _, err := s.do(t.Context(), route{path: "/readyz"}); err == nil && status == http.StatusOK {
			return s
		}
		select {
		case <-ended:
			t.Fatal("the server ended")
		default:
		}
		if time.Now().After(end) {
			t.Fatal("the server is not ready")
		}
	}
}

// of is a node of a stack.
func of(s *stacktest.Stack, n *stacktest.Node) *server {
	return &server{name: n.Name(), url: n.URL, token: s.Token, pid: n.PID}
}

// route is a request, its path below that of the service unless it is none of it.
type route struct {
	method, path, accept, contentType string
	body                              []byte
}

func (r route) String() string {
	method := r.method
	if method == "" {
		method = http.MethodGet
	}
	path, _, _ := strings.Cut(r.path, "?")
	return method + " " + path[strings.LastIndexByte(path, '/')+1:] + " as " + r.accept
}

// client waits longer than any answer takes. It keeps no connections: each request is let in anew.
var client = &http.Client{Timeout: 2 * time.Minute, Transport: &http.Transport{DisableKeepAlives: true, DisableCompression: true}}

func (s *server) request(ctx context.Context, r route, body io.Reader) (*http.Request, error) {
	url := s.url + r.path
	if strings.HasPrefix(r.path, "/studies") || strings.HasPrefix(r.path, "/series") || strings.HasPrefix(r.path, "/instances") ||
		strings.HasPrefix(r.path, "/changes") || strings.HasPrefix(r.path, "?") {
		url = s.url + dicomweb.Root + r.path
	}
	method := r.method
	if method == "" {
		method = http.MethodGet
	}
	req, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return nil, err
	}
	if s.token != "" {
		req.Header.Set("Authorization", "Bearer "+s.token)
	}
	if r.accept != "" {
		req.Header.Set("Accept", r.accept)
	}
	if r.contentType != "" {
		req.Header.Set("Content-Type", r.contentType)
	}
	return req, nil
}

// do sends a request and returns status and body. An answer that broke off is an error.
func (s *server) do(ctx context.Context, r route) (int, []byte, error) {
	req, err := s.request(ctx, r, bytes.NewReader(r.body))
	if err != nil {
		return 0, nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 256<<20))
	return resp.StatusCode, b, err
}

// must sends a request that has to be answered with the status.
func (s *server) must(t *testing.T, status int, r route) []byte {
	t.Helper()
	got, b, err := s.do(t.Context(), r)
	if err != nil || got != status {
		t.Fatalf("%s: %v: status %d, %v: %.400s", s.name, r, got, err, b)
	}
	return b
}

// problem is the type of a problem document, its last part.
func problem(b []byte) string {
	var p struct{ Type string }
	if json.Unmarshal(b, &p) != nil {
		return ""
	}
	return p.Type[strings.LastIndexAny(p.Type, "/:#")+1:]
}

// processes are the server and those that it started.
func (s *server) processes() []int { return append([]int{s.pid()}, children(s.pid())...) }

func children(pid int) (all []int) {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, task := range tasks {
		b, _ := os.ReadFile(task) // the thread may have ended
		for _, f := range strings.Fields(string(b)) {
			if n, err := strconv.Atoi(f); err == nil {
				all = append(append(all, n), children(n)...)
			}
		}
	}
	return all
}

// freeze stops the server and its children where they stand, until the returned function is called.
func (s *server) freeze(t *testing.T) (thaw func()) {
	t.Helper()
	pids := s.processes()
	signal := func(what syscall.Signal) {
		for _, pid := range pids {
			if err := syscall.Kill(pid, what); err != nil && !errors.Is(err, syscall.ESRCH) {
				t.Error(err)
			}
		}
	}
	signal(syscall.SIGSTOP)
	for _, pid := range pids {
		for end := time.Now().Add(5 * time.Second); !stopped(pid) && time.Now().Before(end); time.Sleep(time.Millisecond) {
		}
	}
	return sync.OnceFunc(func() { signal(syscall.SIGCONT) })
}

// stopped reports whether every thread of a process has stopped; proc(5).
func stopped(pid int) bool {
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	for _, path := range threads {
		b, err := os.ReadFile(path)
		if i := bytes.LastIndexByte(b, ')'); err == nil && (i < 0 || !bytes.HasPrefix(b[i:], []byte(") T"))) {
			return false
		}
	}
	return true
}

func readJSON(t *testing.T, path string, v any) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(b, v)
	}
	if err != nil {
		t.Fatal(err)
	}
}
