package retention

import (
	"context"
	"fmt"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
)

// Report asks for studies by what retention says of them.
type Report struct {
	// Before: whose period has ended by this moment, and that are not held. Zero: now.
	Before time.Time
	// Held asks for studies that are held instead.
	Held  bool
	After archive.Ref // continues behind a page
	Limit int         // studies looked at for a page
}

// Page is a part of a report.
type Page struct {
	Studies []Check
	Next    archive.Ref // continues the report; zero: that was all
}

// Report returns the next page of a report, in the order of references, which says nothing to people. Studies
// of which nothing is visible are left out.
func (k *Keeper) Report(ctx context.Context, r Report) (p Page, err error) {
	policy, err := k.Policy(ctx)
	if err == nil && !k.whole() {
		err = errPartial
	}
	if err != nil {
		return p, err
	}
	if r.Before.IsZero() {
		r.Before = k.o.Now()
	}
	list, err := k.o.Index.KeptAfter(ctx, k.o.Tenant, r.After, r.Limit)
	if err != nil {
		return p, fmt.Errorf("reading studies for a report: %w", err)
	}
	enough := r.Before
	if r.Held {
		enough = time.Time{} // the whole period is told
	}
	for _, s := range list {
		if s.Instances == 0 {
			continue
		}
		c, err := k.check(ctx, &policy, s, enough)
		if err != nil {
			return p, err
		}
		due := !c.Verdict.Until.IsZero() && !c.Verdict.Free().After(r.Before)
		if held := len(c.Holds) > 0; held != r.Held || !held && !due {
			continue
		}
		p.Studies = append(p.Studies, c)
	}
	if len(list) == r.Limit {
		p.Next = list[len(list)-1].Study
	}
	return p, nil
}
