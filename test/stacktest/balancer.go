//go:build linux

package stacktest

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"github.com/strata-pacs/strata/deploy"
)

// maxNodes is how many nodes the load balancer's configuration knows.
const maxNodes = 3

// Balancer is haproxy before the nodes.
type Balancer struct {
	*Process
	URL string // of the archive, without /dicom-web
}

// newBalancer returns a load balancer before the nodes at the given addresses.
func newBalancer(dir, log string, port int, nodes []string) (*Balancer, error) {
	program, err := installed("haproxy")
	if err != nil {
		return nil, err
	}
	if len(nodes) == 0 || len(nodes) > maxNodes {
		return nil, fmt.Errorf("the load balancer stands before 1 to %d nodes, not %d", maxNodes, len(nodes))
	}
	file := filepath.Join(dir, "haproxy.cfg")
	if err := os.WriteFile(file, deploy.Balancer, 0o600); err != nil {
		return nil, err
	}
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	env := []string{"LISTEN=" + addr, "LISTEN_TLS=", "NODE_TLS="}
	for i := range maxNodes {
		node := "127.0.0.1:1" // nothing listens there: a node that is down
		if i < len(nodes) {
			node = nodes[i]
		}
		env = append(env, fmt.Sprintf("NODE%d=%s", i+1, node))
	}
	b := &Balancer{URL: "http://" + addr}
	b.Process = &Process{name: "balancer", log: log, ending: syscall.SIGTERM,
		command: func() *exec.Cmd {
			cmd := exec.Command(program, "-db", "-f", file)
			cmd.Env = env
			return cmd
		},
		// Whether there are nodes to answer is not its business.
		ready: func(ctx context.Context) error {
			var d net.Dialer
			c, err := d.DialContext(ctx, "tcp", addr)
			if err != nil {
				return err
			}
			return c.Close()
		}}
	return b, nil
}
