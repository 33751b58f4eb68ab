package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/strata-pacs/strata/api"
	"github.com/strata-pacs/strata/internal/fault"
)

func (a *app) shredCommand() *cobra.Command {
	d := &admin{app: a}
	var named studyName
	var patient, issuer, yes string
	cmd := d.command("shred [STUDY-UID] [TENANT]", "Destroy the keys of a study, or of all studies of a patient, for ever", `Destroys every copy of the keys: nothing of it can be read again, in any tier,
region or backup. It is pending while a backup of the keys may still live. Refused
under retention or legal hold. The same study may be stored anew. Shredding again
shows how far it is.`, cobra.MaximumNArgs(2), func(ctx context.Context, s *session, args []string) error {
		study, tenant, err := named.takeTenant(s, args)
		switch {
		case err != nil:
			return err
		case (study == "") == (patient == ""):
			return fault.New(fault.Invalid, "name either a study or --patient")
		case issuer != "" && patient == "":
			return fault.New(fault.Invalid, "--issuer goes with --patient")
		}
		what := "this study"
		if patient != "" {
			what = "all studies of this patient"
		}
		if err := s.confirm(tenant, "yes-shred", yes, "The keys of "+what+" are destroyed for ever. This cannot be undone."); err != nil {
			return err
		}
		body := api.Shred{Confirm: tenant}
		for _, f := range []struct {
			value string
			to    **string
		}{{study, &body.Study}, {patient, &body.PatientId}, {issuer, &body.IssuerOfPatientId}} {
			if f.value != "" {
				*f.to = &f.value
			}
		}
		r, err := read[api.ShredStatus](s.Shred(ctx, tenant, body))
		if err != nil {
			return err
		}
		return s.show(r, func(w io.Writer) {
			fmt.Fprintf(w, "state\t%s\nstudies\t%d\ninstances\t%d\nkeys destroyed\t%d\nclosed\t%s\n", r.State, r.Studies, r.Instances, r.Keys, when(&r.Closed))
			if r.State == api.ShredStatusStatePending {
				fmt.Fprintf(w, "pending until\t%s, or until the key is rotated and its old version retired\n", when(r.PendingUntil))
			}
		})
	})
	d.flags(cmd)
	f := cmd.Flags()
	named.add(f)
	f.StringVar(&patient, "patient", "", "Patient ID")
	f.StringVar(&issuer, "issuer", "", "Issuer of Patient ID; without it, any")
	f.StringVar(&yes, "yes-shred", "", "the tenant's name, instead of typing it")
	return cmd
}
