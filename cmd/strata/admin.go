package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/strata-pacs/strata/api"
	"github.com/strata-pacs/strata/internal/fault"
)

// admin is what the commands of administration share: they speak to the API,
// over the control socket or to a server elsewhere.
type admin struct {
	app    *app
	server string
	json   bool
}

// command makes one command of administration below use.
func (d *admin) command(use, short, long string, args cobra.PositionalArgs, do func(context.Context, *session, []string) error) *cobra.Command {
	return &cobra.Command{Use: use, Short: short, Long: long, Args: args, RunE: func(cmd *cobra.Command, args []string) error {
		return d.run(cmd, func(s *session) error { return do(cmd.Context(), s, args) })
	}}
}

func (d *admin) flags(cmd *cobra.Command) {
	f := cmd.PersistentFlags()
	f.StringVar(&d.server, "server", "", "URL of a server elsewhere; without it, the one of this configuration")
	f.String("token-file", "", "file with the operator's token for --server")
	f.BoolVar(&d.json, "json", false, "print JSON")
}

// session is one command's conversation with the API.
type session struct {
	*api.Client
	tenant      string // of the configuration: for who names none
	json        bool
	in          *bufio.Reader
	out, stderr io.Writer
}

// tenantOf is the tenant that the arguments name, or the configuration's.
func (s *session) tenantOf(args []string) string {
	if len(args) > 0 {
		return args[0]
	}
	return s.tenant
}

func (d *admin) run(cmd *cobra.Command, do func(*session) error) (err error) {
	_, c, err := d.app.config(cmd)
	if err != nil {
		return err
	}
	s := &session{tenant: string(c.Tenant), json: d.json, in: bufio.NewReader(cmd.InOrStdin()), out: cmd.OutOrStdout(), stderr: cmd.ErrOrStderr()}
	if d.server != "" {
		s.Client, err = remote(d.server, c.TokenFile)
	} else {
		var cl *client
		if cl, err = c.connect(cmd.Context(), c.logger(s.stderr), s.stderr); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, cl.close()) }()
		s.Client, err = api.NewClient("http://strata"+api.Root, api.WithHTTPClient(cl.http))
	}
	if err != nil {
		return err
	}
	return do(s)
}

// remote is the API of a server elsewhere.
func remote(server, tokenFile string) (*api.Client, error) {
	u, err := url.Parse(server)
	if err != nil || u.Host == "" || u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname())) {
		return nil, fault.New(fault.Invalid, "--server: must be a URL such as https://pacs.example; without TLS the token could be read on the way")
	}
	token, err := operatorToken(tokenFile)
	if err != nil {
		return nil, err
	}
	hc := &http.Client{
		// A token is for the server that was named alone.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment, ResponseHeaderTimeout: 10 * time.Minute},
	}
	return api.NewClient(strings.TrimRight(server, "/")+api.Root, api.WithHTTPClient(hc),
		api.WithRequestEditorFn(func(_ context.Context, r *http.Request) error {
			r.Header.Set("Authorization", "Bearer "+token)
			return nil
		}))
}

// operatorToken is the first of the file that is not a tenant's.
func operatorToken(path string) (string, error) {
	if path == "" {
		return "", fault.New(fault.Invalid, "--token-file: name the file with the operator's token for --server")
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return "", fault.Wrap(fault.Invalid, err, "token-file: cannot be read")
	}
	for _, line := range strings.Fields(string(b)) {
		if _, _, secret, ofTenant := splitToken(line); !ofTenant {
			return secret, nil
		}
	}
	return "", fault.New(fault.Invalid, "token-file: the file holds no operator's token")
}

// maxAnswer bounds an answer of the API in bytes.
const maxAnswer = 16 << 20

