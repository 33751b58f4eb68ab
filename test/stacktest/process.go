//go:build linux

package stacktest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// startWait is how long a part may take until it is ready.
const startWait = time.Minute

// stopWait is how long a part may take to end by itself.
const stopWait = 40 * time.Second

// Process is one program of the stack. Its methods are safe for concurrent use,
// but one that starts or ends it waits for the other.
type Process struct {
	name    string
	log     string                      // file of its output
	command func() *exec.Cmd            // made anew for each start
	ready   func(context.Context) error // nil once it does its work
	ending  syscall.Signal              // asks it to end well
	network *Network                    // where it runs; nil: where the caller does

	changing sync.Mutex // held while it is started or ended
	mu       sync.Mutex // guards what follows
	pid      int
	ended    chan struct{} // closed once the program is gone; nil before the first start
	state    *os.ProcessState
}

// Name is what the stack calls the program.
func (p *Process) Name() string { return p.name }

// PID is the process id of the last start, 0 before any.
func (p *Process) PID() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pid
}

// Running reports whether the program was started and has not ended.
func (p *Process) Running() bool {
	ended := p.end()
	if ended == nil {
		return false
	}
	select {
	case <-ended:
		return false
	default:
		return true
	}
}

func (p *Process) end() chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ended
}

// Start starts the program, which must not run, and waits until it is ready.
func (p *Process) Start(ctx context.Context) error {
	p.changing.Lock()
	defer p.changing.Unlock()
	return p.start(ctx)
}

func (p *Process) start(ctx context.Context) error {
	if err := p.launch(); err != nil {
		return err
	}
	if err := p.wait(ctx); err != nil {
		p.kill()
		return err
	}
	return nil
}

// launch starts the program and does not wait.
func (p *Process) launch() error {
	if p.Running() {
		return fmt.Errorf("%s runs already", p.name)
	}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("opening the log of %s: %w", p.name, err)
	}
	defer log.Close()
	cmd := p.command()
	cmd.Stdout, cmd.Stderr = log, log
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL // nothing outlives the caller
	cmd.SysProcAttr.Setpgid = true              // Ctrl-C reaches the caller alone, who ends them in order
	started, ended := make(chan error), make(chan struct{})
	go func() {
		runtime.LockOSThread() // the child is told when this thread ends, not when the process does
		var err error
		if p.network == nil {
			defer runtime.UnlockOSThread()
		} else { // the thread stays in that network, and ends with the goroutine
			err = unix.Setns(int(p.network.namespace.Fd()), unix.CLONE_NEWNET)
		}
		if err == nil {
			err = cmd.Start()
		}
		started <- err
		if err != nil {
			return
		}
		_ = cmd.Wait() // how it ended is in ProcessState
		p.mu.Lock()
		p.state = cmd.ProcessState
		p.mu.Unlock()
		close(ended)
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("starting %s: %w", p.name, err)
	}
	p.mu.Lock()
	p.pid, p.ended = cmd.Process.Pid, ended
	p.mu.Unlock()
	return nil
}

// wait returns when the program is ready.
func (p *Process) wait(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startWait)
	defer cancel()
	for {
		err := p.ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.end():
			return fmt.Errorf("%s ended while it was starting (%v)\n%s", p.name, p.exit(), p.Tail())
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w\n%s", p.name, err, p.Tail())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (p *Process) exit() *os.ProcessState {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.state
}

// Kill is kill -9, of the program and of its children. It returns when they are
// gone.
func (p *Process) Kill() {
	p.changing.Lock()
	defer p.changing.Unlock()
	p.kill()
}

func (p *Process) kill() {
	if !p.Running() {
		return
	}
	pid := p.PID()
	victims := append([]int{pid}, children(pid)...) // before their parent is gone
	for _, v := range victims {
		_ = syscall.Kill(v, syscall.SIGKILL) // it may have ended already
	}
	<-p.end()
	for _, v := range victims[1:] {
		for !gone(v) {
			time.Sleep(time.Millisecond) // SIGKILL is not refused, only late
		}
	}
}

// gone reports whether a process runs no more, be it collected by its parent or not.
func gone(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || strings.Contains(string(b), ") Z ") || strings.Contains(string(b), ") X ")
}

// Stop asks the program to end and waits for it; one that takes too long is
// killed, which is an error. A program that does not run is no error.
func (p *Process) Stop() error {
	p.changing.Lock()
	defer p.changing.Unlock()
	return p.stop()
}

func (p *Process) stop() error {
	if !p.Running() {
		return nil
	}
	_ = syscall.Kill(p.PID(), syscall.SIGCONT) // a frozen one hears nothing
	_ = syscall.Kill(p.PID(), p.ending)
	select {
	case <-p.end():
		return nil
	case <-time.After(stopWait):
		p.kill()
		return fmt.Errorf("%s did not end within %v and was killed\n%s", p.name, stopWait, p.Tail())
	}
}

// Restart ends the program if it runs, starts it and waits until it is ready.
func (p *Process) Restart(ctx context.Context) error {
	p.changing.Lock()
	defer p.changing.Unlock()
	if err := p.stop(); err != nil {
		return err
	}
	return p.start(ctx)
}

// Freeze stops the program where it stands (SIGSTOP), and its children; Thaw lets
// them go on.
func (p *Process) Freeze() error { return p.signal(syscall.SIGSTOP) }

// Thaw undoes Freeze.
func (p *Process) Thaw() error { return p.signal(syscall.SIGCONT) }

func (p *Process) signal(s syscall.Signal) error {
	if !p.Running() {
		return fmt.Errorf("%s does not run", p.name)
	}
	pid := p.PID()
	for _, v := range append([]int{pid}, children(pid)...) {
		if err := syscall.Kill(v, s); err != nil && err != syscall.ESRCH {
			return fmt.Errorf("signalling %s: %w", p.name, err)
		}
	}
	return nil
}

// Tail is the end of the program's output.
func (p *Process) Tail() string {
	b, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return "end of " + filepath.Base(p.log) + ":\n" + strings.Join(lines[max(0, len(lines)-20):], "\n")
}

// Memory returns the bytes of memory that the program and its children occupy, and 0 when it does not run.
func (p *Process) Memory() (bytes int64) {
	if !p.Running() {
		return 0
	}
	for _, pid := range append([]int{p.PID()}, children(p.PID())...) {
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid)) // it may have ended
		if f := strings.Fields(string(b)); len(f) > 1 {
			pages, _ := strconv.ParseInt(f[1], 10, 64)
			bytes += pages * int64(os.Getpagesize())
		}
	}
	return bytes
}

// children lists the processes that a process started and that still run.
func children(pid int) (all []int) {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, t := range tasks {
		b, _ := os.ReadFile(t) // the thread may have ended
		for _, f := range strings.Fields(string(b)) {
			if n, err := strconv.Atoi(f); err == nil {
				all = append(append(all, n), children(n)...)
			}
		}
	}
	return all
}
