package chart

import (
	"math"
	"strconv"
	"strings"
)

// Step is a round distance of about n marks from 0 to most: 1, 2 or 5 times a power of ten.
func Step(most float64, n int) float64 {
	if !(most > 0) {
		return 1
	}
	rough := most / float64(n)
	power := math.Pow(10, math.Floor(math.Log10(rough)))
	for _, m := range []float64{1, 2, 5} {
		if m*power >= rough*(1-1e-9) {
			return m * power
		}
	}
	return 10 * power
}

var units = []struct {
	bytes float64
	name  string
}{{1e15, "PB"}, {1e12, "TB"}, {1e9, "GB"}, {1e6, "MB"}, {1e3, "kB"}, {1, "B"}}

// byteUnit is the unit in which so many bytes are easily read.
func byteUnit(bytes float64) (float64, string) {
	for _, u := range units {
		if bytes >= u.bytes {
			return u.bytes, u.name
		}
	}
	return 1, "B"
}

// Bytes is a number of bytes for people, in powers of 1000: "1.2 TB".
func Bytes(bytes float64) string {
	unit, name := byteUnit(bytes)
	return plain(bytes/unit) + " " + name
}

// Money is an amount for people: three digits that count, thousands apart.
func Money(v float64) string {
	if v >= 1000 {
		return thousands(strconv.FormatFloat(math.Round(v), 'f', 0, 64))
	}
	if v >= 100 {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	if v == math.Trunc(v) {
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	if v >= 0.1 {
		return strconv.FormatFloat(v, 'f', 2, 64)
	}
	return strconv.FormatFloat(v, 'g', 2, 64)
}

// plain is a number with up to three digits that count.
func plain(v float64) string {
	digits := 0
	switch {
	case v == 0, v >= 100:
	case v >= 10:
		digits = 1
	case v >= 1:
		digits = 2
	default:
		digits = 3
	}
	s := strconv.FormatFloat(v, 'f', digits, 64)
	if strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	return thousands(s)
}

// thousands parts the digits of a whole number, or of what is before the point.
func thousands(s string) string {
	whole, rest, point := strings.Cut(s, ".")
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + " " + whole[i:] // no-break thin space
	}
	if point {
		return whole + "." + rest
	}
	return whole
}
