package testservers

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
)

// freePort is Port, for a test.
func freePort(t testing.TB) int {
	t.Helper()
	port, err := Port()
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// run starts the command and waits up to 30 s until ready returns nil. It is killed when the test ends.
func run(t testing.TB, name string, cmd *exec.Cmd, ready func() error) {
	t.Helper()
	var out tail
	cmd.Stdout, cmd.Stderr = &out, &out
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	if err := cmd.Start(); err != nil {
		t.Fatalf("starting %s: %v", name, err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
	})
	for start := time.Now(); ; {
		err := ready()
		if err == nil {
			return
		}
		select {
		case <-ended:
			t.Fatalf("%s ended: %v\n%s", name, err, out.String())
		case <-time.After(50 * time.Millisecond):
		}
		if time.Since(start) > 30*time.Second {
			t.Fatalf("%s does not answer: %v\n%s", name, err, out.String())
		}
	}
}

// binary returns the path of a program in the build cache or on PATH. Without it the
// test is skipped, or fails where CI is set.
func binary(t testing.TB, name string) string {
	t.Helper()
	if cache, err := os.UserCacheDir(); err == nil {
		p := filepath.Join(cache, "strata-build", "bin", name)
		if _, err := os.Stat(p); err == nil {
			return p
		}
	}
	p, err := exec.LookPath(name)
	if err != nil {
		missing(t, name)
	}
	return p
}

func missing(t testing.TB, name string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf("%s is not installed; run make setup", name)
	}
	t.Skipf("%s is not installed; run make setup", name)
}

// tail keeps the last of what a server writes.
type tail struct {
	mu sync.Mutex
	b  bytes.Buffer
}

const tailBytes = 16 << 10

func (o *tail) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.b.Write(p)
	if n := o.b.Len() - tailBytes; n > 0 {
		o.b.Next(n)
	}
	return len(p), nil
}

func (o *tail) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}
