package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/strata-pacs/strata/api"
)

func (a *app) usageCommand() *cobra.Command {
	d := &admin{app: a}
	var recount bool
	cmd := d.command("usage [TENANT]", "Show what tiers hold of each tenant, and what it costs a month", `Counted are the log and the packs; of a pack that was moved every copy, until it has
gone. REMOVING is the part that nothing needs any more and that goes by itself. No key is
needed: tenants whose keys are revoked are shown too.

With --recount the stores are listed and compared with what is counted, which takes minutes
for millions of objects and is one request a tenant: ask the server itself where a proxy cuts
long ones. It ends with status 2 where they differ, and goes on where one cannot be listed. UNNAMED is shown apart and is
no difference: packs of stores and moves that are under way or were broken off, which go by
themselves, and facts that are not indexed yet, as after a crash until the archive is opened.`, cobra.MaximumNArgs(1), func(ctx context.Context, s *session, args []string) error {
		list, err := s.usage(ctx, args)
		if err != nil {
			return err
		}
		if recount {
			return s.recount(ctx, list)
		}
		return s.show(list, func(w io.Writer) { usageTable(w, list) })
	})
	d.flags(cmd)
	cmd.Flags().BoolVar(&recount, "recount", false, "list the stores and compare")
	return cmd
}

// usage is that of the tenant that is named, or of all.
func (s *session) usage(ctx context.Context, args []string) (list []api.TenantUsage, err error) {
	if len(args) > 0 {
		u, err := read[api.TenantUsage](s.GetUsage(ctx, args[0]))
		return []api.TenantUsage{u}, err
	}
	for q := (api.ListUsageParams{}); ; {
		page, err := read[api.UsagePage](s.ListUsage(ctx, &q))
		if err != nil {
			return nil, err
		}
		if list = append(list, page.Usage...); page.Next == nil {
			return list, nil
		}
		q.After = page.Next
	}
}

func usageTable(w io.Writer, list []api.TenantUsage) {
	heading(w, "tenant", "tier", "studies", "objects", "size", "removing", "a month")
	for _, u := range list {
		for _, t := range u.Tiers {
			removing, month := "", money(t.Month, u.Currency)
			if r := t.Removing; r.Objects > 0 {
				if removing = size(r.Bytes); r.More {
					removing = "over " + removing
				}
			}
			if t.Gone {
				month = "no such tier"
			}
			fmt.Fprintf(w, "%s\t%s\t\t%d\t%s\t%s\t%s\n", u.Tenant, t.Tier, t.Objects, size(t.Bytes), removing, month)
		}
		objects, bytes := int64(0), int64(0)
		for _, t := range u.Tiers {
			objects, bytes = objects+t.Objects, bytes+t.Bytes
		}
		fmt.Fprintf(w, "%s\tall\t%d\t%d\t%s\t\t%s\n", u.Tenant, u.Studies, objects, size(bytes), money(u.Month, u.Currency))
	}
}

// recount compares the tenants with their stores. A difference makes it errGaps, a tenant that could
// not be compared an error; the others are compared and shown all the same.
func (s *session) recount(ctx context.Context, list []api.TenantUsage) error {
	all, equal := []api.Recount{}, true
	var failed []error
	for _, u := range list {
		c, err := read[api.Recount](s.RecountUsage(ctx, u.Tenant))
		if err != nil {
			failed = append(failed, fmt.Errorf("tenant %s could not be compared: %w", u.Tenant, err))
			if ctx.Err() != nil {
				break
			}
			continue
		}
		all, equal = append(all, c), equal && c.Equal
	}
	if len(all) > 0 || len(failed) == 0 {
		if err := s.show(all, func(w io.Writer) { recountTable(w, all) }); err != nil {
			return err
		}
	}
	if err := errors.Join(failed...); err != nil {
		return err
	}
	if !equal {
		return errGaps
	}
	return nil
}

func recountTable(w io.Writer, all []api.Recount) {
	heading(w, "tenant", "tiers", "counted", "bytes", "listed", "bytes", "unnamed", "bytes", "")
	for _, c := range all {
		for _, s := range c.Stores {
			verdict := "equal"
			switch {
			case !s.Equal && c.Moving:
				verdict = "DIFFERS, but stores or removals were under way: try again"
			case !s.Equal:
				verdict = "DIFFERS"
			}
			fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\t%d\t%d\t%d\t%s\n", c.Tenant, strings.Join(s.Tiers, ", "), s.Counted.Objects, s.Counted.Bytes,
				s.Listed.Objects, s.Listed.Bytes, s.Unnamed.Objects, s.Unnamed.Bytes, verdict)
		}
	}
}
