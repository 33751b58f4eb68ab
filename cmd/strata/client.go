package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/strata-pacs/strata/dicomweb"
	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/node"
)

// client reaches the archive over the control socket: that of a running server, or
// one that this process opens for itself.
type client struct {
	http   *http.Client
	tenant archive.Tenant
	close  func() error
}

// connect finds the server that has the archive of the configuration open, or opens it. A server is
// asked first: beside it nothing is opened here, no store and no key.
func (c *Config) connect(ctx context.Context, log *slog.Logger, warn io.Writer) (*client, error) {
	if cl, err := c.dial(ctx); err == nil {
		return cl, nil
	}
	n, err := c.open(ctx, log, warn, c.archiveHandler(slog.New(slog.DiscardHandler), newMetrics()))
	if errors.Is(err, node.ErrInUse) {
		return c.await(ctx)
	}
	if err != nil {
		return nil, err
	}
	cl, err := c.newClient()
	if err != nil {
		return nil, errors.Join(err, n.Close(ctx))
	}
	if err := c.ahead(ctx, n, log); err != nil {
		return nil, errors.Join(err, cl.close(), n.Close(ctx))
	}
	l, err := listenControl(c.Data)
	if err != nil {
		return nil, errors.Join(err, cl.close(), n.Close(ctx))
	}
	quiet, m := slog.New(slog.DiscardHandler), newMetrics()
	s := &http.Server{Handler: controlHandler(n, front(n, c.baseHandler(n, quiet, m, nil), nil), administration(n, quiet, m, nil, peer)), ConnContext: knowPeer}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	leave := cl.close
	cl.close = func() error {
		cl.http.CloseIdleConnections()
		err := s.Close()
		<-served
		os.Remove(filepath.Join(c.Data, socketName))
		return errors.Join(err, n.Close(context.WithoutCancel(ctx)), leave())
	}
	return cl, nil
}

// newClient is a client of whoever listens on the control socket.
func (c *Config) newClient() (*client, error) {
	path, dir, err := socketPath(c.Data)
	if err != nil {
		return nil, err
	}
	return &client{tenant: c.Tenant, close: dir.Close, http: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		},
		MaxIdleConnsPerHost: 16, WriteBufferSize: 256 << 10, ReadBufferSize: 256 << 10,
	}}}, nil
}

// dial returns a client of the server that works on the data folder, if one answers.
func (c *Config) dial(ctx context.Context) (*client, error) {
	cl, err := c.newClient()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, dialPatience)
	defer cancel()
	resp, err := cl.get(ctx, "/healthz")
	if err != nil {
		return nil, errors.Join(err, cl.close())
	}
	resp.Body.Close()
	return cl, nil
}

const (
	dialPatience  = 5 * time.Second        // for a server that is there
	startPatience = 5 * time.Second        // for one that has the data folder and does not listen yet
	startPoll     = 200 * time.Millisecond // how often it is tried
)

// await dials a process that has the data folder: a server listens when its start has come so far.
func (c *Config) await(ctx context.Context) (*client, error) {
	for end := time.Now().Add(startPatience); ; {
		cl, err := c.dial(ctx)
		switch {
		case err == nil:
			return cl, nil
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case time.Now().After(end):
			return nil, fault.New(fault.Unavailable, "another strata works on the data folder %s and does not answer: it starts, or stops; wait for it, or stop it", c.Data)
		}
		select {
		case <-ctx.Done():
		case <-time.After(startPoll):
		}
	}
}

func (c *client) get(ctx context.Context, path string) (*http.Response, error) {
	return c.do(ctx, http.MethodGet, path, "", nil)
}

// web returns the path of the tenant's DICOMweb service.
func (c *client) web() string { return dicomweb.TenantRoot + string(c.tenant) + dicomweb.Root }

// control returns the path of a command for the tenant.
func (c *client) control(command string, query url.Values) string {
	if query == nil {
		query = url.Values{}
	}
	query.Set("tenant", string(c.tenant))
	return "/control/" + command + "?" + query.Encode()
}

// do sends a request; an answer that is no success becomes an error.
func (c *client) do(ctx context.Context, method, path, contentType string, body io.Reader) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, method, "http://strata"+path, body)
	if err != nil {
		return nil, err
	}
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	r.Header.Set("Accept", "*/*")
	if method == http.MethodGet {
		r.Header.Set("Accept", `multipart/related; type="application/dicom"; transfer-syntax=*, */*;q=0.1`)
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode/100 == 2 {
		return resp, nil
	}
	defer resp.Body.Close()
	var problem struct{ Error, Title, Detail string }
	if json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&problem) != nil {
		return nil, fmt.Errorf("the server answered %s", resp.Status)
	}
	for _, text := range []string{problem.Error, problem.Detail, problem.Title} {
		if text != "" {
			return nil, errors.New(text)
		}
	}
	return nil, fmt.Errorf("the server answered %s", resp.Status)
}
