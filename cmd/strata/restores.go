package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/strata-pacs/strata/api"
)

func (a *app) restoresCommand() *cobra.Command {
	d := &admin{app: a}
	var open bool
	cmd := d.command("restores", "List restores from archive tiers", "Lists what was asked for, the oldest first. Restores that are over are kept for 30 days.",
		cobra.NoArgs, func(ctx context.Context, s *session, _ []string) error { return listRestores(ctx, s, open) })
	d.flags(cmd)
	cmd.Flags().BoolVar(&open, "open", false, "only those that are not over")
	cmd.AddCommand(
		d.command("show ID", "Show a restore", "Shows how far a restore is.", cobra.ExactArgs(1), func(ctx context.Context, s *session, args []string) error {
			r, err := read[api.Restore](s.GetRestore(ctx, s.tenant, args[0]))
			return s.showRestore(r, err)
		}),
		d.command("wait ID", "Wait for a restore", "Shows how far a restore is until it ends.", cobra.ExactArgs(1), func(ctx context.Context, s *session, args []string) error {
			r, err := read[api.Restore](s.GetRestore(ctx, s.tenant, args[0]))
			if err != nil {
				return err
			}
			r.Id = &args[0]
			return s.awaitRestore(ctx, r)
		}),
		d.command("cancel ID", "Cancel what has not begun of a restore", `Cancels what has not begun, for all who share the restore. What the store was
asked for goes on, and its copies stay for their time.`, cobra.ExactArgs(1), func(ctx context.Context, s *session, args []string) error {
			r, err := read[api.Restore](s.CancelRestore(ctx, s.tenant, args[0]))
			return s.showRestore(r, err)
		}))
	return cmd
}

func listRestores(ctx context.Context, s *session, open bool) error {
	all := []api.Restore{}
	for after := (*string)(nil); ; {
		p, err := read[api.RestorePage](s.ListRestores(ctx, s.tenant, &api.ListRestoresParams{After: after, Open: &open}))
		if err != nil {
			return fmt.Errorf("listing restores: %w", err)
		}
		all = append(all, p.Restores...)
		if after = p.Next; after == nil {
			break
		}
	}
	return s.show(all, func(w io.Writer) {
		if len(all) == 0 {
			fmt.Fprintln(w, map[bool]string{false: "There are no restores.", true: "No restore is under way."}[open])
			return
		}
		heading(w, "restore", "state", "priority", "studies", "objects", "size", "ready", "until")
		for _, r := range all {
			ready, until := "", ""
			if r.Ready != nil {
				ready = when(r.Ready)
			}
			if r.Until != nil {
				until = when(r.Until)
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d/%d\t%s\t%s\t%s\n", *r.Id, r.State, r.Priority, r.Studies, r.ObjectsReady, r.Objects, size(r.Bytes), ready, until)
		}
	})
}
