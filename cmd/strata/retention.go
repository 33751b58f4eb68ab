package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/strata-pacs/strata/api"
	"github.com/strata-pacs/strata/internal/fault"
)

func (a *app) retentionCommand() *cobra.Command {
	d := &admin{app: a}
	cmd := &cobra.Command{Use: "retention", Short: "How long studies must be kept"}
	cmd.AddCommand(d.retentionSets(), d.retentionShow(), d.retentionSet(), d.retentionCheck(), d.retentionReport())
	d.flags(cmd)
	return cmd
}

func (d *admin) retentionSets() *cobra.Command {
	return d.command("sets", "Show the built-in sets of rules and what they are", "", cobra.NoArgs, func(ctx context.Context, s *session, _ []string) error {
		r, err := read[api.RetentionSets](s.ListRetentionSets(ctx))
		if err != nil {
			return err
		}
		return s.show(r, func(w io.Writer) {
			for i := range r.Sets {
				if i > 0 {
					fmt.Fprintln(w)
				}
				writeSet(w, &r.Sets[i])
			}
		})
	})
}

func writeSet(w io.Writer, s *api.RetentionSet) {
	fmt.Fprintf(w, "set\t%s\n", s.Name)
	wrapped(w, "title", s.Title)
	if s.Since != nil {
		fmt.Fprintf(w, "in force since\t%s\n", *s.Since)
	}
	for _, r := range s.Rules {
		writeRule(w, r)
	}
	if s.Notes != nil {
		wrapped(w, "notes", *s.Notes)
	}
}

func writeRule(w io.Writer, r api.RetentionRule) {
	var parts []string
	if r.Modalities != nil {
		parts = append(parts, strings.Join(*r.Modalities, ", "))
	}
	if r.Years != nil {
		parts = append(parts, fmt.Sprintf("%d years after the last examination", *r.Years))
	}
	if r.YearsIfLater != nil {
		parts = append(parts, fmt.Sprintf("%d years after the study where there is a later one", *r.YearsIfLater))
	}
	if r.Age != nil && r.Under != nil {
		parts = append(parts, fmt.Sprintf("of a person under %d until the age of %d", *r.Under, *r.Age))
	}
	wrapped(w, "rule", r.Name+": "+strings.Join(parts, "; "))
	if r.Source != nil {
		wrapped(w, "source", *r.Source)
	}
}

func (d *admin) retentionShow() *cobra.Command {
	return d.command("show [TENANT]", "Show what is demanded of a tenant", "", cobra.MaximumNArgs(1), func(ctx context.Context, s *session, args []string) error {
		r, err := read[api.RetentionPolicy](s.GetRetention(ctx, s.tenantOf(args)))
		if err != nil {
			return err
		}
		return s.showPolicy(&r)
	})
}

func (s *session) showPolicy(r *api.RetentionPolicy) error {
	return s.show(r, func(w io.Writer) {
		writeSet(w, &r.Set)
		if r.Default {
			fmt.Fprintln(w, "chosen by\tthe server's setting retention")
		}
		for _, rule := range r.Rules {
			writeRule(w, rule)
		}
		if r.Stated != nil {
			by := "an operator without a name"
			if r.By != nil {
				by = *r.By
			}
			fmt.Fprintf(w, "stated\t%s by %s\n", when(r.Stated), by)
		}
	})
}

func (d *admin) retentionSet() *cobra.Command {
	var set, edition, file string
	cmd := d.command("set [TENANT]", "State what is demanded of a tenant", `States all of it: what is left out is not demanded any more. A file has JSON with
the members set, edition and rules; each rule has a name, and years (after the last
examination) or age and under, and modalities. Rules can only lengthen what the set
demands. The rules that retention show --json shows can be taken as they are.`, cobra.MaximumNArgs(1), func(ctx context.Context, s *session, args []string) error {
		var body api.RetentionDocument
		if file != "" {
			b, err := os.ReadFile(file)
			if err != nil {
				return fault.Wrap(fault.Invalid, err, "--file: cannot be read")
			}
			dec := json.NewDecoder(bytes.NewReader(b))
			dec.DisallowUnknownFields()
			if err := dec.Decode(&body); err != nil {
				return fault.Wrap(fault.Invalid, err, "--file: is not JSON with the members set, edition and rules")
			}
		}
		if set != "" {
			body.Set = &set
		}
		if edition != "" {
			body.Edition = &edition
		}
		if set == "" && file == "" {
			return fault.New(fault.Invalid, "name a set (--set) or a file with rules (--file)")
		}
		r, err := read[api.RetentionPolicy](s.SetRetention(ctx, s.tenantOf(args), body))
		if err != nil {
			return err
		}
		return s.showPolicy(&r)
	})
	f := cmd.Flags()
	f.StringVar(&set, "set", "", "a built-in set; see retention sets")
	f.StringVar(&edition, "edition", "", "first day of the set's edition to stay with (YYYY-MM-DD); without it, the one in force")
	f.StringVar(&file, "file", "", "file with JSON")
	return cmd
}

