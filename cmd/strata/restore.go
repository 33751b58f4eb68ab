package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/strata-pacs/strata/api"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/ingest"
)

// restoring are the flags of strata restore.
type restoring struct {
	patient, issuer, query, list string
	series, priority, webhook    string
	days                         int
	estimate, wait               bool
}

func (a *app) restoreCommand() *cobra.Command {
	d := &admin{app: a}
	var r restoring
	var back rewindFlags
	var named studyName
	cmd := d.command("restore [STUDY-UID …]", "Make studies readable that lie in an archive tier", `Asks for readable copies of studies that lie in an archive tier: those named, all
of a patient, those that a query finds, or those of a list. What others ask for
already is joined. The copies go by themselves; the studies stay where they are.
--estimate tells what it would take at each priority, and starts nothing.

With --as-of it brings back what was deleted or replaced since a moment, of one
study or of the whole tenant.`,
		cobra.ArbitraryArgs, func(ctx context.Context, s *session, args []string) error {
			if back.dry && back.asOf == "" {
				return fault.New(fault.Invalid, "--dry-run goes with --as-of; --estimate tells what a restore would take, and starts nothing")
			}
			if back.asOf != "" {
				study, more, err := named.take(args)
				if err == nil && len(more) > 0 {
					err = fault.New(fault.Invalid, "--as-of goes with one study, or with none for all of the tenant")
				}
				if err != nil {
					return err
				}
				return back.rewind(ctx, s, study)
			}
			if named.flag != "" {
				args = append(args, named.flag)
			}
			body, err := r.body(args, s.in)
			if err != nil {
				return err
			}
			if r.estimate {
				e, err := read[api.RestoreEstimate](s.EstimateRestore(ctx, s.tenant, body))
				return s.showEstimate(e, err)
			}
			st, err := read[api.Restore](s.StartRestore(ctx, s.tenant, body))
			if err == nil && r.wait && st.Id != nil {
				return s.awaitRestore(ctx, st)
			}
			return s.showRestore(st, err)
		})
	d.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&r.patient, "patient", "", "Patient ID: all studies of the patient")
	f.StringVar(&r.issuer, "issuer", "", "Issuer of Patient ID; without it, any")
	f.StringVar(&r.query, "query", "", "query as in a search: 'ModalitiesInStudy=CT&StudyDate=20200101-20201231'")
	f.StringVar(&r.list, "list", "", "file with a Study Instance UID in each line; - is the standard input")
	f.StringVar(&r.series, "series", "", "Series Instance UID of the only study that is to come first")
	f.StringVar(&r.priority, "priority", "", "expedited, standard or bulk; without it, the server's")
	f.IntVar(&r.days, "days", 0, "how many days the copies stay; 0: as the server is set")
	f.StringVar(&r.webhook, "webhook", "", "URL that is told of the end; one that the operator allows")
	f.BoolVar(&r.estimate, "estimate", false, "tell what it would take, and start nothing")
	f.BoolVar(&r.wait, "wait", false, "wait until everything can be read")
	back.add(cmd)
	named.add(f)
	cmd.MarkFlagsMutuallyExclusive("estimate", "wait")
	cmd.MarkFlagsMutuallyExclusive("patient", "query", "list")
	for _, name := range []string{"patient", "issuer", "query", "list", "series", "priority", "days", "webhook", "estimate", "wait"} {
		cmd.MarkFlagsMutuallyExclusive("as-of", name)
	}
	return cmd
}

// maxRestored is how many studies one request may name, as the contract has it.
const maxRestored = 5000

// body is what is asked for.
func (r *restoring) body(studies []string, in io.Reader) (b api.RestoreRequest, err error) {
	if r.list != "" {
		listed, err := readList(r.list, in)
		if err != nil {
			return b, err
		}
		studies = append(studies, listed...)
	}
	ways := 0
	for _, given := range []bool{len(studies) > 0, r.patient != "", r.query != ""} {
		if given {
			ways++
		}
	}
	switch {
	case ways != 1:
		return b, fault.New(fault.Invalid, "name studies, or give one of --patient, --query and --list")
	case r.issuer != "" && r.patient == "":
		return b, fault.New(fault.Invalid, "--issuer goes with --patient")
	case r.series != "" && len(studies) != 1:
		return b, fault.New(fault.Invalid, "--series goes with one study")
	case len(studies) > maxRestored:
		return b, fault.New(fault.TooLarge, "one request restores at most %d studies; ask in several", maxRestored)
	}
	for _, uid := range studies {
		if !ingest.ValidUID(uid) {
			return b, fault.New(fault.Invalid, "what names a study must be a Study Instance UID")
		}
	}
	if len(studies) > 0 {
		b.Studies = &studies
	}
	for _, f := range []struct {
		value string
		to    **string
	}{{r.patient, &b.PatientId}, {r.issuer, &b.IssuerOfPatientId}, {r.query, &b.Query}, {r.series, &b.Series}, {r.priority, &b.Priority}, {r.webhook, &b.Webhook}} {
		if f.value != "" {
			*f.to = &f.value
		}
	}
	if r.days != 0 {
		b.Days = &r.days
	}
	return b, nil
}

func readList(name string, in io.Reader) (uids []string, err error) {
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, fault.Wrap(fault.Invalid, err, "--list: cannot be read")
		}
		defer f.Close()
		in = f
	}
	lines := bufio.NewScanner(in)
	for lines.Scan() && len(uids) <= maxRestored {
		if uid := strings.TrimSpace(lines.Text()); uid != "" {
			uids = append(uids, uid)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "--list: cannot be read")
	}
	return uids, nil
}

