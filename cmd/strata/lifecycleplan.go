package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/strata-pacs/strata/api"
	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/lifecycle"
)

func (d *admin) planLifecycle() *cobra.Command {
	var file, grows, svg string
	var years int
	cmd := d.command("plan [TENANT]", "Show what rules would do, what it costs, and what the archive may come to", `Nothing is done. The forecast takes each study through its life as the rules have
it, and lets the archive grow as it did (or by --growth). It takes for granted that nothing
is opened any more, and that prices, free room and the number of studies stay.`, cobra.MaximumNArgs(1), func(ctx context.Context, s *session, args []string) error {
		q := api.LifecycleQuestion{Years: &years}
		if file != "" {
			r, err := readRules(file)
			if err != nil {
				return err
			}
			q.Rules = &r
		}
		if grows != "" {
			g, err := growth(grows)
			if err != nil {
				return err
			}
			q.Growth = g
		}
		p, err := read[api.LifecyclePlan](s.PlanLifecycle(ctx, s.tenantOf(args), q))
		if err != nil {
			return err
		}
		if svg != "" {
			if err := drawPlan(svg, &p); err != nil {
				return err
			}
		}
		return s.show(p, func(w io.Writer) { showPlan(w, &p) })
	})
	cmd.Flags().StringVar(&file, "rules", "", "file with rules that are not set yet; without it, those that hold")
	cmd.Flags().StringVar(&grows, "growth", "", "growth a year, such as 10%; without it, as the archive grew")
	cmd.Flags().IntVar(&years, "years", lifecycle.DefaultYears, "years of the forecast")
	cmd.Flags().StringVar(&svg, "svg", "", "file to draw the forecast to, as a picture")
	return cmd
}

// drawPlan writes the picture of a forecast.
func drawPlan(path string, p *api.LifecyclePlan) error {
	var b bytes.Buffer
	plan := archive.LifecyclePlan{Currency: p.Currency, Forecast: forecastOf(&p.Forecast)}
	if err := lifecycle.Draw(&b, &plan); err != nil {
		return fmt.Errorf("drawing the forecast: %w", err)
	}
	return fault.Wrap(fault.Invalid, os.WriteFile(path, b.Bytes(), 0o644), "--svg: the picture cannot be written")
}

func forecastOf(f *api.LifecycleForecast) archive.Forecast {
	out := archive.Forecast{Growth: f.Growth, GrowthYears: f.GrowthYears, YearBytes: f.YearBytes}
	for _, t := range f.Tiers {
		out.Tiers = append(out.Tiers, archive.TierName(t))
	}
	for _, p := range f.Points {
		out.Points = append(out.Points, archive.ForecastPoint{At: p.At, Bytes: p.Bytes, Studies: p.Studies, Month: p.Month, Once: p.Once, Without: p.Without})
	}
	return out
}

// ruleNamed is a rule in a sentence.
func ruleNamed(name string) string {
	if name == "" {
		return "a rule without a name"
	}
	return strconv.Quote(name)
}

func showPlan(w io.Writer, p *api.LifecyclePlan) {
	cost := func(amount float64) string { return money(amount, p.Currency) }
	fmt.Fprintf(w, "studies\t%d\nsize\t%s\n", p.Studies, size(p.Bytes))
	if p.Circles != nil {
		for _, c := range *p.Circles {
			fmt.Fprintf(w, "in a circle\t%d studies stay where they are: %s would move them, and %s move them on from there\n", c.Studies, ruleNamed(c.Moves), ruleNamed(c.Back))
		}
	}
	if p.Sampled != nil {
		fmt.Fprintf(w, "to be kept\t%d studies were asked about, all others taken to be kept as long as the longest of those\n", *p.Sampled)
	}
	switch {
	case len(p.Steps) == 0 && p.Circular == 0:
		fmt.Fprintln(w, "\nEvery study is as the rules want it.")
	case len(p.Steps) == 0:
		fmt.Fprintln(w, "\nNothing is done to any study.")
	default:
		fmt.Fprintln(w)
		heading(w, "rule", "action", "from", "to", "studies", "size", "once", "a month", "after")
	}
	for _, t := range p.Steps {
		name, to, action := "(no rule)", "", t.Action
		if t.Rule != nil {
			name = *t.Rule
		}
		if t.To != nil && *t.To != t.From {
			to = *t.To
		}
		if t.Waits != nil {
			action += " from " + t.Waits.Format(time.DateOnly)
			if t.Waits.Year() == 9999 {
				action = t.Action + " (held)"
			}
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%s\t%s\t%s\t%s\n", name, action, t.From, to, t.Studies, size(t.Bytes), cost(t.Once), cost(t.Before), cost(t.After))
	}
	fmt.Fprintln(w)
	heading(w, "tier", "studies", "size", "a month", "after: studies", "size", "a month")
	var now, after float64
	for _, t := range p.Tiers {
		now, after = now+t.Month, after+t.MonthAfter
		name := t.Name
		if t.Gone != nil && *t.Gone {
			name += " (not configured)"
		}
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%d\t%s\t%s\n", name, t.Studies, size(t.Bytes), cost(t.Month), t.StudiesAfter, size(t.BytesAfter), cost(t.MonthAfter))
	}
	fmt.Fprintf(w, "all\t%d\t%s\t%s\t\t\t%s\n", p.Studies, size(p.Bytes), cost(now), cost(after))
	f := forecastOf(&p.Forecast)
	fmt.Fprintf(w, "\nForecast: %s a year come in now; %s.\n", size(f.YearBytes), lifecycle.Grows(&f))
	fmt.Fprintln(w)
	heading(w, slices.Concat([]string{"in"}, p.Forecast.Tiers, []string{"all", "a month", "moves that year", "a month, nothing moved"})...)
	once := 0.0
	for i, point := range p.Forecast.Points {
		once += point.Once
		if i%12 != 0 {
			continue
		}
		var all int64
		fmt.Fprintf(w, "%s", point.At.Format("2006-01"))
		for _, b := range point.Bytes {
			all += b
			fmt.Fprintf(w, "\t%s", size(b))
		}
		fmt.Fprintf(w, "\t%s\t%s\t%s\t%s\n", size(all), cost(point.Month), cost(once), cost(point.Without))
		once = 0
	}
}