func (d *admin) retentionCheck() *cobra.Command {
	var named studyName
	cmd := d.command("check [STUDY-UID] [TENANT]", "Show until when a study must be kept, and why", "", cobra.MaximumNArgs(2), func(ctx context.Context, s *session, args []string) error {
		study, tenant, err := named.takeTenant(s, args)
		switch {
		case err != nil:
			return err
		case study == "":
			return errNoStudy()
		}
		r, err := read[api.RetainedStudy](s.CheckRetention(ctx, tenant, api.StudyName{Study: study}))
		if err != nil {
			return err
		}
		return s.show(r, func(w io.Writer) {
			if r.Until == nil {
				fmt.Fprintln(w, "keep until\tnothing demands it")
			} else {
				fmt.Fprintf(w, "keep until\t%s\nmay be deleted from\t%s\nset\t%s\nrule\t%s\nwhy\t%s\n", *r.Until, when(r.Free), text(r.Set), text(r.Rule), text(r.Why))
			}
			for _, h := range r.Holds {
				fmt.Fprintf(w, "legal hold\t%s\n", h)
			}
		})
	})
	named.add(cmd.Flags())
	return cmd
}

// text is what an optional member says.
func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func (d *admin) retentionReport() *cobra.Command {
	var before, format string
	var held bool
	cmd := d.command("report [TENANT]", "List the studies that are due for deletion, or held", `Lists what may be deleted by a day because its period has ended, or with --held what
legal holds keep. Nothing is deleted by it. Rows come as they are found.`, cobra.MaximumNArgs(1), func(ctx context.Context, s *session, args []string) error {
		p := api.ReportRetentionParams{Held: &held}
		if before != "" {
			if _, err := time.Parse(time.DateOnly, before); err != nil {
				return fault.New(fault.Invalid, "--before must be a day such as 2030-01-01")
			}
			p.Before = &before
		}
		if s.json {
			format = "json"
		}
		out, err := newReport(format, s.out)
		if err != nil {
			return err
		}
		most := 1000
		p.Limit = &most
		for {
			page, err := read[api.RetainedPage](s.ReportRetention(ctx, s.tenantOf(args), &p))
			if err != nil {
				return err
			}
			for i := range page.Studies {
				if err := out(&page.Studies[i]); err != nil {
					return err
				}
			}
			if p.After = page.Next; p.After == nil {
				return nil
			}
		}
	})
	f := cmd.Flags()
	f.StringVar(&before, "before", "", "the day by which the period has ended (YYYY-MM-DD); today without it")
	f.BoolVar(&held, "held", false, "list what is held")
	f.StringVar(&format, "format", "table", "table, csv or json (a line each)")
	return cmd
}

// newReport returns what writes the rows of a report as they come.
func newReport(format string, w io.Writer) (row func(*api.RetainedStudy) error, err error) {
	cells := func(s *api.RetainedStudy) []string {
		return []string{s.Study, text(s.Until), text(s.Rule), strings.Join(s.Modalities, " "), strconv.Itoa(s.Instances), strconv.FormatInt(s.Bytes, 10), strconv.Itoa(len(s.Holds)), text(s.Why)}
	}
	head := []string{"study", "keep until", "rule", "modalities", "instances", "bytes", "holds", "why"}
	switch format {
	case "json":
		e := json.NewEncoder(w)
		return func(s *api.RetainedStudy) error { return e.Encode(s) }, nil
	case "csv":
		c := csv.NewWriter(w)
		write := func(cells []string) error {
			if err := c.Write(cells); err != nil {
				return err
			}
			c.Flush()
			return c.Error()
		}
		return func(s *api.RetainedStudy) error { return write(cells(s)) }, write(head)
	case "table":
		write := func(c []string) error {
			_, err := fmt.Fprintf(w, "%-64s  %-10s  %-16s  %-12s  %9s  %13s  %5s  %s\n", c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7])
			return err
		}
		for i := range head {
			head[i] = strings.ToUpper(head[i])
		}
		head[5] = "SIZE"
		return func(s *api.RetainedStudy) error {
			c := cells(s)
			c[5] = size(s.Bytes)
			return write(c)
		}, write(head)
	}
	return nil, fault.New(fault.Invalid, "--format must be table, csv or json")
}
