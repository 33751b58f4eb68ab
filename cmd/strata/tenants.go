package main

import (
	"context"
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/strata-pacs/strata/api"
)

func (a *app) tenantsCommand() *cobra.Command {
	d := &admin{app: a}
	root := &cobra.Command{
		Use:   "tenants",
		Short: "Create, list, change, suspend and resume tenants",
		Long: `Tenants are the organisations that control data. Each has a key of its own, and
nothing of one is ever seen by another. DICOMweb of a tenant is at
/t/TENANT/dicom-web.`,
	}
	d.flags(root)
	root.AddCommand(d.createTenant(), d.changeTenant(),
		d.command("list", "List all tenants", "", cobra.NoArgs, listTenants),
		d.command("show TENANT", "Show one tenant's settings", "", cobra.ExactArgs(1), func(ctx context.Context, s *session, args []string) error {
			t, err := read[api.Tenant](s.GetTenant(ctx, args[0]))
			return s.showTenant(t, err)
		}),
		d.command("suspend TENANT", "Serve nothing of a tenant until it is resumed", "", cobra.ExactArgs(1), func(ctx context.Context, s *session, args []string) error {
			t, err := read[api.Tenant](s.SuspendTenant(ctx, args[0]))
			return s.showTenant(t, err)
		}),
		d.command("resume TENANT", "Serve a suspended tenant again", "", cobra.ExactArgs(1), func(ctx context.Context, s *session, args []string) error {
			t, err := read[api.Tenant](s.ResumeTenant(ctx, args[0]))
			return s.showTenant(t, err)
		}))
	return root
}

// tenantSettings are the flags of settings. Those that were not given are nil.
type tenantSettings struct {
	flags             *pflag.FlagSet
	title, duplicates string
	limits            struct {
		perSecond  float64
		concurrent int
		bytes      byteFlag
	}
}

func (t *tenantSettings) add(f *pflag.FlagSet) {
	t.flags = f
	f.StringVar(&t.title, "title", "", "name for people")
	f.StringVar(&t.duplicates, "duplicates", "", "same UIDs, other contents: keep-first, replace, refuse, or empty for the server's setting")
	f.Float64Var(&t.limits.perSecond, "requests-per-second", 0, "most requests a second; 0: no limit")
	f.IntVar(&t.limits.concurrent, "concurrent", 0, "most requests at once; 0: no limit")
	f.Var(&t.limits.bytes, "bytes-per-second", "most bytes a second, in and out, such as 20MB; 0: no limit")
}

// given points to the value of a flag that was set.
func given[T any](f *pflag.FlagSet, name string, v *T) *T {
	if !f.Changed(name) {
		return nil
	}
	return v
}

func (t *tenantSettings) patch() api.TenantPatch {
	p := api.TenantPatch{Title: given(t.flags, "title", &t.title), Duplicates: given(t.flags, "duplicates", &t.duplicates)}
	l := api.Limits{RequestsPerSecond: given(t.flags, "requests-per-second", &t.limits.perSecond),
		Concurrent: given(t.flags, "concurrent", &t.limits.concurrent), BytesPerSecond: given(t.flags, "bytes-per-second", (*int64)(&t.limits.bytes))}
	if l != (api.Limits{}) {
		p.Limits = &l
	}
	return p
}

func (d *admin) createTenant() *cobra.Command {
	var settings tenantSettings
	var kek string
	cmd := d.command("create TENANT", "Create a tenant and its root key", `Creates a tenant. Its name is used in URLs and object names and stays: lower-case
letters, digits and hyphens. The provider of its key must answer.`,
		cobra.ExactArgs(1), func(ctx context.Context, s *session, args []string) error {
			p := settings.patch()
			t, err := read[api.Tenant](s.CreateTenant(ctx, api.NewTenant{Name: args[0], Kek: given(settings.flags, "kek", &kek),
				Title: p.Title, Duplicates: p.Duplicates, Limits: p.Limits}))
			return s.showTenant(t, err)
		})
	settings.add(cmd.Flags())
	cmd.Flags().StringVar(&kek, "kek", "", `its key-encryption key: "provider/key", or "provider/key+provider/key" where two must agree; without it, the server's`)
	_ = cmd.Flags().SetAnnotation("kek", notSetting, nil) // it is there
	return cmd
}

func (d *admin) changeTenant() *cobra.Command {
	var settings tenantSettings
	cmd := d.command("change TENANT", "Change a tenant's settings", `Changes the settings whose flags are given. Its key is changed by strata keys move.`,
		cobra.ExactArgs(1), func(ctx context.Context, s *session, args []string) error {
			t, err := read[api.Tenant](s.ChangeTenantWithApplicationMergePatchPlusJSONBody(ctx, args[0], settings.patch()))
			return s.showTenant(t, err)
		})
	settings.add(cmd.Flags())
	cmd.MarkFlagsOneRequired("title", "duplicates", "requests-per-second", "concurrent", "bytes-per-second")
	return cmd
}

func listTenants(ctx context.Context, s *session, _ []string) error {
	all := []api.Tenant{}
	for after := (*string)(nil); ; {
		p, err := read[api.TenantPage](s.ListTenants(ctx, &api.ListTenantsParams{After: after}))
		if err != nil {
			return fmt.Errorf("listing tenants: %w", err)
		}
		all = append(all, p.Tenants...)
		if after = p.Next; after == nil {
			break
		}
	}
	return s.show(all, func(w io.Writer) {
		heading(w, "tenant", "state", "key", "title")
		for _, t := range all {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", t.Name, t.State, kekName(t.Kek), t.Title)
		}
	})
}

func (s *session) showTenant(t api.Tenant, err error) error {
	if err != nil {
		return err
	}
	return s.show(t, func(w io.Writer) {
		fmt.Fprintf(w, "tenant\t%s\ntitle\t%s\nstate\t%s\nkey\t%s\n", t.Name, t.Title, t.State, kekName(t.Kek))
		duplicates := t.Duplicates
		if duplicates == "" {
			duplicates = "as the server is set"
		}
		fmt.Fprintf(w, "duplicates\t%s\n", duplicates)
		fmt.Fprintf(w, "requests a second\t%s\nrequests at once\t%s\nbytes a second\t%s\n",
			limit(t.Limits.RequestsPerSecond), limit(t.Limits.Concurrent), limit(t.Limits.BytesPerSecond))
		fmt.Fprintf(w, "created\t%s\nchanged\t%s\n", when(&t.Created), when(&t.Changed))
	})
}

// kekName is where a key is, for people.
func kekName(kek string) string {
	if kek == "" {
		return "local key file"
	}
	return kek
}

// limit is a limit for people.
func limit[T int | int64 | float64](v *T) string {
	if v == nil || *v == 0 {
		return "no limit"
	}
	return strconv.FormatFloat(float64(*v), 'f', -1, 64)
}
