//go:build linux

package hostile

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/strata-pacs/strata/dicomweb"
	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/ingest"
	"github.com/strata-pacs/strata/internal/keys/localkeys"
	"github.com/strata-pacs/strata/internal/node"
	"github.com/strata-pacs/strata/internal/pixel/sandbox"
	"github.com/strata-pacs/strata/internal/pixel/sandbox/sandboxtest"
)

// What the child is told by its environment.
const (
	envData  = "STRATA_HOSTILE_DATA"
	envCache = "STRATA_HOSTILE_CACHE"
	envStorm = "STRATA_HOSTILE_STORM"
)

// TestMain runs the tests, a worker of the sandbox, the server under test, or
// the storm upon it.
func TestMain(m *testing.M) {
	sandbox.Main()
	run := func() error { os.Exit(m.Run()); return nil }
	if dir := os.Getenv(envData); dir != "" {
		run = func() error { return serve(dir) }
	} else if os.Getenv(envStorm) != "" {
		run = rage
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// serve runs a node until its standard input ends, and prints its URL.
func serve(dir string) error {
	ctx := context.Background()
	kek, err := localkeys.Open(filepath.Join(dir, "kek"), nil)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	host, n, err := node.OpenArchive(ctx, node.Options{Data: filepath.Join(dir, "data"), Wrapper: kek, KEK: kek.ID(), Slog: log, PixelCache: os.Getenv(envCache), WarmPixels: true})
	if err != nil {
		return err
	}
	api := dicomweb.New(dicomweb.Options{Tenant: n.Tenant,
		Store: func(_ archive.Tenant, study string) dicomweb.StoreRequest {
			return n.Store.Begin(ingest.RequestOptions{Study: study})
		},
		Search: n.Search, Retrieve: n.Retrieve, Thumbnails: n.Thumbnail, Remove: n.Remove, Ready: host.Ready, Log: log,
		Handlers: map[string]http.Handler{"/test/state": http.HandlerFunc(state)}})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	srv := &http.Server{Handler: api}
	go func() { _ = srv.Serve(l) }() // ends with Close
	fmt.Println("http://" + l.Addr().String())
	_, _ = io.Copy(io.Discard, os.Stdin)
	api.Shutdown()
	_ = srv.Close()
	return host.Close(ctx)
}

// condition is what the server says of itself.
type condition struct {
	Goroutines int
	Stacks     string
}

// state collects garbage and answers with the condition.
func state(w http.ResponseWriter, _ *http.Request) {
	debug.FreeOSMemory()
	c := condition{Goroutines: runtime.NumGoroutine()}
	b := make([]byte, 1<<20)
	c.Stacks = string(b[:runtime.Stack(b, true)])
	_ = json.NewEncoder(w).Encode(c)
}

// server is the child.
type server struct {
	t    testing.TB
	pid  int
	root string // URL
	url  string // of the service
	log  string // file
	http *http.Client
}

func newClient() *http.Client {
	return &http.Client{Timeout: 2 * time.Minute, Transport: &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 64}}
}

func start(t testing.TB) *server {
	t.Helper()
	dir := t.TempDir()
	if err := localkeys.Create(filepath.Join(dir, "kek"), nil); err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, log: filepath.Join(dir, "log"), http: newClient()}
	log, err := os.Create(s.log)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), envData+"="+dir, envCache+"="+sandboxtest.Cache(t))
	cmd.Stderr = log
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			b, _ := os.ReadFile(s.log)
			t.Errorf("the server ended with %v: %.3000s", err, b)
		}
	})
	line := make([]byte, 64)
	k, err := out.Read(line)
	if err != nil {
		b, _ := os.ReadFile(s.log)
		t.Fatalf("the server does not start: %v: %.2000s", err, b)
	}
	s.pid, s.root = cmd.Process.Pid, strings.TrimSpace(string(line[:k]))
	s.url = s.root + dicomweb.Root
	return s
}

// answer is what came of a request.
type answer struct {
	status int
	header http.Header
	size   int64
	body   []byte // its beginning, or all of it when it was asked for
	broken error  // why the body did not come to its end
	took   time.Duration
	grew   int64 // bytes by which the memory of the server and its workers grew meanwhile
	work   time.Duration
}

const beginning = 64 << 10

// ask sends a request below the service and reads the answer. Of the body it
// keeps the beginning, all of it with keep.
func (s *server) ask(method, path, contentType, accept string, body []byte, keep bool) (*answer, error) {
	target := s.url + path
	if strings.HasPrefix(path, "!") {
		target = s.root + path[1:]
	}
	req, err := http.NewRequest(method, target, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	if accept != "" {
		req.Header.Set("Accept", accept)
	}
	began := time.Now()
	resp, err := s.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	a := &answer{status: resp.StatusCode, header: resp.Header}
	n := int64(beginning)
	if keep {
		n = 64 << 20
	}
	if a.body, a.broken = io.ReadAll(io.LimitReader(resp.Body, n)); a.broken == nil {
		var rest int64
		rest, a.broken = io.Copy(io.Discard, resp.Body)
		a.size = int64(len(a.body)) + rest
	}
	a.took = time.Since(began)
	return a, nil
}

// watched is ask while the memory of the server is measured.
func (s *server) watched(method, path, contentType, accept string, body []byte, keep bool) (*answer, error) {
	m := watch(s.pid)
	a, err := s.ask(method, path, contentType, accept, body, keep)
	grew, work := m.stop()
	if a != nil {
		a.grew, a.work = grew, work
	}
	return a, err
}

func (s *server) get(t testing.TB, path, accept string) *answer {
	t.Helper()
	a, err := s.ask("GET", path, "", accept, nil, true)
	if err != nil {
		t.Fatalf("GET %s: %v", path, err)
	}
	return a
}

// store sends files as parts of one request.
func (s *server) store(t testing.TB, files ...[]byte) *answer {
	t.Helper()
	const boundary = "a-boundary-of-the-tests"
	var b bytes.Buffer
	for _, f := range files {
		fmt.Fprintf(&b, "--%s\r\nContent-Type: application/dicom\r\n\r\n", boundary)
		b.Write(f)
		b.WriteString("\r\n")
	}
	fmt.Fprintf(&b, "--%s--\r\n", boundary)
	a, err := s.watched("POST", "/studies", `multipart/related; type="application/dicom"; boundary=`+boundary, "application/dicom+json", b.Bytes(), false)
	if err != nil {
		t.Fatalf("POST: %v", err)
	}
	return a
}

func (s *server) state(t testing.TB) condition {
	t.Helper()
	var c condition
	if err := json.Unmarshal(s.get(t, "!/test/state", "").body, &c); err != nil {
		t.Fatal(err)
	}
	return c
}
