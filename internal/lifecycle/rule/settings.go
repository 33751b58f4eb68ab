package rule

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"time"
)

// What settings and flags are written in: the spans and sizes of rules, and what Go and
// plain numbers have always been for.

var errLength = errors.New("write a length of time such as 90s, 12h, 30d, 2w, 6mo or 1y")

const day = 24 * time.Hour

// ParseLength reads a length of time: a span of rules, or a duration as Go writes it (90s, 1h30m). A length is not
// on a calendar: a month has 30 days and a year 365. The longest is that of time.Duration, 292 years.
func ParseLength(text string) (time.Duration, error) {
	if d, err := time.ParseDuration(text); err == nil {
		return d, nil
	}
	s, err := ParseSpan(text)
	if err != nil {
		return 0, errLength
	}
	days := s.Days + 30*s.Months + 365*s.Years
	if days > int(math.MaxInt64/day) { // hours are read above
		return 0, errLength
	}
	return time.Duration(days) * day, nil
}

// FormatLength writes a length so that ParseLength reads it: whole days as such.
func FormatLength(d time.Duration) string {
	if d != 0 && d%day == 0 {
		return strconv.FormatInt(int64(d/day), 10) + "d"
	}
	s := d.String()
	for _, nothing := range []struct{ after, zero string }{{"m", "0s"}, {"h", "0m"}} {
		if short, ok := strings.CutSuffix(s, nothing.zero); ok && strings.HasSuffix(short, nothing.after) {
			s = short
		}
	}
	return s
}

// binaryUnits are those of memory, the largest first.
var binaryUnits = []struct {
	unit  string
	bytes int64
}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}}

var errBytes = errors.New("write a number of bytes, or a size such as 500MB, 20GB or 64MiB")

// ParseBytes reads a number of bytes: plain, a size of rules, or in powers of 1024 (64MiB).
func ParseBytes(text string) (int64, error) {
	if n, err := strconv.ParseUint(text, 10, 63); err == nil {
		return int64(n), nil
	}
	if s, err := ParseSize(text); err == nil {
		return int64(s), nil
	}
	for _, u := range binaryUnits {
		digits, ok := strings.CutSuffix(text, u.unit)
		if !ok {
			continue
		}
		if n, err := strconv.ParseUint(digits, 10, 63); err == nil && int64(n) <= math.MaxInt64/u.bytes {
			return int64(n) * u.bytes, nil
		}
	}
	return 0, errBytes
}

// FormatBytes writes a number of bytes so that ParseBytes reads it, in the unit that makes it shortest.
func FormatBytes(n int64) string {
	if n == 0 {
		return "0"
	}
	out := Size(n).String()
	for _, u := range binaryUnits {
		if s := strconv.FormatInt(n/u.bytes, 10) + u.unit; n%u.bytes == 0 && len(s) < len(out) {
			out = s
		}
	}
	return out
}