func (s *session) showEstimate(e api.RestoreEstimate, err error) error {
	if err != nil {
		return err
	}
	if e.Studies == 0 {
		return fault.New(fault.NotFound, "no study was found: nothing would be restored")
	}
	return s.show(e, func(w io.Writer) {
		fmt.Fprintf(w, "studies\t%d\n", e.Studies)
		if e.Objects == 0 {
			fmt.Fprintln(w, "\nEverything can be read now.")
			return
		}
		fmt.Fprintf(w, "objects to restore\t%d, %s\n\n", e.Objects, size(e.Bytes))
		heading(w, "priority", "as a rule", "at most", "cost")
		for _, c := range e.Choices {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", c.Priority, span(c.TypicalSeconds), span(c.LongestSeconds), money(c.Cost, e.Currency))
		}
	})
}

// span is a duration to the minute, or to the second below that.
func span(seconds int64) string {
	d := time.Duration(seconds) * time.Second
	if d < time.Minute {
		return d.String()
	}
	s := strings.TrimSuffix(d.Round(time.Minute).String(), "0s")
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

func (s *session) showRestore(r api.Restore, err error) error {
	if err != nil {
		return err
	}
	if r.Studies == 0 {
		return fault.New(fault.NotFound, "no study was found: nothing is restored")
	}
	return s.show(r, func(w io.Writer) {
		if r.Id == nil && r.Objects == 0 && r.State == api.RestoreStateDone {
			fmt.Fprintln(w, "Everything can be read now.")
			return
		}
		if r.Id != nil {
			fmt.Fprintf(w, "restore\t%s\n", *r.Id)
		}
		fmt.Fprintf(w, "state\t%s\npriority\t%s\nstudies\t%d\nobjects\t%d of %d can be read\nbytes\t%s of %s\n",
			r.State, r.Priority, r.Studies, r.ObjectsReady, r.Objects, size(r.BytesReady), size(r.Bytes))
		if r.Ready != nil && underWay(r) {
			fmt.Fprintf(w, "expected\t%s\n", when(r.Ready))
		}
		if r.Until != nil {
			fmt.Fprintf(w, "readable until\t%s\n", when(r.Until))
		}
		if r.Objects > 0 {
			fmt.Fprintf(w, "cost\t%s, estimated\n", money(r.Cost, text(r.Currency)))
		}
		if r.Failure != nil {
			fmt.Fprintf(w, "note\t%s\n", *r.Failure)
		}
	})
}

// awaitRestore shows how far a restore is until it ends, then its outcome; where that is not good, with errGaps. It does not end when the command is
// interrupted: a server that runs goes on with it.
func (s *session) awaitRestore(ctx context.Context, r api.Restore) error {
	r, err := s.followRestore(ctx, r)
	if err != nil {
		return err
	}
	if r.State == api.RestoreStateDone {
		return s.showRestore(r, nil)
	}
	why := "the server's log says why"
	if r.Failure != nil {
		why = *r.Failure
	}
	fmt.Fprintf(s.stderr, "strata: the restore is %s: %s\n", r.State, why)
	return errGaps
}

// underWay reports whether the restore is not over.
func underWay(r api.Restore) bool {
	return r.State == api.RestoreStateWaiting || r.State == api.RestoreStateRunning
}

// followRestore asks until the restore has ended, under a progress bar or, where nobody looks, with a line for each change.
func (s *session) followRestore(ctx context.Context, r api.Restore) (api.Restore, error) {
	id := *r.Id
	out := terminal(s.stderr)
	var left atomic.Value // for the bar, which is drawn meanwhile
	left.Store(expected(r))
	bars := mpb.New(mpb.WithOutput(out), mpb.WithWidth(40)) // one with a context panics when that has ended
	bar := bars.AddBar(r.Bytes, mpb.PrependDecorators(decor.Name("restore ")),
		mpb.AppendDecorators(decor.Counters(decor.SizeB1000(0), "% .1f / % .1f "), decor.Any(func(decor.Statistics) string { return left.Load().(string) })))
	defer bars.Wait()
	defer bar.Abort(false) // nothing to a bar that is complete
	tick := time.NewTicker(jobPoll)
	defer tick.Stop()
	said := ""
	for {
		bar.SetTotal(r.Bytes, false)
		bar.SetCurrent(r.BytesReady)
		left.Store(expected(r))
		line := fmt.Sprintf("%s: %d of %d objects", r.State, r.ObjectsReady, r.Objects)
		if underWay(r) {
			line += ", " + expected(r)
		}
		if out == nil && line != said {
			said = line
			fmt.Fprintln(s.stderr, line)
		}
		if !underWay(r) {
			if r.State == api.RestoreStateDone {
				bar.SetTotal(-1, true)
			}
			return r, nil
		}
		select {
		case <-ctx.Done():
			fmt.Fprintln(s.stderr, "The restore goes on; strata restores shows how far it is.")
			return r, ctx.Err()
		case <-tick.C:
		}
		var err error
		if r, err = read[api.Restore](s.GetRestore(ctx, s.tenant, id)); err != nil {
			return r, fmt.Errorf("asking how far it is: %w", err)
		}
	}
}

// expected is when the restore is expected, or how it ended, for people.
func expected(r api.Restore) string {
	if r.Ready == nil || !underWay(r) {
		return string(r.State)
	}
	return "expected " + r.Ready.UTC().Format("2006-01-02 15:04Z")
}
