package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/strata-pacs/strata/api"
	"github.com/strata-pacs/strata/internal/fault"
)

func (a *app) keysCommand() *cobra.Command {
	d := &admin{app: a}
	root := &cobra.Command{
		Use:   "keys",
		Short: "Status, rotation, revocation and escrow of a tenant's keys",
		Long: `A tenant's keys lie in the store wrapped under its key-encryption key (KEK), which
never leaves its home: a file, a vault, an HSM. Without TENANT the commands work
on the tenant of the configuration.`,
	}
	d.flags(root)
	root.AddCommand(
		d.command("status [TENANT]", "Show versions, counts, the last proof of the key and what runs", "", cobra.MaximumNArgs(1), func(ctx context.Context, s *session, args []string) error {
			k, err := read[api.KeyStatus](s.GetKeys(ctx, s.tenantOf(args)))
			return s.showKeys(k, err)
		}),
		d.command("rotate [TENANT]", "Make a new version of the KEK and rewrap every key under it",
			`Reads and stores go on meanwhile, and no image is moved. The server goes on when
this command is interrupted. Afterwards the old version may be retired.`, cobra.MaximumNArgs(1), func(ctx context.Context, s *session, args []string) error {
				j, err := read[api.Job](s.RotateKeys(ctx, s.tenantOf(args)))
				if err != nil {
					return err
				}
				return s.wait(ctx, j, "rotation")
			}),
		d.retireKeys(), d.revokeKeys(), d.grantKeys(),
		d.command("move [TENANT] PROVIDER/KEY", "Rewrap every key under the KEK of another provider",
			`Goes over from one provider to another: from the local key file to a vault, from
there to an HSM. Both must answer until it is done. "provider/key+provider/key"
asks for two locks: both are then needed to read.`, cobra.RangeArgs(1, 2), func(ctx context.Context, s *session, args []string) error {
				last := len(args) - 1
				j, err := read[api.Job](s.MoveKeys(ctx, s.tenantOf(args[:last]), api.Move{Kek: args[last]}))
				if err != nil {
					return err
				}
				return s.wait(ctx, j, "move")
			}),
		d.escrowKeys(), d.drillKeys())
	return root
}

func (d *admin) retireKeys() *cobra.Command {
	var before, yes string
	cmd := d.command("retire [TENANT]", "Give up old versions of the KEK", `Gives up all versions but the current one, or those older than --before. Refused while keys are
still under one of them: rotate first. A backup of the store that is older than
the rotation cannot be read any more.`, cobra.MaximumNArgs(1), func(ctx context.Context, s *session, args []string) error {
		tenant := s.tenantOf(args)
		if err := s.confirm(tenant, "yes-retire", yes, "Backups of wrapped keys that are older than the last rotation cannot be opened any more."); err != nil {
			return err
		}
		r := api.Retire{Confirm: tenant}
		if before != "" {
			r.Before = &before
		}
		k, err := read[api.KeyStatus](s.RetireKeys(ctx, tenant, r))
		return s.showKeys(k, err)
	})
	cmd.Flags().StringVar(&before, "before", "", "the oldest version to keep, as strata keys status shows it; without it, the current one")
	cmd.Flags().StringVar(&yes, "yes-retire", "", "the tenant's name, instead of typing it")
	return cmd
}

func (d *admin) revokeKeys() *cobra.Command {
	var disable bool
	var yes string
	cmd := d.command("revoke [TENANT]", "Make everything of a tenant unreadable, at once and everywhere", `Reads, searches and stores of the tenant are refused on every node until the key
is granted again. Nothing is deleted.`, cobra.MaximumNArgs(1), func(ctx context.Context, s *session, args []string) error {
		tenant := s.tenantOf(args)
		if err := s.confirm(tenant, "yes-revoke", yes, "Nothing of this tenant can be read or stored until its key is granted again."); err != nil {
			return err
		}
		k, err := read[api.KeyStatus](s.RevokeKeys(ctx, tenant, api.Revoke{Confirm: tenant, DisableKey: &disable}))
		return s.showKeys(k, err)
	})
	cmd.Flags().BoolVar(&disable, "disable-key", false, "disable the key at its provider as well")
	cmd.Flags().StringVar(&yes, "yes-revoke", "", "the tenant's name, instead of typing it")
	return cmd
}

