package rule_test

import (
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/lifecycle/rule"
)

func TestLengths(t *testing.T) {
	const day = 24 * time.Hour
	for text, want := range map[string]struct {
		d     time.Duration
		shown string
	}{
		"90s": {90 * time.Second, "1m30s"}, "30m": {30 * time.Minute, "30m"}, "1h": {time.Hour, "1h"}, "1h30m": {90 * time.Minute, "1h30m"}, "10h0m5s": {10*time.Hour + 5*time.Second, "10h0m5s"},
		"0s": {0, "0s"}, "500ms": {500 * time.Millisecond, "500ms"}, "-1h": {-time.Hour, "-1h"},
		"24h": {day, "1d"}, "720h": {30 * day, "30d"}, "25h": {25 * time.Hour, "25h"},
		"30d": {30 * day, "30d"}, "2w": {14 * day, "14d"}, "6mo": {180 * day, "180d"}, "1y": {365 * day, "365d"}, "292y": {292 * 365 * day, "106580d"},
	} {
		d, err := rule.ParseLength(text)
		if err != nil || d != want.d || rule.FormatLength(d) != want.shown {
			t.Errorf("%s: %v (%s), %v", text, d, rule.FormatLength(d), err)
		}
		if again, err := rule.ParseLength(rule.FormatLength(d)); err != nil || again != d {
			t.Errorf("%s: written %s, which reads %v, %v", text, rule.FormatLength(d), again, err)
		}
	}
	for _, bad := range []string{"", "30", "d", "1.5d", "-1d", "30 d", "30D", "300y", "1000y", "99999999999h", "1d12h"} {
		if d, err := rule.ParseLength(bad); err == nil {
			t.Errorf("%q is %v", bad, d)
		}
	}
}

func TestBytes(t *testing.T) {
	for text, want := range map[string]struct {
		n     int64
		shown string
	}{
		"0": {0, "0"}, "0B": {0, "0"}, "17": {17, "17B"}, "1000000": {1e6, "1MB"}, "500MB": {500e6, "500MB"}, "1500MB": {1500e6, "1500MB"},
		"67108864": {64 << 20, "64MiB"}, "64MiB": {64 << 20, "64MiB"}, "10GiB": {10 << 30, "10GiB"}, "1KiB": {1024, "1KiB"}, "2TiB": {2 << 40, "2TiB"},
	} {
		n, err := rule.ParseBytes(text)
		if err != nil || n != want.n || rule.FormatBytes(n) != want.shown {
			t.Errorf("%s: %d (%s), %v", text, n, rule.FormatBytes(n), err)
		}
		if again, err := rule.ParseBytes(rule.FormatBytes(n)); err != nil || again != n {
			t.Errorf("%s: written %s, which reads %d, %v", text, rule.FormatBytes(n), again, err)
		}
	}
	for _, bad := range []string{"", "-1", "1e6", "1.5GB", "GB", "5 GB", "5gb", "9223372036854775808", "9007199254740993GiB", "8388608TiB"} {
		if n, err := rule.ParseBytes(bad); err == nil {
			t.Errorf("%q is %d", bad, n)
		}
	}
}

// TestSpanBefore: a span back goes by the calendar, as one to come does.
func TestSpanBefore(t *testing.T) {
	now := time.Date(2026, 3, 15, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]string{"1mo": "2026-02-15T12", "1y": "2025-03-15T12", "2w": "2026-03-01T12", "12h": "2026-03-15T00"} {
		s, err := rule.ParseSpan(text)
		if got := s.Before(now).Format("2006-01-02T15"); err != nil || got != want {
			t.Errorf("%s before: %s, %v", text, got, err)
		}
	}
}
