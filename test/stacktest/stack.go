//go:build linux

package stacktest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/strata-pacs/strata/internal/testservers"
)

// Options say what stack is wanted.
type Options struct {
	// Dir is the folder for everything that the stack keeps, made if need be; only
	// one stack at a time can be open in it.
	Dir string
	// Nodes is how many nodes are started, at most three; 0: the servers alone.
	Nodes int
	// Program is the binary of the nodes, see [Build].
	Program string
	// Network gives PostgreSQL a network of its own, with an address for each node.
	Network bool
	// Route, if set, is called when the servers answer and the nodes are not told of
	// them yet: it may change Reach.
	Route func(*Stack)
	// Settings of every node beyond those by which they share an archive; they win.
	Settings map[string]any
	// Port is where the load balancer listens; what else there is takes the ports
	// after it. 0: free ports.
	Port int
	// Report, when set, is told what is being done.
	Report func(string)
}

// Stack is a running topology. Close ends it.
type Stack struct {
	Dir      string
	Token    string // operator's bearer token, which every request to a node needs
	Postgres *Postgres
	S3       *S3
	Vault    *Vault
	Nodes    []*Node
	Balancer *Balancer // nil without nodes
	Network  *Network  // of PostgreSQL; nil where it is that of the caller
	// Reach is where nodes find the servers.
	Reach Reach

	lock *os.File
}

// Reach is where nodes find servers: at their own address, or at a proxy's.
type Reach struct {
	Databases    []string // of each node, a DSN
	Store, Vault string   // URLs
}