// read is the value of an answer; a problem becomes an error.
func read[T any](resp *http.Response, err error) (T, error) {
	var v T
	if err != nil {
		return v, fault.Wrap(fault.Unavailable, err, "the server does not answer")
	}
	defer resp.Body.Close()
	body := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer))
	if resp.StatusCode/100 != 2 {
		var p api.Problem
		if body.Decode(&p) != nil || p.Title == "" {
			return v, fmt.Errorf("the server answered %s", resp.Status)
		}
		if p.Detail != nil {
			return v, errors.New(*p.Detail)
		}
		return v, errors.New(p.Title)
	}
	if resp.StatusCode == http.StatusNoContent {
		return v, nil
	}
	if err := body.Decode(&v); err != nil {
		return v, fmt.Errorf("the server's answer cannot be understood: %w", err)
	}
	return v, nil
}

// show prints a value as JSON, or as the table that rows writes, cells parted by tabs.
func (s *session) show(v any, rows func(io.Writer)) error {
	if s.json {
		e := json.NewEncoder(s.out)
		e.SetIndent("", "  ")
		return e.Encode(v)
	}
	return table(s.out, rows)
}

// confirm has the tenant's name typed, or given by a flag, before what the
// warning says is done.
func (s *session) confirm(tenant, flag, given, warning string) error {
	if given != "" {
		if given != tenant {
			return fault.New(fault.Invalid, "--%s: names another tenant than %s; nothing was done", flag, tenant)
		}
		return nil
	}
	fmt.Fprintf(s.stderr, "%s\nType the tenant's name (%s) to go on: ", warning, tenant)
	typed, err := s.in.ReadString('\n')
	if strings.TrimSpace(typed) != tenant {
		if err != nil {
			fmt.Fprintln(s.stderr)
		}
		return fault.New(fault.Invalid, "that is not the tenant's name; nothing was done (scripts give it by --%s)", flag)
	}
	return nil
}

// jobPoll is how often a job is asked how far it is.
const jobPoll = 300 * time.Millisecond

// wait shows a job's progress until it ends, then its outcome. The job does not
// end when the command is interrupted: a server that runs goes on with it.
func (s *session) wait(ctx context.Context, j api.Job, name string) error {
	j, err := s.follow(ctx, j, name)
	if err != nil {
		return err
	}
	if j.State == api.JobStateFailed {
		why := "the server's log says why"
		if j.Failure != nil {
			why = *j.Failure
		}
		return fmt.Errorf("%s failed after %d of %d key objects: %s; what was done stays, start it again to go on", name, j.Done, j.Total, why)
	}
	return s.show(j, func(w io.Writer) { fmt.Fprintf(w, "%s\tdone\nkey objects\t%d\n", name, j.Done) })
}

// follow asks until the job has ended, under a progress bar.
func (s *session) follow(ctx context.Context, j api.Job, name string) (api.Job, error) {
	bars := mpb.New(mpb.WithOutput(terminal(s.stderr)), mpb.WithWidth(40)) // one with a context panics when that has ended
	bar := bars.AddBar(0, mpb.PrependDecorators(decor.Name(name+" ")),
		mpb.AppendDecorators(decor.CountersNoUnit("%d / %d keys "), decor.Elapsed(decor.ET_STYLE_GO)))
	defer bars.Wait()
	defer bar.Abort(false) // nothing to a bar that is complete
	tick := time.NewTicker(jobPoll)
	defer tick.Stop()
	for {
		bar.SetTotal(j.Total, false)
		bar.SetCurrent(j.Done)
		switch j.State {
		case api.JobStateDone:
			bar.SetTotal(-1, true)
			return j, nil
		case api.JobStateFailed:
			return j, nil
		}
		select {
		case <-ctx.Done():
			fmt.Fprintf(s.stderr, "The %s is not undone; strata keys status shows how far it is.\n", name)
			return j, ctx.Err()
		case <-tick.C:
		}
		var err error
		if j, err = read[api.Job](s.GetJob(ctx, j.Id)); err != nil {
			return j, fmt.Errorf("asking how far it is: %w", err)
		}
	}
}
