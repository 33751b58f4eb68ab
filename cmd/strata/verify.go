package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/ingest"
	"github.com/strata-pacs/strata/internal/node"
	"github.com/strata-pacs/strata/internal/reconcile"
)

func (a *app) verifyCommand() *cobra.Command {
	sample := 1.0
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Read everything back and check every tag and digest",
		Long: `Reads the whole log, and the bytes of all instances or of a sample, checks that
nothing is missing, damaged or unknown to the index, and says what is. Ends with status 2 on
any gap.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, c, err := a.config(cmd)
			if err != nil {
				return err
			}
			if sample < 0 || sample > 1 {
				return fault.New(fault.Invalid, "--sample must be between 0 and 1")
			}
			return runVerify(cmd.Context(), c, sample, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	cmd.Flags().Float64Var(&sample, "sample", 1, "share of the instances whose bytes are read, 0 to 1; the log is always read whole")
	return cmd
}

func runVerify(ctx context.Context, c *Config, sample float64, stdout, stderr io.Writer) (err error) {
	cl, err := c.connect(ctx, c.logger(stderr), stderr)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cl.close()) }()
	resp, err := cl.do(ctx, "POST", cl.control("verify", url.Values{"sample": {strconv.FormatFloat(sample, 'g', -1, 64)}}), "", nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	p := newProgress("verifying ", stderr)
	for lines := json.NewDecoder(resp.Body); ; {
		var l line
		if err := lines.Decode(&l); err != nil {
			p.end()
			return fmt.Errorf("the verification broke off: %w", err)
		}
		switch {
		case l.Error != "":
			p.end()
			return errors.New(l.Error)
		case l.Report != nil:
			p.end()
			return printReport(stdout, *l.Report)
		}
		p.set(l.Done, l.Total)
	}
}

// progress is a bar over facts.
type progress struct {
	bars *mpb.Progress
	bar  *mpb.Bar
}

func newProgress(what string, w io.Writer) *progress {
	p := &progress{bars: mpb.New(mpb.WithOutput(terminal(w)), mpb.WithWidth(40))}
	p.bar = p.bars.AddBar(0, mpb.PrependDecorators(decor.Name(what)),
		mpb.AppendDecorators(decor.CountersNoUnit("%d / %d facts "), decor.Elapsed(decor.ET_STYLE_GO)))
	return p
}

func (p *progress) set(done, total int) {
	p.bar.SetTotal(int64(total), false)
	p.bar.SetCurrent(int64(done))
}

func (p *progress) end() {
	p.bar.SetTotal(-1, true)
	p.bars.Wait()
}

// printReport writes what was found. Gaps make it errGaps.
func printReport(w io.Writer, r reconcile.Report) error {
	for _, g := range r.Gaps {
		fmt.Fprintf(w, "gap: %s", g.What)
		if g.Object != "" {
			fmt.Fprintf(w, " (%s)", g.Object)
		}
		fmt.Fprintln(w)
	}
	if r.MoreGaps > 0 {
		fmt.Fprintf(w, "and %d more\n", r.MoreGaps)
	}
	err := table(w, func(w io.Writer) {
		fmt.Fprintf(w, "sessions\t%d\nfacts\t%d\ninstances\t%d\npacks\t%d\nread and checked\t%s\ngaps\t%d\n",
			r.Sessions, r.Facts, r.Instances, r.Packs, size(r.Read), len(r.Gaps)+r.MoreGaps)
		if r.Archived > 0 {
			fmt.Fprintf(w, "packs not read, to be restored first\t%d\n", r.Archived)
		}
	})
	if err != nil {
		return err
	}
	if len(r.Gaps)+r.MoreGaps > 0 {
		return errGaps
	}
	return nil
}

func (a *app) rebuildCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "rebuild",
		Short: "Make the index anew from the log alone",
		Long: `Makes the search index anew from the log, without reading a pixel, puts it in the
old one's place, and says what it found missing. Ends with status 2 on any gap. The server
must be stopped. A PostgreSQL database must hold no index yet: drop its schema before.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, c, err := a.config(cmd)
			if err != nil {
				return err
			}
			o, err := c.nodeOptions(cmd.Context(), c.logger(cmd.ErrOrStderr()), cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			p := newProgress("rebuilding ", cmd.ErrOrStderr())
			report, err := node.Rebuild(cmd.Context(), o, p.set)
			p.end()
			if err != nil {
				return err
			}
			return printReport(cmd.OutOrStdout(), report)
		},
	}
}

func (a *app) undeleteCommand() *cobra.Command {
	d := &admin{app: a}
	var back rewindFlags
	var named studyName
	cmd := &cobra.Command{
		Use:   "undelete STUDY-UID [SERIES-UID [INSTANCE-UID]] | --as-of TIME [STUDY-UID]",
		Short: "Show again what was deleted",
		Long: `Shows again what was deleted: a study, a series, an instance, or with --as-of all that a
study or the whole tenant had at a moment. What was replaced since is shown in the version of that
moment; the newer one is deleted in its place and can be brought back like anything
deleted. What was stored since stays. It may be interrupted, and called again.`,
		Args: cobra.MaximumNArgs(3),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			study, below, err := named.take(args)
			switch {
			case err != nil:
				return err
			case back.asOf != "" && len(below) > 0:
				return fault.New(fault.Invalid, "--as-of goes with one study, or with none for all of the tenant")
			case back.asOf != "":
				return d.run(cmd, func(s *session) error { return back.rewind(cmd.Context(), s, study) })
			case study == "":
				return fault.New(fault.Invalid, "name a study by its UID, or a moment by --as-of")
			case d.server != "" || back.dry:
				return fault.New(fault.Invalid, "--server and --dry-run go with --as-of")
			case len(below) > 2:
				return fault.New(fault.Invalid, "name at most a study, a series and an instance")
			}
			uids := append([]string{study}, below...)
			_, c, err := a.config(cmd)
			if err != nil {
				return err
			}
			q := url.Values{}
			for i, level := range []string{"study", "series", "instance"}[:len(uids)] {
				if !ingest.ValidUID(uids[i]) {
					return fault.New(fault.Invalid, "what names the %s is not a UID", level)
				}
				q.Set(level, uids[i])
			}
			cl, err := c.connect(cmd.Context(), c.logger(cmd.ErrOrStderr()), cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, cl.close()) }()
			resp, err := cl.do(cmd.Context(), "POST", cl.control("undelete", q), "", nil)
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			var n int
			if err := json.NewDecoder(resp.Body).Decode(&n); err != nil {
				return fmt.Errorf("reading the answer: %w", err)
			}
			s := &session{json: d.json, out: cmd.OutOrStdout()}
			return s.show(struct {
				Instances int `json:"instances"`
			}{n}, func(w io.Writer) { fmt.Fprintf(w, "shown again: %d\n", n) })
		},
	}
	back.add(cmd)
	named.add(cmd.Flags())
	d.flags(cmd)
	return cmd
}
