package keystest

import (
	"slices"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/keys"
)

// Benchmark reports how many keys a provider wraps a second, one after another,
// and how long it takes to unwrap one.
func Benchmark(b *testing.B, w keys.Wrapper, kek keys.ID) {
	aad := []byte("tenant\x00key\x00study")
	b.Run("wrap", func(b *testing.B) {
		for b.Loop() {
			if _, err := w.Wrap(b.Context(), kek, secret, aad); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "wraps/s")
	})
	b.Run("unwrap", func(b *testing.B) {
		wrapped, err := w.Wrap(b.Context(), kek, secret, aad)
		if err != nil {
			b.Fatal(err)
		}
		var took []time.Duration
		for b.Loop() {
			start := time.Now()
			if _, err := w.Unwrap(b.Context(), wrapped, aad); err != nil {
				b.Fatal(err)
			}
			took = append(took, time.Since(start))
		}
		slices.Sort(took)
		at := func(q float64) float64 { return float64(took[int(q*float64(len(took)-1))].Nanoseconds()) / 1000 }
		b.ReportMetric(at(0.50), "p50-µs")
		b.ReportMetric(at(0.99), "p99-µs")
	})
}
