//go:build linux

// Command stack runs the full topology on this machine until Ctrl-C: PostgreSQL,
// an S3 server, Vault, nodes, a load balancer. `make stack` starts it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/strata-pacs/strata/test/stacktest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "stack:", err)
		stop()
		os.Exit(1)
	}
}

// run opens the stack of the arguments, says where to go next, and closes it when
// ctx ends or a part of it does.
func run(ctx context.Context, args []string, out io.Writer) error {
	o := stacktest.Options{Report: func(s string) { fmt.Fprintln(out, s) }}
	flags := flag.NewFlagSet("stack", flag.ContinueOnError)
	flags.StringVar(&o.Dir, "dir", "stack", "folder of everything that is kept")
	flags.IntVar(&o.Nodes, "nodes", 3, "nodes to start, 0 to 3; 0: the servers alone")
	flags.StringVar(&o.Program, "program", "bin/strata", "binary of the nodes")
	flags.IntVar(&o.Port, "port", 8080, "port of the load balancer; the seven after it are taken too")
	if err := flags.Parse(args); err != nil {
		return err
	}
	s, err := stacktest.Open(ctx, o)
	if err != nil {
		return err
	}
	greet(out, s)
	err = s.Watch(ctx)
	fmt.Fprintln(out, "stopping")
	return errors.Join(err, s.Close())
}

// greet says where to go next.
func greet(out io.Writer, s *stacktest.Stack) {
	if s.Balancer != nil {
		fmt.Fprintf(out, `
  The archive is at %[1]s/dicom-web, from %[2]d nodes.

  token     TOKEN=$(cat %[3]s/node1/token)
  store     curl -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/dicom' --data-binary @image.dcm %[1]s/dicom-web/studies
  search    curl -H "Authorization: Bearer $TOKEN" '%[1]s/dicom-web/studies?PatientName=*'
`, s.Balancer.URL, len(s.Nodes), s.Dir)
	}
	fmt.Fprintf(out, `
  PostgreSQL  %s
  S3          %s
  Vault       %s
`, s.Postgres.Address(), s.S3.Endpoint, s.Vault.Address)
	for _, n := range s.Nodes {
		fmt.Fprintf(out, "  %-10s  %s/readyz\n", n.Name(), n.URL)
	}
	fmt.Fprintf(out, `
  Passwords and keys of these servers are in %[1]s/secrets.json, their logs in
  %[1]s/log. Stop it with Ctrl-C; the next start finds its data again.

`, s.Dir)
}
