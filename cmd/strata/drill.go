package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/strata-pacs/strata/api"
	"github.com/strata-pacs/strata/internal/fault"
)

func (a *app) drillCommand() *cobra.Command {
	d := &admin{app: a}
	var q struct {
		studies            int
		bytes              byteFlag
		seed               int64
		priority           string
		noRestore, fromLog bool
		last               bool
	}
	cmd := d.command("drill [TENANT]", "Prove that the archive can be restored, and tell how long all of it would take", `Draws studies at random, each as likely as any other, has them restored where their
tier needs that, copies their objects from the coldest copy there is into a scratch
folder of the server (drill-scratch), as they are, sealed, and checks every digest
against the log. Restores cost what the provider asks. Ends with status 2 when something could not be
restored, and names the objects. Interrupting it calls the drill off.

With --from-log the index is asked nothing: studies are drawn from the log, all of
which is looked through. Studies that need a restore are then tried only if the index
knows them. --last shows the last drill, and when one last succeeded.`, cobra.MaximumNArgs(1), func(ctx context.Context, s *session, args []string) error {
		t := s.tenantOf(args)
		if q.last {
			return s.lastDrill(ctx, t)
		}
		if q.studies < 1 || q.bytes < 1 || q.seed < 0 {
			return fault.New(fault.Invalid, "--studies and --bytes must be 1 or more, --seed 0 or more")
		}
		req := api.RecoveryDrillRequest{Studies: &q.studies, Bytes: (*int64)(&q.bytes), Priority: &q.priority, NoRestore: &q.noRestore, FromLog: &q.fromLog}
		if q.seed > 0 {
			req.Seed = &q.seed
		}
		run, err := read[api.RecoveryDrill](s.StartRecoveryDrill(ctx, t, req))
		if err != nil {
			return err
		}
		if run, err = s.followDrill(ctx, t, run); err != nil {
			return err
		}
		return s.showDrill(run)
	})
	d.flags(cmd)
	f := cmd.Flags()
	f.IntVar(&q.studies, "studies", 10, "how many studies to draw")
	q.bytes = 10 << 30
	f.Var(&q.bytes, "bytes", "most bytes to copy, such as 20GB; studies that do not fit in are left out")
	f.Int64Var(&q.seed, "seed", 0, "draws the same studies of the same archive again; 0: made up, and told")
	f.StringVar(&q.priority, "priority", "bulk", "of restores: expedited, standard or bulk")
	f.BoolVar(&q.noRestore, "no-restore", false, "leave out studies that would have to be restored first")
	f.BoolVar(&q.fromLog, "from-log", false, "draw from the log, and ask the index nothing")
	f.BoolVar(&q.last, "last", false, "show the last drill instead, and when one last succeeded")
	return cmd
}

// lastDrill shows what is known of the drills before.
func (s *session) lastDrill(ctx context.Context, t string) error {
	st, err := read[api.RecoveryDrills](s.GetRecoveryDrill(ctx, t))
	if err != nil {
		return err
	}
	if s.json {
		if err := s.show(st, nil); err != nil || st.Last == nil || !unrestored(st.Last.Report) {
			return err
		}
		return errGaps
	}
	if st.Running != nil {
		fmt.Fprintf(s.out, "A drill is under way: %d of %d studies.\n", st.Running.Done, st.Running.Total)
	}
	if st.Last == nil {
		_, err := fmt.Fprintln(s.out, "No drill has ended yet.")
		return err
	}
	success := "never"
	if st.LastSuccess != nil {
		success = when(st.LastSuccess.Finished)
	}
	fmt.Fprintf(s.out, "last drill     %s\nlast success   %s\n\n", when(st.Last.Finished), success)
	return s.showDrill(*st.Last)
}

// followDrill asks until the drill has ended. One that is interrupted is called off.
func (s *session) followDrill(ctx context.Context, t string, run api.RecoveryDrill) (api.RecoveryDrill, error) {
	bars := mpb.New(mpb.WithOutput(terminal(s.stderr)), mpb.WithWidth(40))
	bar := bars.AddBar(0, mpb.PrependDecorators(decor.Name("drill ")), mpb.AppendDecorators(decor.CountersNoUnit("%d / %d studies "), decor.Elapsed(decor.ET_STYLE_GO)))
	defer bars.Wait()
	defer bar.Abort(false)
	tick := time.NewTicker(jobPoll)
	defer tick.Stop()
	for id := run.Id; ; {
		bar.SetTotal(int64(run.Total), false)
		bar.SetCurrent(int64(run.Done))
		select {
		case <-ctx.Done():
			return run, errors.Join(ctx.Err(), s.callOff(ctx, t))
		case <-tick.C:
		}
		st, err := read[api.RecoveryDrills](s.GetRecoveryDrill(ctx, t))
		switch {
		case ctx.Err() != nil:
			continue
		case err != nil:
			return run, fmt.Errorf("asking how far it is: %w", err)
		case st.Running != nil && st.Running.Id == id:
			run = *st.Running
		case st.Last != nil && st.Last.Id == id:
			bar.SetTotal(-1, true)
			return *st.Last, nil
		default:
			return run, fault.New(fault.NotFound, "the drill is not there any more")
		}
	}
}

