package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/strata-pacs/strata/api"
	"github.com/strata-pacs/strata/internal/fault"
)

// rewindFlags say to which moment an archive goes back.
type rewindFlags struct {
	asOf string
	dry  bool
}

func (f *rewindFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.asOf, "as-of", "", "bring back what there was at this moment: 2026-07-01T12:00:00Z, or how long ago, such as 90m, 30d or 6mo")
	cmd.Flags().BoolVar(&f.dry, "dry-run", false, "with --as-of, only count")
}

// rewind brings back what a study, or with none the tenant, had at a moment, and says how far it is.
func (f *rewindFlags) rewind(ctx context.Context, s *session, study string) error {
	at, err := momentOf("as-of", f.asOf, time.Now())
	if err != nil {
		return err
	}
	if at.After(time.Now()) {
		return fault.New(fault.Invalid, "--as-of must be in the past")
	}
	body := api.Undelete{AsOf: at, DryRun: &f.dry}
	if study != "" {
		body.Study = &study
	}
	var sum api.Undeleted
	late := 0
	began := time.Now()
	for {
		r, err := read[api.Undeleted](s.Undelete(ctx, s.tenant, body))
		if err != nil {
			if sum.Deletions+sum.Versions > 0 {
				err = fmt.Errorf("after %d deletions were undone; call again to go on: %w", sum.Deletions, err)
			}
			return err
		}
		sum.Deletions += r.Deletions
		sum.Instances += r.Instances
		sum.Versions += r.Versions
		if r.TooLate != nil {
			late += *r.TooLate
		}
		if r.StoredSince != nil {
			sum.StoredSince = r.StoredSince
		}
		if body.After = r.Next; body.After == nil {
			break
		}
		if !f.dry && sum.Deletions > 0 {
			fmt.Fprintf(s.stderr, "%d deletions undone, %d instances back\n", sum.Deletions, sum.Instances)
		}
	}
	if late > 0 {
		sum.TooLate = &late
	}
	took := time.Since(began).Round(10 * time.Millisecond)
	return s.show(sum, func(w io.Writer) {
		what := "as of"
		if f.dry {
			what = "would be as of"
		}
		fmt.Fprintf(w, "%s\t%s\ndeletions undone\t%d\ninstances back\t%d\nearlier versions shown\t%d\n", what, when(&at), sum.Deletions, sum.Instances, sum.Versions)
		if late > 0 {
			fmt.Fprintf(w, "too long ago\t%d\n", late)
		}
		if sum.StoredSince != nil {
			fmt.Fprintf(w, "stored since, stay\t%d\n", *sum.StoredSince)
		}
		fmt.Fprintf(w, "took\t%s\n", took)
	})
}
