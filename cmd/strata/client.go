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

// connect opens the archive of the configuration, or finds the server that has it open.
func (c *Config) connect(ctx context.Context, log *slog.Logger, warn io.Writer) (*client, error) {
	n, err := c.open(ctx, log, warn, c.archiveHandler(slog.New(slog.DiscardHandler), newMetrics()))
	path, dir, derr := socketPath(c.Data)
	if err != nil && !errors.Is(err, node.ErrInUse) {
		if dir != nil {
			dir.Close()
		}
		return nil, err
	}
	if derr != nil {
		return nil, derr
	}
	cl := &client{tenant: c.Tenant, close: dir.Close, http: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		},
		MaxIdleConnsPerHost: 16, WriteBufferSize: 256 << 10, ReadBufferSize: 256 << 10,
	}}}
	if n == nil {
		if resp, err := cl.get(ctx, "/healthz"); err != nil {
			dir.Close()
			return nil, fault.Wrap(fault.Unavailable, err, "another strata works on the data folder, and does not answer; wait for it, or stop it")
		} else {
			resp.Body.Close()
		}
		return cl, nil
	}
	if err := c.ahead(ctx, n, log); err != nil {
		dir.Close()
		return nil, errors.Join(err, n.Close(ctx))
	}
	l, err := listenControl(c.Data)
	if err != nil {
		dir.Close()
		return nil, errors.Join(err, n.Close(ctx))
	}
	quiet, m := slog.New(slog.DiscardHandler), newMetrics()
	s := &http.Server{Handler: controlHandler(n, front(n, c.baseHandler(n, quiet, m, nil), nil), administration(n, quiet, m, nil, peer)), ConnContext: knowPeer}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	cl.close = func() error {
		cl.http.CloseIdleConnections()
		err := s.Close()
		<-served
		os.Remove(path)
		return errors.Join(err, n.Close(context.WithoutCancel(ctx)), dir.Close())
	}
	return cl, nil
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
