package sandbox

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"time"
)

// process is a worker as its parent sees it.
type process struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	out   io.ReadCloser
	said  *words
	hello ready
	since time.Time     // idle
	used  time.Duration // of a processor, when it last said so

	waited  sync.Once
	waitErr error
	done    chan struct{}
}

// startTime is the most that starting may take: compiling, on a busy machine.
const startTime = 5 * time.Minute

// errNested keeps a worker from starting workers.
var errNested = errors.New("this process is a codec worker itself")

// spawn starts a worker: this binary again, with nothing of its parent but two
// pipes.
func spawn() (*process, error) {
	if os.Getenv(marker) != "" {
		return nil, errNested
	}
	path, err := os.Executable()
	if err != nil {
		return nil, err
	}
	if runtime.GOOS == "linux" {
		path = "/proc/self/exe" // which is this binary even when another took its name
	}
	w := &process{said: new(words), done: make(chan struct{})}
	w.cmd = exec.Command(path)
	w.cmd.Args = []string{"strata-codecs"}
	w.cmd.Env = []string{marker + "=1"}
	w.cmd.Dir = "/"
	w.cmd.Stderr = w.said
	w.cmd.WaitDelay = time.Second
	if w.in, err = w.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if w.out, err = w.cmd.StdoutPipe(); err != nil {
		return nil, err
	}
	enlarge(w.in, w.out)
	if err := w.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting a codec worker: %w", err)
	}
	return w, nil
}

// greet tells the worker where its cache is and waits until it is ready.
func (w *process) greet(cache string) error {
	late := time.AfterFunc(startTime, w.kill)
	defer late.Stop()
	if err := send(w.in, greeting{Magic: magicGreeting, Cache: uint32(len(cache))}); err != nil {
		return err
	}
	if _, err := io.WriteString(w.in, cache); err != nil {
		return err
	}
	if err := receive(w.out, &w.hello); err != nil {
		return err
	}
	if w.hello.Magic != magicReady || w.hello.Outcome != done {
		return errWire
	}
	w.used = time.Duration(w.hello.Used) * time.Microsecond
	return nil
}

// spent is what a worker that has ended used of a processor since it last said
// how much it had used.
func (w *process) spent() time.Duration {
	return w.cmd.ProcessState.UserTime() + w.cmd.ProcessState.SystemTime() - w.used
}

// kill ends the worker at once, whatever it is doing.
func (w *process) kill() { _ = w.cmd.Process.Kill() } // it may have ended

// end lets an idle worker go: it exits when its input does.
func (w *process) end() {
	_ = w.in.Close()
	late := time.AfterFunc(time.Second, w.kill)
	defer late.Stop()
	w.wait()
}

// wait waits for the worker's end.
func (w *process) wait() {
	w.waited.Do(func() {
		w.waitErr = w.cmd.Wait()
		close(w.done)
	})
	<-w.done
}

// exit says how the worker ended; it is to be called after wait.
func (w *process) exit() string { return w.cmd.ProcessState.String() }

// words keeps the beginning of what a worker says on its standard error.
type words struct {
	mu sync.Mutex
	b  []byte
}

const mostWords = 2048

func (s *words) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.b = append(s.b, p[:min(len(p), mostWords-len(s.b))]...)
	return len(p), nil
}

// line returns the first line, when it is one of those that Go's runtime and
// this package write: nothing that a codec said gets into a log.
func (s *words) line() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	first, _, _ := strings.Cut(string(s.b), "\n")
	for _, known := range []string{"fatal error: ", "runtime: ", "panic: ", "unexpected fault address", "SIG"} {
		if strings.HasPrefix(first, known) {
			return strings.ToValidUTF8(first[:min(len(first), 120)], "?")
		}
	}
	return ""
}
