//go:build linux

package stacktest

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// Network is a network of its own, network_namespaces(7), with a cable to the
// caller's. What runs in it is reached by one address for each peer, so that each
// can be cut off alone: its packets vanish, and connections learn nothing of it.
// It is gone when the process is, however that ends.
type Network struct {
	Addresses []netip.Addr // of what runs in it, one for each peer

	namespace *os.File
	work      chan func()
}

// NetworkUnavailable says why no network of its own can be had here, or nil.
func NetworkUnavailable() error {
	if os.Geteuid() != 0 {
		return errors.New("a network of its own needs root")
	}
	for _, program := range []string{"ip", "nft"} {
		if _, err := installed(program); err != nil {
			return err
		}
	}
	return nil
}

// newNetwork makes a network with so many addresses.
func newNetwork(peers int) (*Network, error) {
	if err := NetworkUnavailable(); err != nil {
		return nil, err
	}
	n := &Network{work: make(chan func())}
	made := make(chan error)
	go n.live(made)
	if err := <-made; err != nil {
		return nil, fmt.Errorf("making a network of its own: %w", err)
	}
	if err := n.connect(peers); err != nil {
		n.close()
		return nil, fmt.Errorf("making a network of its own: %w", err)
	}
	return n, nil
}

// live is the thread whose network this is. It is never given back, so it ends
// with this goroutine, and the network when nobody else is in it.
func (n *Network) live(made chan<- error) {
	runtime.LockOSThread()
	err := unix.Unshare(unix.CLONE_NEWNET)
	if err == nil {
		n.namespace, err = os.Open(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()))
	}
	made <- err
	if err != nil {
		return
	}
	for f := range n.work {
		f()
	}
	n.namespace.Close()
}

// inside runs a program in the network.
func (n *Network) inside(stdin, name string, args ...string) (err error) {
	done := make(chan struct{})
	n.work <- func() {
		defer close(done)
		err = command(stdin, name, args...)
	}
	<-done
	return err
}

func command(stdin, name string, args ...string) error {
	program, err := installed(name)
	if err != nil {
		return err
	}
	cmd := exec.Command(program, args...)
	cmd.Stdin = strings.NewReader(stdin)
	_, err = output(cmd)
	return err
}

// connect lays the cable. Addresses are of those for tests of networks, RFC 2544.
func (n *Network) connect(peers int) error {
	pid := os.Getpid()
	device := fmt.Sprintf("strata%d", pid)
	subnet := func(host int) netip.Addr {
		return netip.AddrFrom4([4]byte{198, byte(18 + pid/256%2), byte(pid), byte(host)})
	}
	thread := 0
	done := make(chan struct{})
	n.work <- func() { thread = unix.Gettid(); close(done) }
	<-done
	if err := command("", "ip", "link", "add", device, "type", "veth", "peer", "name", "cable", "netns", fmt.Sprint(thread)); err != nil {
		return err
	}
	errs := []error{
		command("", "ip", "addr", "add", subnet(1).String()+"/24", "dev", device),
		command("", "ip", "link", "set", device, "up"),
		n.inside("", "ip", "link", "set", "lo", "up"),
		n.inside("", "ip", "link", "set", "cable", "up"),
	}
	for i := range peers {
		a := subnet(10 + i)
		n.Addresses = append(n.Addresses, a)
		errs = append(errs, n.inside("", "ip", "addr", "add", a.String()+"/24", "dev", "cable"))
	}
	return errors.Join(append(errs, n.inside(`table ip strata {
	set cut { type ipv4_addr; }
	chain in { type filter hook input priority 0; ip daddr @cut drop; }
	chain out { type filter hook output priority 0; ip saddr @cut drop; }
}
`, "nft", "-f", "-"))...)
}

// Cut cuts peers off; Heal undoes it.
func (n *Network) Cut(peers ...int) error { return n.change("add", peers) }

// Heal lets the packets of peers pass again.
func (n *Network) Heal(peers ...int) error { return n.change("delete", peers) }

func (n *Network) change(how string, peers []int) error {
	var addrs []string
	for _, p := range peers {
		addrs = append(addrs, n.Addresses[p].String())
	}
	return n.inside("", "nft", how, "element", "ip", "strata", "cut", "{ "+strings.Join(addrs, ", ")+" }")
}

// close ends the network. What ran in it has ended.
func (n *Network) close() { close(n.work) }
