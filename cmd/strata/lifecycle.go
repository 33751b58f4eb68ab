package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/strata-pacs/strata/api"
	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/lifecycle/rule"
)

func (a *app) lifecycleCommand() *cobra.Command {
	d := &admin{app: a}
	root := &cobra.Command{
		Use:   "lifecycle",
		Short: "Rules that say where studies are kept and for how long: show, plan, apply",
		Long: `Of a tenant's rules the first one holds whose condition a study fulfils. A study
that fulfils none is settled (its objects are merged into few) and stays where it
is. A server carries the rules out by itself; look at a plan before you set them:

    rules:
      - name: old studies
        when: { age: { over: 90d }, not: { modality: [MG] } }
        action: move
        to: cold

Without TENANT the commands work on the tenant of the configuration.`,
	}
	d.flags(root)
	rules := &cobra.Command{Use: "rules", Short: "Show, check and set rules"}
	rules.AddCommand(
		d.command("show [TENANT]", "Print the rules that hold, as YAML", "", cobra.MaximumNArgs(1), showRules),
		d.command("check [TENANT] FILE", "Say what is wrong with rules in a file", "", cobra.RangeArgs(1, 2), func(ctx context.Context, s *session, args []string) error {
			tenant, r, err := s.rulesOf(args)
			if err != nil {
				return err
			}
			if _, err := read[struct{}](s.CheckLifecycleRules(ctx, tenant, r)); err != nil {
				return err
			}
			fmt.Fprintf(s.out, "%d rules, nothing is wrong with them\n", len(r.Rules))
			return nil
		}),
		d.command("set [TENANT] FILE", "State the rules in a file", `They hold at once, for every study. strata lifecycle plan --rules FILE shows
beforehand what they would do.`, cobra.RangeArgs(1, 2), func(ctx context.Context, s *session, args []string) error {
			tenant, r, err := s.rulesOf(args)
			if err != nil {
				return err
			}
			state, err := read[api.LifecycleState](s.SetLifecycleRules(ctx, tenant, r))
			return s.showLifecycle(state, err)
		}))
	root.AddCommand(rules, d.planLifecycle(), d.applyLifecycle(), d.tagLifecycle(),
		d.command("status [TENANT]", "Show how many rules there are, and whether they are carried out", "", cobra.MaximumNArgs(1), func(ctx context.Context, s *session, args []string) error {
			state, err := read[api.LifecycleState](s.GetLifecycle(ctx, s.tenantOf(args)))
			return s.showLifecycle(state, err)
		}),
		d.command("pause [TENANT]", "Do nothing to any study until resumed", `Nothing is settled, moved or deleted by rules, and nothing removed that was let go
of. It holds across restarts.`, cobra.MaximumNArgs(1), func(ctx context.Context, s *session, args []string) error {
			state, err := read[api.LifecycleState](s.PauseLifecycle(ctx, s.tenantOf(args)))
			return s.showLifecycle(state, err)
		}),
		d.command("resume [TENANT]", "Carry out the rules again", "", cobra.MaximumNArgs(1), func(ctx context.Context, s *session, args []string) error {
			state, err := read[api.LifecycleState](s.ResumeLifecycle(ctx, s.tenantOf(args)))
			return s.showLifecycle(state, err)
		}))
	return root
}

// readRules reads a file of rules. What is wrong with it is told by its lines.
func readRules(path string) (r api.LifecycleRules, err error) {
	f, err := os.Open(path)
	if err != nil {
		return r, fault.Wrap(fault.Invalid, err, "the file with the rules cannot be read")
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, archive.MaxRules+1))
	if err != nil {
		return r, fault.Wrap(fault.Invalid, err, "the file with the rules cannot be read")
	}
	set, err := rule.Parse(text, rule.Options{})
	if err != nil {
		return r, fmt.Errorf("%s: %w", path, err)
	}
	document, err := set.Document()
	if err == nil {
		err = json.Unmarshal(document, &r)
	}
	return r, err
}

// rulesOf are the tenant, if the arguments begin with one, and the rules of the file that they end with.
func (s *session) rulesOf(args []string) (string, api.LifecycleRules, error) {
	last := len(args) - 1
	r, err := readRules(args[last])
	return s.tenantOf(args[:last]), r, err
}

func showRules(ctx context.Context, s *session, args []string) error {
	raw, err := read[json.RawMessage](s.GetLifecycleRules(ctx, s.tenantOf(args)))
	if err != nil {
		return err
	}
	if s.json {
		return s.show(raw, nil)
	}
	// JSON is YAML; only its style is to be another.
	var n yaml.Node
	if err := yaml.Unmarshal(raw, &n); err != nil {
		return fmt.Errorf("the server's answer cannot be understood: %w", err)
	}
	var plain func(*yaml.Node)
	plain = func(n *yaml.Node) {
		n.Style = 0
		for _, c := range n.Content {
			plain(c)
		}
	}
	plain(&n)
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := errors.Join(e.Encode(&n), e.Close()); err != nil {
		return err
	}
	_, err = s.out.Write(b.Bytes())
	return err
}

