package lifecycle

import (
	"fmt"
	"io"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/lifecycle/chart"
)

// Draw writes the forecast of a plan as an SVG picture: what is stored in each
// tier, stacked, and what that costs with the rules and without them.
func Draw(w io.Writer, plan *archive.LifecyclePlan) error {
	f := &plan.Forecast
	years := (len(f.Points) - 1) / 12
	c := chart.Chart{
		Title:      fmt.Sprintf("What the archive may come to in %d years", years),
		Subtitle:   fmt.Sprintf("%s a year come in now, by study date; %s", chart.Bytes(float64(f.YearBytes)), Grows(f)),
		LinesTitle: "Cost a month",
		Currency:   plan.Currency,
		Note:       "Of storing alone, at the prices of the configuration; taken for granted: nothing is opened any more, free room and the number of studies stay as they are.",
	}
	with, without := chart.Series{Name: "with the rules"}, chart.Series{Name: "if nothing is moved", Dashed: true}
	for i := range f.Points {
		p := &f.Points[i]
		c.Times = append(c.Times, p.At)
		with.Values, without.Values = append(with.Values, p.Month), append(without.Values, p.Without)
	}
	c.Lines = []chart.Series{with, without}
	for t, name := range f.Tiers {
		s := chart.Series{Name: string(name)}
		for i := range f.Points {
			s.Values = append(s.Values, float64(f.Points[i].Bytes[t]))
		}
		c.Layers = append(c.Layers, s)
	}
	return c.Write(w)
}

// Grows says how an archive is taken to grow, for people.
func Grows(f *archive.Forecast) string {
	percent := fmt.Sprintf("%+.1f %% each year", 100*f.Growth)
	switch {
	case f.GrowthYears > 0:
		return fmt.Sprintf("%s, as in the last %d years", percent, f.GrowthYears)
	case f.Growth == 0:
		return "as much each year"
	}
	return percent
}
