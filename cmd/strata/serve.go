package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/strata-pacs/strata/dicomweb"
	"github.com/strata-pacs/strata/internal/fault"
)

func (a *app) serveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve the archive over DICOMweb",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, c, err := a.config(cmd)
			if err != nil {
				return err
			}
			if err := c.checkServing(); err != nil {
				return err
			}
			return serve(cmd.Context(), c, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	servingFlags(cmd.Flags())
	return cmd
}

// serve runs a server until ctx ends, then finishes what is in flight.
func serve(ctx context.Context, c *Config, stdout, stderr io.Writer) (err error) {
	log := c.logger(stderr)
	tokens, err := c.readTokens()
	if err != nil {
		return err
	}
	authorize := tokens.authorizer()
	tlsConfig, err := c.tls()
	if err != nil {
		return err
	}
	m := newMetrics()
	n, err := c.openServing(ctx, log, stderr, c.archiveHandler(log, m))
	if err != nil {
		return err
	}
	defer func() {
		// What is written at the end must not be cut off by the signal that ended us.
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.ShutdownWait)
		defer cancel()
		err = errors.Join(err, n.Close(closing))
		log.Info("stopped")
	}()
	m.watch(n)
	if err := c.ahead(ctx, n, log); err != nil {
		return err
	}
	base := c.baseHandler(n, log, m, authorize)

	l, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return fault.Wrap(fault.Invalid, err, "listen: cannot serve on %s; another program may be there: name another address with --listen", c.Listen)
	}
	control, err := listenControl(c.Data)
	if err != nil {
		l.Close()
		return err
	}
	l = dicomweb.Conns(l)
	served := front(n, base, authorize)
	if authorize != nil { // without a token any page in a browser of this machine could ask
		served = withAPI(administration(n, log, m, authorize, tokens.person), served)
	}
	public := &http.Server{Handler: served, TLSConfig: tlsConfig, ReadHeaderTimeout: c.Idle, IdleTimeout: 2 * time.Minute, ConnContext: dicomweb.KnowConn,
		MaxHeaderBytes: 128 << 10, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug)}
	local := &http.Server{Handler: controlHandler(n, front(n, c.baseHandler(n, log, m, nil), nil), administration(n, log, m, nil, peer)), ReadHeaderTimeout: c.Idle, ConnContext: knowPeer}
	failed := make(chan error, 2)
	go func() { failed <- local.Serve(control) }()
	go func() {
		if tlsConfig != nil {
			failed <- public.ServeTLS(l, "", "")
		} else {
			failed <- public.Serve(l)
		}
	}()
	greet(stdout, c, l.Addr().String(), tlsConfig != nil)
	log.Info("serving", "address", l.Addr().String(), "version", version)

	running := 2 // goroutines above that have not ended
	select {
	case <-ctx.Done():
	case err = <-failed:
		running--
	}
	log.Info("stopping: finishing what is in flight")
	n.Shutdown()
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.ShutdownWait)
	defer cancel()
	for _, s := range []*http.Server{public, local} {
		if serr := s.Shutdown(stopping); serr != nil {
			s.Close()
			err = errors.Join(err, fault.Wrap(fault.Timeout, serr, "requests were still running after shutdown-wait and were cut off"))
		}
	}
	for range running {
		if serr := <-failed; !errors.Is(serr, http.ErrServerClosed) {
			err = errors.Join(err, serr)
		}
	}
	return err
}

func (c *Config) tls() (*tls.Config, error) {
	if c.TLSCert == "" {
		return nil, nil
	}
	cert, err := tls.LoadX509KeyPair(c.TLSCert, c.TLSKey)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "tls-cert, tls-key: cannot be used")
	}
	return &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}, nil
}

// greet says where to go next.
func greet(w io.Writer, c *Config, addr string, secure bool) {
	scheme := "http"
	if secure {
		scheme = "https"
	}
	base := scheme + "://" + addr
	if c.PublicURL != "" {
		base = strings.TrimRight(c.PublicURL, "/")
	}
	fmt.Fprintf(w, `
  Strata %[1]s serves DICOMweb at %[2]s%[3]s

  store     curl -H 'Content-Type: application/dicom' --data-binary @image.dcm %[2]s%[3]s/studies
            strata import FOLDER
  search    curl '%[2]s%[3]s/studies?PatientName=*'
  health    %[2]s/readyz      metrics %[2]s/metrics

  data      %[4]s
  key       %[5]s   (keep a copy elsewhere: without it nobody can read the archive)

  Stop it with Ctrl-C.

`, version, base, dicomweb.Root, c.Data, c.KeyFile)
}