func (s *session) showLifecycle(state api.LifecycleState, err error) error {
	if err != nil {
		return err
	}
	return s.show(state, func(w io.Writer) {
		word := "carried out"
		if state.Paused {
			word = "paused"
		}
		fmt.Fprintf(w, "rules\t%d, %s\nstated\t%s\n", state.Rules, word, changed(state.Stated, state.By))
		if state.PausedAt != nil {
			word := "resumed"
			if state.Paused {
				word = "paused"
			}
			fmt.Fprintf(w, "%s\t%s\n", word, changed(state.PausedAt, state.PausedBy))
		}
		pending := "nothing"
		if state.Pending {
			pending = "something"
		}
		fmt.Fprintf(w, "due\t%s\n", pending)
		if state.Failing != nil {
			fmt.Fprintf(w, "failing\t%d studies, tried again from %s\n", *state.Failing, when(state.Retry))
		}
		if f := state.Failure; f != nil {
			fmt.Fprintf(w, "last failure\t%s, %s\n", when(&f.At), f.Why)
		}
		if r := state.Round; r != nil {
			fmt.Fprintf(w, "last round\t%s: looked at %d, settled %d, moved %d, deleted %d, waiting %d, failed %d\n", when(&r.At),
				r.Done.Looked, r.Done.Settled, r.Done.Moved, r.Done.Deleted, r.Done.Waiting, r.Done.Failed)
			if r.Error != nil {
				fmt.Fprintf(w, "it ended\t%s\n", *r.Error)
			}
		}
	})
}

// changed is when something was changed, and by whom.
func changed(at *time.Time, by *string) string {
	if by == nil {
		return when(at)
	}
	return when(at) + ", by " + *by
}

func (d *admin) applyLifecycle() *cobra.Command {
	return d.command("apply [TENANT]", "Do now what the rules want done, and show how far it is", `Looks at every study that is due. What this does not get to when it is interrupted
a server does by itself.`, cobra.MaximumNArgs(1), func(ctx context.Context, s *session, args []string) error {
		var sum api.LifecycleDone
		progress := terminal(s.stderr)
		for {
			one, err := read[api.LifecycleDone](s.ApplyLifecycle(ctx, s.tenantOf(args)))
			if err != nil {
				return err
			}
			sum = api.LifecycleDone{Paused: one.Paused, More: one.More, Looked: sum.Looked + one.Looked, Settled: sum.Settled + one.Settled, Moved: sum.Moved + one.Moved,
				Bytes: sum.Bytes + one.Bytes, Deleted: sum.Deleted + one.Deleted, Waiting: sum.Waiting + one.Waiting, Failed: sum.Failed + one.Failed,
				Dropped: sum.Dropped + one.Dropped, DroppedBytes: sum.DroppedBytes + one.DroppedBytes, Removed: sum.Removed + one.Removed, RemovedBytes: sum.RemovedBytes + one.RemovedBytes}
			if progress != nil {
				fmt.Fprintf(progress, "\rlooked at %d, settled %d, moved %d (%s), deleted %d ", sum.Looked, sum.Settled, sum.Moved, size(sum.Bytes), sum.Deleted)
			}
			if !one.More {
				break
			}
		}
		if progress != nil {
			fmt.Fprintln(progress)
		}
		if sum.Paused && sum.Looked == 0 {
			return fault.New(fault.Conflict, "the lifecycle of this tenant is paused and nothing was done; strata lifecycle resume ends that")
		}
		err := s.show(sum, func(w io.Writer) {
			fmt.Fprintf(w, "looked at\t%d\nsettled\t%d\nmoved\t%d, %s\ndeleted\t%d\nwaiting\t%d\nfailed\t%d\n", sum.Looked, sum.Settled, sum.Moved, size(sum.Bytes), sum.Deleted, sum.Waiting, sum.Failed)
			fmt.Fprintf(w, "dropped for good\t%d instances, %s\nremoved\t%d objects, %s\n", sum.Dropped, size(sum.DroppedBytes), sum.Removed, size(sum.RemovedBytes))
		})
		if err == nil && sum.Paused {
			err = fault.New(fault.Conflict, "the lifecycle of this tenant was paused meanwhile; strata lifecycle resume ends that")
		}
		if err == nil && sum.Failed > 0 {
			fmt.Fprintln(s.stderr, "strata: some studies failed and are tried again later; strata lifecycle status says when, and why the last of them did")
			err = errGaps
		}
		return err
	})
}

// growth reads a growth such as "0.1" or "10%".
func growth(text string) (*float64, error) {
	digits, percent := strings.CutSuffix(text, "%")
	v, err := strconv.ParseFloat(digits, 64)
	if percent {
		v /= 100
	}
	if err != nil || !(v >= -0.5 && v <= 1) {
		return nil, fault.New(fault.Invalid, "--growth: write a growth a year from -0.5 to 1, such as 0.1 or %s", "10%")
	}
	return &v, nil
}