func (d *admin) grantKeys() *cobra.Command {
	var enable bool
	cmd := d.command("grant [TENANT]", "Take a revocation back", "", cobra.MaximumNArgs(1), func(ctx context.Context, s *session, args []string) error {
		k, err := read[api.KeyStatus](s.GrantKeys(ctx, s.tenantOf(args), api.Grant{EnableKey: &enable}))
		return s.showKeys(k, err)
	})
	cmd.Flags().BoolVar(&enable, "enable-key", false, "enable the key at its provider as well")
	return cmd
}

func (d *admin) drillKeys() *cobra.Command {
	var files []string
	var sample int
	cmd := d.command("drill [TENANT]", "Prove that the recovery key opens what was escrowed", `Opens escrowed keys with the recovery key and compares them with those in use.
Nothing is changed. A recovery key in shares is put together from --share files
in memory and sent to the server, which writes it nowhere. Ends with status 2 when a key
did not open.`, cobra.MaximumNArgs(1), func(ctx context.Context, s *session, args []string) error {
		if sample < 0 {
			return fault.New(fault.Invalid, "--sample must be 0 (all) or more")
		}
		req := api.DrillRequest{Sample: &sample}
		if len(files) > 0 {
			private, err := gather(files)
			if err != nil {
				return err
			}
			defer clear(private)
			req.PrivateKey = &private
		}
		r, err := read[api.DrillReport](s.DrillKeys(ctx, s.tenantOf(args), req))
		if err != nil {
			return err
		}
		err = s.show(r, func(w io.Writer) {
			fmt.Fprintf(w, "tried\t%d\nopened\t%d\nfailed\t%d\n", r.Tried, r.Opened, r.Failed)
		})
		if err == nil && r.Failed > 0 {
			err = errGaps
		}
		return err
	})
	cmd.Flags().StringSliceVar(&files, "share", nil, "file with a share of the recovery key; as often as the quorum asks")
	cmd.Flags().IntVar(&sample, "sample", 100, "how many keys to try beside the root; 0: all")
	return cmd
}

func (s *session) showKeys(k api.KeyStatus, err error) error {
	if err != nil {
		return err
	}
	return s.show(k, func(w io.Writer) {
		fmt.Fprintf(w, "state\t%s\nkey\t%s\n", k.State, kekName(k.Kek))
		for _, p := range k.Proofs {
			latency := ""
			if p.LatencyMs != nil {
				latency = fmt.Sprintf(", %.1f ms", *p.LatencyMs)
			}
			fmt.Fprintf(w, "proof of %s\t%s, last opened %s%s\n", kekName(p.Kek), p.Outcome, when(p.At), latency)
		}
		if j := k.Job; j != nil {
			fmt.Fprintf(w, "%s\t%s, %d of %d keys\n", j.Kind, j.State, j.Done, j.Total)
		}
		if e := k.Escrow; e != nil {
			name := "shares of a quorum"
			if e.Fingerprint != nil {
				name += ", key " + *e.Fingerprint
			}
			if e.Kek != nil {
				name = *e.Kek
			}
			fmt.Fprintf(w, "escrow\t%s: %d keys, %d missing, last drill %s\n", name, e.Objects, e.Missing, when(e.Drilled))
		} else {
			fmt.Fprintln(w, "escrow\tnone")
		}
		fmt.Fprintln(w)
		heading(w, "version", "key", "keys under it", "note")
		for _, v := range k.Versions {
			note := ""
			switch {
			case v.Current:
				note = "current"
			case v.Retired:
				note = "retired"
			}
			fmt.Fprintf(w, "%s\t%s\t%d\t%s\n", v.Version, kekName(v.Kek), v.Objects, note)
		}
	})
}
