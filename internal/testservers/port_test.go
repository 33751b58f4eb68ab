package testservers

import (
	"net"
	"strconv"
	"testing"
)

// TestPort: a port is taken once, and is none that the system would give.
func TestPort(t *testing.T) {
	seen := map[int]bool{}
	for range 300 {
		p, err := Port()
		if err != nil {
			t.Fatal(err)
		}
		if seen[p] {
			t.Fatalf("port %d twice", p)
		}
		seen[p] = true
	}
	for p := range seen {
		if again, err := reserve(p); again || err != nil {
			t.Errorf("port %d can be taken again: %v", p, err)
		}
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(p)))
		if err != nil {
			t.Errorf("port %d is not free: %v", p, err)
			continue
		}
		l.Close()
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if any := l.Addr().(*net.TCPAddr).Port; seen[any] {
		t.Errorf("the system gives port %d, too", any)
	}
}
