package main

import (
	"time"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/lifecycle/rule"
)

// length is the default of a setting that is a length of time, as people write it.
type length string

// amount is the default of a setting that is a number of bytes, as people write it.
type amount string

// lengthText is a length of time that was checked, as `strata config` shows it, however it was given.
func lengthText(given string) string {
	d, err := rule.ParseLength(given)
	if err != nil {
		return given
	}
	return rule.FormatLength(d)
}

// amountText is lengthText for a number of bytes.
func amountText(given string) string {
	n, err := rule.ParseBytes(given)
	if err != nil {
		return given
	}
	return rule.FormatBytes(n)
}

// byteFlag is a flag that takes a number of bytes.
type byteFlag int64

// Set implements pflag.Value.
func (f *byteFlag) Set(text string) error {
	n, err := rule.ParseBytes(text)
	*f = byteFlag(n)
	return err
}

// String implements pflag.Value.
func (f *byteFlag) String() string { return rule.FormatBytes(int64(*f)) }

// Type implements pflag.Value.
func (f *byteFlag) Type() string { return "bytes" }

// momentOf reads a moment in the past: a time, or how long ago it was. Spans go by the calendar.
func momentOf(flag, text string, now time.Time) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t, nil
	}
	if s, err := rule.ParseSpan(text); err == nil {
		return s.Before(now), nil
	}
	if ago, err := time.ParseDuration(text); err == nil && ago > 0 {
		return now.Add(-ago), nil
	}
	return time.Time{}, fault.New(fault.Invalid, "--%s must be a moment such as 2026-07-01T12:00:00Z, or how long ago, such as 90m, 30d or 6mo", flag)
}
