package chart_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/lifecycle/chart"
)

func TestScale(t *testing.T) {
	for _, c := range []struct{ most, want float64 }{{0, 1}, {1, 0.5}, {4, 1}, {150, 50}, {200, 50}, {201, 100}, {0.003, 0.001}, {math.NaN(), 1}} {
		if got := chart.Step(c.most, 4); math.Abs(got-c.want) > 1e-9 {
			t.Errorf("step to %v: %v, want %v", c.most, got, c.want)
		}
	}
	const thin = " "
	for bytes, want := range map[float64]string{0: "0 B", 999: "999 B", 1500: "1.5 kB", 12.34e9: "12.3 GB", 123.4e12: "123 TB", 1.2e18: "1" + thin + "200 PB"} {
		if got := chart.Bytes(bytes); got != want {
			t.Errorf("%v bytes: %q, want %q", bytes, got, want)
		}
	}
	for v, want := range map[float64]string{0: "0", 3: "3", 0.5: "0.50", 12.345: "12.35", 345.6: "346", 1234567: "1" + thin + "234" + thin + "567", 0.00012: "0.00012", 0.006: "0.006", 0.0123: "0.012", 0.05: "0.05"} {
		if got := chart.Money(v); got != want {
			t.Errorf("%v: %q, want %q", v, got, want)
		}
	}
}

func TestWrite(t *testing.T) {
	at := []time.Time{time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2056, 1, 1, 0, 0, 0, 0, time.UTC)}
	good := chart.Chart{Title: "<T>", Times: at, Currency: "EUR", Layers: []chart.Series{{Name: "a & b, a name that is far too long", Values: []float64{0, 2e12}}},
		Lines: []chart.Series{{Name: "cost", Values: []float64{0, 0}, Dashed: true}}}
	var b strings.Builder
	if err := good.Write(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"<title id=\"title\">&lt;T&gt;</title>", "a &amp; b, a name that is…", "stroke-dasharray", "2 TB at the end", ">2030<"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is not in it", want)
		}
	}
	if strings.Contains(b.String(), "NaN") || strings.Count(b.String(), "text-anchor=\"middle\"") > 2*12 {
		t.Error("marks of years have no room, or a coordinate is no number")
	}
	for name, bad := range map[string]chart.Chart{
		"one time":       {Times: at[:1]},
		"other times":    {Times: at, Layers: []chart.Series{{Values: []float64{1}}}},
		"below zero":     {Times: at, Layers: []chart.Series{{Values: []float64{1, -1}}}},
		"no number":      {Times: at, Lines: []chart.Series{{Values: []float64{1, math.NaN()}}}},
		"without end":    {Times: at, Lines: []chart.Series{{Values: []float64{1, math.Inf(1)}}}},
		"too many lines": {Times: at, Lines: make([]chart.Series, 5)},
	} {
		if err := bad.Write(&b); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
