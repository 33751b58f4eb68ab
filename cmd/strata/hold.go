package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/strata-pacs/strata/api"
	"github.com/strata-pacs/strata/internal/fault"
)

func (a *app) holdCommand() *cobra.Command {
	d := &admin{app: a}
	cmd := &cobra.Command{Use: "hold", Short: "Legal holds: what must not be deleted, whatever its age"}
	cmd.AddCommand(d.holdAdd(), d.holdRelease(), d.holdList())
	d.flags(cmd)
	return cmd
}

func (d *admin) holdAdd() *cobra.Command {
	var named studyName
	var patient, issuer, reason string
	cmd := d.command("add [STUDY-UID] [TENANT]", "Hold a study, or all studies of a patient, also those to come", "", cobra.MaximumNArgs(2), func(ctx context.Context, s *session, args []string) error {
		study, tenant, err := named.takeTenant(s, args)
		switch {
		case err != nil:
			return err
		case (study == "") == (patient == ""):
			return fault.New(fault.Invalid, "name either a study or --patient")
		case issuer != "" && patient == "":
			return fault.New(fault.Invalid, "--issuer goes with --patient")
		}
		if err := reasonGiven(reason); err != nil {
			return err
		}
		body := api.NewHold{Reason: reason}
		for _, f := range []struct {
			value string
			to    **string
		}{{study, &body.Study}, {patient, &body.PatientId}, {issuer, &body.IssuerOfPatientId}} {
			if f.value != "" {
				*f.to = &f.value
			}
		}
		return s.showHold(read[api.Hold](s.AddHold(ctx, tenant, body)))
	})
	f := cmd.Flags()
	named.add(f)
	f.StringVar(&patient, "patient", "", "Patient ID")
	f.StringVar(&issuer, "issuer", "", "Issuer of Patient ID; without it, any")
	f.StringVar(&reason, "reason", "", "why, for those who look later; required")
	return cmd
}

func (d *admin) holdRelease() *cobra.Command {
	var reason string
	cmd := d.command("release HOLD [TENANT]", "Say that a hold may go; a second person must say so, too", `A hold is lifted when two different persons have released it; one of them may be who
ordered it. A person is the name of a token (name=token in the token file), or the
account under which the server runs and this command is called.`, cobra.RangeArgs(1, 2), func(ctx context.Context, s *session, args []string) error {
		if err := reasonGiven(reason); err != nil {
			return err
		}
		return s.showHold(read[api.Hold](s.ReleaseHold(ctx, s.tenantOf(args[1:]), args[0], api.ReleaseReason{Reason: reason})))
	})
	cmd.Flags().StringVar(&reason, "reason", "", "why, for those who look later; required")
	return cmd
}

func reasonGiven(reason string) error {
	if strings.TrimSpace(reason) == "" {
		return fault.New(fault.Invalid, "give a reason with --reason, for those who look later")
	}
	return nil
}

func (s *session) showHold(h api.Hold, err error) error {
	if err != nil {
		return err
	}
	return s.show(h, func(w io.Writer) {
		fmt.Fprintf(w, "hold\t%s\nof\t%s %s\nordered\t%s by %s\nreason\t%s\n", h.Id, h.Of, h.Reference, when(&h.At), h.By, h.Reason)
		for _, r := range h.Releases {
			fmt.Fprintf(w, "released\t%s by %s: %s\n", when(&r.At), r.By, r.Reason)
		}
		state := "stands; two persons must release it"
		switch {
		case h.Lifted:
			state = "lifted"
		case len(h.Releases) > 0:
			state = "stands; one more person must release it"
		}
		fmt.Fprintf(w, "state\t%s\n", state)
		switch {
		case h.Studies == nil:
		case *h.Studies == 0:
			fmt.Fprint(w, "studies\tnone now, only what is to come: look whether the identifier is right\n")
		default:
			fmt.Fprintf(w, "studies\t%d now\n", *h.Studies)
		}
	})
}

func (d *admin) holdList() *cobra.Command {
	var all bool
	cmd := d.command("list [TENANT]", "List the holds that stand", "", cobra.MaximumNArgs(1), func(ctx context.Context, s *session, args []string) error {
		holds := []api.Hold{}
		for p := (api.ListHoldsParams{}); ; {
			page, err := read[api.HoldPage](s.ListHolds(ctx, s.tenantOf(args), &p))
			if err != nil {
				return err
			}
			for _, h := range page.Holds {
				if all || !h.Lifted {
					holds = append(holds, h)
				}
			}
			if p.After = page.Next; p.After == nil {
				break
			}
		}
		return s.show(holds, func(w io.Writer) {
			if len(holds) == 0 {
				fmt.Fprintln(w, "No hold stands.")
				return
			}
			heading(w, "hold", "of", "studies now", "ordered", "by", "released by", "reason")
			for _, h := range holds {
				var by []string
				for _, r := range h.Releases {
					by = append(by, r.By)
				}
				studies := ""
				switch {
				case h.Studies == nil:
				case *h.Studies == 0:
					studies = "none"
				default:
					studies = strconv.Itoa(*h.Studies)
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", h.Id, h.Of, studies, when(&h.At), h.By, strings.Join(by, ", "), h.Reason)
			}
		})
	})
	cmd.Flags().BoolVar(&all, "all", false, "list lifted ones, too")
	return cmd
}
