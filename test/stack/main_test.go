//go:build linux

package main

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMain is the program itself when it is told to be.
func TestMain(m *testing.M) {
	if os.Getenv("STACK_MAIN") != "" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// launch starts the program over a folder and returns when it says where to go.
func launch(t *testing.T, dir string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "-dir", dir, "-nodes", "0", "-port", "0")
	cmd.Env = append(os.Environ(), "STACK_MAIN=yes")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var complaint strings.Builder
	cmd.Stderr = &complaint
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() }) // it has ended, unless the test failed
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if strings.Contains(lines.Text(), "Stop it with Ctrl-C") {
			return cmd
		}
	}
	_ = cmd.Wait()
	if strings.Contains(complaint.String(), "make setup") && os.Getenv("CI") == "" {
		t.Skip(complaint.String())
	}
	t.Fatal(complaint.String())
	return nil
}

// using lists the processes whose arguments name a folder, but for one.
func using(dir string, except int) (all []string) {
	found, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range found {
		b, _ := os.ReadFile(f) // it may have ended
		if args := strings.ReplaceAll(string(b), "\x00", " "); strings.Contains(args, dir) && !strings.HasPrefix(f, "/proc/"+strconv.Itoa(except)+"/") {
			all = append(all, args)
		}
	}
	return all
}

// TestNothingIsLeft ends the program by Ctrl-C, and by kill -9, after which the
// same folder opens again.
func TestNothingIsLeft(t *testing.T) {
	dir := t.TempDir()
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGKILL, syscall.SIGTERM} {
		cmd := launch(t, dir)
		if got := using(dir, cmd.Process.Pid); len(got) < 3 {
			t.Fatalf("of three servers these run: %q", got)
		}
		if err := cmd.Process.Signal(s); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); (err == nil) != (s != syscall.SIGKILL) {
			t.Errorf("%v: it ended with %v", s, err)
		}
		for end := time.Now().Add(10 * time.Second); len(using(dir, 0)) > 0; time.Sleep(20 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%v: left are %q", s, using(dir, 0))
			}
		}
	}
}
