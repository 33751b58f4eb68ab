package main

import (
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/fault"
)

func TestMoments(t *testing.T) {
	now := time.Date(2026, 3, 15, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]string{"2026-03-01T00:00:00Z": "2026-03-01T00:00", "90m": "2026-03-15T10:30", "1h30m": "2026-03-15T10:30", "30d": "2026-02-13T12:00", "1mo": "2026-02-15T12:00", "1y": "2025-03-15T12:00"} {
		at, err := momentOf("as-of", text, now)
		if got := at.Format("2006-01-02T15:04"); err != nil || got != want {
			t.Errorf("%s: %s, %v", text, got, err)
		}
	}
	for _, bad := range []string{"", "yesterday", "-1h", "0s", "30", "2026-03-01"} {
		if at, err := momentOf("as-of", bad, now); !fault.Is(err, fault.Invalid) {
			t.Errorf("%q: %v, %v", bad, at, err)
		}
	}
}