// Open starts a stack and returns when all of it is ready. What it started is
// ended again when that fails.
func Open(ctx context.Context, o Options) (_ *Stack, err error) {
	if o.Nodes < 0 || o.Nodes > maxNodes {
		return nil, fmt.Errorf("a stack has 0 to %d nodes, not %d", maxNodes, o.Nodes)
	}
	if o.Report == nil {
		o.Report = func(string) {}
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, err
	}
	s := &Stack{Dir: dir}
	if err := os.MkdirAll(s.path("log"), 0o700); err != nil {
		return nil, fmt.Errorf("making the folder of the stack: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if s.lock, err = lock(s.path("lock")); err != nil {
		return nil, err
	}
	known, err := openSecrets(s.path("secrets.json"))
	if err != nil {
		return nil, err
	}
	s.Token = known.Token
	ports, err := choosePorts(o.Port, 8)
	if err != nil {
		return nil, err
	}
	if o.Network {
		if s.Network, err = newNetwork(maxNodes); err != nil {
			return nil, err
		}
	}
	if err := s.openServers(ctx, ports[4:], known, o.Report); err != nil {
		return nil, err
	}
	s.Reach = Reach{Store: s.S3.Endpoint, Vault: s.Vault.Address}
	for i := range maxNodes {
		dsn := s.Postgres.DSN
		if s.Network != nil {
			dsn = s.Postgres.DSNAt(s.Network.Addresses[i].String())
		}
		s.Reach.Databases = append(s.Reach.Databases, dsn)
	}
	if o.Route != nil {
		o.Route(s)
	}
	if o.Nodes > 0 {
		if err := s.openNodes(ctx, ports, o); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// openServers starts what the nodes share.
func (s *Stack) openServers(ctx context.Context, ports []int, known *secrets, report func(string)) (err error) {
	for _, part := range []string{"postgres", "s3", "vault"} {
		if err := os.MkdirAll(s.path(part), 0o700); err != nil {
			return err
		}
	}
	if s.Postgres, err = newPostgres(s.path("postgres"), s.log("postgres"), ports[0], known, s.Network); err != nil {
		return err
	}
	if s.S3, err = newS3(s.path("s3"), s.log("s3"), ports[1], known); err != nil {
		return err
	}
	keep := func() error { return known.save(s.path("secrets.json")) }
	if s.Vault, err = newVault(s.path("vault"), s.log("vault"), ports[2], ports[3], known, keep); err != nil {
		return err
	}
	report("starting PostgreSQL, an S3 server and Vault")
	g, starting := errgroup.WithContext(ctx)
	g.Go(func() error { return s.Postgres.open(starting, known.Database) })
	g.Go(func() error { return s.S3.open(starting) })
	g.Go(func() error { return s.Vault.open(starting) })
	return g.Wait()
}

func nodeName(i int) string { return fmt.Sprintf("node%d", i+1) }

// openNodes starts the nodes, all at once, and the load balancer before them.
func (s *Stack) openNodes(ctx context.Context, ports []int, o Options) error {
	var addrs []string
	for i := range o.Nodes {
		name := nodeName(i)
		settings, env, err := s.sharing(ctx, i, s.path(name))
		if err != nil {
			return err
		}
		maps.Copy(settings, o.Settings)
		n, err := newNode(o.Program, s.path(name), s.log(name), name, ports[1+i], settings, env)
		if err != nil {
			return err
		}
		s.Nodes = append(s.Nodes, n)
		addrs = append(addrs, strings.TrimPrefix(n.URL, "http://"))
	}
	b, err := newBalancer(s.Dir, s.log("balancer"), ports[0], addrs)
	if err != nil {
		return err
	}
	s.Balancer = b
	o.Report(fmt.Sprintf("starting %d nodes and the load balancer", o.Nodes))
	g, starting := errgroup.WithContext(ctx)
	for _, n := range s.Nodes {
		g.Go(func() error { return n.Start(starting) })
	}
	g.Go(func() error { return b.Start(starting) })
	if err := g.Wait(); err != nil {
		return err
	}
	return s.Balanced(ctx)
}

// Balanced waits until the load balancer sends requests to a node that is ready.
func (s *Stack) Balanced(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startWait)
	defer cancel()
	for {
		err := ask(ctx, s.Balancer.URL+"/readyz")
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the load balancer finds no node: %w\n%s", err, s.Balancer.Tail())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Close ends everything, nodes first, and returns when all of it is gone. It may
// be called again.
func (s *Stack) Close() error {
	var errs []error
	stop := func(p *Process) { errs = append(errs, p.Stop()) }
	if s.Balancer != nil {
		stop(s.Balancer.Process)
	}
	var g errgroup.Group
	for _, n := range s.Nodes {
		g.Go(n.Stop)
	}
	errs = append(errs, g.Wait())
	if s.Vault != nil {
		stop(s.Vault.Process)
	}
	if s.S3 != nil {
		stop(s.S3.Process)
	}
	if s.Postgres != nil {
		stop(s.Postgres.Process)
	}
	if s.Network != nil {
		s.Network.close()
		s.Network = nil
	}
	if s.lock != nil {
		errs = append(errs, s.lock.Close())
		s.lock = nil
	}
	return errors.Join(errs...)
}

// Processes are all parts, in the order in which they depend on each other.
func (s *Stack) Processes() (all []*Process) {
	all = append(all, s.Postgres.Process, s.S3.Process, s.Vault.Process)
	for _, n := range s.Nodes {
		all = append(all, n.Process)
	}
	if s.Balancer != nil {
		all = append(all, s.Balancer.Process)
	}
	return all
}

// Watch returns nil when ctx ends, or an error as soon as a part has ended.
func (s *Stack) Watch(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(500 * time.Millisecond):
		}
		for _, p := range s.Processes() {
			if !p.Running() {
				return fmt.Errorf("%s has ended\n%s", p.Name(), p.Tail())
			}
		}
	}
}

func (s *Stack) path(name string) string { return filepath.Join(s.Dir, name) }
func (s *Stack) log(name string) string  { return filepath.Join(s.Dir, "log", name+".log") }

// lock takes the folder for this process.
func lock(file string) (*os.File, error) {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("a stack runs already in %s", filepath.Dir(file))
	}
	return f, nil
}

// choosePorts returns n ports of loopback: those from first on, or free ones.
func choosePorts(first, n int) (ports []int, err error) {
	for i := range n {
		if first != 0 {
			ports = append(ports, first+i)
			continue
		}
		port, err := testservers.Port()
		if err != nil {
			return nil, err
		}
		ports = append(ports, port)
	}
	return ports, nil
}
