//go:build linux && (amd64 || arm64)

package sandbox

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const probeMarker = "STRATA_TEST_PROBE"

// probe is a process that confines itself like a worker and then tries what a
// codec that broke out would.
func probe() {
	lower()
	if !confine() {
		fmt.Println("not confined")
		os.Exit(0)
	}
	try := func(what string, err error) { fmt.Printf("%s: %v\n", what, err) }
	_, err := os.ReadFile("/etc/passwd")
	try("reading a file", err)
	try("writing a file", os.WriteFile("/tmp/strata-probe", nil, 0o600))
	_, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	try("a socket", err)
	_, err = unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM, 0)
	try("a local socket", err)
	try("a program", exec.Command("/bin/true").Run())
	_, _, e := unix.Syscall(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0)
	try("a process", e)
	try("signalling the parent", unix.Kill(unix.Getppid(), 0))
	try("signalling its thread", unix.Tgkill(unix.Getppid(), unix.Getppid(), 0))
	_, err = unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_EXEC, unix.MAP_PRIVATE|unix.MAP_ANON)
	try("new code", err)
	b, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err == nil {
		err = unix.Mprotect(b, unix.PROT_READ|unix.PROT_EXEC)
	}
	try("changing code", err)
	try("reading the parent", unix.PtraceAttach(unix.Getppid()))
	_, err = unix.ProcessVMReadv(unix.Getppid(), nil, nil, 0)
	try("reading the parent's memory", err)
	try("raising limits", unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 100, Max: 100}))
	// What Go's runtime needs still works: memory, its collector, threads, time.
	done := make(chan []byte)
	for range 8 {
		go func() {
			runtime.LockOSThread() // a thread that ends with its goroutine
			b := make([]byte, 8<<20)
			runtime.GC()
			time.Sleep(time.Millisecond)
			done <- b
		}()
	}
	for range 8 {
		<-done
	}
	_, err = unix.Mmap(-1, 0, 8<<30, unix.PROT_READ, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
	try("much memory", err)
	fmt.Println("done")
	os.Exit(0)
}

// TestConfined tries what a worker must not be able to do.
func TestConfined(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector takes more memory than a worker is allowed; the tests without it run this")
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{probeMarker + "=1"}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if strings.HasPrefix(string(out), "not confined") {
		t.Skip("this system has no filter of system calls")
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(lines) != 15 || lines[14] != "done" {
		t.Fatalf("%d lines\n%s", len(lines), out)
	}
	for _, l := range lines[:14] {
		if !strings.HasSuffix(l, "operation not permitted") && l != "much memory: cannot allocate memory" {
			t.Error(l)
		}
	}
}

// TestLowered: a worker stands back behind its parent.
func TestLowered(t *testing.T) {
	p := testPool(t, Options{Workers: 1})
	if err := p.Warm(t.Context()); err != nil {
		t.Fatal(err)
	}
	w := rested(p)[0]
	if !w.hello.Confined {
		t.Error("the worker is not confined")
	}
	nice, err := unix.Getpriority(unix.PRIO_PROCESS, w.cmd.Process.Pid)
	if err != nil || 20-nice != niceness {
		t.Errorf("nice %d, %v", 20-nice, err)
	}
	environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", w.cmd.Process.Pid))
	if err == nil && strings.Trim(string(environ), "\x00") != marker+"=1" {
		t.Errorf("its environment is %q", environ)
	}
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", w.cmd.Process.Pid))
	for _, f := range files {
		to, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", w.cmd.Process.Pid, f.Name()))
		harmless := false
		for _, kind := range []string{"pipe:", "anon_inode:", "/dev/null", "/sys/fs/cgroup/"} { // the last is Go's own
			harmless = harmless || strings.HasPrefix(to, kind)
		}
		if !harmless {
			t.Errorf("it has %s open", to)
		}
	}
	if err != nil {
		t.Log(err)
	}
}

// TestDeadline: the kernel ends a worker whose time is up, without its parent.
func TestDeadline(t *testing.T) {
	if !Available() {
		t.Skip("the codecs are not built in: run make codecs")
	}
	w, err := spawn()
	if err != nil {
		t.Fatal(err)
	}
	defer w.wait()
	defer w.kill()
	if err := w.greet(testCache(t)); err != nil {
		t.Fatal(err)
	}
	j := endless()
	if err := j.check(); err != nil {
		t.Fatal(err)
	}
	q := requestOf(&j, 50)
	if err := send(w.in, &q); err != nil {
		t.Fatal(err)
	}
	if _, err := w.in.Write(j.Data); err != nil { // and nobody asks for the result
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	stop := context.AfterFunc(ctx, w.kill)
	w.wait()
	if !stop() || !stopped(w.cmd.ProcessState) || w.spent() < 40*time.Millisecond {
		t.Fatalf("the worker went on: %v, after %v", w.exit(), w.spent())
	}
}
