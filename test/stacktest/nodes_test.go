//go:build linux

package stacktest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestBalancer puts the load balancer before three nodes that share nothing, and
// takes nodes away.
func TestBalancer(t *testing.T) {
	ctx := t.Context()
	program, err := Build(ctx, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	s := &Stack{Dir: t.TempDir()}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	ports, err := choosePorts(0, 4)
	if err != nil {
		t.Fatal(err)
	}
	var addrs []string
	for i, port := range ports[:3] {
		name := fmt.Sprintf("node%d", i+1)
		n, err := newNode(program, s.path(name), s.path(name+".log"), name, port, map[string]any{"pixel-workers": 1, "thumbnails": false}, nil)
		if err != nil {
			t.Fatal(err)
		}
		s.Nodes, addrs = append(s.Nodes, n), append(addrs, strings.TrimPrefix(n.URL, "http://"))
	}
	s.Balancer, err = newBalancer(s.Dir, s.path("balancer.log"), ports[3], addrs)
	var lacking missing
	if errors.As(err, &lacking) && os.Getenv("CI") == "" {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	for _, p := range []*Process{s.Nodes[0].Process, s.Nodes[1].Process, s.Nodes[2].Process, s.Balancer.Process} {
		if err := p.Start(ctx); err != nil {
			t.Fatal(err)
		}
	}
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	get := func(path string) int {
		t.Helper()
		resp, err := client.Get(s.Balancer.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	fine := func(when string) {
		t.Helper()
		for range 12 {
			if got := get("/dicom-web/studies"); got != http.StatusOK {
				t.Fatalf("%s: status %d", when, got)
			}
		}
	}
	until := func(want int, when string) {
		t.Helper()
		for end := time.Now().Add(10 * time.Second); get("/readyz") != want; time.Sleep(50 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s: no status %d\n%s", when, want, s.Balancer.Tail())
			}
		}
	}
	told := func(what string) {
		t.Helper()
		for end := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
			log, err := os.ReadFile(s.path("balancer.log"))
			if err != nil || time.Now().After(end) {
				t.Fatalf("not told that %s: %v\n%s", what, err, log)
			}
			if strings.Contains(string(log), what) {
				return
			}
		}
	}
	until(http.StatusOK, "at first")
	fine("at first")
	if got := get("/metrics"); got != http.StatusNotFound {
		t.Errorf("metrics through the load balancer: status %d", got)
	}
	s.Nodes[0].Kill()
	fine("a node is killed") // at once: requests that find it gone go elsewhere
	if err := s.Nodes[1].Freeze(); err != nil {
		t.Fatal(err)
	}
	told("node2 is DOWN")
	fine("another is frozen")
	if err := s.Nodes[1].Thaw(); err != nil {
		t.Fatal(err)
	}
	if err := s.Nodes[0].Restart(ctx); err != nil {
		t.Fatal(err)
	}
	s.Nodes[2].Kill()
	fine("one is back, a third is killed")
	s.Nodes[0].Kill()
	s.Nodes[1].Kill()
	until(http.StatusServiceUnavailable, "all are killed")
	if err := s.Nodes[2].Start(ctx); err != nil {
		t.Fatal(err)
	}
	until(http.StatusOK, "one is back")
	told("node1 is DOWN")
	log, err := os.ReadFile(s.path("balancer.log"))
	if err != nil || strings.Contains(string(log), "/studies") {
		t.Errorf("the load balancer's log names what was asked for: %v\n%s", err, log)
	}
}

// TestProcess is about programs that do not do as they should.
func TestProcess(t *testing.T) {
	script := "echo the reason >&2; exit 3"
	p := &Process{name: "script", log: filepath.Join(t.TempDir(), "script.log"), ending: syscall.SIGTERM,
		command: func() *exec.Cmd { return exec.Command("sh", "-c", script) },
		ready:   func(context.Context) error { return errors.New("not yet") }}
	if err := p.Freeze(); err == nil {
		t.Error("what never ran is frozen")
	}
	if err := p.Stop(); err != nil {
		t.Errorf("stopping what never ran: %v", err)
	}
	if err := p.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "the reason") || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("a program that ends: %v", err)
	}
	script = "sleep 1000 & sleep 1000"
	short, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := p.Start(short); err == nil || !strings.Contains(err.Error(), "not yet") || p.Running() {
		t.Errorf("a program that is never ready: %v, running %v", err, p.Running())
	}
	p.ready = func(context.Context) error { return nil }
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := p.Start(t.Context()); err == nil {
		t.Error("it was started twice")
	}
	below := children(p.PID())
	for end := time.Now().Add(5 * time.Second); len(below) < 2 && time.Now().Before(end); below = children(p.PID()) {
		time.Sleep(10 * time.Millisecond)
	}
	p.Kill()
	if len(below) != 2 || p.Running() {
		t.Fatalf("children %v, running %v", below, p.Running())
	}
	for _, pid := range below {
		if !gone(pid) {
			t.Errorf("its child %d is left", pid)
		}
	}
}