// callOff ends the drill of who went away, and returns when it has ended.
func (s *session) callOff(ctx context.Context, t string) error {
	const patience = 10 * time.Second
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	resp, err := s.CancelRecoveryDrill(ctx, t)
	if err == nil {
		resp.Body.Close()
	}
	for err == nil {
		var st api.RecoveryDrills
		if st, err = read[api.RecoveryDrills](s.GetRecoveryDrill(ctx, t)); err == nil && st.Running == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			err = ctx.Err()
		case <-time.After(jobPoll):
		}
	}
	return fault.Wrap(fault.Unavailable, err, "the drill could not be called off; it may go on")
}

// showDrill prints the outcome. What could not be restored makes it errGaps.
func (s *session) showDrill(run api.RecoveryDrill) error {
	r := run.Report
	if r == nil {
		why := "the server's log says why"
		if run.Failure != nil {
			why = *run.Failure
		}
		return fmt.Errorf("the drill could not be carried out: %s", why)
	}
	err := s.show(run, func(w io.Writer) { drillTable(w, run, r) })
	if err == nil && unrestored(r) {
		err = errGaps
	}
	return err
}

// unrestored reports whether something could not be restored.
func unrestored(r *api.RecoveryReport) bool { return r != nil && len(r.Failures)+r.MoreFailures > 0 }

func drillTable(w io.Writer, run api.RecoveryDrill, r *api.RecoveryReport) {
	cost := func(amount float64) string { return money(amount, text(r.Currency)) }
	for _, f := range r.Failures {
		fmt.Fprintf(w, "failed: %s", f.What)
		if f.Object != nil {
			fmt.Fprintf(w, " (%s)", *f.Object)
		}
		fmt.Fprintln(w)
	}
	if r.MoreFailures > 0 {
		fmt.Fprintf(w, "and %d more\n", r.MoreFailures)
	}
	fmt.Fprintf(w, "seed\t%d\nstudies\t%d of %d\ninstances\t%d\nobjects\t%d\ncopied\t%s, at %s\n",
		r.Seed, r.Studies, r.Of.Studies, r.Instances, r.Objects, size(r.Bytes), rate(r.BytesPerSecond))
	fmt.Fprintf(w, "failures\t%d\n", len(r.Failures)+r.MoreFailures)
	for _, left := range []struct {
		n   int64
		why string
	}{{r.TooLarge, "larger than what was left of the bytes"}, {r.Unreadable, "to be restored first"}, {r.Changing, "changed while they were read"}} {
		if left.n > 0 {
			fmt.Fprintf(w, "left out\t%d studies: %s\n", left.n, left.why)
		}
	}
	if run.NoRestore != nil {
		fmt.Fprintf(w, "note\tonly studies that can be read at once were tried\n")
	}
	t := r.Seconds
	fmt.Fprintf(w, "time\twaiting for restores %s, reading the log %s, copying %s, checking %s, drawing %s\ncost\t%s\n",
		took(t.Waiting), took(t.Reading), took(t.Copying), took(t.Checking), took(t.Drawing), cost(r.Cost))
	fmt.Fprintln(w)
	heading(w, "tier", "objects", "size", "speed", "all of it takes", "costs")
	for _, x := range r.Whole.Tiers {
		speed := "not measured"
		if x.BytesPerSecond != nil {
			speed = rate(*x.BytesPerSecond)
		}
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s to %s\t%s\n", x.Tier, x.Objects, size(x.Bytes), speed, took(x.LeastSeconds), took(x.MostSeconds), cost(x.Cost))
	}
	fmt.Fprintf(w, "all\t\t\t\t%s to %s\t%s\n", took(r.Whole.LeastSeconds), took(r.Whole.MostSeconds), cost(r.Whole.Cost))
	if least, most := r.Whole.RebuildLeastSeconds, r.Whole.RebuildMostSeconds; least != nil && most != nil {
		fmt.Fprintf(w, "a new index\t\t\t\t%s to %s\n", took(*least), took(*most))
	}
	fmt.Fprintln(w, "\nAssumed:")
	for _, a := range r.Whole.Assumed {
		fmt.Fprintf(w, "  %s\n", a)
	}
}

// took is a duration for people.
func took(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%.1f days", d.Hours()/24)
	case d >= time.Minute:
		return d.Round(time.Second).String()
	case d >= time.Second:
		return fmt.Sprintf("%.1fs", d.Seconds())
	}
	return d.Round(10 * time.Microsecond).String()
}
